"""The policy of the paper's own recipe: gated action network, plain value network, and files that run nothing."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

from nb_agents.adaptation import AdaptationMixin
from nb_agents.files import write_atomically
from nb_agents.gates import KGate, named_gates
from nb_agents.maml.arguments import check_count, check_positive
from nb_agents.validation import check_flag, check_number

T = TypeVar("T")


class ClampedKGate(KGate):
    """A gate of at most 1, as in the paper's released code: only σ(k_layer) + block_weight · σ(k_block) can pass 1."""

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        """The gate, see `KGate.gate`, clamped; where it is clamped its gradient is 0."""
        return super().gate(k).clamp(max=1.0)


class NeuralBatteryPolicy(AdaptationMixin, BasePolicy):
    """An SB3 policy for the supervised recipe: ``action = max_torque · tanh(head(gated hidden layers))``.

    Hidden layers are linear, ReLU, gate. The value network has layers of the same sizes, of its own and without gates.
    `predict`, `adapt` (the value network always trains) and `nb_agents.Battery` work as on the k-gated SB3 policies.

    Attributes:
        optimizer: Set by `nb_agents.recipe.NeuralBatteryTrainer`.

    Args:
        state_dim: Numbers in an observation.
        action_dim: Numbers in an action.
        use_hierarchical: Whether blocks have gates beside the layers' (NB Pro, else NB).
        net_arch: Units of the hidden layers, at least one layer.
        block_size: Neighbouring units per block.
        block_weight: Weight of a block's gate beside the layer's, >= 0.
        k_init: Start value of every k.
        clamp_gate: Whether gates are at most 1, as in the released code.
        max_torque: Limit of every action's absolute value, > 0.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If one is out of its range.
    """

    critic_parts = ("value_net",)
    head_part = "action_net"

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        use_hierarchical: bool = True,
        *,
        net_arch: Sequence[int] = (64, 64),
        block_size: int = 16,
        block_weight: float = 0.3,
        k_init: float = 0.25,
        clamp_gate: bool = False,
        max_torque: float = 2.0,
    ) -> None:
        state_dim, action_dim = check_count("state_dim", state_dim), check_count("action_dim", action_dim)
        if not isinstance(net_arch, Sequence):
            raise TypeError(f"net_arch must be a sequence of integers >= 1, got {net_arch!r}")
        net_arch = [check_count("net_arch", n_units) for n_units in net_arch]
        if not net_arch:
            raise ValueError("net_arch must hold at least one hidden layer, got ()")
        check_flag("use_hierarchical", use_hierarchical)
        check_flag("clamp_gate", clamp_gate)
        # Plain Python numbers from here on: `load` takes no others from a file, NumPy's neither.
        block_size = check_count("block_size", block_size)
        block_weight, k_init = check_number("block_weight", block_weight, low=0.0), check_number("k_init", k_init)
        max_torque = check_positive("max_torque", max_torque)
        super().__init__(
            spaces.Box(-np.inf, np.inf, (state_dim,), np.float32),
            spaces.Box(-max_torque, max_torque, (action_dim,), np.float32),
        )
        self.arguments = {
            "state_dim": state_dim, "action_dim": action_dim, "use_hierarchical": use_hierarchical,
            "net_arch": net_arch, "block_size": block_size, "block_weight": block_weight, "k_init": k_init,
            "clamp_gate": clamp_gate, "max_torque": max_torque,
        }  # fmt: skip
        self.max_torque = max_torque
        gate_class = ClampedKGate if clamp_gate else KGate
        gate_kwargs: dict[str, Any] = {"block_weight": block_weight, "gate_max": None, "k_init": k_init}
        gate_kwargs["block_size"] = block_size if use_hierarchical else None
        hidden: list[nn.Module] = []
        for n_inputs, n_units in pairwise((state_dim, *net_arch)):
            hidden += [nn.Linear(n_inputs, n_units), gate_class(n_units, activation=nn.ReLU(), **gate_kwargs)]
        self.latent_net = nn.Sequential(*hidden)
        self.action_net = nn.Linear(net_arch[-1], action_dim)
        self.value_net = nn.Sequential(*create_mlp(state_dim, 1, net_arch))

    @property
    def gates(self) -> dict[str, KGate]:
        """The gates, by path and in the order of the layers."""
        return dict(named_gates(self))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Actions for states.

        Args:
            states: Shape ``(batch, state_dim)``.

        Returns:
            Shape ``(batch, action_dim)``, within ±``max_torque``.
        """
        return self.max_torque * torch.tanh(self.action_net(self.latent_net(states)))

    def predict_values(self, states: torch.Tensor) -> torch.Tensor:
        """Predicted returns, shape ``(batch, 1)``, for states of shape ``(batch, state_dim)``."""
        values: torch.Tensor = self.value_net(states)
        return values

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        # In float32 as SB3's own policies; the recipe has no other than deterministic actions.
        return self(observation.float())  # type: ignore[no-any-return]

    def set_training_mode(self, mode: bool) -> None:
        """SB3 calls this in every `predict`; nothing here depends on the mode, so walking the modules is saved."""
        if mode != self.training:
            super().set_training_mode(mode)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return dict(self.arguments)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write arguments and parameters to a file, at once or not at all; `load` reads it."""
        write_tensors(path, "nb_agents.NeuralBatteryPolicy 1", arguments=self.arguments, policy=self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> NeuralBatteryPolicy:
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is damaged or of another kind.
        """

        def build(content: Mapping[str, Any]) -> NeuralBatteryPolicy:
            policy = cls(**content["arguments"])
            policy.load_state_dict(content["policy"])
            return policy

        return read_tensors(path, "nb_agents.NeuralBatteryPolicy 1", build).to(device)


def write_tensors(path: str | os.PathLike[str], kind: str, **content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and text, at once or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"format": kind, **content}, buffer)
    write_atomically(path, buffer.getvalue())


def read_tensors(path: str | os.PathLike[str], kind: str, build: Callable[[Mapping[str, Any]], T]) -> T:
    """What ``build`` makes of what `write_tensors` wrote, on the CPU; all but tensors and plain values is refused.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or of another kind, or ``build`` fails.
    """
    whole = io.BytesIO(Path(path).read_bytes())
    try:
        content = torch.load(whole, map_location="cpu", weights_only=True)
        found = content.get("format") if isinstance(content, dict) else None
        if found != kind:
            raise ValueError(f"its format is {found!r}")
        return build(content)
    except Exception as error:  # what a damaged file makes torch's reader or a constructor raise is of any kind
        if isinstance(error, pickle.UnpicklingError):  # torch's own text goes on to say how to run it all the same
            reason = "it holds something other than tensors and plain values"
        else:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{os.fspath(path)!r} is not a whole file of {kind!r}: {reason}") from None
