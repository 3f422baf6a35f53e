"""Meta-training in whole meta-iterations, followed one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nb_agents.maml import MAML


def meta_train(
    maml: MAML, rollouts: int, after: Callable[[], None] = lambda: None
) -> tuple[list[int], list[list[float]]]:
    """Meta-train within a budget.

    Args:
        maml: The algorithm, as it was made.
        rollouts: Budget in rounds of episodes; each meta-iteration plays `rollouts_per_iteration` of them.
        after: Called after each meta-iteration.

    Returns:
        Environment steps so far after each meta-iteration, and the mean returns of the exploring policies before and
        after each of its inner steps.
    """
    from benchmarks.protocol.recorder import without_log_folder

    each = maml.rollouts_per_iteration
    steps: list[int] = []
    returns: list[list[float]] = []
    for _ in range(rollouts // each):
        without_log_folder(maml).learn(1, log_interval=2, reset_num_timesteps=False)
        steps.append(maml.num_timesteps)
        returns.append([maml.logger.name_to_value[f"rollout/return_step_{k}"] for k in range(each)])
        after()
    return steps, returns
