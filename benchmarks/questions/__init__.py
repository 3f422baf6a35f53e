"""The questions: a folder each, and a line here.

A folder holds what is run (`question.py`), what the runs are judged by (`scores.py`), its tables and its figures.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from nb_evaluation.question import Question

NAMES = (
    "transfer",
    "ablation",
    "few_shot",
    "sequence",
    "recipe",
    "learning_parity",
    "navigation",
    "sign_flip",
    "single_pass",
    "robots",
    "fleet",
    "nearest",
    "pixels",
    "vision",
    "tune",
)
"""Folders of the questions, in the order of the report's page."""


@cache
def find_question(name: str) -> Question[Any, Any]:
    """The question of a folder."""
    question: Question[Any, Any] = importlib.import_module(f"{__name__}.{name}.question").QUESTION
    return question


def all_questions() -> dict[str, Question[Any, Any]]:
    """The questions by name, in the order of the report's page."""
    return {name: find_question(name) for name in NAMES}
