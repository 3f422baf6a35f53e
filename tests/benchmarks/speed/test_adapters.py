"""That each adapter's swap is timed, with all weights training and with it alone."""

from __future__ import annotations

import pytest

from benchmarks.speed import adapters
from nb_agents.adapters.table import ADAPTERS


@pytest.mark.parametrize("name", adapters.NAMES)
def test_each_adapter_has_a_row_with_weights_frozen_and_without(name: str) -> None:
    pytest.importorskip("peft")
    rows = adapters.compare(name, rounds=1)
    assert len(rows) == 2 * len(ADAPTERS)
    assert all(sample > 0 for row in rows for samples in row.samples.values() for sample in samples)
    assert len({row.what for row in rows}) == len(rows)
