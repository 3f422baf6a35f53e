import json
import re
import subprocess
from dataclasses import replace

import pytest

from benchmarks.protocol.run import Run
from nb_evaluation.files import write_atomically
from nb_evaluation.runs.folder import JOB_FILE, read_runs, write_job
from nb_evaluation.runs.provenance import commit, versions, write_measurement
from nb_evaluation.seal import unseal


def test_a_run_file_tells_the_run(made_up_run, tmp_path):
    run = made_up_run()
    path = run.write(tmp_path)
    assert path.name == f"{run.spec.name}.json"
    assert Run.read(path) == run
    data = json.loads(path.read_text())
    assert data["digest"] == run.spec.digest
    assert data["summary"]["final"] == -10.0
    assert set(data["versions"]) == {"python", "neural-battery", "gymnasium", "stable-baselines3", "torch", "numpy"}


def test_read_runs(made_up_run, tmp_path):
    runs = [made_up_run(seed=seed) for seed in (0, 1)]
    for run in runs:
        run.write(tmp_path)
    assert read_runs(tmp_path, Run, runs[0].spec.shared) == {run.spec.name: run for run in runs}
    assert read_runs(tmp_path / "nowhere", Run, runs[0].spec.shared) == {}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"spec": {}}'])
def test_damaged_files_are_named_and_kept(made_up_run, tmp_path, damage):
    path = made_up_run().write(tmp_path)
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=f"{path.name} is not a run"):
        read_runs(tmp_path, Run, made_up_run().spec.shared)
    assert path.read_bytes() == damage


def test_half_a_file_is_damaged(made_up_run, tmp_path):
    path = made_up_run().write(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="damaged"):
        Run.read(path)


def test_a_run_of_another_specification_is_refused(made_up_run, tmp_path):
    run = made_up_run(target={"A": 1.8})
    run.write(tmp_path)
    wanted = replace(run.spec, target={"A": 1.5, "b": 0.1}, transfer_episodes=6)
    with pytest.raises(ValueError, match="holds runs of another specification") as caught:
        read_runs(tmp_path, Run, wanted.shared)
    message = str(caught.value)
    assert "target.A is 1.8 there and 1.5 here" in message
    assert "target.b is None there and 0.1 here" in message
    assert "transfer_episodes is 4 there and 6 here" in message
    assert "Choose another output folder" in message


def test_a_run_of_other_versions_is_refused(made_up_run, tmp_path):
    run = replace(made_up_run(), versions=versions() | {"torch": "1.0"})
    run.write(tmp_path)
    with pytest.raises(ValueError, match=r"version of torch is 1.0 there and"):
        read_runs(tmp_path, Run, run.spec.shared)


def old(path):
    """A run file's data as from before there were digests."""
    data = json.loads(path.read_bytes())
    del data["sha256"]
    return data


def test_a_file_of_another_specification_than_it_says_is_refused(made_up_run, tmp_path):
    path = made_up_run(seed=3).write(tmp_path)
    data = old(path)
    data["spec"]["seed"] = 4
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="another version of the code"):
        Run.read(path)


def test_any_changed_digit_is_noticed(made_up_run, tmp_path):
    path = made_up_run(seed=3).write(tmp_path)
    text = path.read_text()
    digits = [i for i, character in enumerate(text) if character.isdigit()]
    for i in digits[:: len(digits) // 60]:
        path.write_text(text[:i] + str(9 - int(text[i])) + text[i + 1 :])
        with pytest.raises(ValueError, match="is not a run, or a damaged one"):
            Run.read(path)
    path.write_text(text.replace('"sha256"', '"sha255"'))
    with pytest.raises(ValueError, match=r"it holds \['sha255', 'summary'\], and not \['summary'\]"):
        Run.read(path)


def test_a_file_from_before_there_were_digests_is_read(made_up_run, tmp_path):
    run = made_up_run()
    path = run.write(tmp_path)
    path.write_text(json.dumps(old(path)))
    assert Run.read(path) == run


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("result", "curve", "steps"), [0, 2000, 4000], "curve.source must have 3 entries, got 4"),
        (("result", "curve", "target"), [-1.0, -1.0, -1.0], "curve.target must have 4 entries, got 3"),
        (("result", "curve", "target"), "abcd", r"curve.target must be list"),
        (("result", "curve", "target"), [1.0, 1.0, 1.0, None], r"curve.target\[3\] must be finite float, got None"),
        (("result", "curve", "target"), [1.0, 1.0, 1.0, float("inf")], r"target\[3\] must be finite float, got inf"),
        (("result", "curve", "steps"), [0, 4000, 2000, 6000], "curve.steps must rise"),
        (("result", "curve", "steps"), [0.5, 1.5, 2.5, 3.5], r"steps\[0\] must be int, got 0.5"),
        (("result", "torques_after"), [0.0] * 49, "torques_after must have 50 entries, got 49"),
        (("result", "numbers_adapted"), True, "numbers_adapted must be int, got True"),
        (("result", "landscape_after", "over_drive"), [], "over_drive must have 31 entries, got 0"),
        (("result", "landscape_before"), 0, "landscape_before|mapping"),
        (("result", "k_sets"), [[1.0]], "k_sets must have 2 entries, got 1"),
        (("result", "source_restored"), "-50", "source_restored must be float"),
        (("versions",), ["torch"], "versions must be dict"),
        (("versions", "torch"), 2, r"versions\['torch'\] must be str, got 2"),
        (("wall_seconds",), None, "wall_seconds must be finite float, got None"),
        (("commit",), 7, "commit must be str"),
        (("spec", "settings"), [], "argument after|mapping"),
        (("spec", "settings", "frame_skip"), "20", "TypeError"),
    ],
)
def test_half_valid_files_are_named_with_what_is_wrong(made_up_run, tmp_path, where, value, message):
    path = made_up_run().write(tmp_path)
    data = old(path)
    part = data
    for name in where[:-1]:
        part = part[name]
    part[where[-1]] = value
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message) as caught:
        Run.read(path)
    assert str(caught.value).startswith(f"{path} is not a run, or a damaged one (")


def test_a_file_under_another_name_is_refused(made_up_run, tmp_path):
    run = made_up_run()
    path = run.write(tmp_path).rename(tmp_path / "copy.json")
    with pytest.raises(ValueError, match=f"copy.json holds the run {run.spec.name}"):
        Run.read(path)


def test_measurements_tell_what_they_depend_on(tmp_path):
    write_measurement(tmp_path / "figures.json", tmp_path, speeds=[1.5])
    report = unseal((tmp_path / "figures.json").read_bytes())
    assert set(report) == {"versions", "commit", "machine", "speeds"}
    assert report["machine"]["cpu"]
    assert report["machine"]["cores"] >= 1


def test_numbers_that_json_lacks_are_refused(made_up_run, tmp_path):
    with pytest.raises(ValueError, match="must be finite"):
        made_up_run(final=float("nan")).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_atomic_writing_leaves_the_old_file_or_the_new(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_names_every_command_that_filled_it(tmp_path):
    def commands():
        return json.loads((tmp_path / JOB_FILE).read_text())["command"]

    for command in ("python a --seeds 5", "python a --seeds 10", "python a --seeds 5"):
        write_job(tmp_path, "transfer", command)
    assert commands() == "python a --seeds 5 && python a --seeds 10"
    write_job(tmp_path, "ablation", "python b")
    assert commands() == "python b"
    (tmp_path / JOB_FILE).write_text('{"question": "abla')
    write_job(tmp_path, "ablation", "python c")
    assert commands() == "python c"


def test_commit_is_none_outside_a_repository(tmp_path):
    assert commit(tmp_path) is None
    assert commit(tmp_path / "script.py") is None
    assert commit(None) is None


def test_commit_is_dirty_where_code_has_changed_but_not_where_results_have(tmp_path):
    files = [tmp_path / "benchmarks/records.py", tmp_path / "benchmarks/results/job.json", tmp_path / "nb_gym.py"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    code = tmp_path / "benchmarks"
    head = commit(code)
    assert re.fullmatch("[0-9a-f]{12}", head)
    files[1].write_text("more")
    assert commit(code) == commit(files[0]) == head
    files[2].write_text("more")
    assert commit(code) == f"{head}-dirty"
    installed = tmp_path / "env" / "site-packages" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert commit(installed) is None, "an environment in a user's repository is not of its commit"
