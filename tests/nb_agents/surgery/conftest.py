"""The trained models that are retrofitted and folded; test_surgery.py has cases of its own."""

from __future__ import annotations

import pytest
import torch

from tests.nb_agents.surgery.trained import CASES, Case


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return CASES[request.param]
