import json

import pytest

from benchmarks import tune
from benchmarks.methods import specify
from benchmarks.protocol.results import Curve, RunResult
from benchmarks.protocol.spec import EPISODE_STEPS


def pretended(spec):
    """A run whose final return depends on method, seed and settings alone."""
    final = -100.0 * spec.settings.learning_rate - spec.seed - (5.0 if spec.method == "fine-tune" else 0.0)
    return RunResult(
        Curve([0, 50_000, 150_000], [0.0] * 3, [0.0, 0.0, final]), [0.0], [], [], 1, None, None, None, None
    )


@pytest.fixture(autouse=True)
def _no_training(monkeypatch):
    monkeypatch.setattr(tune, "execute", pretended)


@pytest.mark.parametrize("name", tune.SEARCHES)
def test_a_trial_is_a_function_of_its_number(name):
    search = tune.SEARCHES[name]
    assert search.sample(3) == search.sample(3)
    assert len({str(search.sample(trial)) for trial in range(20)}) > 15
    spec = search.specification(search.methods[0], 0, search.sample(3))  # fits the budget, or this would raise
    assert search.sample(3) in (spec.settings, spec.meta)


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_no_trial_is_too_long(algo):
    for trial in range(50):
        settings = tune.SEARCHES[algo].sample(trial)
        decisions = 150 * EPISODE_STEPS / settings.frame_skip
        if algo == "ppo":
            updates = decisions / settings.batch_size * settings.n_epochs
        else:
            updates = decisions / (settings.num_envs * settings.train_freq) * settings.gradient_steps
        assert updates <= tune.MAX_UPDATES[algo]
        specify("nb-pro", seed=0, algo=algo, settings=settings)  # the published budget fits the settings


def test_search_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "tune.jsonl"
    whole = list(tune.run_search(path, "ppo", trials=4, num_seeds=4, workers=1))
    assert [entry["trial"] for entry in whole] == [0, 1, 2, 3]
    rate = tune.SEARCHES["ppo"].sample(2).learning_rate
    # per method the middle two of four seeds: -1.5 and -6.5
    assert whole[2]["objective"] == pytest.approx(-100.0 * rate - 4.0)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2]) + "\n")
    again = list(tune.run_search(path, "ppo", trials=4, num_seeds=4, workers=1))
    assert json.dumps(again) == json.dumps(whole)
    assert path.read_text().splitlines() == lines


def test_reporting_seeds_are_out_of_reach(tmp_path):
    for num_seeds in (0, 101):
        with pytest.raises(ValueError, match="seeds must be 1 to 100"):
            list(tune.run_search(tmp_path / "tune.jsonl", "ppo", trials=1, num_seeds=num_seeds, workers=1))


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"trial": 0, "final": {}, "settings": {"speed": 1}}'])
def test_damaged_files_are_refused(tmp_path, line):
    path = tmp_path / "tune.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="is not a file of tuning trials"):
        list(tune.run_search(path, "ppo", trials=1, num_seeds=1, workers=1))
    assert path.read_text() == line + "\n"


@pytest.mark.parametrize("name", ["num_starts", "protocol"])
def test_trials_that_were_scored_otherwise_are_refused(tmp_path, name):
    path = tmp_path / "tune.jsonl"
    (entry,) = tune.run_search(path, "ppo", trials=1, num_seeds=2, workers=1)
    for other in (entry | {name: -1}, {key: value for key, value in entry.items() if key != name}):
        path.write_text(json.dumps(other) + "\n")
        with pytest.raises(ValueError, match=f"not scored with .*{name}"):
            list(tune.run_search(path, "ppo", trials=1, num_seeds=2, workers=1))


@pytest.mark.parametrize("option", ["--trials", "--seeds", "--workers"])
def test_counts_are_at_least_1(option, capsys):
    with pytest.raises(SystemExit):
        tune.main([option, "0"])
    assert f"{option}: must be a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_trials_of_another_search_are_refused(tmp_path):
    path = tmp_path / "tune.jsonl"
    (entry,) = tune.run_search(path, "ppo", trials=1, num_seeds=2, workers=1)
    with pytest.raises(ValueError, match="another search"):
        list(tune.run_search(path, "ppo", trials=1, num_seeds=3, workers=1))
    entry["settings"]["learning_rate"] = 1.0
    path.write_text(json.dumps(entry) + "\n")
    with pytest.raises(ValueError, match="another search"):
        list(tune.run_search(path, "ppo", trials=1, num_seeds=2, workers=1))
