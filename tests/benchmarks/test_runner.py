import os
import signal

import pytest

from benchmarks.records import Run
from benchmarks.runner import run_all


def short(spec):
    """Stands in for `execute`; fails, or kills its worker, where the seed says so."""
    from benchmarks.experiment import Curve, RunResult

    if spec.seed == 13:
        raise ArithmeticError("seed 13 does not like to run")
    if spec.seed == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return RunResult(Curve([0, 2000, 6000], [0.0] * 3, [0.0] * 3), [1.0], [], [], 1, None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_run_is_reported_and_stops_no_other(quick_spec, tmp_path, workers):
    specs = [quick_spec(seed=seed) for seed in (12, 13, 14)]
    outcomes = {outcome.spec.seed: outcome for outcome in run_all(specs, tmp_path, workers=workers, experiment=short)}
    assert sorted(outcomes) == [12, 13, 14]
    assert outcomes[13].run is None
    assert "Traceback" in outcomes[13].failure
    assert "ArithmeticError: seed 13 does not like to run" in outcomes[13].failure
    for seed in (12, 14):
        assert outcomes[seed].failure is None
        assert Run.read(tmp_path / f"{outcomes[seed].spec.name}.json") == outcomes[seed].run
    assert len(list(tmp_path.iterdir())) == 2


def test_a_killed_worker_costs_only_its_own_run(quick_spec, tmp_path):
    specs = [quick_spec(seed=seed) for seed in (1, 99)]
    outcomes = {outcome.spec.seed: outcome for outcome in run_all(specs, tmp_path, workers=2, experiment=short)}
    assert "worker process was killed" in outcomes.pop(99).failure
    assert outcomes.keys() == {1}
    assert outcomes[1].run == Run.read(tmp_path / f"{specs[0].name}.json")


def test_nothing_to_run(tmp_path):
    assert list(run_all([], tmp_path, workers=2, experiment=short)) == []
