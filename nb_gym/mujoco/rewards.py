"""What a robot is paid for: its own forward velocity, or a velocity and direction that the context sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def reward_parameters(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters of the reward that a robot allows, from the info of one of its steps."""
    if not {"x_velocity", "reward_forward"} <= facts.keys():
        return ()
    plane = ("heading",) if "y_velocity" in facts else ()
    return ("direction", *plane, "target_velocity")


def forward_reward(facts: Mapping[str, Any], context: Mapping[str, Any], weight: float) -> Any:
    """What a robot earns for its velocity under a context.

    The velocity v along the rewarded way is `direction` · x_velocity, or with a `heading` θ
    `direction` · (cos θ · x_velocity + sin θ · y_velocity). It earns weight · v, or with a `target_velocity` v*
    −weight · |v − v*|, as in the half-cheetah tasks of Finn, Abbeel & Levine (2017).

    Args:
        facts: Info of one robot's step, or of many.
        context: Parameters in force, in the same form; a target velocity that is NaN is none.
        weight: Weight of the forward reward.
    """
    velocity = facts["x_velocity"]
    if "heading" in context:
        heading = context["heading"]
        velocity = np.cos(heading) * velocity + np.sin(heading) * facts["y_velocity"]
    velocity = context["direction"] * velocity
    target = context.get("target_velocity", np.nan)
    return weight * np.where(np.isnan(target), velocity, -np.abs(velocity - target))


def adjusted(reward: Any, facts: dict[str, Any], context: Mapping[str, Any], weight: float) -> Any:
    """The reward of one robot's step or of many under a context; where it is as usual, to the bit what it was.

    Args:
        reward: Reward as the robot's class computes it.
        facts: Info of the step, in which `reward_forward` becomes what is paid.
        context: Parameters in force.
        weight: Weight of the forward reward.
    """
    usual, before = is_usual(context), facts["reward_forward"]
    paid = np.where(usual, before, forward_reward(facts, context, weight))[()]
    facts["reward_forward"] = paid
    return np.where(usual, reward, reward - before + paid)[()]


def is_usual(context: Mapping[str, Any]) -> Any:
    """Whether a context, of one robot or of many, leaves the reward as the robot's class computes it."""
    target = context.get("target_velocity", np.nan)
    return (context.get("heading", 0.0) == 0.0) & (context["direction"] == 1.0) & np.isnan(target)
