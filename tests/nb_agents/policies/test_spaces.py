"""Images, dictionaries of observations and every action space that an algorithm takes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.nb_agents.policies.kept import actions, check_kept

IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
VECTOR = spaces.Box(-1, 1, (3,))
SMALL_CNN = {"features_extractor_kwargs": {"features_dim": 16}, "net_arch": [8]}


@pytest.mark.parametrize("share", [True, False])
def test_images(image_algorithm: Any, share: bool, tmp_path: Path, anything: Any) -> None:
    kwargs: dict[str, Any] = dict(SMALL_CNN)
    if "share_features_extractor" in inspect.signature(image_algorithm.cnn.__mro__[2]).parameters:
        kwargs["share_features_extractor"] = share
    env = anything(IMAGE, image_algorithm.actions[0])
    model = image_algorithm.make(env, image_algorithm.cnn, kwargs).learn(32)
    convolutions = [gate for gate in model.policy.gates.values() if gate.spatial_dims == 2]
    assert [gate.n_units for gate in convolutions] == [32, 64, 64]
    check_kept(model, tmp_path)


def test_dictionary_observations(dict_algorithm: Any, tmp_path: Path, anything: Any) -> None:
    mixed = spaces.Dict({"image": IMAGE, "kind": spaces.Discrete(3), "vector": VECTOR})
    kwargs = {"features_extractor_kwargs": {"cnn_output_dim": 16}, "net_arch": [8]}
    env = anything(mixed, dict_algorithm.actions[0])
    model = dict_algorithm.make(env, dict_algorithm.multi_input, kwargs).learn(32)
    assert [gate.spatial_dims for gate in model.policy.gates.values()].count(2) == 3
    check_kept(model, tmp_path)


def test_every_action_space_that_the_algorithm_takes(algorithm: Any, tmp_path: Path, anything: Any) -> None:
    for kind in algorithm.actions:
        env = anything(VECTOR, kind)
        model = algorithm.make(env).learn(32)
        assert all(env.action_space.contains(action) for action in actions(model))
        check_kept(model, tmp_path)
