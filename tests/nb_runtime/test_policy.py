"""The runtime without PyTorch: k-sets that belong to the policy, students over episodes, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO

import nb_runtime
from nb_agents import Battery, FingerprintError, KGatedPolicy, SignedKGate, StudentPolicy, export_onnx
from nb_runtime import Policy
from tests.nb_agents.export.test_student import make as make_student
from tests.nb_agents.export.test_student import pendulum
from tests.nb_agents.shared import Spaces, move_gates

ROOT = Path(__file__).parents[2]
OBS = np.float32([[0.1, -0.2, 0.3], [1.0, 2.0, -1.0]])


def make(**policy_kwargs: Any) -> Any:
    kwargs = {"net_arch": [32, 32]} | policy_kwargs
    model: Any = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs=kwargs, seed=0, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight.mul_(30.0)  # actions that k-sets move, within the bounds and at them
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, its battery of "easy" and "hard", and the actions of each for `OBS`."""
    folder, model = tmp_path_factory.mktemp("robot"), make()
    battery, actions = Battery(model), {}
    for i, name in enumerate(("easy", "hard")):
        move_gates(model.policy, -2.0 - i, 3.0)
        battery.capture(name, {"A": 1.0 + i})
        actions[name] = model.predict(OBS, deterministic=True)[0].tolist()
    assert actions["easy"] != actions["hard"]
    battery.save(folder / "tasks.safetensors")
    export_onnx(model, folder / "policy.onnx", k="input")
    (folder / "actions.json").write_text(json.dumps(actions))
    return folder


@pytest.fixture
def policy(folder: Path) -> Policy:
    return Policy(folder / "policy.onnx", folder / "tasks.safetensors")


def test_it_needs_numpy_and_onnxruntime_alone(folder: Path) -> None:
    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, *_):\n"
        "        top = name.partition('.')[0]\n"
        "        if top in ('torch', 'stable_baselines3', 'gymnasium', 'safetensors', 'onnx', 'nb_agents', 'nb_gym'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "import json, numpy as np\n"
        "from nb_runtime import Policy\n"
        "policy = Policy('policy.onnx', 'tasks.safetensors')\n"
        "for name, wanted in json.load(open('actions.json')).items():\n"
        "    policy.apply(name)\n"
        f"    np.testing.assert_allclose(policy.predict(np.float32({OBS.tolist()})), wanted, atol=1e-5)\n"
        "assert 'torch' not in sys.modules\n"
        "print(*policy.k_sets)\n"
    )
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "easy hard\n"


def test_it_is_short() -> None:
    files = (ROOT / "nb_runtime").glob("*.py")
    assert sum(len(path.read_text().splitlines()) for path in files) <= 150


def test_a_k_set_for_all_or_one_for_each_row(policy: Policy, folder: Path) -> None:
    actions = {name: np.array(each) for name, each in json.loads((folder / "actions.json").read_text()).items()}
    policy.apply("hard")
    np.testing.assert_allclose(policy.predict(OBS), actions["hard"], atol=1e-5)
    np.testing.assert_allclose(policy.predict(OBS.astype(np.float64)), actions["hard"], atol=1e-5)
    one = policy.predict(OBS[0].tolist())
    assert one.shape == (1,)
    np.testing.assert_allclose(one, actions["hard"][0], atol=1e-5)
    policy.apply(["hard", "easy"])
    np.testing.assert_allclose(policy.predict(OBS), [actions["hard"][0], actions["easy"][1]], atol=1e-5)
    policy.add("mine", 0.5 * (policy.k_sets["easy"] + policy.k_sets["hard"]))
    policy.apply("mine")
    assert not np.array_equal(policy.predict(OBS), actions["easy"])


def test_a_k_set_that_is_missing_or_no_numbers(policy: Policy) -> None:
    policy.apply("easy")
    before = policy.predict(OBS)
    with pytest.raises(KeyError, match=r"no k-set named 'medium'; there are \['easy', 'hard'\]"):
        policy.apply("medium")
    with pytest.raises(KeyError, match="no k-set named 'medium'"):
        policy.apply(["easy", "medium"])
    n_k = len(policy.k_sets["easy"])
    for k in (np.full(n_k, np.nan), np.full(n_k, -np.inf), np.zeros(n_k + 1), np.zeros((1, n_k)), 0.0):
        with pytest.raises(ValueError, match=rf"k of 'easy' must be finite numbers of shape \({n_k},\)"):
            policy.add("easy", k)
    assert np.array_equal(policy.predict(OBS), before)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (
            OBS[:, :2],
            r"observation 'obs' must be finite numbers of shape \(3,\) and dtype float32.*; got float32 \(2, 2",
        ),
        (OBS[None], r"got float32 \(1, 2, 3\)"),
        (0.0, r"got float64 \(\)"),
        (OBS * np.nan, "must be finite numbers"),
        (OBS * 1j, "got complex64"),
        (["a", "b", "c"], "got <U1"),
        ({"position": OBS}, r"observation must have the parts \['obs'\], got \['position'\]"),
        (np.repeat(OBS, 2, axis=0), "apply one k-set, or one for each of the 4 observations; got 2"),
    ],
)
def test_an_observation_of_another_kind(policy: Policy, observation: Any, message: str) -> None:
    policy.apply(["easy", "hard"])
    with pytest.raises(ValueError, match=message):
        policy.predict(observation)


def test_no_k_set_is_applied(folder: Path) -> None:
    with pytest.raises(ValueError, match="apply one k-set, or one for each of the 2 observations; got 0"):
        Policy(folder / "policy.onnx", folder / "tasks.safetensors").predict(OBS)


def test_k_sets_of_another_policy(folder: Path, tmp_path: Path) -> None:
    others = {"weights": make(), "architecture": make(net_arch=[32, 16]), "gates": make(gate_class=SignedKGate)}
    with torch.no_grad():
        others["weights"].policy.action_net.bias.add_(1.0)
    for what, model in others.items():
        battery = Battery(model)
        battery.capture("easy")
        battery.save(tmp_path / "other.safetensors")
        with pytest.raises(FingerprintError, match=rf"other.safetensors' was written for a policy with other {what}"):
            Policy(folder / "policy.onnx", tmp_path / "other.safetensors")
    assert FingerprintError is nb_runtime.FingerprintError


def test_files_of_k_sets_that_are_damaged(folder: Path, tmp_path: Path) -> None:
    whole, path = (folder / "tasks.safetensors").read_bytes(), tmp_path / "tasks.safetensors"
    damaged = [whole[:n] for n in range(0, len(whole), 29)] + [whole + b"\0"]
    for i in range(0, 8 * len(whole), 53):
        flipped = bytearray(whole)
        flipped[i // 8] ^= 1 << i % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"tasks.safetensors' is not a whole file of k-sets"):
            Policy(folder / "policy.onnx", path)
    with pytest.raises(FileNotFoundError):
        Policy(folder / "policy.onnx", tmp_path / "nowhere")


def test_nans_in_a_file_that_has_no_digest(folder: Path, tmp_path: Path) -> None:
    text = nb_runtime.read_k_sets(folder / "tasks.safetensors")[1]
    header = text | {"format": nb_runtime.FORMER}
    del header["digest"]
    n_k = len(Policy(folder / "policy.onnx", folder / "tasks.safetensors").k_sets["easy"])
    for k, message in (
        (torch.full((n_k,), torch.nan), "k of 'easy' must be finite numbers"),
        (torch.zeros(n_k, dtype=torch.float64), None),
        (torch.zeros(n_k + 2), "k of 'easy' must be finite numbers of shape"),
    ):
        (tmp_path / "k").write_bytes(safetensors.torch.save({"easy": k}, header))
        if message is None:
            assert Policy(folder / "policy.onnx", tmp_path / "k").k_sets["easy"].dtype == np.float32
            continue
        with pytest.raises(ValueError, match=message):
            Policy(folder / "policy.onnx", tmp_path / "k")


def test_a_policy_without_an_input_of_k_sets_takes_none(folder: Path, tmp_path: Path) -> None:
    model = make()
    export_onnx(model, tmp_path / "folded.onnx")
    policy = Policy(tmp_path / "folded.onnx")
    np.testing.assert_allclose(policy.predict(OBS), model.predict(OBS, deterministic=True)[0], atol=1e-5)
    with pytest.raises(ValueError, match="the policy takes no k-sets: export it with k='input'"):
        Policy(tmp_path / "folded.onnx", folder / "tasks.safetensors")
    with pytest.raises(KeyError, match="no k-set named 'easy'"):
        policy.apply("easy")


def test_parts_of_an_observation(tmp_path: Path) -> None:
    space = spaces.Dict({"image": spaces.Box(0, 255, (36, 36, 3), np.uint8), "kind": spaces.Discrete(4)})
    model: Any = A2C("MultiInputPolicy", Spaces(space, spaces.Discrete(3)), seed=0, device="cpu")
    export_onnx(model, tmp_path / "policy.onnx")
    policy = Policy(tmp_path / "policy.onnx", threads=2)
    one = {"kind": 3, "image": np.full((36, 36, 3), 7, np.uint8)}
    action = policy.predict(one)
    assert action.shape == ()
    assert action == model.predict({"image": one["image"], "kind": np.array(3)}, deterministic=True)[0]
    both = {"kind": np.array([3, 0]), "image": np.stack([one["image"]] * 2)}
    assert policy.predict(both).shape == (2,)
    for wrong, message in (
        (one["image"], r"observation must have the parts \['image', 'kind'\], got \['image'\]"),
        ({"kind": 3}, "observation must have the parts"),
        (one | {"more": 1}, "observation must have the parts"),
        (one | {"kind": np.array([1, 2])}, r"observation must have as many rows in each part, got \[2, 1\]"),
        (one | {"image": one["image"].astype(int)}, "observation 'image' must be finite numbers .* uint8"),
        (one | {"kind": 1.0}, "observation 'kind' must be finite numbers .* int64"),
    ):
        with pytest.raises(ValueError, match=message):
            policy.predict(wrong)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudentPolicy, Path]:
    made, path = make_student(PPO, KGatedPolicy, "mlp"), tmp_path_factory.mktemp("student") / "student.onnx"
    export_onnx(made, path)
    return made, path


def test_a_student_keeps_its_history_over_episodes(student: tuple[StudentPolicy, Path]) -> None:
    made, path = student
    policy = Policy(path)
    # Of different lengths, so that an episode begins in one row while the others go on.
    env = gym.vector.SyncVectorEnv([lambda n=n: gym.wrappers.TimeLimit(pendulum(False), n) for n in (7, 11, 16)])
    observation, _ = env.reset(seed=0)
    state: Any = None
    starts, over, begun = np.ones(3, dtype=bool), np.zeros(3, dtype=bool), []
    for _ in range(40):
        wanted, state = made.predict(observation, state, starts, deterministic=True)
        action = policy.predict(observation, starts)
        np.testing.assert_allclose(action, wanted, atol=1e-4)
        starts = over
        begun.append(starts)
        observation, _, terminated, truncated, _ = env.step(wanted)
        over = terminated | truncated
    assert {tuple(each) for each in begun} >= {(False, False, False), (True, False, False), (False, True, False)}


def test_a_student_of_one_environment(student: tuple[StudentPolicy, Path]) -> None:
    made, path = student
    policy, env = Policy(path), pendulum(False)
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        state: Any = None
        for step in range(12):
            wanted, state = made.predict(observation, state, np.array([step == 0]), deterministic=True)
            action = policy.predict(observation, step == 0)
            assert action.shape == env.action_space.shape
            np.testing.assert_allclose(action, wanted, atol=1e-4)
            observation, *_ = env.step(wanted)


def test_a_history_of_other_environments(student: tuple[StudentPolicy, Path]) -> None:
    policy, observation = Policy(student[1]), np.float32([[0.1, 0.2], [0.3, -0.1]])
    first, second = policy.predict(observation), policy.predict(observation + 0.1)
    assert not np.array_equal(first, second)
    for rows, starts in ((observation[:1], False), (observation, [True]), (observation, np.ones((2, 1)))):
        with pytest.raises(ValueError, match="episode_start must have shape"):
            policy.predict(rows, starts)
    assert np.array_equal(policy.predict(observation[:1], True)[0], policy.predict(observation[0], True))
    assert np.array_equal(policy.predict(observation, [True, True]), first)
    with pytest.raises(ValueError, match="the policy takes no k-sets"):
        policy.add("easy", np.zeros(10))
