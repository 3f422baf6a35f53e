"""A comparison on environments of a user's: what is trained, measured, written, resumed and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import nb_gym  # noqa: F401  (registers the pendulums)
from nb_agents import compare
from nb_agents.comparison.command import main
from nb_agents.comparison.execution import EVAL_SEED, execute, gated, schedules_begin_anew
from nb_agents.comparison.methods import METHODS
from nb_agents.comparison.question import QUESTION
from nb_agents.comparison.specification import ComparisonSpec
from nb_agents.comparison.training import _name, build, source_model, worlds_of
from nb_agents.comparison.worlds import check_worlds, make_one
from nb_agents.returns import episode_returns

HERE = "tests.nb_agents.comparison.worlds"
AIM = {
    "env": f"{HERE}:make", "source": {"goal": 0.5}, "target": {"goal": -0.5}, "source_steps": 2_048, "steps": 1_024,
    "evaluations": 2, "episodes": 4,
    "settings": {"n_envs": 8, "n_steps": 32, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-3, "gamma": 0.0},
}  # fmt: skip
GIVEN = {name: value for name, value in AIM.items() if name not in ("env", "settings")} | {"set": AIM["settings"]}


@pytest.fixture(autouse=True)
def kept_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nb_evaluation.kept.FOLDER", tmp_path / "kept")


def spec(method: str = "fine-tune", seed: int = 100, **changed: Any) -> ComparisonSpec:
    return ComparisonSpec(method=method, seed=seed, **{**AIM, **changed})


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_the_return_improves_and_the_source_comes_back_to_the_bit(seed: int) -> None:
    """Three shots, squared distances: 0 is perfect on the source, and −3 is what that is worth at the target."""
    (tuned,) = execute(spec(seed=seed, steps=2_048)).rows.values()
    assert tuned.source_before > -0.2
    assert tuned.returns[0] < -2.0
    assert tuned.returns[-1] > -0.5
    assert tuned.steps == [0, 1_024, 2_048]
    assert tuned.source_after < -1.0
    assert tuned.source_back is None
    (gated,) = execute(spec("signed-k", seed)).rows.values()
    assert gated.numbers == 10
    assert (gated.returns[0], gated.source_before) == (tuned.returns[0], tuned.source_before), "the same source"
    assert gated.source_back == gated.source_before != gated.source_after


def test_what_trains_and_that_the_source_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {}
    for method in ("nb-pro-k", "biases", "head", "scratch"):
        (numbers[method],) = (row.numbers for row in execute(spec(method)).rows.values())
        monkeypatch.setattr("nb_agents.comparison.training._trained", None)
    assert numbers == {"nb-pro-k": 10, "biases": 129, "head": 65, "scratch": 2 * 64 + 64 + 64 * 64 + 64 + 65}
    assert execute(spec("head")) == execute(spec("head")), "a pure function of its specification"


def test_fine_tuning_is_sb3s_own() -> None:
    """All weights of a gated policy whose gates stand at 1, beside SB3's policy from the same source."""
    each = spec(steps=512, evaluations=1)
    (row,) = execute(each).rows.values()
    plain, env = source_model(each), worlds_of(each, each.target)
    plain.policy.optimizer.state.clear()
    plain.set_env(env)
    env.seed(plain.seed)
    plain.learn(512, reset_num_timesteps=False)
    there = worlds_of(each, each.target, num=each.episodes)
    assert row.returns[-1] == pytest.approx(episode_returns(plain, there, each.episodes, EVAL_SEED).mean(), abs=2e-3)


def test_statistics_of_a_normalisation_go_with_the_source() -> None:
    each = spec(settings=AIM["settings"] | {"normalize": True})
    model, again = source_model(each), source_model(each)
    for one, other in zip(
        model.get_parameters()["policy"].values(), again.get_parameters()["policy"].values(), strict=True
    ):
        assert torch.equal(one, other)
    ours, theirs = (each.get_env() for each in (model, again))
    np.testing.assert_array_equal(ours.obs_rms.mean, theirs.obs_rms.mean)
    assert ours.ret_rms.count == theirs.ret_rms.count > 2_000
    (row,) = execute(each).rows.values()
    assert row.source_before > -0.3


def test_students_are_measured_in_their_first_episode() -> None:
    pendulum = {
        "env": "NBPendulumControl-v0", "source": {"A": 1.0}, "target": {"A": 1.4}, "contexts": {"A": [1.0, 1.5]},
        "source_steps": 4_000, "settings": {"n_steps": 64},
    }  # fmt: skip
    each = spec("student", **pendulum)
    check_worlds(each)
    rows = execute(each).rows
    assert list(rows) == ["student", "conditioned"]
    assert (rows["student"].numbers, rows["conditioned"].numbers) == (0, 10)
    assert all(row.steps == [0] and len(row.returns) == 1 and row.returns[0] < 0.0 for row in rows.values())


def test_off_policy_algorithms_are_compared_alike() -> None:
    settings = {"learning_starts": 32, "buffer_size": 500, "batch_size": 16, "train_freq": 8, "gradient_steps": 1}
    (row,) = execute(spec("head", algo="SAC", settings=settings, source_steps=64, steps=64)).rows.values()
    assert row.steps == [0, 32, 64]
    assert row.numbers == 257, "those of the mean; the action's spread trains as well"


def test_a_mujoco_model_takes_gravity_as_an_option() -> None:
    env: Any = make_one(spec(env="InvertedPendulum-v5", common={"frame_skip": 3}), {"gravity": -15.0})
    assert env.unwrapped.model.opt.gravity.tolist() == [0.0, 0.0, -15.0]
    assert env.unwrapped.frame_skip == 3
    env.reset(seed=0)
    assert env.unwrapped.model.opt.gravity[2] == -15.0
    own: Any = make_one(spec(env="Pendulum-v1"), {"g": 3.0})
    assert own.unwrapped.g == 3.0


def test_a_wrapper_takes_the_keywords() -> None:
    wrapped = spec(wrapper=f"{HERE}:shifted", common={"goal": 0.1}, target={"by": -0.3})
    assert make_one(wrapped, wrapped.target).unwrapped.goal == pytest.approx(-0.2)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"env": "Nowhere-v0"}, "env Nowhere-v0 cannot be made with goal=0.5: .*Nowhere"),
        ({"env": f"{HERE}:nothing"}, "env .*:nothing cannot be made"),
        ({"env": f"{HERE}:NUMBER"}, "must name a function or a class"),
        ({"target": {"size": 3}}, "cannot be made with size=3: .*unexpected keyword"),
        ({"target": {"width": 3}}, r"source and target must have the same observation_space, got Box.*\(2,\).*\(3,\)"),
        ({"wrapper": "nowhere:function"}, "wrapper must be written module:function; 'nowhere:function' cannot be had"),
        ({"contexts": {"goal": [0.1, 0.5]}}, r"contexts need an environment that reports info\['context'\] with goal"),
    ],
)
def test_environments_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_worlds(spec(**changed))


def test_a_comparison_is_written_resumed_and_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    first = compare(AIM["env"], **GIVEN, methods=["head"], seeds=1, out=out)
    assert [run.spec.method for run in first.runs] == ["head"]
    packed = (out / "runs.jsonl.xz").read_bytes()
    both = compare(AIM["env"], **GIVEN, methods=["head", "biases"], seeds=1, out=out)
    assert sorted(run.spec.method for run in both.runs) == ["biases", "head"]
    assert next(run for run in both.runs if run.spec.method == "head") == first.runs[0], "it was not run again"
    assert both.advice.endswith(
        "` ended highest after 1,024 steps, but with fewer than 5 seeds methods cannot be told apart."
    )
    assert "cannot be told apart" in both.page.read_text()
    assert (out / "comparison.png").stat().st_size > 10_000
    assert str(both).startswith("Returns on the target")
    assert packed != (out / "runs.jsonl.xz").read_bytes()
    with pytest.raises(ValueError, match=r"another specification .*target.goal is -0.5 there and 0.9 here"):
        compare(AIM["env"], **GIVEN | {"target": {"goal": 0.9}}, methods=["head"], seeds=1, out=out)
    with pytest.raises(ValueError, match=r"options must be of source, .*; got 'stepz'"):
        compare(AIM["env"], stepz=3)
    words = [AIM["env"], "--target", "goal=0.9", "--out", str(out), "--methods", "head", "--seeds", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words])
    assert ended.value.code == 2
    assert "holds runs of another specification" in capsys.readouterr().err


def test_a_run_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(AIM["env"], **GIVEN, methods=["head"], seeds=1, out=tmp_path)
    monkeypatch.setattr("nb_agents.comparison.execution.transfer", None)
    with pytest.raises(RuntimeError, match=r"biases-seed100-.* failed; the other runs are kept"):
        compare(AIM["env"], **GIVEN, methods=["head", "biases"], seeds=1, out=tmp_path)
    assert (tmp_path / "runs.jsonl.xz").exists()


def test_the_command_reads_a_file_and_says_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == 0
    assert main(["magic"]) == 2
    assert "no command is called 'magic'" in capsys.readouterr().err
    lines = [f"env: {AIM['env']}", "target: {goal: -0.5}", "source-steps: 256", "steps: 256", "seeds: 1"]
    lines += ["methods: [head]", "set: {n_steps: 64}"]
    (tmp_path / "job.yml").write_text("\n".join(lines))
    out = ["--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(["compare", str(tmp_path / "job.yml"), "--steps", "128", *out]) == 0
    printed = capsys.readouterr().out
    assert "The page:" in printed
    assert main(["show", str(tmp_path / "out")]) == 0
    (run,) = compare(str(tmp_path / "job.yml"), steps=128, out=tmp_path / "out").runs
    assert (run.spec.steps, run.spec.source_steps, run.spec.settings) == (128, 256, {"n_steps": 64})


def test_the_entropy_coefficient_goes_with_the_source() -> None:
    """It is no part of a policy, and SB3 keeps it beside the parameters."""
    settings = {"learning_starts": 32, "buffer_size": 500, "batch_size": 16, "learning_rate": 0.01}
    each = spec(algo="SAC", settings=settings, source_steps=96)
    trained: Any = build(each, worlds_of(each, each.source)).learn(96)
    model: Any = source_model(each)
    assert torch.equal(model.log_ent_coef, trained.log_ent_coef)
    assert model.log_ent_coef.item() < -0.1
    assert model.ent_coef_optimizer.param_groups[0]["params"][0] is model.log_ent_coef
    assert gated(model, METHODS["head"]).log_ent_coef.item() == trained.log_ent_coef.item()  # type: ignore[attr-defined]


def test_schedules_run_over_the_steps_in_the_target() -> None:
    each = spec(settings=AIM["settings"] | {"learning_rate": "lin_1e-3", "clip_range": "lin_0.2"})
    model: Any = source_model(each)
    schedules_begin_anew(model, 1_024)
    share = 1_024 / (2_048 + 1_024)
    assert model.lr_schedule(share) == pytest.approx(1e-3)
    assert model.lr_schedule(share / 2) == pytest.approx(5e-4)
    assert model.clip_range(share) == pytest.approx(0.2)
    assert model.lr_schedule(0.0) == 0.0


def test_what_the_users_files_hold_decides_the_source_and_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "its_physics.py").write_text("GRAVITY = 9.81\n")
    lines = ["import its_physics", "from tests.nb_agents.comparison.worlds import make"]
    (tmp_path / "its_robot.py").write_text("\n".join(lines))
    each = spec(env="its_robot:make")
    before = check_worlds(each)
    assert {"its_robot", "its_physics", HERE} <= before.keys()
    (tmp_path / "its_physics.py").write_text("GRAVITY = 1.62\n")
    after = check_worlds(each)
    assert [name for name in before if before[name] != after[name]] == ["its_physics"]
    one, other = (_name(spec(env="its_robot:make", code=code)) for code in (before, after))
    assert one != other
    assert "sb3-contrib" in check_worlds(spec(algo="TQC"))
    assert "mujoco" in check_worlds(spec(env="InvertedPendulum-v5", source={}, target={"gravity": -5.0}))


def test_tuples_and_numpys_numbers_are_what_the_files_give_back(tmp_path: Path) -> None:
    given = GIVEN | {
        "target": {"goal": np.float32(-0.5)},
        "set": AIM["settings"] | {"policy_kwargs": {"net_arch": (8,)}},
    }
    first = compare(AIM["env"], **given, methods=["head"], seeds=1, out=tmp_path)
    assert first.runs[0].spec.settings["policy_kwargs"] == {"net_arch": [8]}
    assert compare(AIM["env"], **given, methods=["head"], seeds=1, out=tmp_path).runs == first.runs


def test_a_file_stands_above_the_zoos_number_of_steps(tmp_path: Path) -> None:
    (tmp_path / "ppo.yml").write_text("Aim-v0: {n_timesteps: !!float 1e6, n_steps: 64}")
    lines = [f"env: {AIM['env']}", "target: {goal: 0.1}", f"hyperparameters: {tmp_path}/ppo.yml", "like: Aim-v0"]
    (tmp_path / "job.yml").write_text("\n".join(lines))
    assert QUESTION.planned(str(tmp_path / "job.yml"), {})[0].source_steps == 1_000_000
    (tmp_path / "job.yml").write_text("\n".join([*lines, "source_steps: 64"]))
    assert QUESTION.planned(str(tmp_path / "job.yml"), {})[0].source_steps == 64


def test_gymnasiums_own_way_of_naming_a_module_works() -> None:
    """`module:Id-v0` imports the module, which registers the id."""
    assert make_one(spec(env="nb_gym:NBPendulum-v0"), {"A": 1.3}).spec.id == "NBPendulum-v0"  # type: ignore[union-attr]
    assert isinstance(make_one(spec(), {}), gym.Env)
