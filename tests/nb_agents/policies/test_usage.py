"""Policies on the right algorithm by name, and on a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from gymnasium import spaces
from sb3_contrib import TRPO, MaskablePPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor

import nb_agents
from nb_agents import KGatedMixin, KGatedPolicy, contrib

TRAINED_BY = {
    "KGatedPolicy": ("PPO", "A2C", "TRPO"),
    "KGatedTRPOPolicy": ("PPO", "A2C", "TRPO"),
    "KGatedSACPolicy": ("SAC",),
    "KGatedTD3Policy": ("TD3", "DDPG"),
    "KGatedDQNPolicy": ("DQN",),
    "KGatedTQCPolicy": ("TQC",),
    "KGatedCrossQPolicy": ("CrossQ",),
    "KGatedQRDQNPolicy": ("QRDQN",),
    "KGatedARSPolicy": ("ARS",),
    "KGatedRecurrentPolicy": ("RecurrentPPO",),
    "KGatedMaskablePolicy": ("MaskablePPO",),
}


def test_every_algorithm_knows_its_policies_by_name(algorithm: Any, tmp_path: Path) -> None:
    for name in ("KGatedPolicy", algorithm.policy.__name__):
        model = algorithm.make(policy=name)
        assert type(model.policy) is algorithm.policy
    model.save(tmp_path / "model")
    assert type(algorithm.cls.load(tmp_path / "model").policy) is algorithm.policy


def test_names_for_images_and_dictionaries(dict_algorithm: Any, anything: Any) -> None:
    aliases = dict_algorithm.cls.policy_aliases
    assert aliases["KGatedMultiInputPolicy"] is dict_algorithm.multi_input
    assert aliases["KGatedCnnPolicy"] is dict_algorithm.cnn


def test_a_policy_of_another_algorithm_is_refused_by_class_and_by_name(algorithm: Any) -> None:
    name = algorithm.cls.__name__
    for policy, algorithms in TRAINED_BY.items():
        if name not in algorithms:
            cls = getattr(nb_agents, policy, None) or getattr(contrib, policy)
            for given in (cls,) if policy == "KGatedPolicy" else (cls, policy):  # that name means the right one
                with pytest.raises(TypeError) as raised:
                    algorithm.make(policy=given)
                assert str(raised.value).startswith(
                    f'{name} cannot train a {policy}: write {name}("KGatedPolicy", ...), or one of KGated'
                )


class Own(KGatedPolicy):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def test_classes_of_ones_own() -> None:
    class Algorithm(PPO):
        """Of one's own, with the names of PPO's."""

    for cls in (PPO, A2C, TRPO, Algorithm):
        assert type(cls(Own, "Pendulum-v1").policy) is Own
    with pytest.raises(TypeError, match="SAC cannot train a Own"):
        SAC(Own, "Pendulum-v1")

    class Nameless(PPO):
        policy_aliases: ClassVar[dict[str, Any]] = {}

    assert type(Nameless(Own, "Pendulum-v1").policy) is Own


def test_a_policy_by_itself_is_built_anywhere() -> None:
    """Also where another algorithm is at work, as a teacher's in a callback."""
    made = []

    class Teacher(PPO):
        def _setup_model(self) -> None:
            made.append(nb_agents.KGatedSACPolicy(self.observation_space, self.action_space, lambda _: 1e-3))
            super()._setup_model()

    class Student(KGatedPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(nb_agents.KGatedTD3Policy(*args[:3]))
            super().__init__(*args, **kwargs)

    space = PPO("KGatedPolicy", "Pendulum-v1").policy
    assert nb_agents.KGatedSACPolicy(space.observation_space, space.action_space, lambda _: 1e-3)
    PPO(Student, "Pendulum-v1")
    assert len(made) == 1


DICT = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})


@pytest.mark.parametrize(
    ("cls", "actions"), [(PPO, spaces.Box), (SAC, spaces.Box), (DQN, spaces.Discrete), (MaskablePPO, spaces.Discrete)]
)
def test_dictionaries_of_observations(cls: type[BaseAlgorithm], actions: Any, anything: Any) -> None:
    env = anything(DICT, actions)
    wanted = 'takes vectors, but the observations are a dictionary: write policy="KGatedMultiInputPolicy"'
    with pytest.raises(TypeError, match=wanted):
        cls("KGatedPolicy", env)  # type: ignore[call-arg]
    cls("KGatedMultiInputPolicy", env)  # type: ignore[call-arg]
    cls("KGatedPolicy", env, policy_kwargs={"features_extractor_class": CombinedExtractor})  # type: ignore[call-arg]


def test_names_of_sb3s_own_stay() -> None:
    assert PPO.policy_aliases["MlpPolicy"] is ActorCriticPolicy
    assert not any(
        issubclass(cls, KGatedMixin) for a in (PPO, SAC, TD3) for k, cls in a.policy_aliases.items() if "Gated" not in k
    )


@pytest.mark.parametrize(("name", "takes"), [("KGatedMultiInputPolicy", "dictionaries"), ("KGatedCnnPolicy", "images")])
@pytest.mark.parametrize("algorithm", [PPO, SAC, TD3])
def test_policies_for_other_observations(algorithm: Any, name: str, takes: str) -> None:
    wanted = rf'^KGated\w+ takes {takes}, but the observations have shape \(3,\): write policy="KGatedPolicy"$'
    with pytest.raises(TypeError, match=wanted):
        algorithm(name, "Pendulum-v1")
