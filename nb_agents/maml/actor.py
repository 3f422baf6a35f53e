"""One SB3 actor evaluated for many parameter vectors at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
    kl_divergence,
    make_proba_distribution,
    sum_independent_dims,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from torch import nn
from torch.func import functional_call, vmap

from nb_agents.maml.acting import acting_chain, shaped
from nb_agents.maml.k_target_term import KTargetTerm
from nb_agents.maml.probe import buffers_kept, check_stacked_form

_CHUNK_ROWS = 4096
"""Rows of activations worked on at a time: about what fits the caches of a core with layers of 64 to 128 units."""


class StackedActor:
    """The actor of an SB3 `ActorCriticPolicy` as a function of stacked flat parameters.

    Every method works on ``tasks`` actors at once, with parameters of shape ``(tasks, n_params)``. Their *outputs*,
    shape ``(tasks, batch, n_outputs)``, are the parameters of the action distributions: mean and log standard deviation
    of a Gaussian, the logits of a discrete one.

    Args:
        policy: The policy; its parameters that the actor uses and that require a gradient are the ones stacked.

    Attributes:
        k_target: The k-target loss of the actors' gates; false where there is none.

    Raises:
        ValueError: If the policy's observations, its action distribution or a layer are not supported.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        check_supported(policy)
        self.policy = policy
        self.dtype = next(policy.parameters()).dtype
        self.device = policy.device
        self._module = _Actor(policy)
        self._is_gaussian = isinstance(policy.action_dist, DiagGaussianDistribution)
        with buffers_kept(policy):
            used = self._used_parameters()
            self.names = tuple(used)
            self._parameters = tuple(used.values())
            self._shapes = [parameter.shape for parameter in self._parameters]
            self._sizes = [parameter.numel() for parameter in self._parameters]
            self.n_params = sum(self._sizes)
            self._homes = self._all_homes(used)
            check_stacked_form(self._module, self._probe_stacked, lambda: self._module(self._probe()))
        self.k_target = KTargetTerm(policy, {name: part.start for name, part in self.slices()})

    def _probe(self) -> torch.Tensor:
        space = self.policy.observation_space
        generator = torch.Generator().manual_seed(0)
        if isinstance(space, spaces.Box):
            observations = torch.rand(2, *space.shape, generator=generator)
        else:
            observations = torch.zeros(2, *(space.shape or ()), dtype=torch.long)
        return self.preprocess(observations.to(self.device))

    def _probe_stacked(self) -> torch.Tensor:
        """Outputs of three copies, after two derivatives through them."""
        params = self.get_vector().expand(3, -1).clone().requires_grad_()
        outputs = self.outputs(params, self._probe().expand(3, -1, -1))
        (gradient,) = torch.autograd.grad(outputs.square().sum(), params, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), params)
        return outputs.detach()

    def _all_homes(self, used: dict[str, nn.Parameter]) -> dict[str, list[str]]:
        """Every place in the module where a parameter stands, once per submodule however often that is registered."""
        homes: dict[str, list[str]] = {name: [] for name in used}
        name_of = {id(parameter): name for name, parameter in used.items()}
        for path, module in self._module.named_modules():
            for own, parameter in module._parameters.items():
                if id(parameter) in name_of:
                    homes[name_of[id(parameter)]].append(f"{path}.{own}" if path else own)
        return homes

    def _used_parameters(self) -> dict[str, nn.Parameter]:
        outputs = self._module(self._probe())
        candidates = {n: p for n, p in self.policy.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(outputs.sum(), list(candidates.values()), allow_unused=True)
        return {name: p for (name, p), g in zip(candidates.items(), gradients, strict=True) if g is not None}

    def slices(self) -> Iterator[tuple[str, slice]]:
        """Name of each parameter (as in ``policy.named_parameters()``) and where it lies in the flat vector."""
        start = 0
        for name, size in zip(self.names, self._sizes, strict=True):
            yield name, slice(start, start + size)
            start += size

    def get_vector(self) -> torch.Tensor:
        """A copy of the policy's current actor parameters, shape ``(n_params,)``."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters])

    def set_vector(self, vector: torch.Tensor) -> None:
        """Write ``vector``, shape ``(n_params,)``, into the policy."""
        with torch.no_grad():
            for parameter, part in zip(self._parameters, torch.split(vector, self._sizes), strict=True):
                parameter.copy_(part.view_as(parameter))

    def set_gradient(self, vector: torch.Tensor) -> None:
        """Set ``.grad`` of the policy's actor parameters from ``vector``, shape ``(n_params,)``; clear all others."""
        self.policy.zero_grad(set_to_none=True)
        for parameter, part in zip(self._parameters, torch.split(vector, self._sizes), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype, copy=True)

    def preprocess(self, observations: torch.Tensor) -> torch.Tensor:
        """SB3's preprocessing (one-hot for discrete spaces) of ``(n, ...)`` observations, in the policy's dtype."""
        processed = preprocess_obs(observations, self.policy.observation_space, normalize_images=False)
        assert isinstance(processed, torch.Tensor)  # a dict only for Dict spaces, refused above
        return processed.to(self.dtype).flatten(1)

    def outputs(self, params: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        """Outputs of every actor on its own observations.

        Args:
            params: Stacked parameters, shape ``(tasks, n_params)``.
            observations: Observations as `preprocess` returns them, shape ``(tasks, batch, n_features)``.

        Returns:
            Shape ``(tasks, batch, n_outputs)``.
        """
        return self._call(self._unflatten(params), observations)

    def acting(self, params: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """`outputs` at parameters that stay, from observations alone, for many calls without a gradient."""
        stacked = self._unflatten(params)
        return acting_chain(self.policy, stacked) or partial(self._call, stacked)

    def _unflatten(self, params: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = torch.split(params, self._sizes, dim=1)
        shaped = (part.reshape(-1, *shape) for part, shape in zip(parts, self._shapes, strict=True))
        return dict(zip(self.names, shaped, strict=True))

    def _call(self, stacked: dict[str, torch.Tensor], observations: torch.Tensor) -> torch.Tensor:
        named = {home: value for name, value in stacked.items() for home in self._homes[name]}
        # PyTorch's own tying of weights puts tensors of the call into modules that are registered under several names,
        # as SB3's shared features extractor is, and leaves them there. `_homes` has each place once.
        call = partial(functional_call, self._module, tie_weights=False)
        return vmap(lambda p, obs: call(p, (obs,)))(named, observations)  # type: ignore[no-any-return]

    def _distribution(self, outputs: torch.Tensor) -> Distribution:
        # SB3's distributions sum over dimension 1, so tasks and batch are merged.
        flat = outputs.reshape(-1, outputs.shape[-1])
        if not torch.isfinite(flat).all():
            raise FloatingPointError(
                "the action distribution must be finite, got a NaN or infinity (smaller steps may help)"
            )
        distribution = make_proba_distribution(self.policy.action_space)
        if self._is_gaussian:
            mean, log_std = flat.chunk(2, dim=-1)
            return distribution.proba_distribution(mean, log_std)
        return distribution.proba_distribution(action_logits=flat)

    def sample(self, outputs: torch.Tensor) -> torch.Tensor:
        """Actions drawn from outputs ``(tasks, batch, n_outputs)``, shape ``(tasks, batch, *action_shape)``."""
        if self._is_gaussian:  # what SB3's distribution draws, without making one for every step of a rollout
            mean, log_std = outputs.chunk(2, dim=-1)
            return torch.normal(mean, log_std.exp())
        actions = self._distribution(outputs).sample()
        return actions.reshape(*outputs.shape[:2], *actions.shape[1:])

    def log_prob(self, outputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-probability, ``(tasks, batch)``, of actions ``(tasks, batch, *action_shape)``, summed over dimensions."""
        return self._distribution(outputs).log_prob(actions.flatten(0, 1)).view(outputs.shape[:2])

    def kl(self, old_outputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """KL(old ‖ new) of the action distributions at each sample, shape ``(tasks, batch)``."""
        divergence = kl_divergence(self._distribution(old_outputs), self._distribution(outputs))
        summed = sum_independent_dims(divergence) if divergence.ndim > 1 else divergence
        return summed.view(outputs.shape[:2])


class _Actor(nn.Module):
    """The part of the policy from preprocessed observations to the parameters of the action distribution."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        policy = self.policy
        features = policy.pi_features_extractor(shaped(policy, observations))
        outputs: torch.Tensor = policy.action_net(policy.mlp_extractor.forward_actor(features))
        if isinstance(policy.action_dist, DiagGaussianDistribution):
            outputs = torch.cat([outputs, policy.log_std.expand_as(outputs)], dim=-1)
        return outputs


def check_supported(policy: object) -> None:
    """Refuse policies that cannot be adapted by gradient steps on stacked parameters.

    Raises:
        ValueError: For recurrent policies and others than `ActorCriticPolicy`, gSDE, dict or image observations.
    """
    if hasattr(policy, "lstm_actor"):
        raise ValueError(
            f"policy must not be recurrent, got {type(policy).__name__}; use a feed-forward ActorCriticPolicy"
        )
    if not isinstance(policy, ActorCriticPolicy):
        raise ValueError(f"policy must be an SB3 ActorCriticPolicy, got {type(policy).__name__}")
    space = policy.observation_space
    if isinstance(space, spaces.Dict) or is_image_space(space):
        raise ValueError(f"observation space must be a vector or discrete, got {space}")
    if isinstance(policy.action_dist, StateDependentNoiseDistribution):
        raise ValueError("use_sde must be False: state-dependent noise has no stacked form here")


def chunks(tasks: int, samples: int) -> Iterator[slice]:
    """Slices of the task dimension whose activations stay in the processor's cache.

    Args:
        tasks: Number of stacked actors.
        samples: Number of rows of data for each.
    """
    size = max(1, _CHUNK_ROWS // max(samples, 1))
    for start in range(0, tasks, size):
        yield slice(start, min(start + size, tasks))
