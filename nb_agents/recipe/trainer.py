"""The paper's own training recipe: a supervised loss towards an expert's actions and towards the return.

    L = E‖a_pred − a_expert‖² + E(v_pred − R)² + 0.1 · Σ_layers (σ(k_layer) − k_target · (0.5 + 0.3 τ))²

The file is for those who come from the paper's README: its quick start runs on these classes. What the recipe is worth
is measured in `benchmarks.questions.recipe.question`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from nb_agents._checks import check_count, check_flag, check_number, check_positive
from nb_agents._tensor_file import read_tensors, write_tensors
from nb_agents.gates.k_target import KTarget
from nb_agents.policies.optim import two_rates
from nb_agents.recipe.policy import NeuralBatteryPolicy, check_fits

__all__ = ["LearnedKTarget", "Losses", "NeuralBatteryPolicy", "NeuralBatteryTrainer"]

KIND = "nb_agents.NeuralBatteryTrainer"


class Losses(float):
    """The total loss with its parts, each a mean over the updates of a step.

    It is a float, as in the paper's code, so that scripts which add it up, compare or format it run as they are.

    Attributes:
        action: Squared distance to the expert's actions, summed over action dimensions; mean over rows.
        value: Mean squared distance of the predicted to the given returns.
        k_target: The k-target loss, unweighted.
        grad_norm: Norm of the gradient before it was clipped.
    """

    action: float
    value: float
    k_target: float
    grad_norm: float

    def __new__(cls, total: float, action: float, value: float, k_target: float, grad_norm: float) -> Losses:
        """Name the parts of ``total``."""
        self = super().__new__(cls, total)
        self.action, self.value, self.k_target, self.grad_norm = action, value, k_target, grad_norm
        return self

    def __getnewargs__(self) -> tuple[float, ...]:  # type: ignore[override]  # copy and pickle need the parts too
        return float(self), self.action, self.value, self.k_target, self.grad_norm


class LearnedKTarget(KTarget):
    """The k-target loss with targets that train, one per layer: what the paper's released code does.

    The regulariser can then come to rest by moving the targets instead of the gates.

    Args:
        n_layers: Number of gated layers.
        target: Start value of every target, >= 0.
        weight: Factor of the loss, >= 0.
    """

    def __init__(self, n_layers: int, target: float = 0.3, weight: float = 0.1) -> None:
        super().__init__(target, weight)
        self.target = nn.Parameter(torch.full((n_layers,), self.target))  # type: ignore[assignment]


class NeuralBatteryTrainer:
    """Trains a `NeuralBatteryPolicy` by the recipe; see the module.

    Attributes:
        policy: The policy; ``policy.train_only("gates")`` leaves only the k's (and the value network) to train.
        regularizer: The k-target loss, not added by hooks here but in the sum.

    Args:
        state_dim: Number of numbers in an observation.
        action_dim: Number of numbers in an action.
        use_hierarchical: Whether blocks have gates beside the layers' (NB Pro, else NB).
        lr: Adam's learning rate for the weights, > 0.
        k_lr: Adam's learning rate for the k's and, where they train, the k-targets, >= 0.
        k_target: Target of the k-target loss, >= 0.
        k_target_weight: Weight of that loss, >= 0.
        learn_k_target: Whether the targets train too, see `LearnedKTarget`.
        value_coef: Weight of the value loss, >= 0; 1 in the paper.
        max_grad_norm: Norm at which the gradient is clipped, >= 0.
        updates_per_step: Number of gradient steps per `train_step`; 1 in the paper.
        batch_size: Number of rows of a gradient step, drawn with replacement; None, as in the paper, for all rows.
        seed: Seed of first weights and minibatches; None for torch's global generator.
        device: Device of the networks.
        **policy_kwargs: Further arguments of `NeuralBatteryPolicy`.

    Raises:
        TypeError: If an argument is not of its kind.
        ValueError: If one is out of its range.
    """

    def __init__(
        self,
        state_dim: int,
        action_dim: int,
        use_hierarchical: bool = True,
        lr: float = 1e-3,
        k_lr: float = 5e-3,
        *,
        k_target: float = 0.3,
        k_target_weight: float = 0.1,
        learn_k_target: bool = False,
        value_coef: float = 1.0,
        max_grad_norm: float = 1.0,
        updates_per_step: int = 1,
        batch_size: int | None = None,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        **policy_kwargs: Any,
    ) -> None:
        lr, k_lr = check_positive("lr", lr), check_number("k_lr", k_lr, low=0.0)
        check_flag("learn_k_target", learn_k_target)
        self.value_coef = check_number("value_coef", value_coef, low=0.0)
        self.max_grad_norm = check_number("max_grad_norm", max_grad_norm, low=0.0)
        self.updates_per_step = check_count("updates_per_step", updates_per_step)
        self.batch_size = None if batch_size is None else check_count("batch_size", batch_size)
        regularizer = KTarget(k_target, k_target_weight)
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            self.policy = NeuralBatteryPolicy(state_dim, action_dim, use_hierarchical, **policy_kwargs).to(device)
            self._rng = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        gates = self.policy.gates.values()
        self.regularizer = LearnedKTarget(len(gates), k_target, k_target_weight) if learn_k_target else regularizer
        self.regularizer.to(device)
        self._parameters = [*self.policy.parameters(), *self.regularizer.parameters()]
        fast = [*(gate.k for gate in gates), *self.regularizer.parameters()]
        self.policy.optimizer = two_rates(torch.optim.Adam(self._parameters, lr=lr), fast, k_lr / lr)
        self._arguments = {
            **self.policy.arguments, "lr": lr, "k_lr": k_lr, "k_target": regularizer.target,
            "k_target_weight": regularizer.weight, "learn_k_target": learn_k_target, "value_coef": self.value_coef,
            "max_grad_norm": self.max_grad_norm, "updates_per_step": self.updates_per_step,
            "batch_size": self.batch_size,
        }  # fmt: skip

    def train_step(
        self, states: ArrayLike, expert_actions: ArrayLike, returns: ArrayLike, task_difficulty: float = 1.0
    ) -> Losses:
        """Make ``updates_per_step`` gradient steps on labelled states.

        Args:
            states: Observations, shape ``(n, state_dim)``, n >= 1; arrays, tensors or lists of them, as the other two.
            expert_actions: Actions of the expert there, in the units of the actions; shape ``(n, action_dim)``, or
                ``(n,)`` for one-dimensional actions.
            returns: Targets of the value network, usually discounted returns-to-go; shape ``(n,)`` or ``(n, 1)``.
            task_difficulty: Difficulty τ of the task, in [0, 1].

        Raises:
            TypeError: If ``task_difficulty`` is not a number.
            ValueError: If a shape is another, lengths differ, or a value is not finite; no parameter has moved then.
            RuntimeError: If a gradient is not finite; the step with it is not taken.
        """
        spaces = self.policy.observation_space, self.policy.action_space
        x = self._rows("states", states, spaces[0].shape[0])  # type: ignore[index]
        a = self._rows("expert_actions", expert_actions, spaces[1].shape[0])  # type: ignore[index]
        r = self._rows("returns", returns, 1)
        for name, rows in (("expert_actions", a), ("returns", r)):
            if len(rows) != len(x):
                raise ValueError(f"{name} must have one row for each state: {len(x)}, got {len(rows)}")
        self.regularizer.task_difficulty = task_difficulty
        self.policy.set_training_mode(True)
        sums = torch.zeros(5, device=x.device)
        for _ in range(self.updates_per_step):
            if self.batch_size is None or self.batch_size >= len(x):
                sums += self._update(x, a, r)
            else:
                drawn = torch.randint(len(x), (self.batch_size,), generator=self._rng).to(x.device)
                sums += self._update(x[drawn], a[drawn], r[drawn])
        return Losses(*(sums / self.updates_per_step).tolist())

    def _update(self, states: torch.Tensor, expert_actions: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
        """One gradient step; the total, the three losses and the gradient's norm, shape ``(5,)``."""
        action_loss = (self.policy(states) - expert_actions).square().sum(dim=1).mean()
        value_loss = nn.functional.mse_loss(self.policy.predict_values(states), returns)
        loss = action_loss + self.value_coef * value_loss
        k_target_loss = loss.new_zeros(())
        if self.regularizer.weight > 0.0:
            k_target_loss = self.regularizer(self.policy.gates.values())
            loss = loss + self.regularizer.weight * k_target_loss
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self.max_grad_norm, error_if_nonfinite=True)
        self.policy.optimizer.step()
        return torch.stack([loss, action_loss, value_loss, k_target_loss, norm]).detach()

    def _rows(self, name: str, values: Any, n_columns: int) -> torch.Tensor:
        """``values`` as a float32 tensor of shape ``(n, n_columns)``, checked."""
        accepted = f"finite numbers of shape (n, {n_columns})" + (" or (n,)" if n_columns == 1 else "") + ", n >= 1"
        try:
            if not isinstance(values, torch.Tensor):
                numbers = np.array(values)
                if numbers.dtype.kind not in "fiub":
                    raise TypeError(f"got the dtype {numbers.dtype}")
                with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
                    values = torch.from_numpy(numbers.astype(np.float32))
            rows: torch.Tensor = values.detach().to(self.policy.device, torch.float32)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{name} must be {accepted}; {error}") from None
        if rows.dim() == 1 and n_columns == 1:
            rows = rows[:, None]
        if rows.dim() != 2 or rows.shape[1] != n_columns or len(rows) == 0:
            raise ValueError(f"{name} must be {accepted}, got the shape {tuple(rows.shape)}")
        finite = rows.isfinite()
        if not finite.all():
            row = int((~finite).nonzero()[0, 0])
            raise ValueError(f"{name} must be {accepted}, got {rows[row].tolist()} in row {row}")
        return rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write policy, targets, optimizer and generator to a file, at once or not at all; `load` goes on from it.

        Raises:
            OSError: If the file cannot be written.
        """
        write_tensors(
            path,
            KIND,
            arguments=self._arguments,
            policy=self.policy.state_dict(),
            regularizer=self.regularizer.state_dict(),
            optimizer=self.policy.optimizer.state_dict(),
            rng={"state": self._rng.get_state()},
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> NeuralBatteryTrainer:
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is damaged or of another kind.
        """
        torch.empty(0, device=device)  # that a device is not there is no fault of the file

        def build(content: Mapping[str, Any], n_bytes: int) -> NeuralBatteryTrainer:
            check_fits(content["arguments"], n_bytes)
            trainer = cls(**content["arguments"], seed=0, device=device)
            trainer.policy.load_state_dict(content["policy"])
            trainer.regularizer.load_state_dict(content["regularizer"])
            trainer.policy.optimizer.load_state_dict(content["optimizer"])
            _check_moments(trainer.policy.optimizer)
            trainer._rng.set_state(content["rng"]["state"])
            return trainer

        return read_tensors(path, KIND, build)


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """PyTorch loads any state; that it does not belong to the parameters would show at the next step only."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if name != "step" and value.shape != parameter.shape:
                raise ValueError(
                    f"the optimizer's {name} of shape {tuple(value.shape)} is not {tuple(parameter.shape)}"
                )
