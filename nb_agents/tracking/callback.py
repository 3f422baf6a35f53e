"""Gates in SB3's logger, and k over the course of a training."""

from __future__ import annotations

import os
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from nb_agents._objects import uncompiled
from nb_agents.gates.gate import KGate
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.optim import optimized_parts
from nb_agents.tracking.history import GateHistory


def _computed(policy: Any) -> dict[KGate, torch.Tensor]:
    """The k's that the rows of the last batch had, ``(batch, len(gate.k))``, by the gate."""
    net, last = next(conditioned_nets(policy)), policy.regularizer.last
    k = () if last is None else torch.split(last[0], [len(gate.k) for gate in net.gates], dim=1)
    return dict(zip(net.gates, k, strict=False))


@torch.no_grad()
def _in_force(policy: Any) -> list[float]:
    """φ of all k's in order; the mean over rows where they are computed, and nothing before there are any."""
    if not policy.k_from:
        return [value for gate in policy.gates.values() for value in gate.phi(gate.k).tolist()]
    computed = _computed(policy)
    if not computed:
        return []
    rows = (gate.phi(computed.get(gate, gate.k[None])).mean(dim=0) for gate in policy.gates.values())
    return [value for row in rows for value in row.tolist()]


@torch.no_grad()
def _k_target_loss(policy: Any) -> float:
    """The k-target loss as it trains: with computed k's, their rows' and that of gates which have k's of their own."""
    if not policy.k_from:
        return float(policy.regularizer(policy.gates.values()))
    gates = next(conditioned_nets(policy)).gates
    own = [gate for gate in policy.gates.values() if gate not in set(gates)]
    loss = policy.regularizer.of_rows(gates, *policy.regularizer.last)
    return float(loss + (policy.regularizer(own) if own else 0.0))


class KGateCallback(BaseCallback):
    """Records gate values, the k-target loss and learning rates after every rollout, and keeps the k's history.

    Names in the logger:

    | Name                                  | Value                                                                   |
    | ------------------------------------- | ----------------------------------------------------------------------- |
    | ``gates/layer_0``                     | φ(k_layer) of the first gated layer, σ(k_layer) unless the kind differs |
    | ``gates/layer_0_block_1``             | φ(k) of its second block, without the block's weight                    |
    | ``gates/layer_0_shift``               | φ(k) of the layer's shift, in a kind that has one                       |
    | ``train/k_target_loss``               | the k-target loss, unweighted                                           |
    | ``train/k_learning_rate``             | what the schedule gives the k's                                         |
    | ``train/learning_rate_actor_gates``   | rate of the k's in the actor's optimizer, as of the last update         |
    | ``train/learning_rate_actor_weights`` | rate of its weights                                                     |

    Where the k's are computed, ``gates/`` and the loss are means over the rows of the last batch that was trained on,
    so that there are none before the first; the history is that of k0.

    Layers are numbered in the order of `KGatedMixin.gates`. An optimizer is named after what it trains: ``policy``
    (PPO, A2C, DQN and their like), ``actor`` or ``critic``; those that train no gate are left out.

    Attributes:
        history: The k's over the time steps; it goes on over several calls of ``learn`` on one network, as before and
            after a transfer with ``reset_num_timesteps=False``. None before the first.

    Args:
        verbose: Verbosity, as in SB3.
        max_rows: Largest number of rows of the history, at least 2.

    Raises:
        TypeError: When training starts, if the model's policy has no k-gates.
        ValueError: If `max_rows` is below 2.
    """

    history: GateHistory | None = None

    def __init__(self, verbose: int = 0, max_rows: int = 1000) -> None:
        super().__init__(verbose)
        GateHistory((), max_rows)  # refuses what it does not accept, now and not when training starts
        self.max_rows = max_rows

    def _init_callback(self) -> None:
        policy = uncompiled(self.model.policy)
        if not isinstance(policy, KGatedMixin):
            raise TypeError(f"KGateCallback needs a k-gated policy, got {type(policy).__name__}")
        names: list[str] = []
        for i, gate in enumerate(policy.gates.values()):
            names += [f"layer_{i}{name}" for name in gate.k_names()]
        if self.history is None or self.history.names != tuple(names):
            phi = next((gate.phi for gate in policy.gates.values()), KGate.phi)
            self.history = GateHistory(tuple(names), self.max_rows, phi)

    def _on_training_start(self) -> None:
        self._remember()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        policy = uncompiled(self.model.policy)
        assert isinstance(policy, KGatedMixin)
        assert self.history is not None
        self._remember()
        in_force = _in_force(policy)
        for name, value in zip(self.history.names, in_force, strict=False):
            self.logger.record(f"gates/{name}", value)
        if in_force:
            self.logger.record("train/k_target_loss", _k_target_loss(policy))
        rate = self.model.lr_schedule(self.model._current_progress_remaining)
        self.logger.record("train/k_learning_rate", rate * policy.k_lr_ratio)
        for owner, part in optimized_parts(policy).items():
            for group in part.optimizer.param_groups:
                if "lr_ratio" in group:
                    name = f"train/learning_rate_{owner}_{group['name']}"
                    self.logger.record(name, group["lr"] * group["lr_ratio"])

    def _on_training_end(self) -> None:
        self._remember()  # PPO's last update comes after the last rollout

    def _remember(self) -> None:
        assert self.history is not None
        ks = [gate.k.detach().cpu() for gate in uncompiled(self.model.policy).gates.values()]
        k = torch.cat([torch.empty(0), *ks])  # none where the policy has no hidden layer
        self.history.add(self.model.num_timesteps, k.numpy())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the history, see `nb_agents.tracking.plot.plot_gates`.

        Raises:
            ImportError: If matplotlib is not installed.
            RuntimeError: If nothing was trained with this callback.
        """
        if self.history is None:
            raise RuntimeError("there is no history yet: pass this callback to learn() first")
        from nb_agents.tracking.plot import plot_gates

        plot_gates(self.history, path)
