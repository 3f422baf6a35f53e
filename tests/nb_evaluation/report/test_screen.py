import io
import sys

import pytest
from rich.console import Console

from benchmarks.__main__ import COMMANDS, main
from nb_evaluation.report.screen import any_terminal, make_console, make_progress, show_table
from nb_evaluation.report.tables import Table


@pytest.mark.parametrize("command", COMMANDS)
def test_help_helps_and_does_nothing_else(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", command, "--help"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m benchmarks {command} [-h]")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "-1 +/- 2 -> inf ?"), ("latin-1", "-1 ± 2 -> inf ?"), ("utf-8", "−1 ± 2 → ∞ ?")],
)
def test_what_a_terminal_lacks_is_replaced(encoding, shown, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    any_terminal()
    print("−1 ± 2 → ∞ \udcff")  # the last is what Python makes of a file's name that is no UTF-8
    make_console().print("−1 ± 2 → ∞ \udcff")
    with make_progress("−", 2, 1, make_console()):
        pass
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    assert lines[:2] == [shown, shown]


NAMES = ("[/data/x]", "[bold]", "[/]", ":bomb:", "[link=x]y[/link]", "a\\[b")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_markup(name, capsys):
    console = make_console()
    console.print(name)
    show_table(Table(name, [name, "x"], [[name, name]]), console)
    with make_progress(name, 1, 0, console):
        pass
    out = capsys.readouterr().out
    assert out.count(name) == 6


def test_a_table_fits_and_says_all():
    heads = ["method", *(f"a long head number {i} [95 % CI]" for i in range(9))]
    rows = [["nb-pro-with-a-long-name", *(f"−1,234.5 [−2,345.6, +{i}]" for i in range(9))], ["other", *[""] * 8, "1"]]
    file = io.StringIO()
    show_table(Table("What", heads, rows), Console(file=file, width=80, markup=False, emoji=False))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for i in range(9):
        assert f"[−2,345.6, +{i}]".replace(" ", "\xa0") in text
    assert text.count("nb-pro-with-a-long-name") == text.count("What") > 1
