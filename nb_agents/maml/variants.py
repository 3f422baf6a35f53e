"""MAML's relatives, each as the argument of `MAML` that makes it."""

from __future__ import annotations

from typing import Any, ClassVar

from nb_agents.maml.algorithm import MAML
from nb_agents.maml.updates.ppo_clip import PPOClipUpdate


class Variant(MAML):
    """MAML with other defaults.

    Attributes:
        defaults: Arguments of `MAML` by name, in force where they are not given.
    """

    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **self.defaults | kwargs)


class FOMAML(Variant):
    """First-order MAML: the inner steps' Jacobians are taken as the identity."""

    defaults: ClassVar[dict[str, Any]] = {"first_order": True}


class Reptile(Variant):
    """Reptile: θ moves towards the adapted parameters; no outer data, no derivative of the inner loop.

    With one inner step that is joint training by plain gradient steps, so take several.
    """

    defaults: ClassVar[dict[str, Any]] = {"outer": "reptile", "first_order": True}


class ANIL(Variant):
    """Almost no inner loop: only the head adapts (Raghu et al. 2020, https://arxiv.org/abs/1909.09157)."""

    defaults: ClassVar[dict[str, Any]] = {"adapt": "head"}


class MetaSGD(Variant):
    """Meta-SGD: one learned step size per parameter (Li et al. 2017, https://arxiv.org/abs/1707.09835)."""

    defaults: ClassVar[dict[str, Any]] = {"learn_inner_lr": True}


class ProMP(Variant):
    """Proximal meta-policy search: PPO-clip outer updates with an inner KL penalty (Rothfuss et al. 2019)."""

    defaults: ClassVar[dict[str, Any]] = {"outer": PPOClipUpdate(inner_kl_weight=5e-4)}


class JointTraining(Variant):
    """One policy for all tasks, without inner steps: the control that shows what adapting is worth.

    `adapt` and `evaluate` take the steps they are asked for, so that this initialisation can be compared with a
    meta-learned one.
    """

    _min_inner_steps: ClassVar[int] = 0
    defaults: ClassVar[dict[str, Any]] = {"inner_steps": 0}
