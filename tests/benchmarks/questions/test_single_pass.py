"""First episodes in worlds that nobody describes: what is drawn, what turns around, what is counted and compared."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from benchmarks.protocol.environments import make_vector_env, mean_returns
from benchmarks.questions.single_pass.families import (
    DECISIONS,
    EVAL_STARTS,
    FALLEN,
    FAMILIES,
    FLIP,
    NUM_ENVS,
    EndsWithAFall,
    play,
    worlds,
)
from benchmarks.questions.single_pass.learners import NumbersPolicy, answers, evened
from benchmarks.questions.single_pass.question import QUESTION, Scores, SinglePassResult, SinglePassRun, SinglePassSpec
from benchmarks.questions.single_pass.scores import best_of, by_row, means, pairs, parts
from nb_agents import KGatedPolicy
from nb_agents.inference.conditioned import conditioned_nets
from nb_evaluation.report.wording import interval
from nb_evaluation.runs.provenance import versions
from nb_evaluation.stats.estimates import paired_difference
from tests.benchmarks.tools import parse


class Swing:
    """A policy that only needs to know how often it was asked, and remembers that."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        count = np.where(episode_start, 0, 0 if state is None else state)
        return np.sin(0.3 * count).astype(np.float32)[:, None], count + 1


def test_a_training_deals_out_the_gains_and_draws_the_drive():
    env = worlds(FAMILIES["M"], "context", NUM_ENVS, **FAMILIES["M"].training())
    drawn = []
    for seed in (0, None):
        observation, info = env.reset(seed=seed)
        gains, counts = np.unique(info["context"]["torque_gain"], return_counts=True)
        np.testing.assert_array_equal(gains, [-1.5, -1.0, -0.5, 0.5, 1.0, 1.5])
        assert set(counts) == {NUM_ENVS // 6}
        drawn.append(info["context"]["A"])
        assert (drawn[-1] >= 1.0).all()
        assert (drawn[-1] <= 1.5).all()
        np.testing.assert_allclose(observation[:, -2], info["context"]["torque_gain"] / 1.5, rtol=1e-6)
        np.testing.assert_allclose(observation[:, -1], (drawn[-1] - 1.25) / 0.25, atol=1e-5)
    assert not np.any(drawn[0] == drawn[1]), "each episode has a drive of its own"
    tasks = FAMILIES["M"].tasks(np.random.default_rng(0), 12)
    assert sorted(task["torque_gain"] for task in tasks) == sorted(2 * FAMILIES["M"].gains)
    assert all(1.0 <= task["A"] <= 1.5 for task in tasks)


def test_no_context_held_out_can_be_drawn_in_training():
    for family in FAMILIES.values():
        for contexts, inside in ((family.in_range, True), (family.held_out, False)):
            for context in contexts:
                drawn = all(low <= context[name] <= high for name, (low, high) in family.drawn.items())
                assert inside == (drawn and context.get("torque_gain", 1.0) in (family.gains or (1.0,)))


def test_turning_around_is_an_actuator_of_the_other_sign_from_that_decision_on():
    """Beside the same pendulum, and one of the other sign that begins where the first one was at half time."""
    family, theta = FAMILIES["S"], np.linspace(-0.2, 0.2, 3)
    torque = np.random.default_rng(0).uniform(-2.0, 2.0, (DECISIONS, 3, 1)).astype(np.float32)
    turned, plain = (worlds(family, "", 3, flips=flips, torque_gain=1.0) for flips in (True, False))
    for env in (turned, plain):
        env.reset(options={"theta": theta, "theta_dot": np.zeros(3)})
    for step in range(FLIP):
        np.testing.assert_array_equal(turned.step(torque[step])[1], plain.step(torque[step])[1])
    theta, theta_dot = plain.unwrapped.state
    other = worlds(family, "", 3, torque_gain=-1.0, phase=0.75 * FLIP * 0.2)
    other.reset(options={"theta": theta, "theta_dot": theta_dot})
    for step in range(FLIP, DECISIONS):
        after, rewards, *_ = turned.step(torque[step])
        expected, theirs, *_ = other.step(torque[step])
        np.testing.assert_allclose(rewards, theirs, rtol=1e-9)
        np.testing.assert_allclose(after, expected, atol=1e-5)


def test_play_gives_the_returns_of_the_protocols_loop_and_carries_the_state_on():
    family = FAMILIES["S"]
    rewards = play(Swing(), family, "", episodes=2)
    assert rewards.shape == (2, DECISIONS, 2)
    gains = np.repeat([-1.0, 1.0], EVAL_STARTS)
    env, clock = make_vector_env(family.settings, 2 * EVAL_STARTS, torque_gain=gains), iter(range(DECISIONS))

    class Clocked:
        def predict(self, observation, deterministic):
            return np.full((len(observation), 1), np.sin(0.3 * next(clock)), dtype=np.float32), None

    expected, _ = mean_returns(env, Clocked(), EVAL_STARTS)
    np.testing.assert_allclose(rewards[0].sum(axis=0), expected, rtol=1e-6)
    each = play([Swing(), Swing()], family, "", episodes=2)
    np.testing.assert_allclose(each, rewards, rtol=1e-9)
    assert not np.allclose(rewards[1], rewards[0]), "other starts"
    turned = [play(policy, family, "", flips=True) for policy in (Swing(), [Swing(), Swing()])]
    np.testing.assert_allclose(*turned, rtol=1e-9)
    assert not np.allclose(turned[0], rewards[:1])


class Remembering:
    """A policy with a window that counts how often an episode began, and what it was told to have done."""

    class Window(NamedTuple):
        action: Any

    def __init__(self):
        self.begun, self.forgotten = 0, 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.begun += bool(episode_start.all())
        self.forgotten += state is not None and bool(np.isnan(state.action).all())
        action = np.zeros((len(observation), 1), dtype=np.float32)
        return action, self.Window(action)


def test_a_window_goes_on_into_the_next_episode_without_the_way_there():
    counts = {}
    for remembers in (False, True):
        policy = Remembering()
        play(policy, FAMILIES["S"], "", episodes=3, remembers=remembers)
        counts[remembers] = policy.begun, policy.forgotten
    assert counts == {False: (3, 0), True: (1, 2)}


def test_a_training_goes_on_with_a_new_episode_after_a_fall():
    env = EndsWithAFall(worlds(FAMILIES["S"], "", 3, torque_gain=1.0))
    env.reset(options={"theta": np.array([0.0, 5.9, -7.0]), "theta_dot": np.array([0.0, 3.0, 0.0])})
    _, _, terminated, truncated, _ = env.step(np.zeros((3, 1), dtype=np.float32))
    assert truncated.tolist() == (np.abs(env.unwrapped.state[0]) > FALLEN).tolist() == [False, True, True]
    assert not terminated.any()


def test_rewards_are_evened():
    np.testing.assert_allclose(evened(np.array([0.0, -0.01, -4.0, -2_500.0])), [0.0, -0.1002, -2.08, -100.0])


def test_the_drive_can_be_held_where_the_torque_is_greater():
    described = FAMILIES["M"]
    cannot = [context for context, can in zip(described.in_range, described.holdable(described.in_range), strict=True)
              if not can]  # fmt: skip
    assert cannot == [{"torque_gain": gain, "A": drive} for gain in (-0.5, 0.5) for drive in (1.25, 1.5)]
    assert described.holdable(described.held_out).all()
    assert [(part.name, int(part.chosen.sum())) for part in parts("M")] == [
        ("in range", 14), ("in range, all", 18), ("held out", 10)
    ]  # fmt: skip
    assert [part.name for part in parts("S")] == ["in range"]


def test_numbers_in_the_observation_are_those_that_gates_would_get():
    env = worlds(FAMILIES["M"], "context", 2, **FAMILIES["M"].training(2))
    spaces = env.single_observation_space, env.single_action_space, lambda _: 1e-3
    kwargs = {"k_from": "context", "net_arch": [64, 64], "k_init": 0.0}
    numbers, gated = (cls(*spaces, **kwargs) for cls in (NumbersPolicy, KGatedPolicy))
    ours, theirs = (next(conditioned_nets(policy)) for policy in (numbers, gated))
    assert len(ours.k0) == len(theirs.k0) == 10
    assert [each.shape for each in ours.k_net.parameters()] == [each.shape for each in theirs.k_net.parameters()]
    features = torch.randn(5, 6)
    with torch.no_grad():
        x = torch.cat([features[:, :4], ours.k0 + ours.k_net(features[:, 4:])], dim=1)
        for layer in ours.layers:
            x = torch.tanh(x) if not isinstance(layer, torch.nn.Linear) else layer(x)
        torch.testing.assert_close(ours(features), x)


COSTS = {
    "blind": {"blind": (0, 0, 0)},
    "context": {"context": (1, 0, 0)},
    "history": {"history": (0, 0, 0)},
    "recurrent": {"recurrent": (0, 0, 0)},
    "signed": {"signed": (10, 0, 0), "signed-student": (10, 0, 0)},
    "numbers": {"numbers": (10, 0, 0), "numbers-student": (10, 0, 0)},
    "maml": {f"maml-{k}": (4_546 * bool(k), 3 * k, k) for k in range(6)},
    "maml-short": {f"maml-short-{k}": (4_546 * bool(k), k, k) for k in range(6)},
    "fine-tune": {"fine-tune-5": (4_546, 5, 50), "fine-tune-25": (4_546, 25, 250)},
    "retrofit": {"retrofit-one": (10, 0, 0), "retrofit-all": (10, 0, 0)},
    "retrofit-turned": {"retrofit-turned": (10, 0, 0)},
    "oracle": {"oracle": (4_546, 48, 400)},
}
"""Numbers, episodes and gradient steps in a context, by row."""


@pytest.mark.parametrize("method", COSTS)
def test_all_methods_get_the_same_steps_labels_included(method):
    budget, steps, costs = 9_600 if method == "retrofit-turned" else 2_400, {}, {}  # trying both signs takes 2,400
    for answer in answers(method, FAMILIES["S"], 3, budget):
        steps[answer.role] = answer.steps
        costs[answer.role] = answer.numbers, answer.episodes, answer.gradient_steps
        rewards = play(answer.policies, FAMILIES["S"], answer.view, remembers=answer.remembers)
        assert rewards.shape == (1, DECISIONS, 2)
        assert np.isfinite(rewards).all()
    assert costs == COSTS[method]
    assert budget - 1_200 <= max(steps.values()) <= budget
    if method in ("signed", "numbers"):
        assert steps == {method: 1_800, f"{method}-student": 2_280}


def made_up(method, seed, scores, family="S"):
    """A run of given returns: by row, episodes in all contexts."""
    flipped = [-0.1] * FLIP + [-2.0] * 10 + [-0.2] * (DECISIONS - FLIP - 10)
    made = {name: Scores(each, [-0.1] * DECISIONS, flipped, 640_000, 10, 0, 0) for name, each in scores.items()}
    spec = SinglePassSpec(method=method, seed=seed, family=family)
    return SinglePassRun(spec, SinglePassResult(made), versions(), "0123456789ab", 1.0, 1.0)


@pytest.fixture
def runs():
    found = []
    for i in range(5):
        student = [[-10.0 - i, -20.0 - i], [-5.0, -15.0]]
        found.append(made_up("signed", 100 + i, {"signed": [[-8.0, -8.0]] * 2, "signed-student": student}))
        found.append(made_up("recurrent", 100 + i, {"recurrent": [[-20.0 - i, -60.0 - i], [-100.0, -30.0]]}))
    return found


def test_what_is_read_from_runs(runs):
    rows = by_row(runs, "S")
    assert list(rows) == ["signed", "signed-student", "recurrent"]
    assert by_row(runs, "M") == {}
    (part,) = parts("S")
    np.testing.assert_array_equal(means(rows["signed-student"], part), [-15.0, -16.0, -17.0, -18.0, -19.0])
    np.testing.assert_array_equal(means(rows["signed-student"], part, 1), [-10.0] * 5)
    np.testing.assert_array_equal(best_of(rows, ["recurrent"], [100, 104], part), [-25.0, -27.0])
    ours, theirs = pairs(rows, "recurrent")
    assert list(ours) == list(theirs) == [100, 101, 102, 103, 104]


def test_tables_hold_means_worst_seeds_differences_and_the_papers_metric(runs):
    tables = {table.title.partition(": ")[2]: table for table in QUESTION.tables(runs)}
    first = {row[0]: row[1:] for row in tables["first episode"].rows}
    assert first["`signed-student`"][0].startswith("−17.0 [")
    assert first["`signed-student`"][0].endswith("; −19.0")
    assert first["`signed-student`"][1] == "−10.0 [−10.0, −10.0]; −10.0", "the second episode"
    assert first["knowing controller"][0] == "−2.0"
    against = {row[0]: row[1] for row in tables["`signed-student` less the others"].rows}
    assert against["`recurrent`"] == "+25.0 [+25.0, +25.0]"
    (metric,) = tables["the paper's metric"].rows
    improvement = np.mean([((-15.0 - i) - (-25.0 - i / 2)) / (25.0 + i / 2) * 100 for i in range(5)])
    assert metric[1].startswith(f"+{improvement:.1f} [")
    assert metric[2] == "5 of 5"
    turned = {row[0]: row[1:] for row in tables["the actuator turns around in mid-episode"].rows}
    assert [cell.split(" ")[0] for cell in turned["`recurrent`"]] == ["−2.5", "−23.0", "−20.0", "−3.0", "−1.5"]


@pytest.mark.parametrize(("shift", "tone"), [(60.0, "better"), (0.0, "worse")])
def test_the_verdict_is_on_seeds_and_not_on_their_contexts(shift, tone):
    """Contexts of a seed share its policy: there are five differences, however many contexts there are."""
    differences, found = np.array([10.0, 20.0, 30.0, 40.0, -50.0]) + shift, []
    for i, difference in enumerate(differences):
        for method, row, level in (("signed", "signed-student", -20.0), ("blind", "blind", -20.0 - difference)):
            found.append(made_up(method, 100 + i, {row: [[level] * len(FAMILIES["M"].contexts)]}, "M"))
    assert QUESTION.answer(found).tone == tone
    assert QUESTION.answer(found[2:]) is None, "too few seeds"
    tables = {table.title.rpartition(": ")[2]: table for table in QUESTION.tables(found)}
    expected = interval(paired_difference(differences, np.zeros(5), np.random.default_rng(0)), 5, signed=True)
    assert tables["`signed-student` less the others"].rows == [["`blind`", expected, expected, expected, "5"]]


def test_the_figure_draws_what_has_run(runs):
    (picture,) = QUESTION.figures(runs)
    first, turned = picture.figure.axes
    assert [line.get_label() for line in first.get_lines() if not line.get_label().startswith("_")] == [
        "signed-student", "recurrent"
    ]  # fmt: skip
    assert turned.get_title(loc="left") == f"S, the actuator turns around at {FLIP}"
    assert QUESTION.figures([]) == []


def test_runs_are_written_read_and_checked(runs, tmp_path):
    assert SinglePassRun.read(runs[0].write(tmp_path)) == runs[0]
    broken = made_up("signed", 100, {"signed": [[-8.0]]})
    with pytest.raises(ValueError, match=r"signed.returns\[0\] must have 2 entries, got 1"):
        SinglePassRun.read(broken.write(tmp_path))


def test_a_method_is_run_on_the_families_that_it_is_planned_for():
    options = parse(QUESTION, "--methods", "signed", "oracle", "--families", "M", "S", "--seeds", "2")
    specs = [(spec.seed, spec.family, spec.method) for spec in QUESTION.specifications(options)]
    assert specs == [(s, *rest) for s in (100, 101) for rest in (("M", "signed"), ("S", "signed"), ("S", "oracle"))]
    with pytest.raises(ValueError, match="family must be one of S, M, P, W; got 'X'"):
        SinglePassSpec(method="signed", seed=0, family="X")
    with pytest.raises(ValueError, match="decisions must be at least 1200, got 10"):
        SinglePassSpec(method="signed", seed=0, family="S", decisions=10)
