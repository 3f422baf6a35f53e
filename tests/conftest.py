"""Runs that take a moment, and runs that were never made."""

import pytest

from benchmarks.methods import METHODS, specify
from benchmarks.methods.kinds.meta import MetaMethod
from benchmarks.protocol.results import DRIVES, GRID_DRIVES, GRID_GAINS, Curve, Landscape, RunResult
from benchmarks.protocol.run import Run
from benchmarks.protocol.settings import MetaSettings, PPOSettings
from benchmarks.questions.sequence.runs import SequenceResult, SequenceRun, specify_sequence
from nb_evaluation.runs.provenance import versions

QUICK = PPOSettings(frame_skip=20, num_envs=2, n_steps=50, batch_size=50, n_epochs=1, net_arch=(16, 16))
QUICK_META = MetaSettings(inner_steps=1, adapt_episodes=2)


@pytest.fixture(scope="session")
def quick_spec():
    """Makes specifications that run in a fraction of a second."""

    def make(**changes):
        options = {"method": "nb-pro", "seed": 0, "settings": QUICK, "pretrain_episodes": 2, "transfer_episodes": 4}
        options |= {"eval_every": 2} | changes
        if isinstance(METHODS.get(options["method"]), MetaMethod):
            options.setdefault("meta", QUICK_META)
        return specify(**options)

    return make


def made_up_landscape(value):
    return Landscape([value] * len(DRIVES), [[value] * len(GRID_GAINS)] * len(GRID_DRIVES))


@pytest.fixture(scope="session")
def made_up_run(quick_spec):
    """Makes finished runs without running anything; the final return is given."""

    def make(final=-10.0, wall_seconds=1.0, **changes):
        spec = quick_spec(**changes)
        steps = [0, 2000, 4000, 6000] if METHODS[spec.method].pretrains else [0, 2000, 4000]
        target = [-4000.0, -900.0, -300.0, final][-len(steps) :]
        result = RunResult(
            curve=Curve(steps=steps, source=[-50.0] * len(steps), target=target),
            transfer_episodes=[-700.0, -600.0, -80.0, -90.0],
            torques_before=[0.0] * 50,
            torques_after=[0.5] * 50,
            numbers_adapted=10,
            source_restored=-50.0 if spec.method.endswith("-k") else None,
            k_sets=[[0.25], [0.5]] if spec.method.endswith("-k") else None,
            landscape_before=made_up_landscape(-900.0),
            landscape_after=made_up_landscape(final),
        )
        return Run(spec, result, versions(), "0123456789ab", wall_seconds, 1.0)

    return make


@pytest.fixture(scope="session")
def made_up_sequence():
    """Makes finished runs of a sequence without running anything; all returns are the same."""

    def make(value=-100.0, **changes):
        options = {"method": "fine-tune", "seed": 0, "settings": QUICK, "pretrain_episodes": 2, "transfer_episodes": 2}
        options |= {"tasks": ({"A": 1.0}, {"A": 1.8}, {"A": 1.0, "torque_gain": -1.0})} | changes
        if options["method"] == "maml":
            options["meta"] = MetaSettings(inner_steps=1)
        spec = specify_sequence(options.pop("method"), **options)
        stages, tasks = len(spec.stages), len(spec.tasks)
        result = SequenceResult([value] * stages, [[value] * tasks] * stages, 2, 700)
        return SequenceRun(spec, result, versions(), "0123456789ab", 1.0, 1.0)

    return make
