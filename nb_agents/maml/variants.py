"""MAML's relatives, each as the argument of `MAML` that makes it."""

from __future__ import annotations

from typing import Any, ClassVar

from nb_agents.maml.algorithm import MAML
from nb_agents.maml.updates.ppo_clip import PPOClipUpdate


class FOMAML(MAML):
    """First-order MAML: the inner steps' Jacobians are taken as the identity."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("first_order", True)
        super().__init__(*args, **kwargs)


class Reptile(MAML):
    """Reptile: θ moves towards the adapted parameters; no outer data, no derivative of the inner loop.

    With one inner step that is joint training by plain gradient steps, so take several.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("outer", "reptile")
        kwargs.setdefault("first_order", True)
        super().__init__(*args, **kwargs)


class ANIL(MAML):
    """Almost no inner loop: only the head adapts (Raghu et al. 2020, https://arxiv.org/abs/1909.09157)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("adapt", "head")
        super().__init__(*args, **kwargs)


class MetaSGD(MAML):
    """Meta-SGD: one learned step size per parameter (Li et al. 2017, https://arxiv.org/abs/1707.09835)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("learn_inner_lr", True)
        super().__init__(*args, **kwargs)


class ProMP(MAML):
    """Proximal meta-policy search: PPO-clip outer updates with an inner KL penalty (Rothfuss et al. 2019)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("outer", PPOClipUpdate(inner_kl_weight=5e-4))
        super().__init__(*args, **kwargs)


class JointTraining(MAML):
    """One policy for all tasks, without inner steps: the control that shows what adapting is worth.

    `adapt` and `evaluate` take the steps they are asked for, so that this initialisation can be compared with a
    meta-learned one.
    """

    _min_inner_steps: ClassVar[int] = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("inner_steps", 0)
        super().__init__(*args, **kwargs)
