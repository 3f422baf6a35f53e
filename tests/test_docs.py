"""What the pages in docs show is true: blocks run as printed, block after block, and tables are what they are from."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ELSEWHERE = {"guides/rl-zoo.md"}
"""Pages with a block that needs files of the zoo; `tests/benchmarks/test_rl_zoo.py` covers what it builds on."""
SHORTER = {
    "guides/meta-learning.md": {"500_000": "2_000", "steps=5)": "steps=1)"},
    "guides/paper-recipe.md": {"range(100)": "range(2)"},
}
"""Budgets that are cut short here."""
SNIPPET = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)


def blocks(page: Path) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [block for block in found if not SNIPPET.match(block)]


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


RUN = [page for page in PAGES if blocks(page) and name(page) not in ELSEWHERE]


@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(blocks(page))
    for printed, short in SHORTER.get(name(page), {}).items():
        assert printed in text
        text = text.replace(printed, short)
    names: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, page.name, "exec"), names)


def test_guides_have_blocks_that_run() -> None:
    without = {name(page) for page in PAGES if page.parent.name == "guides"} - {name(page) for page in RUN}
    assert without == {"guides/rl-zoo.md", "guides/reproduce.md"}


def tables(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """The tables of a page: heads of the columns, and the rows."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        heads, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" |")] for line in table.splitlines())
        found.append((heads, rows))
    return found


def copied_tables() -> list[Any]:
    copied = r"<!-- from (\S+) -->\n((?:^\|.*\n)+)"
    return [
        pytest.param(source, table, id=f"{name(page)}-{source.split('/')[-2]}")
        for page in PAGES
        for source, table in re.findall(copied, page.read_text(), re.MULTILINE)
    ]


@pytest.mark.parametrize(("source", "table"), copied_tables())
def test_a_table_of_results_is_a_part_of_the_committed_one(source: str, table: str) -> None:
    ((heads, rows),) = tables(table)

    def cells(row: list[str], whole: list[str]) -> list[str]:
        return [row[whole.index(head)] if whole.index(head) < len(row) else "" for head in heads]

    candidates = [
        all(row in [cells(each, whole) for each in of_source] for row in rows)
        for whole, of_source in tables((ROOT / source).read_text())
        if set(heads) <= set(whole)
    ]
    assert candidates, "no table there has these columns"
    assert any(candidates)


def test_tables_with_intervals_say_where_they_are_from() -> None:
    for page in PAGES:
        bare = re.sub(r"<!-- from \S+ -->\n(?:^\|.*\n)+", "", page.read_text(), flags=re.MULTILINE)
        assert not re.findall(r"^\|.*\d \[[−+]?\d.*$", bare, re.MULTILINE), name(page)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_or_shows_exists(page: Path) -> None:
    text = page.read_text()
    links = [
        page.parent / link
        for link in re.findall(r"\]\((?![a-z]+:)([^)#]+)", re.sub(r"```.*?```", "", text, flags=re.S))
    ]
    assert [path for path in [*links, *(ROOT / shown for shown in SNIPPET.findall(text))] if not path.exists()] == []


def test_every_page_stands_in_the_site() -> None:
    class Loader(yaml.SafeLoader):
        """Passes over tags that only MkDocs knows."""

    Loader.add_multi_constructor("", lambda *_: None)
    nav = re.findall(r"[\w/-]+\.md", str(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]))
    assert {name(page) for page in PAGES} <= set(nav)
    assert len(nav) == len(set(nav))
