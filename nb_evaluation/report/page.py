"""The report as one HTML page that needs nothing else: no network, no script, figures inside."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from nb_evaluation.report.jobs import Job, Skipped
from nb_evaluation.report.style import Picture, svg
from nb_evaluation.report.tables import Table, inline_html
from nb_evaluation.report.wording import INTERVALS

TITLE = "Neural Battery: what was measured"

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Holds the browser to it that the page loads nothing."""

STYLE = """\
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 76rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 2.2em 0 .6em; }
h1 { margin-top: 0; }
p { max-width: 60rem; }
a { color: #00508a; }
code { font-size: .92em; background: #f2f2f2; padding: 0 .2em; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4em 0; }
th, td { padding: .25em .6em; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { border-bottom: 2px solid #111; vertical-align: bottom; }
tr > :first-child { text-align: left; white-space: nowrap; }
td { white-space: nowrap; }
.wide { overflow-x: auto; margin: 1.6em 0 .4em; }
.wide:focus-visible { outline: 2px solid #00508a; }
figure { margin: 2.4em 0; }
figure img { max-width: 100%; height: auto; }
figcaption, .note { font-size: .84rem; color: #333; max-width: 54rem; }
figcaption .made { display: block; margin-top: .3em; color: #555; }
nav ul { padding-left: 1.2em; }
@media print {
  body { max-width: none; margin: 0; font-size: 10pt; }
  nav a, a { color: inherit; text-decoration: none; }
  section.job { break-before: page; }
  figure, tr { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .15em .3em; }
  td { white-space: normal; }
}
"""


class Section(NamedTuple):
    """What the page shows of a job, all of it made."""

    job: Job
    answer: str
    tables: Sequence[Table]
    pictures: Sequence[Picture]

    @property
    def markdown(self) -> str:
        """The contents of the job's file."""
        return self.job.markdown(self.tables)


def make_section(job: Job) -> Section:
    """Make a job's tables and figures."""
    question, runs = job.question, job.runs
    return Section(job, question.answer(runs), question.tables(runs), question.figures(runs))


def html_page(sections: Sequence[Section], skipped: Sequence[Skipped]) -> str:
    """The whole page; the same sections give the same text."""
    answers = "".join(f"<p><strong>{inline_html(each.answer)}</strong></p>\n" for each in sections if each.answer)
    body = "\n".join(_section(section) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon, or else the browser asks the server for one.
        '<link rel="icon" href="data:,">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(TITLE)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>{html.escape(TITLE)}</h1>\n{answers}"
        f"<p>Made from the run files alone. {inline_html(INTERVALS)}</p>\n</header>\n"
        f"{_contents(sections, skipped)}\n<main>\n{body}\n{_left_out(skipped)}</main>\n</body>\n</html>\n"
    )


def _contents(sections: Sequence[Section], skipped: Sequence[Skipped]) -> str:
    """The list of contents, a level for the jobs and one for what they show."""
    items = []
    for section in sections:
        name = section.job.name
        parts = [(_table_id(name, i), table.title) for i, table in enumerate(section.tables)]
        parts += [(_picture_id(name, i), picture.title) for i, picture in enumerate(section.pictures)]
        inner = "".join(f'<li><a href="#{anchor}">{inline_html(title)}</a></li>' for anchor, title in parts)
        items.append(f'<li><a href="#{_id(name)}">{inline_html(_head(section))}</a>\n<ul>{inner}</ul></li>')
    if skipped:
        items.append('<li><a href="#left-out">Folders left out</a></li>')
    return (
        '<nav aria-labelledby="contents">\n<h2 id="contents">Contents</h2>\n<ul>' + "\n".join(items) + "</ul>\n</nav>"
    )


def _section(section: Section) -> str:
    name = section.job.name
    caption = inline_html(section.job.caption)
    parts = [
        f'<section class="job" aria-labelledby="{_id(name)}">\n<h2 id="{_id(name)}">{inline_html(_head(section))}</h2>',
        f"<p>{caption}</p>",
    ]
    if section.job.skipped:
        parts.append("<p>Left out of this folder:</p>\n" + _list(section.job.skipped))
    parts.append("<h3>Tables</h3>" if section.tables else "<p>The runs give no table yet.</p>")
    parts += [_table(table, _table_id(name, i)) for i, table in enumerate(section.tables)]
    if section.pictures:
        parts.append("<h3>Figures</h3>")
    made = f'<span class="made">{caption}</span>'
    parts += [_figure(picture, _picture_id(name, i), made) for i, picture in enumerate(section.pictures)]
    return "\n".join([*parts, "</section>"])


def _table(table: Table, anchor: str) -> str:
    # A box that scrolls must be reachable without a mouse.
    label = html.escape(re.sub("[`*]", "", table.title), quote=True)
    box = f'<div class="wide" id="{anchor}" role="region" tabindex="0" aria-label="{label}">\n{table.html()}</div>'
    return box + (f'\n<p class="note">{inline_html(table.note)}</p>' if table.note else "")


def _figure(picture: Picture, anchor: str, made: str) -> str:
    source = "data:image/svg+xml;base64," + base64.b64encode(svg(picture.figure)).decode()
    text = f"<strong>{inline_html(picture.title)}.</strong> {inline_html(picture.note)} {made}"
    return (
        f'<figure id="{anchor}">\n<img src="{source}" alt="{html.escape(picture.alt, quote=True)}">\n'
        f"<figcaption>{text}</figcaption>\n</figure>"
    )


def _left_out(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return ""
    return (
        f'<section aria-labelledby="left-out">\n<h2 id="left-out">Folders left out</h2>\n{_list(skipped)}</section>\n'
    )


def _list(skipped: Sequence[Skipped]) -> str:
    items = "".join(f"<li><code>{html.escape(each.name)}</code>: {inline_html(each.reason)}</li>\n" for each in skipped)
    return f"<ul>\n{items}</ul>\n"


def _head(section: Section) -> str:
    return f"{section.job.question.title} ({section.job.name})"


def _id(name: str) -> str:
    """An anchor: what the folder's name has beyond letters, digits and dashes is left out."""
    return "job-" + re.sub(r"[^A-Za-z0-9-]+", "-", name)


def _table_id(name: str, i: int) -> str:
    return f"{_id(name)}-table-{i + 1}"


def _picture_id(name: str, i: int) -> str:
    return f"{_id(name)}-figure-{i + 1}"
