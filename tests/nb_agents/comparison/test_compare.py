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
from nb_agents.comparison.execution import EVAL_SEED, execute
from nb_agents.comparison.question import QUESTION
from nb_agents.comparison.specification import ComparisonRun, ComparisonSpec, Row
from nb_agents.comparison.training import source_model, worlds_of
from nb_agents.comparison.worlds import check_worlds, make_one
from nb_agents.returns import episode_returns
from nb_evaluation.runs.provenance import versions

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
        monkeypatch.setattr("nb_agents.comparison.training._train", None)
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
    assert both.advice.startswith("After 1,024 steps `")
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


def made_up(method: str, seed: int, end: float, numbers: int) -> ComparisonRun:
    row = Row([0, 1_024], [-3.0, end], -0.1, -2.0, -0.1 if method.endswith("-k") else None, numbers)
    from nb_agents.comparison.specification import ComparisonResult

    return ComparisonRun(spec(method, seed), ComparisonResult({method: row}), versions(), None, 1.0, 1.0)


def test_the_advice_names_the_fewest_numbers_that_cannot_be_told_from_the_best() -> None:
    seeds = range(100, 106)
    best = [made_up("fine-tune", seed, -1.0 + 0.01 * (seed % 3), 4_000) for seed in seeds]
    behind = [made_up("head", seed, -2.0, 65) for seed in seeds]
    verdict = QUESTION.answer([*best, *behind])
    assert verdict.text.startswith("Adapt `fine-tune`: +1.0 [+1.0, +1.0] over `head` after 1,024 steps")
    assert verdict.tone == "worse"
    alike = [made_up("nb-pro-k", seed, -1.0 + 0.02 * ((seed + 1) % 3), 10) for seed in seeds]
    verdict = QUESTION.answer([*best, *behind, *alike])
    assert verdict.text.startswith("Adapt `nb-pro-k`: ")
    assert verdict.tone == "better"
    assert QUESTION.answer(best) is None
    assert QUESTION.answer([*best[:3], *behind[:3]]).tone == "open"
    tables = {
        table.title: {row[0]: row[1:] for row in table.rows} for table in QUESTION.tables([*best, *behind, *alike])
    }
    assert tables["Above `fine-tune`"]["`head`"][0] == "−1.0 [−1.0, −1.0]"
    assert tables["Returns on the target"]["`nb-pro-k`"][2:] == ["10", "40", "6"]
    assert tables["What is kept of the source"]["`nb-pro-k`"][2] == "equal in 6 of 6"
    (picture,) = QUESTION.figures([*best, *behind])
    assert [line.get_label() for line in picture.figure.axes[0].get_lines()] == ["fine-tune", "head"]


def test_gymnasiums_own_way_of_naming_a_module_works() -> None:
    """`module:Id-v0` imports the module, which registers the id."""
    assert make_one(spec(env="nb_gym:NBPendulum-v0"), {"A": 1.3}).spec.id == "NBPendulum-v0"  # type: ignore[union-attr]
    assert isinstance(make_one(spec(), {}), gym.Env)
