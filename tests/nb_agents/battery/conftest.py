"""The algorithms that batteries are tested with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nb_agents.battery.models import MODELS, make


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return make(request.param)
