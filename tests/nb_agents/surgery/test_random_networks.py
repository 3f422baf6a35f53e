"""No random network becomes another function in silence. ``RANDOM_NETWORKS=2000`` tries more of them."""

from __future__ import annotations

import collections
import os

from tests.nb_agents.surgery.random_networks import outcome

N_NETWORKS = int(os.environ.get("RANDOM_NETWORKS", "150"))


def test_nothing_changes_in_silence_and_much_can_be_folded() -> None:
    outcomes = {seed: outcome(seed) for seed in range(N_NETWORKS)}
    assert [seed for seed, both in outcomes.items() if "SILENT" in both] == []
    folded = collections.Counter(folding.split(":")[0] for _, folding in outcomes.values())
    assert folded["folded"] >= 0.2 * N_NETWORKS, folded
