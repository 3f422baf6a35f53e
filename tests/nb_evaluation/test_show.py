"""A look into a folder of runs, whatever question they answer."""

import json
import lzma
import shutil
from dataclasses import replace

import pytest

from nb_evaluation.runs.earlier import MADE_EARLIER
from nb_evaluation.runs.folder import PACK, pack, write_job
from nb_evaluation.show import main


@pytest.fixture
def runs(made_up_run, tmp_path):
    runs = [made_up_run(method=method, seed=seed, wall_seconds=7.0) for method in ("nb", "nb-k") for seed in (100, 101)]
    for run in runs:
        run.write(tmp_path)
    return runs


def shown(capsys, *arguments):
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys, *arguments):
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, arguments)])
    return " ".join(capsys.readouterr().err.split())


def test_runs_are_listed_under_names_of_the_columns(runs, tmp_path, capsys):
    head, *lines = shown(capsys, tmp_path)
    assert head.split() == ["method", "seed", "digest", "seconds", "commit"]
    listed = [[run.spec.method, str(run.spec.seed), run.spec.digest, "7.0", "0123456789ab"] for run in runs]
    assert sorted(line.split() for line in lines) == sorted(listed)
    assert lines[0].index("0123456789ab") == head.index("commit")
    assert len(shown(capsys, tmp_path, "nb-k")) == 3


def test_a_run_that_is_packed_and_loose_is_listed_once(runs, tmp_path, capsys):
    pack(tmp_path)
    replace(runs[0], wall_seconds=9.0).write(tmp_path)
    lines = shown(capsys, tmp_path)
    assert len(lines) == 1 + len(runs)
    assert sum(" 9.0 " in line for line in lines) == 1


def test_of_one_run_a_summary_is_shown_and_all_of_it_where_asked(runs, tmp_path, capsys):
    lines = shown(capsys, tmp_path, runs[0].spec.digest[:6])
    cells = dict(line.split(maxsplit=1) for line in lines[3:-2])
    assert cells["spec.method"] == "nb"
    assert (cells["spec.source.A"], cells["spec.target.A"]) == ("1", "1.8")
    assert cells["summary.final"] == "-10"
    assert cells["summary.steps"] == "6000"
    assert cells["cpu_seconds"] == "1"
    assert cells["result.curve.target"] == "-4000, -900, -300, -10"
    assert cells["result.torques_after"] == "50 numbers, from 0.5 to 0.5"
    assert cells["result.landscape_after.over_drive_and_gain"].endswith(" lists")
    assert len(lines) < 80
    whole = "\n".join(shown(capsys, tmp_path, "nb", "100", "--all")[2:])
    data = json.loads(runs[0].to_line())
    data.pop("sha256")
    assert json.loads(whole) == data


def test_a_folder_of_folders_lists_them(made_up_run, tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made_up_run().write(tmp_path / name)
        write_job(tmp_path / name, "transfer", "command")
    (tmp_path / "navigation.json").write_text("{}")
    head, *lines = shown(capsys, tmp_path)
    assert head == f"{tmp_path} holds folders of runs; name one of them:"
    assert [line.strip() for line in lines] == [str(tmp_path / name) for name in ("one", "two")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"anything": 1}, "stray.json is not a run (it has no spec, result, versions, commit, "),
        ([], "stray.json is not a run (an object was expected, not list)"),
        ({"versions": {}, "commit": None, "row": "untrained"}, f"stray.json {MADE_EARLIER}"),
        ({"versions": {}, "commit": None, "part": "maml", "rows": []}, "stray.json is not a run (it has no spec, "),
        (None, "stray.json is a folder, where a file of runs should be"),
    ],
)
def test_what_is_no_run_is_named_and_not_to_be_removed(runs, tmp_path, capsys, content, message):
    path = tmp_path / "stray.json"
    path.mkdir() if content is None else path.write_text(json.dumps(content))
    text = refused(capsys, tmp_path)
    assert message in text
    assert "remove it" not in text
    assert "choose another folder" in text


def test_a_damaged_run_is_named_by_its_line(runs, tmp_path, capsys):
    pack(tmp_path)
    lines = lzma.decompress((tmp_path / PACK).read_bytes()).splitlines()
    lines[2] = lines[2].replace(b"-900.0", b"-800.0", 1)
    (tmp_path / PACK).write_bytes(lzma.compress(b"\n".join(lines)))
    assert f"line 3 of {PACK} is not a run, or a damaged one" in refused(capsys, tmp_path)


def test_a_folder_in_the_place_of_the_packed_file(runs, tmp_path, capsys):
    (tmp_path / PACK).mkdir()
    assert f"{PACK} is a folder, where a file of runs should be" in refused(capsys, tmp_path)


def test_where_nothing_is_found(runs, tmp_path, capsys):
    assert main([str(tmp_path), "maml"]) == 1
    assert capsys.readouterr().err == f"{tmp_path} holds no such run\n"
    shutil.rmtree(tmp_path)
    assert "is not a folder" in refused(capsys, tmp_path)
