from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main as benchmarks
from benchmarks.protocol import anchors, environments
from benchmarks.protocol.anchors import CONTROLLERS, anchor_returns
from benchmarks.questions import all_questions
from benchmarks.questions.recipe import maml as recipe_maml
from benchmarks.questions.recipe import question as recipe
from benchmarks.questions.recipe import quick_start as recipe_quick_start
from benchmarks.questions.recipe import runs as recipe_runs
from benchmarks.questions.recipe import tables as recipe_report
from benchmarks.questions.recipe.question import RecipeRun
from benchmarks.questions.recipe.rows import (
    AS_PRINTED,
    AS_RELEASED,
    BENCHMARK_CHANNELS,
    CONTROLS,
    GROUPS,
    MAML,
    ROWS,
    MAMLSettings,
    Variant,
)
from benchmarks.questions.recipe.runs import Ensemble, labelled, make_trainer
from nb_agents.recipe.dagger import Episode
from nb_evaluation.reader import read_folder
from tests.benchmarks.tools import parse, stored


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_runs, "PHASES", {1.0: 2, 1.8: 2})
    monkeypatch.setattr(recipe_maml, "PHASES", {1.0: 2, 1.8: 2})
    for module in (recipe_runs, environments, anchors):
        monkeypatch.setattr(module, "EPISODE_STEPS", 50)
    for module in (recipe_runs, recipe_maml):
        monkeypatch.setattr(module, "EPISODES_PER_ROUND", 2)
    monkeypatch.setattr(recipe_maml, "TASKS_PER_ROUND", 1)
    # What is known of whole episodes is kept for the other tests, and what these give is forgotten.
    monkeypatch.setattr(anchors, "_anchor_returns", anchors._anchor_returns.__wrapped__)


@pytest.mark.parametrize("variant", [Variant(), Variant(gated=False), AS_RELEASED])
def test_an_ensemble_acts_as_its_policies_do_one_by_one(variant: Variant) -> None:
    policies = [make_trainer(variant, seed).policy for seed in range(3)]
    rows = np.random.default_rng(0).normal(size=(6, len(variant.observe) or 2)).astype(np.float32)
    together, _ = Ensemble.of(policies).predict(rows)
    for i, policy in enumerate(policies):
        alone, _ = policy.predict(rows[2 * i : 2 * i + 2])
        np.testing.assert_allclose(together[2 * i : 2 * i + 2], alone, atol=1e-6)


def test_an_evaluation_is_the_mean_return_over_the_fixed_starts_in_both_contexts() -> None:
    class NoTorque:
        def predict(self, observation: Any) -> tuple[Any, None]:
            return np.zeros((len(observation), 1), dtype=np.float32), None

    returns = recipe_runs.evaluate(NoTorque(), BENCHMARK_CHANNELS, 2)
    expected = [anchor_returns({"A": A})["no torque"] for A in (1.0, 1.8)]
    np.testing.assert_allclose(returns, [expected] * 2, rtol=1e-12)


@pytest.mark.parametrize(("name", "controller"), [("feed-forward", "drive cancelled + PD"), ("pd", "PD(100, 20)")])
def test_experts_are_the_reference_controllers(name: str, controller: str) -> None:
    A = np.tile(np.repeat([1.0, 1.8], 64), 1)
    env = recipe_runs.make_env(BENCHMARK_CHANNELS, len(A), A)
    expert = recipe_runs.make_expert(name, env, {}, 1.0)
    env.reset(seed=0)
    own = CONTROLLERS[controller](*env.unwrapped.state, env.unwrapped.time, env.unwrapped.context, None)
    np.testing.assert_array_equal(np.ravel(expert(np.zeros((128, 4)))), own)


def test_the_release_pairs_an_action_with_the_state_it_led_to_and_its_reward() -> None:
    numbers = np.arange(4.0)
    episode = Episode(numbers[:, None], 10 + numbers[:, None], 20 + numbers[:, None], 30 + numbers)
    states, actions, values = labelled(AS_RELEASED, episode)
    assert states.ravel().tolist() == [1.0, 2.0, 3.0]
    assert actions.ravel().tolist() == [10.0, 11.0, 12.0]
    assert values.tolist() == [30.0, 31.0, 32.0]
    states, actions, values = labelled(replace(AS_PRINTED, gamma=1.0), episode)
    assert states.ravel().tolist() == numbers.tolist()
    assert actions.ravel().tolist() == (20 + numbers).tolist()
    assert values[0] == 30 + 31 + 32 + 33


def test_starts_belong_to_the_seed_whoever_runs_beside_it() -> None:
    assert recipe_runs.starts([5, 6], [1, 2], 3)[3:] == recipe_runs.starts([6], [1, 2], 3)


def test_maml_differentiates_through_its_inner_steps() -> None:
    maml = recipe_maml.SupervisedMAML([0], MAMLSettings(inner_steps=2, inner_lr=0.5))
    maml.module.double()
    meta = {name: p[0].detach().double() for name, p in maml.meta.items()}
    rng = torch.Generator().manual_seed(0)
    data = [torch.randn(1, 8, n, generator=rng, dtype=torch.float64) for n in (4, 1, 4, 1)]
    gradient = torch.func.grad(maml.query_loss)(meta, data[:2], data[2:])["latent_net.0.weight"]
    step = 1e-6
    for i in (0, 37, 200):
        ends = []
        for sign in (1.0, -1.0):
            moved = {name: p.clone() for name, p in meta.items()}
            moved["latent_net.0.weight"].view(-1)[i] += sign * step
            ends.append(maml.query_loss(moved, data[:2], data[2:]).item())
        assert gradient.view(-1)[i].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-9)


def test_a_meta_update_follows_that_second_order_gradient() -> None:
    maml = recipe_maml.SupervisedMAML([0], MAMLSettings(inner_lr=0.5))
    rng = torch.Generator().manual_seed(0)
    data = [torch.randn(1, 1, 8, n, generator=rng) for n in (4, 1, 4, 1)]
    meta = {name: p[0].detach().clone() for name, p in maml.meta.items()}
    expected = torch.func.grad(maml.query_loss)(meta, [d[0] for d in data[:2]], [d[0] for d in data[2:]])
    support, query = ((states[0, 0], labels[0, 0]) for states, labels in (data[:2], data[2:]))
    first_order = torch.func.grad(maml.loss)(maml.adapt(meta, *support), *query)
    maml.update(data[:2], data[2:])
    for name, parameter in maml.meta.items():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad[0], expected[name], rtol=1e-4, atol=1e-6)
        assert not torch.allclose(first_order[name], expected[name], rtol=1e-2)


def test_a_meta_update_of_one_seed_leaves_the_others_where_they_would_be() -> None:
    rng = torch.Generator().manual_seed(0)
    data = [torch.randn(2, 1, 8, n, generator=rng) for n in (4, 1, 4, 1)]
    both, alone = (recipe_maml.SupervisedMAML(seeds, MAMLSettings()) for seeds in ([3, 4], [4]))
    both.update(data[:2], data[2:])
    alone.update([d[1:] for d in data[:2]], [d[1:] for d in data[2:]])
    for name, parameter in both.meta.items():
        torch.testing.assert_close(parameter[1], alone.meta[name][0], atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("_short")
def test_rows_are_made_once_and_reported_from_their_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"as-printed nb-pro": Variant(updates=1), "as-printed nb-pro-k": Variant(updates=1, adapt="gates")}
    settings = MAMLSettings(updates=1, batch_size=8, tasks=1)
    monkeypatch.setattr(recipe.rows, "VARIANTS", quick)
    monkeypatch.setattr(recipe, "MAMLSettings", lambda **_: settings)
    names = [*quick, MAML]
    options = ["recipe", "--methods", *names, "--seeds", "1", "--workers", "1", "--out", str(tmp_path)]
    assert benchmarks(options) == 0
    runs = [RecipeRun.from_line(line, "it") for line in stored(tmp_path).values()]
    rows = recipe_report.by_row(runs)
    assert list(rows) == names
    both = [rows[name].result for name in quick]
    assert both[0].zero_shot == both[1].zero_shot, "they share their pretraining"
    assert both[0].final != both[1].final
    assert both[0].final == recipe_runs.run(quick["as-printed nb-pro"], [100])["final"], "and each is its own run's"

    monkeypatch.setattr(recipe.Recipe, "execute", None)
    assert benchmarks(options) == 0

    table = (tmp_path / "table.md").read_text()
    assert all(f"| {name} | 1 |" in table for name in names)
    assert "published: NB Pro" in table
    assert recipe_report.estimate(both[0].final) in table
    assert "as-printed nb-pro − as-printed nb-pro-k" in table
    assert (tmp_path / "recipe.png").read_bytes().startswith(b"\x89PNG")


def test_every_row_has_a_name_of_its_own_that_any_file_system_takes() -> None:
    names = {recipe.specify(row, 5).name for row in ROWS}
    assert len(names) == len(ROWS)
    assert all(name.isascii() and "/" not in name for name in names)


def test_rows_that_share_a_pretraining_follow_each_other() -> None:
    options = parse(recipe.Recipe(), "--seeds", "6")
    specs = recipe.Recipe().specifications(options)
    assert {spec.method for spec in specs} == set(ROWS)
    assert {len(spec.seeds) for spec in specs} == {5, 6}
    for group in (*GROUPS, *CONTROLS):
        places = [[spec.method for spec in specs].index(name) for name in group]
        assert places == list(range(places[0], places[0] + len(places)))


def test_the_papers_quick_start_runs(capsys: pytest.CaptureFixture[str]) -> None:
    docs = Path(__file__).parents[3] / "docs" / "guides" / "paper-recipe.md"
    (code,) = re.findall(r"<!-- quick start -->\n```python\n(.*?)```", docs.read_text(), re.DOTALL)
    code = code.replace("range(100)", "range(2)").replace("range(1000)", "range(50)")
    names: dict[str, Any] = {}
    exec(code, names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Episode 0", "Episode 1"]
    assert np.shape(names["states"]) == (50, 2)
    assert json.dumps(float(names["loss"]))


def test_the_quick_starts_environment_ends_its_episodes() -> None:
    env = recipe_quick_start.PendulumEnvironment(A=1.8, episode_steps=3)
    assert env.reset().shape == (2,)
    steps = [env.step(np.zeros(1, dtype=np.float32)) for _ in range(3)]
    assert [step[2] for step in steps] == [False, False, True]


def test_the_verdict_is_what_the_committed_rows_give() -> None:
    (job,), _ = read_folder(Path(__file__).parents[3] / "benchmarks" / "results" / "recipe", all_questions())
    verdict = job.question.answer(job.runs)
    assert verdict is not None
    assert verdict.text.startswith(
        "As released, training gains nothing that can be distinguished from chance; as printed, gates"
    )
    assert verdict.tone == "same"
    without = [run for run in job.runs if run.spec.method != "untrained nb-pro"]
    assert job.question.answer(without) is None
