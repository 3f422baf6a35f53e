"""Stable-Baselines3's own check."""

from __future__ import annotations

import pytest
from stable_baselines3.common.env_checker import check_env

from nb_gym import NBPendulumEnv


def test_sb3_has_nothing_to_complain_about() -> None:
    check_env(NBPendulumEnv(max_torque=1.0))


def test_sb3_suggests_normalised_actions_as_for_every_pendulum() -> None:
    # Torques are in physical units, as in Gymnasium's Pendulum-v1, which gets the same advice and no other.
    with pytest.warns(UserWarning, match="symmetric and normalized") as warnings:
        check_env(NBPendulumEnv())
    assert len(warnings) == 1
