import json
import lzma
from dataclasses import replace

import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.commands.report import DEFAULT
from benchmarks.methods import METHODS, specify
from benchmarks.protocol.results import Curve, RunResult
from benchmarks.protocol.settings import ALGORITHMS, MetaSettings
from benchmarks.protocol.spec import EPISODE_STEPS
from benchmarks.questions import all_questions
from benchmarks.questions.tune.question import TrialRun, TrialSpec, Tune
from benchmarks.questions.tune.searches import MAX_UPDATES, SEARCHES
from benchmarks.runs import experiment
from nb_evaluation.reader import read_folder
from nb_evaluation.runs.folder import PACK, read_lines
from nb_evaluation.runs.provenance import versions


def pretended(spec):
    """A run whose final return depends on method, seed and settings alone."""
    final = -100.0 * spec.settings.learning_rate - spec.seed - (5.0 if spec.method == "fine-tune" else 0.0)
    return RunResult(
        Curve([0, 50_000, 150_000], [0.0] * 3, [0.0, 0.0, final]), [0.0], [], [], 1, None, None, None, None
    )


@pytest.fixture(autouse=True)
def _no_training(monkeypatch):
    monkeypatch.setattr(experiment, "execute", pretended)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_trial_is_a_function_of_its_number(name):
    search = SEARCHES[name]
    assert search.sample(3) == search.sample(3)
    assert len({str(search.sample(trial)) for trial in range(20)}) > 15
    spec = search.specification(search.methods[0], 0, search.sample(3))  # fits the budget, or this would raise
    assert search.sample(3) in (spec.settings, spec.meta)


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_no_trial_is_too_long(algo):
    for trial in range(50):
        settings = SEARCHES[algo].sample(trial)
        decisions = 150 * EPISODE_STEPS / settings.frame_skip
        if algo == "ppo":
            updates = decisions / settings.batch_size * settings.n_epochs
        else:
            updates = decisions / (settings.num_envs * settings.train_freq) * settings.gradient_steps
        assert updates <= MAX_UPDATES[algo]
        specify("nb-pro", seed=0, algo=algo, settings=settings)  # the published budget fits the settings


def trials(folder):
    return [line.content for line in read_lines(folder)]


def tune_in(folder, *options):
    return benchmarks(["tune", "--workers", "1", "--out", str(folder), *options])


def test_search_goes_on_where_it_stopped(tmp_path):
    assert tune_in(tmp_path, "--trials", "4") == 0
    whole = trials(tmp_path)
    runs = [TrialRun.from_line(line, "it") for line in whole]
    assert [run.spec.seed for run in runs] == [0, 1, 2, 3]
    rate = SEARCHES["ppo"].sample(2).learning_rate
    # per method the middle two of four seeds: -1.5 and -6.5
    assert runs[2].result.objective == pytest.approx(-100.0 * rate - 4.0)
    (tmp_path / PACK).write_bytes(lzma.compress(b"".join(line + b"\n" for line in whole[:2])))
    assert tune_in(tmp_path, "--trials", "4") == 0
    again = trials(tmp_path)
    assert again[:2] == whole[:2]
    assert [json.loads(line)["result"] for line in again] == [json.loads(line)["result"] for line in whole]
    assert (
        f"| `ppo` | {max(runs, key=lambda run: run.result.objective).spec.seed} |"
        in (tmp_path / "table.md").read_text()
    )


@pytest.mark.parametrize("number", ["0", "101"])
def test_reporting_seeds_are_out_of_reach(tmp_path, capsys, number):
    with pytest.raises(SystemExit):
        tune_in(tmp_path, "--trials", "1", "--seeds", number)
    wanted = "must be a whole number of at least 1" if number == "0" else "seeds must be 1 to 100"
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"trial": 0, "final": {}, "settings": {"speed": 1}}'])
def test_damaged_files_are_refused(tmp_path, capsys, line):
    path = tmp_path / "ppo-seed0-0123456789ab.json"
    path.write_text(line + "\n")
    with pytest.raises(SystemExit):
        tune_in(tmp_path, "--trials", "1")
    assert f"{path.name} is not a run" in capsys.readouterr().err
    assert path.read_text() == line + "\n"


@pytest.mark.parametrize("name", ["num_starts", "protocol"])
def test_trials_that_were_scored_otherwise_stand_beside_and_are_not_taken_for_these(tmp_path, name):
    old = replace(TrialSpec(method="ppo", seed=0, num_seeds=2), **{name: 7})
    result = Tune().execute(TrialSpec(method="ppo", seed=0, num_seeds=2))
    TrialRun(old, result, versions(), None, 1.0, 1.0).write(tmp_path)
    assert tune_in(tmp_path, "--trials", "1", "--seeds", "2") == 0
    assert len(trials(tmp_path)) == 2


@pytest.mark.parametrize("option", ["--trials", "--seeds", "--workers"])
def test_counts_are_at_least_1(option, capsys, tmp_path):
    with pytest.raises(SystemExit):
        tune_in(tmp_path, option, "0")
    assert f"{option}: must be a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_trials_of_another_search_are_refused(tmp_path, capsys):
    spec = TrialSpec(method="ppo", seed=0, num_seeds=2)
    result = Tune().execute(spec)
    other = replace(result, settings=result.settings | {"learning_rate": 1.0})
    fewer = replace(result, final={method: returns[:1] for method, returns in result.final.items()})
    for each in (other, fewer):
        path = TrialRun(spec, each, versions(), None, 1.0, 1.0).write(tmp_path)
        with pytest.raises(SystemExit):
            tune_in(tmp_path, "--trials", "1", "--seeds", "2")
        assert "it is a trial of another search" in capsys.readouterr().err
        path.unlink()


def test_the_settings_in_use_are_those_of_the_best_committed_trials():
    """Those of the algorithms, and those of each meta-learner with a short pretraining but MAML, told apart by hand."""
    (job,), _ = read_folder(DEFAULT / "tune", all_questions())
    best = {}
    for run in job.runs:
        if run.spec.method not in best or run.result.objective > best[run.spec.method].result.objective:
            best[run.spec.method] = run
    for algo, kind in ALGORITHMS.items():
        assert kind(**best[algo].result.settings) == kind()
    for name in ("fomaml", "anil", "reptile"):
        short = [run for search, run in best.items() if search.startswith(name) and search.endswith("short")]
        chosen = max(short, key=lambda run: run.result.objective).result.settings
        assert MetaSettings(**chosen) == METHODS[name].own_settings(50)
