"""The part of a policy that trains when it moves to another task: an adapter, as its k's are, or everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from nb_agents._checks import check_flag
from nb_agents.adapters.acting import ActorParts, acting_modules, acting_parameters, part_at, target_networks
from nb_agents.adapters.table import ADAPTERS
from nb_agents.gates.extra_state import OptionalExtraState, as_numbers
from nb_agents.gates.gate import KGate
from nb_agents.inference.conditioned import ConditionedNet
from nb_agents.policies.optim import optimized_parts

CHOICES = ("all", *ADAPTERS)
"""Names that `TrainOnlyMixin.train_only` accepts."""

_EVERYTHING = ("all", True)


class TrainOnlyMixin(ActorParts, OptionalExtraState):
    """Gives an SB3 policy `train_only`; `nb_agents.policies.mixin.KGatedMixin` contains it.

    A policy's parameters are those of the actor, which are carried to the new task, and those of critics, which have to
    learn the new task's values and always train. What both use belongs to the actor.
    """

    _choice: tuple[str, bool] = _EVERYTHING
    _frozen: tuple[nn.Parameter, ...] = ()
    _statistics_held: tuple[Any, ...] = ()

    @property
    def trains(self) -> str:
        """The part of the actor that trains: "all", "gates", "head", "biases" or "lora"."""
        return self._choice[0]

    def train_only(self, what: str, *, log_std: bool | None = None, reset_optimizer: bool = True) -> None:
        """Set which of the actor's parameters train from now on; the others do not move by one bit.

        Frozen parameters get no gradient, so that neither weight decay nor momentum reaches them; layers keep their
        running statistics and the vectors of a spectral norm, by running in evaluation mode; and target networks hold
        what their source holds. The choice is saved with the policy's parameters and can be changed at any time. For
        TRPO it takes `nb_agents.contrib.KGatedTRPOPolicy`.

        Args:
            what: Choice of "all"; "gates", the k's alone and what computes them; "head", the actor's output layer;
                "biases", those of its linear, convolutional and recurrent layers (BitFit; Ben Zaken et al. 2022); or
                "lora", the low-rank adapters of a policy with ``lora_rank``.
            log_std: Whether the parameters that set the spread of actions alone train (PPO's ``log_std``, the layer of
                that name in SAC). By default they do not with "gates", so that the k's are all that distinguishes two
                tasks, and do otherwise.
            reset_optimizer: Whether the policy's optimizers forget their moments, critics' included.

        Raises:
            TypeError: If ``log_std`` or ``reset_optimizer`` is not of its kind.
            ValueError: If ``what`` is unknown, the policy has nothing of the kind, or no optimizer trains it (ARS moves
                every parameter). Nothing has changed then.
        """
        if log_std is not None and not isinstance(log_std, bool):
            raise TypeError(f"log_std must be True, False or None, got {log_std!r}")
        check_flag("reset_optimizer", reset_optimizer)
        spread = what != "gates" if log_std is None else log_std
        trained = self._select(what, spread, spread_needed=log_std is True)
        optimizers = [part.optimizer for part in optimized_parts(self).values()]
        if not optimizers and what != "all":
            raise ValueError(f"what must be 'all': {type(self).__name__} is trained without an optimizer, got {what!r}")
        self._set(what, spread, trained)
        if reset_optimizer:
            for optimizer in optimizers:
                optimizer.state.clear()

    def get_extra_state(self) -> torch.Tensor | None:
        """The part that trains, for `state_dict`; None for everything."""
        what, spread = self._choice
        return None if self._choice == _EVERYTHING else torch.tensor([CHOICES.index(what), float(spread)])

    def set_extra_state(self, state: Any) -> None:
        """Restore it from `get_extra_state`; the optimizers' state is theirs to load."""
        index, spread = as_numbers(state, "what trains according to a state dict", (2,)).tolist()
        if index not in range(len(CHOICES)) or spread not in (0.0, 1.0):
            raise ValueError(f"what trains according to a state dict must be known, got {[index, spread]}")
        self._restore(CHOICES[int(index)], bool(spread))

    def reset_extra_state(self) -> None:
        """Everything trains."""
        self._restore(*_EVERYTHING)

    def _wrote(self, state_dict: Mapping[str, Any], prefix: str) -> bool:
        modules = self.named_modules()  # type: ignore[attr-defined]
        return any(f"{prefix}{name}.k" in state_dict for name, module in modules if isinstance(module, KGate))

    def _restore(self, what: str, spread: bool) -> None:
        if (what, spread) != self._choice:
            self._set(what, spread, self._select(what, spread))

    def _select(self, what: str, spread: bool, *, spread_needed: bool = False) -> list[nn.Parameter]:
        """The parameters of the actor that train."""
        if what not in CHOICES:
            raise ValueError(f"what must be one of {CHOICES}, got {what!r}")
        exploration = list(self._exploration())
        if spread_needed and not exploration:
            raise ValueError(f"{type(self).__name__} has no log_std that could train: pass log_std=None or False")
        if what == "all":
            selected = [parameter for _, parameter in acting_parameters(self)]
        else:
            selected = ADAPTERS[what].trained(self)
        if not selected:
            advice = f": {ADAPTERS[what].advice}" if what in ADAPTERS else ""
            raise ValueError(f"{type(self).__name__} has nothing that train_only({what!r}) could train{advice}")
        return [*selected, *exploration] if spread else selected

    def _exploration(self) -> Iterator[nn.Parameter]:
        for part in (part_at(self, path) for path in self.exploration_parts):
            if part is not None:
                yield from [part] if isinstance(part, nn.Parameter) else part.parameters()

    def _set(self, what: str, spread: bool, trained: list[nn.Parameter]) -> None:
        """Freeze the actor's other parameters, and thaw those that an earlier call froze."""
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        for handle in self._statistics_held:
            handle.remove()
        kept = {id(parameter) for parameter in trained}
        actors = [*(parameter for _, parameter in acting_parameters(self)), *self._exploration()]
        # Those that the user froze are not ours: they stay frozen after train_only("all").
        self._frozen = tuple(p for p in actors if id(p) not in kept and p.requires_grad)
        for parameter in self._frozen:
            parameter.requires_grad_(False)
            parameter.grad = None
        held = list(_with_frozen_statistics(self, kept)) if what != "all" else []
        # Before all hooks of the layer's own, as those of a spectral norm are.
        self._statistics_held = tuple(m.register_forward_pre_hook(in_eval_mode, prepend=True) for m in held)
        self._hold_targets({id(parameter) for parameter in self._frozen})
        self._choice = (what, spread)

    @torch.no_grad()
    def _hold_targets(self, frozen: set[int]) -> None:
        for name, target in target_networks(self):
            source = getattr(self, name.removesuffix("_target"))
            for path, parameter in source.named_parameters(remove_duplicate=False):
                place, _, own_name = path.rpartition(".")
                follower, held = target.get_parameter(path), id(parameter) in frozen
                if held:
                    follower.copy_(parameter)
                if held is not isinstance(follower, HeldParameter):
                    made = (HeldParameter if held else nn.Parameter)(follower.detach(), follower.requires_grad)
                    setattr(target.get_submodule(place), own_name, made)


class HeldParameter(nn.Parameter):
    """A target network's parameter whose source is frozen.

    SB3's Polyak update computes ``(1 - τ) x + τ x`` in place on ``data``, which is not x in float arithmetic. Here
    ``data`` is a copy, so that the update goes nowhere; assigning to it works as usual.
    """

    @property
    def data(self) -> torch.Tensor:
        """A copy."""
        return self.detach().clone()

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # nn.Parameter's own would bring back a plain parameter, which Polyak updates move.
        return type(self), (self.data, self.requires_grad)


def _with_frozen_statistics(policy: Any, trained: set[int]) -> Iterator[nn.Module]:
    """The modules that keep a state besides parameters, as normalisation layers do, where nothing of theirs trains.

    Args:
        policy: Policy or module, as for `acting_modules`.
        trained: Identities of the parameters that train.
    """
    acting = dict(acting_modules(policy))
    for path, module in acting.items():
        state = (*module._buffers.values(), *vars(module).values())
        if isinstance(module, (KGate, ConditionedNet)) or not any(isinstance(value, torch.Tensor) for value in state):
            continue
        # The state of a parametrization (spectral norm's, of weight matrices) goes with the parameter that it is of.
        parent = acting.get(path.rpartition(".")[0])
        owner = parent if isinstance(parent, ParametrizationList) else module
        if not any(id(parameter) in trained for parameter in owner.parameters(recurse=False)):
            yield module


def in_eval_mode(module: nn.Module, inputs: Any) -> None:
    """A hook that holds statistics: whatever the mode of the policy, ``module`` itself is in evaluation mode."""
    module.training = False  # and not `eval()`, which would reach what is inside: a dropout layer, or one that trains
