"""Runs that take a moment, and runs that were never made."""

import pytest

from benchmarks.experiment import Curve, RunResult
from benchmarks.records import Run, versions
from benchmarks.settings import PPOSettings
from benchmarks.spec import RunSpec

QUICK = PPOSettings(frame_skip=20, num_envs=2, n_steps=50, batch_size=50, n_epochs=1, net_arch=(16, 16))


@pytest.fixture
def quick_spec():
    """Makes specifications that run in a fraction of a second."""

    def make(**changes):
        options = {"method": "nb-pro", "seed": 0, "settings": QUICK}
        budget = {"pretrain_episodes": 2, "transfer_episodes": 4, "eval_every": 2}
        return RunSpec(**(options | budget | changes))

    return make


@pytest.fixture
def made_up_run(quick_spec):
    """Makes finished runs without running anything; the final return is given."""

    def make(final=-10.0, wall_seconds=1.0, **changes):
        spec = quick_spec(**changes)
        steps = [0, 2000, 4000, 6000] if spec.method != "scratch" else [0, 2000, 4000]
        target = [-4000.0, -900.0, -300.0, final][-len(steps) :]
        result = RunResult(
            curve=Curve(steps=steps, source=[-50.0] * len(steps), target=target),
            transfer_episodes=[-700.0, -600.0, -80.0, -90.0],
            torques_before=[0.0] * 50,
            torques_after=[0.5] * 50,
            numbers_adapted=10,
            source_restored=-50.0 if spec.method.endswith("-k") else None,
        )
        return Run(spec, result, versions(), "0123456789ab", wall_seconds, 1.0)

    return make
