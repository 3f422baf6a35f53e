"""What takes no step in the target: gates that are a function of the context, and a student that infers them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from nb_agents.comparison.execution import EVAL_SEED, Measured
from nb_agents.comparison.specification import ComparisonSpec, Row
from nb_agents.comparison.training import source_model, worlds_of
from nb_agents.comparison.worlds import make_worlds, over_contexts
from nb_agents.gates.gate import named_gates
from nb_agents.gates.signed import SignedKGate
from nb_agents.inference.distill import distill
from nb_agents.inference.turning import turn_around
from nb_agents.returns import first_episodes
from nb_agents.surgery.retrofit import retrofit

LABELS, GATES_FIRST = 0.2, 0.2
"""Shares of the source's steps: of the student's labels, and of the training of the gates alone."""

NUM_ENVS = 16
"""Environments at least, so that many contexts are seen side by side."""

ROUNDS = 6


def untrained_teacher(plain: BaseAlgorithm, env: VecEnv) -> Any:
    """The source policy with gates that are a function of the context, which say nothing yet."""
    teacher: Any = retrofit(plain, gate_class=SignedKGate, k_from="context", k_net=(64,), k_lr_ratio=2.0, env=env)
    teacher.set_logger(plain.logger)
    return teacher


def teacher_and_student(spec: ComparisonSpec) -> dict[str, Row]:
    """Both rows; the training over contexts takes as many steps as the source's."""
    count = max(NUM_ENVS, len(spec.contexts))
    with ExitStack() as stack:
        env = stack.enter_context(closing(worlds_of(spec, over_contexts(spec), shown=True, num=count)))
        plain: Any = source_model(spec)
        stack.enter_context(closing(plain.get_env()))
        teacher = untrained_teacher(plain, env)
        _train(teacher, spec)
        student = distill(teacher, None, int(LABELS * spec.source_steps), rounds=ROUNDS, seed=spec.seed)
        told = stack.enter_context(closing(Measured(spec, shown=True)))
        numbers = sum(len(gate.k) for _, gate in named_gates(teacher.policy))
        there, home = (_first(student, spec, keywords) for keywords in (spec.target, spec.source))
        return {
            "student": Row([0], [there], None, home, None, 0),
            "conditioned": Row([0], [told.there(teacher)], None, told.home(teacher), None, numbers),
        }


def _train(teacher: Any, spec: ComparisonSpec) -> None:
    """Both signs are tried, then the gates train, then everything; what the student's labels take is left out."""
    teacher.set_random_seed(spec.seed)
    left = spec.source_steps - int(LABELS * spec.source_steps)
    left -= turn_around(teacher, seed=spec.seed).steps
    first = min(int(GATES_FIRST * spec.source_steps), left)
    if first > 0:
        teacher.policy.train_only("gates", log_std=True)
        teacher.learn(first)
        teacher.policy.train_only("all")
    if left > first:
        teacher.learn(left - first)


def _first(student: Any, spec: ComparisonSpec, keywords: Mapping[str, Any]) -> float:
    """Mean return of first episodes; a student takes observations as they are, and begins with an empty window."""
    with closing(make_worlds(spec, keywords, spec.episodes)) as env:
        return float(first_episodes(student, env, EVAL_SEED).mean())
