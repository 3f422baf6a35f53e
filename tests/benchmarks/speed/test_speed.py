"""What the report makes of measured speeds: ratios, targets, and files that are missing or damaged."""

import json
import shutil

import numpy as np
import pytest
from benchmarks.report.__main__ import DEFAULT, main

from benchmarks.speed import report as speed
from benchmarks.speed.tables import Target, spread
from nb_evaluation.report.jobs import Job, Skipped

FILES = ("throughput.json", "learning_speed.json", "learning_speed_ppo.json", "battery_speed.json", "maml_speed.json")
MADE = {"versions": {}, "commit": "0123456789ab", "machine": {"cpu": "a CPU", "cores": 3}}


@pytest.fixture
def folder(tmp_path):
    """The committed measurements, without the runs."""
    for name in FILES:
        shutil.copy(DEFAULT / name, tmp_path)
    return tmp_path


def write(folder, name, **figures):
    (folder / name).write_text(json.dumps(MADE | figures))


def write_pairs(folder, name, ratios, policy="NB", call="learn", **made):
    comparison = {"algorithm": "PPO", "call": call, "policy": policy, "ratios": ratios}
    write(folder, name, comparisons=[comparison], **made)


def rows_of(folder):
    return [row for table in speed.tables(speed.read_speed(folder).runs) for row in table.rows]


def markdown(job):
    return job.markdown(speed.tables(job.runs))


def test_the_committed_page_is_what_the_committed_measurements_give():
    job = speed.read_speed(DEFAULT)
    assert isinstance(job, Job)
    assert job.skipped == []
    assert {each.name for _, measured in job.runs for each in measured} == set(FILES)
    assert markdown(job) == (DEFAULT / "throughput.md").read_text()


def test_the_fastest_peer_of_each_round_counts(tmp_path):
    speeds = {"ours": [8.0, 8.0, 8.0], "a peer": [1.0, 4.0, 2.0], "otherwise": [2.0, 1.0, 1.0]}
    write(tmp_path, "throughput.json", comparisons=[{"name": "what", "target": 5, "steps_per_second": speeds}])
    assert rows_of(tmp_path) == [["what", "8", "2", "4.00 [2.00, 4.00]", "3", "≥ 5", "no"]]
    text = markdown(speed.read_speed(tmp_path))
    assert "Reached: 0 of 1 targets. Missed: Environments, what (4.00 [2.00, 4.00], ≥ 5)." in text


def test_pairs_of_one_commit_and_machine_are_taken_together(tmp_path):
    write_pairs(tmp_path, "learning_speed.json", [1.0, 1.2, 1.1])
    write_pairs(tmp_path, "learning_speed_more.json", [0.9, 1.0])
    assert rows_of(tmp_path) == [["PPO, `learn`", "NB", "`MlpPolicy`", "1.00 [0.90, 1.20]", "5", "≤ 1.05", "yes"]]
    assert "PPO, `learn`, NB: 1.10 (3) and 0.95 (2)" in markdown(speed.read_speed(tmp_path))


@pytest.mark.parametrize("made", [{"commit": "other"}, {"machine": None}, {"versions": {"torch": "1"}}])
def test_pairs_of_another_commit_machine_or_version_are_left_out(tmp_path, made):
    write_pairs(tmp_path, "learning_speed.json", [1.0])
    write_pairs(tmp_path, "learning_speed_more.json", [9.0], **made)
    (row,) = rows_of(tmp_path)
    assert row[3:5] == ["1.00 [1.00, 1.00]", "1"]
    skipped = speed.read_speed(tmp_path).skipped
    (reason,) = [each.reason for each in skipped if each.name == "learning_speed_more.json"]
    assert f"differs from learning_speed.json in {next(iter(made))}" in reason


@pytest.mark.parametrize(
    ("call", "policy", "ratio", "target", "reached"),
    [
        ("learn", "NB Pro", 1.06, "≤ 1.05", "no"),
        ("learn", "NB Pro", 0.5, "≤ 1.05", "yes"),
        ("learn", "MlpPolicy, fused Adam", 0.5, "", ""),
        ("predict", "NB Pro, folded", 1.02, "0.97 to 1.03", "yes"),
        ("predict", "NB Pro, folded", 0.96, "0.97 to 1.03", "no"),
    ],
)
def test_targets_of_gates(tmp_path, call, policy, ratio, target, reached):
    write_pairs(tmp_path, "learning_speed.json", [ratio], policy=policy, call=call)
    (row,) = rows_of(tmp_path)
    assert row[-2:] == [target, reached]


def test_a_swap_is_judged_by_its_time_and_rows_by_their_ratio(tmp_path):
    fast, slow = ({"median": value, "min": 1, "max": 90} for value in (2, 60))
    times = {"apply": slow, "apply_frozen": fast, "enter": slow, "shared": fast, "rows": slow}
    write(
        tmp_path,
        "battery_speed.json",
        batch=4,
        rounds=7,
        policies=[{"policy": "P", "microseconds": times, "ratio": fast}],
    )
    assert [row[-2:] for row in rows_of(tmp_path)] == [
        ["≤ 50 µs", "no"],
        ["≤ 50 µs", "yes"],
        ["", ""],
        ["≤ 1.25", "no"],
    ]
    assert rows_of(tmp_path)[-1][1:5] == ["60.0 [1.0, 90.0]", "2.00 [1.00, 90.00]", "2.00 [1.00, 90.00]", "7"]


def test_maml_beside_peers_and_over_tasks(tmp_path):
    seconds = {"ours": [1.0, 2.0, 1.0], "ours, all samples": [4.0, 4.0, 4.0], "peer": [8.0, 8.0, 8.0]}
    comparison = {"peer": "a peer", "hidden": 8, "activation": "tanh", "target": 6.0, "interleaved": False}
    scaling = {"10": 3.0, "1": 1.0, "2": 1.5}
    write(tmp_path, "maml_speed.json", comparisons=[comparison | {"seconds": seconds}], scaling=scaling)
    first, second, *over = rows_of(tmp_path)
    assert first == ["a peer, 2 × 8 tanh", "1.00", "8.00 (quoted)", "8.00 [4.00, 8.00]", "3", "≥ 6", "yes"]
    assert second[-4:] == ["2.00 [2.00, 2.00]", "3", "≥ 6", "no"]
    assert [row[0] for row in over] == ["2 tasks over 1", "10 tasks over 1"]
    assert over[1][1:] == ["3.00", "1.00", "3.00", "", "≤ 10", "yes"]


def test_the_recorded_command_is_told(tmp_path):
    write_pairs(tmp_path, "learning_speed.json", [1.0], command="python -m benchmarks learning-speed --pairs 1")
    text = markdown(speed.read_speed(tmp_path))
    assert "Measured on a CPU, 3 cores, at 0123456789ab by `python -m benchmarks learning-speed --pairs 1`." in text


def test_missing_files_are_named_with_the_command_that_writes_them(folder, capsys):
    (folder / "maml_speed.json").unlink()
    assert main([str(folder)]) == 0
    reason = "is missing; `python -m benchmarks maml-speed --peers DIR --out maml_speed.json` writes it"
    assert f"left out: throughput/maml_speed.json {reason}" in capsys.readouterr().err
    assert (folder / "throughput.md").read_text().splitlines()[-1] == f"Left out: `maml_speed.json` {reason}."
    page = (folder / "index.html").read_text()
    assert "<code>maml_speed.json</code>: is missing" in page
    assert page.count("<table>") == 3
    assert "<h3>Figures</h3>" not in page


def without_figures(data):
    return data | {"policies": []}


def without_a_field(data):
    return {name: value for name, value in data.items() if name != "rounds"}


def with_ratio(**ratio):
    return lambda data: data | {"policies": [data["policies"][0] | {"ratio": ratio}]}


@pytest.mark.parametrize(
    "damage",
    [
        without_figures,
        without_a_field,
        with_ratio(median=1.0, min=0.5),
        with_ratio(median=1.0, min=0.0, max=2.0),
        with_ratio(median=float("nan"), min=1.0, max=1.0),
        with_ratio(median=3.0, min=1.0, max=2.0),
        lambda data: data | {"machine": {}},
        lambda data: data | {"policies": {}},
        lambda data: [data],
        lambda data: None,
    ],
)
def test_damaged_files_are_named_and_the_others_shown(folder, damage):
    path = folder / "battery_speed.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    job = speed.read_speed(folder)
    (skipped,) = job.skipped
    assert skipped.name == "battery_speed.json"
    assert "is damaged, or none of `python -m benchmarks battery-speed" in skipped.reason
    assert len(speed.tables(job.runs)) == 4


@pytest.mark.parametrize("name", FILES)
def test_half_written_files_are_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-40])
    (skipped,) = speed.read_speed(folder).skipped
    assert skipped.name == name
    assert str(folder) not in skipped.reason


@pytest.mark.parametrize("ours", [[], [1.0], [1.0, 2.0], [1.0, 2.0, 0.0], [[1.0]], ["x"], None])
def test_speeds_that_cannot_be_are_damage(tmp_path, ours):
    speeds = {"ours": ours, "peer": [1.0, 1.0, 1.0]}
    write(tmp_path, "throughput.json", comparisons=[{"name": "what", "target": None, "steps_per_second": speeds}])
    assert isinstance(speed.read_speed(tmp_path), Skipped)


def test_where_every_file_is_damaged_nothing_is_overwritten(folder, capsys):
    for name in FILES:
        (folder / name).write_bytes(b"{")
    (folder / "throughput.md").write_text("mine")
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "left out: throughput no measurement can be reported" in capsys.readouterr().err
    assert (folder / "throughput.md").read_text() == "mine"
    assert not (folder / "index.html").exists()


def test_a_folder_without_measurements_has_no_such_section(tmp_path):
    assert speed.read_speed(tmp_path) is None


def test_texts():
    assert spread(np.array([3.0, 1.0, 2.0])) == "2.00 [1.00, 3.00]"
    assert spread(np.array([30.0, 10.0])) == "20.0 [10.0, 30.0]"
    assert Target().judge(1.0) == ("", "")
    assert [Target(least=3).judge(value) for value in (2.9, 3.0)] == [("≥ 3", "no"), ("≥ 3", "yes")]
    assert [Target(most=1.25).judge(value) for value in (1.25, 1.3)] == [("≤ 1.25", "yes"), ("≤ 1.25", "no")]
