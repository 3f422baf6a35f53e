"""The methods under comparison, by the names that they have in tables and on command lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.methods.base import Method
from benchmarks.methods.evolution import EvolutionMethod
from benchmarks.methods.gradient import GradientMethod, RandomisedMethod
from benchmarks.methods.meta import MetaMethod
from benchmarks.protocol.settings import ALGORITHMS, meta_settings
from benchmarks.protocol.spec import RunSpec
from nb_agents import ClampedKGate
from nb_agents.maml import ANIL, FOMAML, MAML, Reptile

ABLATIONS: dict[str, Method] = {
    f"nb-pro-{name}": GradientMethod(summary=f"nb-pro {summary}", gated=True, block_size=16, **changes)
    for name, summary, changes in (
        ("no-k-target", "without the k-target loss", {"gates": {"k_target_weight": 0.0}}),
        ("no-clipping", "without gradient clipping", {"clips": False, "algos": ("ppo",)}),
        ("ratio-1", "with one learning rate for k and weights", {"gates": {"k_lr_ratio": 1.0}}),
        ("neutral", "whose gates change nothing at the start", {"neutral": True}),
        ("gate-critic", "with gates in the critic as well", {"gates": {"gate_critic": True}}),
        ("clamped", "with gates of at most 1", {"gates": {"gate_class": ClampedKGate}, "algos": ("ppo",)}),
    )
}
"""NB Pro with one thing changed; without its blocks it is `nb`."""

METHODS: dict[str, Method] = {
    "nb": GradientMethod(summary="k-gates per layer; everything adapts", gated=True),
    "nb-pro": GradientMethod(summary="k-gates per layer and block; everything adapts", gated=True, block_size=16),
    "nb-k": GradientMethod(
        summary="k-gates per layer; only k adapts", gated=True, adapts="gates", pretrains_as="nb"
    ),
    "nb-pro-k": GradientMethod(
        summary="k-gates per layer and block; only k adapts",
        gated=True, block_size=16, adapts="gates", pretrains_as="nb-pro",
    ),
    "nb-k-cma": EvolutionMethod(summary="k-gates per layer; only k adapts, by CMA-ES", pretrains_as="nb"),
    "nb-pro-k-cma": EvolutionMethod(
        summary="k-gates per layer and block; only k adapts, by CMA-ES",
        block_size=16, population=6, pretrains_as="nb-pro",
    ),
    "fine-tune": GradientMethod(summary="SB3's MlpPolicy; everything adapts"),
    "fine-tune-folded": GradientMethod(
        summary="fine-tune from nb-pro's initial weights, gates folded away", folded=True, block_size=16
    ),
    "head": GradientMethod(
        summary="SB3's MlpPolicy; only the last layer adapts", adapts="head", pretrains_as="fine-tune"
    ),
    "scratch": GradientMethod(summary="SB3's MlpPolicy, trained on the target alone", pretrains=False),
    "randomised": RandomisedMethod(summary="MlpPolicy on contexts from source to target; nothing adapts"),
    "maml": MetaMethod(summary="MAML, 5 inner steps, then PPO", learner=MAML),
    "fomaml": MetaMethod(summary="first-order MAML, then PPO", learner=FOMAML),
    "reptile": MetaMethod(summary="Reptile, then PPO", learner=Reptile),
    "anil": MetaMethod(summary="MAML whose inner steps move the last layer alone, then PPO", learner=ANIL),
    **ABLATIONS,
}  # fmt: skip


def find_method(name: str) -> Method:
    """Look a method up.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {name!r}")
    return METHODS[name]


def specify(method: str, **options: Any) -> RunSpec:
    """A specification with the tuned settings of its algorithm, and of its meta-learner if it is one.

    Args:
        method: key of `METHODS`.
        **options: fields of `RunSpec`; those given are kept.

    Raises:
        ModuleNotFoundError: a package that the method needs is not installed.
        TypeError: a context names something that the pendulum does not have.
        ValueError: the method does not exist or is not defined for the algorithm, or a field is out of range.
    """
    found = find_method(method)
    algo = options.get("algo", "ppo")
    if algo not in found.algos:
        raise ValueError(f"method {method} is defined for {', '.join(found.algos)}; got the algorithm {algo!r}")
    if algo in ALGORITHMS:
        options.setdefault("settings", ALGORITHMS[algo]())
    spec = RunSpec(method=method, **options)
    if isinstance(found, MetaMethod) and spec.meta is None:
        spec = replace(spec, meta=meta_settings(method, spec.pretrain_episodes))
    found.check(spec)
    return spec
