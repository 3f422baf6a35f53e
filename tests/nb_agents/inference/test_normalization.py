"""VecNormalize beside context and history: what is observed may be standardised, what k comes from may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nb_agents import KGatedMultiInputPolicy, KGatedPolicy, KGatedSACMultiInputPolicy
from nb_gym.wrappers import HistoryObservation
from tests.nb_agents.inference.test_conditioned import OFF, make_env

ON = {"n_steps": 32, "batch_size": 32}


def normalized(*, key: bool, **kwargs: Any) -> VecNormalize:
    history = "history" if key else None
    return VecNormalize(DummyVecEnv([lambda: HistoryObservation(make_env(key=key), 3, key=history)]), **kwargs)


@pytest.mark.parametrize("k_from", ["context", "history"])
@pytest.mark.parametrize(
    ("algorithm", "policy", "settings"), [(PPO, KGatedMultiInputPolicy, ON), (SAC, KGatedSACMultiInputPolicy, OFF)]
)
def test_the_environments_own_observation_is_standardised_and_the_rest_is_as_it_was(
    algorithm: Any, policy: Any, settings: Any, k_from: str, tmp_path: Path
) -> None:
    env = normalized(key=True, norm_obs_keys=["observation"])
    model = algorithm(policy, env, policy_kwargs={"k_from": k_from}, seed=0, device="cpu", **settings).learn(64)
    shown, original = env.reset(), env.get_original_obs()
    assert isinstance(shown, dict)
    assert isinstance(original, dict)
    for name in ("context", "history"):
        np.testing.assert_array_equal(shown[name], original[name])
    assert (shown["history"] == 0.0).all(), "an empty history is still one"
    mean, spread = env.obs_rms["observation"].mean, np.sqrt(env.obs_rms["observation"].var + env.epsilon)
    np.testing.assert_allclose(shown["observation"], (original["observation"] - mean) / spread, rtol=1e-5)
    shown, *_ = env.step(model.predict(shown, deterministic=True)[0].reshape(1, -1))
    assert shown["history"].reshape(3, -1)[:, -1].tolist() == [0.0, 0.0, 1.0], "and its mask a mask"  # type: ignore[call-overload]
    model.save(tmp_path / "model.zip")
    algorithm.load(tmp_path / "model.zip", env=env)


@pytest.mark.parametrize("k_from", ["context", "history"])
def test_a_part_that_k_comes_from_is_not_to_be_standardised(k_from: str) -> None:
    flat = f"VecNormalize must not standardise '{k_from}': make the parts a dictionary, by the wrappers' key, and leave"
    with pytest.raises(ValueError, match=flat):
        PPO(KGatedPolicy, normalized(key=False), policy_kwargs={"k_from": k_from})
    for keys in (None, ["observation", k_from]):
        with pytest.raises(
            ValueError, match=f"'{k_from}': leave '{k_from}' out of norm_obs_keys, or pass norm_obs=False"
        ):
            PPO(KGatedMultiInputPolicy, normalized(key=True, norm_obs_keys=keys), policy_kwargs={"k_from": k_from})
    PPO(KGatedPolicy, normalized(key=False, norm_obs=False), policy_kwargs={"k_from": k_from})
    PPO(KGatedPolicy, normalized(key=False), device="cpu")
