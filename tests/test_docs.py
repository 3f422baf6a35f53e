"""What the pages in docs show runs as it is printed, block after block."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
SHORTER = {
    "gates.md": {},
    "maml.md": {"500_000": "2_000", "steps=5)": "steps=1)"},
    "recipe.md": {"range(100)": "range(2)"},
}
"""The pages whose blocks run, and which of their budgets are cut short here."""


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", SHORTER)
def test_the_blocks_of_a_page_run_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(blocks(page))
    for printed, short in SHORTER[page].items():
        assert printed in text
        text = text.replace(printed, short)
    names: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, page, "exec"), names)


def test_pages_with_code_are_run() -> None:
    with_code = {page.name for page in DOCS.glob("*.md") if blocks(page.name)}
    assert with_code - set(SHORTER) == {"rl_zoo.md"}, "that one runs in tests/benchmarks/test_rl_zoo.py"
