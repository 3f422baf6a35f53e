"""What the report makes of measured speeds: ratios, targets, and files that are missing or damaged."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from benchmarks.commands.report import DEFAULT, main
from benchmarks.speed import battery, inference, learning, maml, runtime
from benchmarks.speed import report as speed
from benchmarks.speed.rows import Target
from benchmarks.speed.tables import make_tables, median_and_range
from nb_evaluation.question import Job, Skipped
from nb_evaluation.runs.earlier import MADE_EARLIER

FILES = (
    "environments.json",
    "learning.json",
    "learning_ppo.json",
    "battery.json",
    "inference.json",
    "robots.json",
    "maml.json",
    "runtime.json",
)
MADE = {"versions": {}, "commit": "0123456789ab", "machine": {"cpu": "a CPU", "cores": 3}}


PUBLISHED = "3e163cba949be69c5ca265682ed55c4fefb5837659e9ed9e8159a0c598a9c90c"
"""Digest of all heads and cells, computed when each program wrote a file of its own form."""


@pytest.fixture
def folder(tmp_path):
    """The committed measurements, without the runs."""
    (tmp_path / "speed").mkdir()
    for name in FILES:
        shutil.copy(DEFAULT / "speed" / name, tmp_path / "speed")
    return tmp_path


def write(folder, name, *rows, **made):
    part = name.partition("_")[0].removesuffix(".json")
    content = MADE | {"part": part, "command": f"measure {part}", "rows": rows} | made
    (folder / name).write_text(json.dumps(content))


def row(table, samples, target=None, **more):
    return {"table": table, "what": "what", "unit": "s", "samples": samples, "target": target} | more


def write_pairs(folder, name, ratios, policy="NB", target=None, **made):
    write(folder, name, row("gates", {policy: [], "`MlpPolicy`": []}, target, ratios=ratios), **made)


def rows_of(folder):
    return [cells for table in make_tables(speed.read_speed(folder).runs) for cells in table.rows]


def markdown(job):
    return job.markdown(make_tables(job.runs))


def test_the_committed_page_is_what_the_committed_measurements_give():
    job = speed.read_speed(DEFAULT)
    assert isinstance(job, Job)
    assert job.skipped == []
    assert {each.name for each in job.runs} == set(FILES)
    assert markdown(job) == (DEFAULT / "speed" / "table.md").read_text()


def test_the_numbers_are_those_that_were_published_before_there_was_one_schema():
    published = [run for run in speed.read_speed(DEFAULT).runs if run.part in ("environments", "learning", "maml")]
    tables = make_tables(published)
    rows = json.dumps([[list(table.columns), table.rows] for table in tables], ensure_ascii=False)
    assert (
        hashlib.sha256(rows.encode()).hexdigest() == "3e163cba949be69c5ca265682ed55c4fefb5837659e9ed9e8159a0c598a9c90c"
    )
    closing = speed.SpeedPage().caption(published, "")
    verdict = speed.SpeedPage().answer(published)
    assert verdict[:2] == ("The medians reach 21 of 23 targets beside their peers.", "open")
    assert "Reached: 21 of 23 targets. Missed: MAML, pytorch-maml-rl, 2 × 64 tanh, all samples (1.83 [1.69," in closing


def test_the_fastest_peer_of_each_round_counts(tmp_path):
    speeds = {"ours": [8.0, 8.0, 8.0], "a peer": [1.0, 4.0, 2.0], "otherwise": [2.0, 1.0, 1.0]}
    write(tmp_path, "environments.json", row("environments", speeds, {"least": 5}))
    assert rows_of(tmp_path) == [["what", "8", "2", "4.00 [2.00, 4.00]", "3", "≥ 5", "no"]]
    text = markdown(speed.read_speed(tmp_path))
    assert "Reached: 0 of 1 targets. Missed: Environments, what (4.00 [2.00, 4.00], ≥ 5)." in text


def test_pairs_of_one_commit_and_machine_are_taken_together(tmp_path):
    write_pairs(tmp_path, "learning.json", [1.0, 1.2, 1.1], target={"most": 1.05})
    write_pairs(tmp_path, "learning_more.json", [0.9, 1.0], target={"most": 1.05})
    assert rows_of(tmp_path) == [["what", "NB", "`MlpPolicy`", "1.00 [0.90, 1.20]", "5", "≤ 1.05", "yes"]]
    text = markdown(speed.read_speed(tmp_path))
    assert "Pairs from `learning.json` and `learning_more.json` are taken together" in text
    assert "what, NB: 1.10 (3) and 0.95 (2)" in text


def test_samples_of_several_files_are_taken_together(tmp_path):
    write(tmp_path, "battery.json", row("k-sets", {"rows": [2.0, 4.0], "shared": [1.0, 1.0]}))
    write(tmp_path, "battery_more.json", row("k-sets", {"rows": [9.0], "shared": [3.0]}))
    assert rows_of(tmp_path) == [["what", "4.00 [2.00, 9.00]", "1.00 [1.00, 3.00]", "3.00 [2.00, 4.00]", "3", "", ""]]


@pytest.mark.parametrize("made", [{"commit": "other"}, {"machine": None}, {"versions": {"torch": "1"}}])
def test_pairs_of_another_commit_machine_or_version_are_left_out(tmp_path, made):
    write_pairs(tmp_path, "learning.json", [1.0])
    write_pairs(tmp_path, "learning_more.json", [9.0], **made)
    (cells,) = rows_of(tmp_path)
    assert cells[3:5] == ["1.00 [1.00, 1.00]", "1"]
    skipped = speed.read_speed(tmp_path).skipped
    (reason,) = [each.reason for each in skipped if each.name == "learning_more.json"]
    assert f"differs from learning.json in {next(iter(made))}" in reason


@pytest.mark.parametrize(
    ("target", "ratio", "shown", "reached"),
    [
        ({"most": 1.05}, 1.06, "≤ 1.05", "no"),
        ({"most": 1.05}, 0.5, "≤ 1.05", "yes"),
        (None, 0.5, "", ""),
        ({"least": 0.97, "most": 1.03}, 1.02, "0.97 to 1.03", "yes"),
        ({"least": 0.97, "most": 1.03}, 0.96, "0.97 to 1.03", "no"),
    ],
)
def test_a_target_is_reached_or_not(tmp_path, target, ratio, shown, reached):
    write_pairs(tmp_path, "learning.json", [ratio], target=target)
    (cells,) = rows_of(tmp_path)
    assert cells[-2:] == [shown, reached]


def test_targets_of_gates_k_sets_and_maml_are_those_that_were_set():
    assert (Target(most=1.05), Target(least=0.97, most=1.03)) == (learning.LEARN, learning.PREDICT)
    assert Target(most=1.03) == learning.VECTORIZED_LEARN
    assert (Target(most=50, unit="µs"), Target(most=1.25)) == (battery.SWAP, battery.PER_ROW)
    assert [network.target for network in maml.NETWORKS] == [6.0, None, 40.0]
    assert (Target(most=1.5), Target(most=1.15)) == (inference.DECISION, inference.LEARN)
    targets = (runtime.FIRST_ACTION, runtime.STEP, runtime.MEMORY)
    assert targets == (Target(most=0.25), Target(most=0.5), Target(most=0.3))
    assert Target(most=1.3) == inference.FLEET


def test_a_swap_is_judged_by_its_time_and_rows_by_their_ratio(tmp_path):
    fast, slow = ([1.0, value, 90.0] for value in (2.0, 60.0))
    swap = {"most": 50, "unit": "µs"}
    rows = [row("k-sets", {"apply": slow}, swap), row("k-sets", {"apply_frozen": fast}, swap)]
    rows += [row("k-sets", {"enter": slow}), row("k-sets", {"rows": slow, "shared": fast}, {"most": 1.25}, ratios=fast)]
    write(tmp_path, "battery.json", *(each | {"rounds": 7} for each in rows))
    shown = rows_of(tmp_path)
    assert [cells[-2:] for cells in shown] == [["≤ 50 µs", "no"], ["≤ 50 µs", "yes"], ["", ""], ["≤ 1.25", "no"]]
    assert shown[-1][1:5] == ["60.0 [1.0, 90.0]", "2.00 [1.00, 90.00]", "2.00 [1.00, 90.00]", "7"]
    assert shown[0][2:5] == ["", "", "7"]


def test_maml_beside_peers_and_over_tasks(tmp_path):
    peer, target = [8.0, 8.0, 8.0], {"least": 6.0}
    rows = [
        row("maml", {"ours": [1.0, 2.0, 1.0], "peer": peer}, target, quoted=True),
        row("maml", {"exact": [4.0, 4.0, 4.0], "peer": peer}, target),
        row("tasks", {"10": [3.0], "1": [1.0]}, {"most": 10.0}),
    ]
    write(tmp_path, "maml.json", *rows)
    first, second, over = rows_of(tmp_path)
    assert first == ["what", "1.00", "8.00 (quoted)", "8.00 [4.00, 8.00]", "3", "≥ 6", "yes"]
    assert second[-4:] == ["2.00 [2.00, 2.00]", "3", "≥ 6", "no"]
    assert over[1:] == ["3.00", "1.00", "3.00", "", "≤ 10", "yes"]


def test_the_recorded_command_is_named(tmp_path):
    write_pairs(tmp_path, "learning.json", [1.0], command="python -m benchmarks speed learning --rounds 1")
    text = markdown(speed.read_speed(tmp_path))
    assert "Measured on a CPU, 3 cores, at 0123456789ab by `python -m benchmarks speed learning --rounds 1`." in text


def test_missing_files_are_named_with_the_command_that_writes_them(folder, capsys):
    (folder / "speed" / "maml.json").unlink()
    assert main([str(folder)]) == 0
    reason = "is missing; `python -m benchmarks speed maml --out FOLDER --peers DIR` writes it"
    assert f"left out: speed/maml.json {reason}" in capsys.readouterr().err
    assert (folder / "speed" / "table.md").read_text().splitlines()[-1] == f"Left out: `maml.json` {reason}."
    page = (folder / "index.html").read_text()
    assert "<code>maml.json</code>: is missing" in page
    assert page.count("<table>") == 6
    assert "<h3>Figures</h3>" not in page


MISSING = "; ".join(f"{part}.json is missing; `{speed.command(part)}` writes it" for part in speed.PARTS)
EARLIER = ("throughput.json", "learning_speed.json", "battery_speed.json", "maml_speed.json")
OLD = json.dumps({"versions": {}, "commit": None, "machine": {}, "comparisons": []})


@pytest.mark.parametrize("name", EARLIER)
def test_files_of_an_earlier_version_are_left_out_by_name(folder, tmp_path_factory, name):
    (folder / "speed" / name).write_text(OLD)
    (skipped,) = speed.read_speed(folder).skipped
    assert skipped == (name, MADE_EARLIER)
    alone = tmp_path_factory.mktemp("alone")
    (alone / "speed").mkdir()
    (alone / "speed" / name).write_text(OLD)
    assert speed.read_speed(alone) == ("speed", f"no measurement can be reported ({name} {MADE_EARLIER}; {MISSING})")


def test_earlier_files_beside_folders_are_named_once(folder, capsys):
    for name in EARLIER:
        (folder / name).write_text(OLD)
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == sorted(f"left out: {name} {MADE_EARLIER}" for name in EARLIER)


def with_row(**changes):
    return lambda data: data | {"rows": [data["rows"][0] | changes]}


def without_a_field(data):
    return {name: value for name, value in data.items() if name != "command"}


@pytest.mark.parametrize(
    "damage",
    [
        without_a_field,
        with_row(samples={}),
        with_row(samples={"apply": []}),
        with_row(samples={"apply": [1.0], "peer": [1.0, 2.0]}),
        with_row(samples={"apply": "fast"}),
        with_row(ratios=[1.0, 0.0, 2.0]),
        with_row(ratios=[float("nan")]),
        with_row(target={"at most": 3}),
        with_row(target=5),
        with_row(table="swaps"),
        with_row(rounds="7"),
        with_row(colour="red"),
        lambda data: data | {"machine": {}},
        lambda data: data | {"rows": []},
        lambda data: data | {"rows": {}},
        lambda data: [data],
        lambda data: None,
    ],
)
def test_damaged_files_are_named_and_the_others_shown(folder, damage):
    path = folder / "speed" / "battery.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    job = speed.read_speed(folder)
    (skipped,) = job.skipped
    assert skipped.name == "battery.json"
    assert "is damaged, or none of `python -m benchmarks speed battery" in skipped.reason
    assert len(make_tables(job.runs)) == 7


@pytest.mark.parametrize("name", FILES)
def test_half_written_files_are_named(folder, name):
    path = folder / "speed" / name
    path.write_bytes(path.read_bytes()[:-40])
    (skipped,) = speed.read_speed(folder).skipped
    assert skipped.name == name
    assert str(folder) not in skipped.reason


@pytest.mark.parametrize("ours", [[], [1.0], [1.0, 2.0], [1.0, 2.0, 0.0], [[1.0]], ["x"], None])
def test_speeds_that_cannot_be_are_damage(tmp_path, ours):
    speeds = {"ours": ours, "peer": [1.0, 1.0, 1.0]}
    write(tmp_path, "environments.json", row("environments", speeds))
    assert isinstance(speed.read_speed(tmp_path), Skipped)


def test_where_every_file_is_damaged_nothing_is_overwritten(folder, capsys):
    for path in (folder / "speed").iterdir():
        path.write_bytes(b"{")
    (folder / "speed" / "table.md").write_text("mine")
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "left out: speed no measurement can be reported" in capsys.readouterr().err
    assert (folder / "speed" / "table.md").read_text() == "mine"
    assert not (folder / "index.html").exists()


def test_runs_of_an_unfinished_job_are_no_measurements(tmp_path):
    (tmp_path / "maml-seed100-0123456789ab.json").write_text("{}")
    assert speed.read_speed(tmp_path) is None


def test_a_folder_without_measurements_has_no_such_section(tmp_path):
    assert speed.read_speed(tmp_path) is None


def test_texts():
    assert median_and_range(np.array([3.0, 1.0, 2.0])) == "2.00 [1.00, 3.00]"
    assert median_and_range(np.array([30.0, 10.0])) == "20.0 [10.0, 30.0]"
    assert [Target(least=3).judge(value) for value in (2.9, 3.0)] == [("≥ 3", "no"), ("≥ 3", "yes")]
    assert [Target(most=1.25).judge(value) for value in (1.25, 1.3)] == [("≤ 1.25", "yes"), ("≤ 1.25", "no")]
