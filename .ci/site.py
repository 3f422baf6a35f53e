"""What the documentation's site shows of files outside `docs`: the README, the changelog, and the committed results.

MkDocs calls these hooks. Pages link to such files as they lie in the repository, so that the links work there too;
here they are turned into links inside the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing/rules.md"}
"""Where pages of the root stand in the site."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root, every table of results as a page, and the figures."""
    for name, uri in PAGES.items():
        if not files.get_file_from_path(uri):
            files.append(File.generated(config, uri, content=in_site((ROOT / name).read_text(), "", uri)))
    for path in sorted(RESULTS.rglob("*")):
        uri = f"results/{path.relative_to(RESULTS).as_posix()}"
        if path.suffix == ".md":
            title = path.parent.name if path.stem == "table" else path.stem
            unsearched = "---\nhide: [toc]\nsearch: {exclude: true}\n---\n"
            files.append(File.generated(config, uri, content=f"{unsearched}# {title}\n\n{path.read_text()}"))
        elif path.suffix in (".gif", ".png"):
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn a page's links to files outside `docs` into links inside the site."""
    uri = page.file.src_uri
    return markdown if page.file.generated_by else in_site(markdown, "docs/", uri)


def in_site(markdown: str, folder: str, uri: str) -> str:
    """The page with its relative links rewritten; a link to what the site does not show becomes plain text.

    Args:
        markdown: The page's text.
        folder: Where the page's links start in the repository, "docs/" or "" for the root.
        uri: The page's place in the site.
    """
    base = (ROOT / folder / uri).parent if folder else ROOT
    up = "../" * uri.count("/")

    def rewrite(link: re.Match[str]) -> str:
        mark, text, target, anchor = link.groups(default="")
        path = (base / target).resolve()
        if path.is_relative_to(ROOT / "docs") and path.suffix:
            return f"{mark}[{text}]({up}{path.relative_to(ROOT / 'docs').as_posix()}{anchor})"
        if path.is_relative_to(RESULTS) and path.suffix:
            return f"{mark}[{text}]({up}results/{path.relative_to(RESULTS).as_posix()}{anchor})"
        name = path.relative_to(ROOT).as_posix()
        return f"{mark}[{text}]({up}{PAGES[name]}{anchor})" if name in PAGES else text

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)", rewrite, markdown)
