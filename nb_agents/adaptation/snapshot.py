"""The numbers of a model at one moment: those that an action depends on, and those that help to train them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecNormalize, unwrap_vec_normalize

from nb_agents._objects import uncompiled
from nb_agents.adapters.acting import acting_modules, acting_parameters
from nb_agents.policies.optim import optimized_parts
from nb_agents.policies.train_only import TrainOnlyMixin


class Snapshot:
    """Copies of what trains in a model.

    Attributes:
        acting: Numbers that a deterministic action depends on, those that train and what layers keep beside them.
        helping: All else that trains: critics, the spread of actions, an entropy coefficient.
        statistics: Those of a `VecNormalize` of observations that move with the training; None if there is none.

    Args:
        model: Any SB3 model.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        policy = uncompiled(model.policy)
        self.acting = {tensor: tensor.detach().clone() for tensor in _acting(policy)}
        parameters = [p for p in policy.parameters() if p.requires_grad and p not in self.acting]
        variables = [recursive_getattr(model, name) for name in model._get_torch_save_params()[1]]
        self.helping = {tensor: tensor.detach().clone() for tensor in (*parameters, *variables)}
        normalize = _moving(model)
        self.statistics = None if normalize is None else copy.deepcopy(normalize.obs_rms)

    def holds(self) -> bool:
        """Whether the numbers that an action depends on are those of the snapshot."""
        return all(torch.equal(tensor, value) for tensor, value in self.acting.items())

    def restore(self, model: BaseAlgorithm, *, forget: bool = True) -> None:
        """Put back what an action depends on, and what sets the spread of actions.

        Args:
            model: The model that the snapshot is of.
            forget: Whether the optimizers forget the moments of what is put back.
        """
        policy = uncompiled(model.policy)
        spread = set(policy._exploration()) if isinstance(policy, TrainOnlyMixin) else set()
        numbers = [*self.acting, *(tensor for tensor in self.helping if tensor in spread)]
        self._put_back(numbers, optimizers(model) if forget else [])
        normalize = _moving(model)
        if normalize is not None and self.statistics is not None:
            normalize.obs_rms = copy.deepcopy(self.statistics)

    def repair(self, optimizer: torch.optim.Optimizer) -> bool:
        """Put back all numbers of an optimizer if one of them is not finite; returns whether that was so.

        Others stay, for a graph may hold them: SAC's critic is stepped between its actor's forward and backward pass.
        """
        numbers = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        if not numbers or bool(torch.stack([tensor.detach().isfinite().all() for tensor in numbers]).all()):
            return False
        known = self.acting.keys() | self.helping.keys()
        self._put_back([tensor for tensor in numbers if tensor in known], [optimizer])
        return True

    @torch.no_grad()
    def _put_back(self, numbers: list[torch.Tensor], forgetful: list[torch.optim.Optimizer]) -> None:
        for tensor in numbers:
            tensor.copy_(self.acting[tensor] if tensor in self.acting else self.helping[tensor])
            for optimizer in forgetful:
                optimizer.state.pop(tensor, None)


def optimizers(model: BaseAlgorithm) -> list[torch.optim.Optimizer]:
    """All of a model's: the policy's, or those of its parts, and that of an entropy coefficient."""
    found = [part.optimizer for part in optimized_parts(uncompiled(model.policy)).values()]
    own = getattr(model, "ent_coef_optimizer", None)
    return [*found, own] if own is not None else found


def _acting(policy: Any) -> Iterator[torch.Tensor]:
    seen = set[torch.Tensor]()
    for _, parameter in acting_parameters(policy):
        if parameter.requires_grad and parameter not in seen:
            seen.add(parameter)
            yield parameter
    for _, module in acting_modules(policy):
        kept = module._non_persistent_buffers_set
        yield from (each for name, each in module._buffers.items() if each is not None and name not in kept)


def _moving(model: BaseAlgorithm) -> VecNormalize | None:
    normalize = unwrap_vec_normalize(model.env) if model.env is not None else None
    return normalize if normalize is not None and normalize.norm_obs and normalize.training else None
