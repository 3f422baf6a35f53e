"""The one timing loop: contenders take turns, so that whatever else the machine does hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Sample = Callable[[], float]
"""A function that runs a contender once and returns its time, or its speed."""


def interleave(contenders: Mapping[str, Sample], rounds: int) -> dict[str, list[float]]:
    """Run all contenders once for warming up and then `rounds` times in turn, every other round in reverse order.

    Returns:
        Samples by contender, one for each round; what counts is the ratio within a round.
    """
    for sample in contenders.values():
        sample()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds):
        for name in [*contenders] if i % 2 else [*contenders][::-1]:
            samples[name].append(contenders[name]())
    return samples


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Measure the mean wall time of a call over `repeats` of them, s."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
