"""What swapping costs, adapter by adapter: biases, output layer and LoRA beside k-sets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import gymnasium as gym
import torch

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.speed.battery import POLICIES, SWAP
from benchmarks.speed.rows import Row
from benchmarks.speed.timing import Sample, interleave, seconds
from nb_agents import Battery
from nb_agents.adapters.table import ADAPTERS

RANK = 4
"""Of the low-rank adapters, which are left out where peft is not installed."""

NAMES = {f"adapters, {name}": name for name in ("PPO, 64-64", "SAC, 256-256")}


def contenders(name: str, repeats: int = 200) -> dict[str, Sample]:
    """Make the samples of a policy, in µs: swapping each adapter, with all weights training and with it alone."""
    cls, policy, arch = POLICIES[name]
    kwargs = {"net_arch": arch} | ({"lora_rank": RANK} if find_spec("peft") else {})
    model = cls(policy, gym.make("NBPendulum-v0"), policy_kwargs=kwargs, seed=0, device="cpu")
    batteries = {each: Battery(model, each) for each, kind in ADAPTERS.items() if kind.parameters(model.policy)}

    def swap(adapter: str, trained: str) -> float:
        model.policy.train_only(trained)
        batteries[adapter].apply("task")
        return 1e6 * seconds(lambda: batteries[adapter].apply("task"), repeats)

    for battery in batteries.values():
        battery.capture("task")
    samples: dict[str, Sample] = {each: partial(swap, each, "all") for each in batteries}
    return samples | {f"{each}_frozen": partial(swap, each, each) for each in batteries}


def compare(name: str, rounds: int) -> list[Row]:
    """Time the adapters of one policy."""
    torch.set_num_threads(1)
    samples = interleave(contenders(NAMES[name]), rounds)
    kinds = {each.removesuffix("_frozen") for each in samples}
    ways = {"all may train": "", "weights frozen": "_frozen"}
    return [
        Row("k-sets", f"{NAMES[name]}: swap {each}, {how}", "µs", {f"{each}{way}": samples[f"{each}{way}"]}, SWAP)
        for each in ADAPTERS
        if each in kinds
        for how, way in ways.items()
    ]


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {name: partial(compare, name) for name in NAMES}
