"""The methods, the families that each is run on, and the figures that runs are judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.questions.single_pass.families import FAMILIES, FLIP
from nb_evaluation.method import Described

METHODS = {
    "signed": Described(summary="signed gates, k = f(context), and their student"),
    "sigma": Described(summary="σ gates, k = f(context), and their student"),
    "film": Described(summary="FiLM gates, k = f(context), and their student"),
    "signed-layer": Described(summary="one signed gate per layer, and its student"),
    "numbers": Described(summary="ten numbers f(context) in the observation, and their student"),
    "context": Described(summary="the context in the observation"),
    "blind": Described(summary="one policy over all contexts"),
    "maml": Described(summary="MAML, 0 to 5 inner steps, of three episodes or (short) of one"),
    "history": Described(summary="the last eight transitions in the observation"),
    "recurrent": Described(summary="RecurrentPPO"),
    "fine-tune": Described(summary="that policy, fine-tuned for 5 or 25 episodes"),
    "oracle": Described(summary="a policy trained on the target alone"),
}
PLAN = {
    "S": tuple(METHODS),
    "M": tuple(name for name in METHODS if name != "oracle"),
    "P": ("signed", "numbers", "context", "blind", "maml", "fine-tune", "oracle"),
    "W": ("signed", "numbers", "context", "blind", "history"),
}
"""The methods of each family."""
