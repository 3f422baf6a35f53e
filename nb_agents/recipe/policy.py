"""The policy of the paper's own recipe: gated action network, plain value network, and files that run nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

from nb_agents._checks import check_count, check_flag, check_number, check_positive
from nb_agents._tensor_file import read_tensors, write_tensors
from nb_agents.gates.clamped import ClampedKGate
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.policies.train_only import TrainOnlyMixin

KIND = "nb_agents.NeuralBatteryPolicy"

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that is finite in the network."""


class NeuralBatteryPolicy(TrainOnlyMixin, BasePolicy):
    """An SB3 policy for the supervised recipe: ``action = max_torque · tanh(head(gated hidden layers))``.

    Hidden layers are linear, ReLU, gate. The value network has layers of the same sizes, of its own and without gates.
    `predict`, `train_only` (the value network always trains) and `nb_agents.Battery` work as on k-gated SB3 policies.

    Attributes:
        optimizer: Optimizer, set by `nb_agents.recipe.trainer.NeuralBatteryTrainer`.

    Args:
        state_dim: Number of numbers in an observation.
        action_dim: Number of numbers in an action.
        use_hierarchical: Whether blocks have gates beside the layers' (NB Pro, else NB).
        net_arch: Numbers of units of the hidden layers, at least one.
        block_size: Number of neighbouring units per block.
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
        block_weight = check_number("block_weight", block_weight, low=0.0, high=LARGEST)
        k_init = check_number("k_init", k_init, low=-LARGEST, high=LARGEST)
        max_torque = check_number("max_torque", check_positive("max_torque", max_torque), high=LARGEST)
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
            states: Observations, shape ``(batch, state_dim)``.

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
        write_tensors(path, KIND, arguments=self.arguments, policy=self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> NeuralBatteryPolicy:
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is damaged or of another kind.
        """

        def build(content: Mapping[str, Any], n_bytes: int) -> NeuralBatteryPolicy:
            check_fits(content["arguments"], n_bytes)
            policy = cls(**content["arguments"])
            policy.load_state_dict(content["policy"])
            return policy

        return read_tensors(path, KIND, build).to(device)


def check_fits(arguments: Mapping[str, Any], n_bytes: int) -> None:
    """Refuse a file's arguments before they take memory, where they ask for a larger network than the file holds.

    Args:
        arguments: Arguments of `NeuralBatteryPolicy`, and possibly more.
        n_bytes: Size of the file.

    Raises:
        KeyError: If an argument is missing.
        TypeError: If one is not of its kind.
        ValueError: If the network is larger, or its gates' matrices, which are computed, out of all proportion.
    """
    sizes = [check_count("state_dim", arguments["state_dim"])]
    sizes += [check_count("net_arch", n_units) for n_units in arguments["net_arch"]]
    block_size = check_count("block_size", arguments["block_size"])
    weights = sizes[-1] * check_count("action_dim", arguments["action_dim"])
    weights += sum(2 * n_inputs * n_units for n_inputs, n_units in pairwise(sizes))  # the value network's, too
    gates = sum(n_units * (1 + n_units // block_size) for n_units in sizes[1:])
    if 4 * weights > n_bytes or 4 * gates > 1000 * n_bytes:
        raise ValueError(f"a network of net_arch={list(sizes[1:])!r:.100} does not fit into its {n_bytes} bytes")
