"""The report as one HTML page that needs nothing else: no network, figures inside, one small script of its own.

It reads from the top: a verdict for each question, the figure that shows the first, a bar of contents, and then each
question with its tables and figures folded away.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from nb_evaluation.question import Job, Skipped
from nb_evaluation.report.appearance import SCRIPT, STYLE
from nb_evaluation.report.style import Picture, svg
from nb_evaluation.report.tables import Table, inline_html
from nb_evaluation.report.verdict import TONES, Verdict
from nb_evaluation.report.wording import INTERVALS

TITLE = "Neural Battery: what was measured"

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src"
    f" 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
)
"""Holds the browser to it that the page loads nothing and runs no script but its own."""

MADE = "How this was made"


class Section(NamedTuple):
    """What the page shows of a job, all of it made.

    Attributes:
        job: The folder of runs.
        verdict: What the runs say; None where they do not.
        tables: All tables.
        pictures: All figures; the first shows the verdict.
    """

    job: Job
    verdict: Verdict | None
    tables: Sequence[Table]
    pictures: Sequence[Picture]

    @property
    def markdown(self) -> str:
        """The contents of the job's file."""
        return self.job.markdown(self.tables)

    @property
    def head(self) -> str:
        """The question, and the folder that answers it."""
        return f"{self.job.question.title} ({self.job.name})"

    @property
    def anchor(self) -> str:
        """An anchor: what the folder's name has beyond letters, digits and dashes is left out."""
        return "job-" + re.sub(r"[^A-Za-z0-9-]+", "-", self.job.name)


def make_section(job: Job) -> Section:
    """Make a job's tables and figures."""
    question, runs = job.question, job.runs
    return Section(job, question.answer(runs), question.tables(runs), question.figures(runs))


def html_page(sections: Sequence[Section], skipped: Sequence[Skipped]) -> str:
    """The whole page; the same sections give the same text."""
    drawn = [section for section in sections if section.pictures]
    shown = next((section for section in drawn if section.verdict), drawn[0] if drawn else None)
    first = _figure(shown, 0) if shown else ""
    body = "\n".join(_section(section, at_the_top=section is shown) for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon, or else the browser asks the server for one.
        '<link rel="icon" href="data:,">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(TITLE)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>{html.escape(TITLE)}</h1>\n{_verdicts(sections)}{first}\n</header>\n"
        f"{_contents(sections, skipped)}\n<main>\n{body}\n{_left_out(skipped)}</main>\n"
        f"<footer>\n<p>This page is made from the runs alone. {inline_html(INTERVALS)}</p>\n"
        f"</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _verdicts(sections: Sequence[Section]) -> str:
    """One sentence for each question that has an answer."""
    items = [
        f'<li class="{section.verdict.tone}"><a class="question" href="#{section.anchor}">{inline_html(section.head)}'
        f"</a>{_sentence(section.verdict)}</li>\n"
        for section in sections
        if section.verdict
    ]
    return f'<ul class="verdicts">\n{"".join(items)}</ul>\n' if items else ""


def _sentence(verdict: Verdict) -> str:
    return f'<span class="tone">{TONES[verdict.tone]}</span>{inline_html(verdict.text)}'


def _contents(sections: Sequence[Section], skipped: Sequence[Skipped]) -> str:
    """The bar of contents."""
    links = [(section.anchor, section.job.name) for section in sections]
    links += [("left-out", "folders left out")] if skipped else []
    items = "".join(f'<li><a href="#{anchor}">{html.escape(name)}</a></li>' for anchor, name in links)
    # A bar that scrolls must be reachable without a mouse.
    return f'<nav aria-label="Contents">\n<ul tabindex="0">{items}</ul>\n</nav>'


def _section(section: Section, *, at_the_top: bool) -> str:
    """A question: verdict, figure and what is folded away.

    Args:
        section: What there is to show.
        at_the_top: Whether its first figure already stands above the contents.
    """
    head = f'<section class="job" aria-labelledby="{section.anchor}">\n'
    parts = [f'{head}<h2 id="{section.anchor}">{inline_html(section.head)}</h2>']
    if section.verdict:
        parts.append(f'<p class="verdict {section.verdict.tone}">{_sentence(section.verdict)}</p>')
    if at_the_top:
        parts.append(f'<p><a href="#{section.anchor}-figure-1">The figure stands at the top of the page.</a></p>')
    elif section.pictures:
        parts.append(_figure(section, 0))
    more = section.verdict.more if section.verdict else ""
    parts.append(_made(more, section.job.caption, title="The numbers, and how they were made" if more else MADE))
    if section.job.skipped:
        parts.append("<p>Left out of this folder:</p>\n" + _list(section.job.skipped))
    if not section.tables:
        parts.append("<p>The runs give no table yet.</p>")
    parts += [_table(section, i) for i in range(len(section.tables))]
    for i, picture in enumerate(section.pictures[1:], start=1):
        parts.append(_folded(f"{section.anchor}-figure-{i + 1}-fold", f"Figure: {picture.title}", _figure(section, i)))
    return "\n".join([*parts, "</section>"])


def _folded(anchor: str, title: str, body: str) -> str:
    """Something under a heading that opens it."""
    link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this">#</a>'
    return f'<details id="{anchor}">\n<summary><h3>{inline_html(title)}</h3>{link}</summary>\n{body}\n</details>'


def _made(*paragraphs: str, title: str = MADE) -> str:
    text = "".join(f"<p>{inline_html(paragraph)}</p>" for paragraph in paragraphs if paragraph)
    return f'<details class="made"><summary>{title}</summary>{text}</details>'


def _table(section: Section, i: int) -> str:
    # A box that scrolls must be reachable without a mouse.
    table = section.tables[i]
    label = html.escape(re.sub("[`*]", "", table.title), quote=True)
    box = f'<div class="wide" role="region" tabindex="0" aria-label="{label}">\n{table.html()}</div>'
    note = f'\n<p class="note">{inline_html(table.note)}</p>' if table.note else ""
    return _folded(f"{section.anchor}-table-{i + 1}", f"Table: {table.title}", box + note)


def _figure(section: Section, i: int) -> str:
    picture = section.pictures[i]
    source = "data:image/svg+xml;base64," + base64.b64encode(svg(picture.figure)).decode()
    return (
        f'<figure id="{section.anchor}-figure-{i + 1}">\n'
        f'<img src="{source}" alt="{html.escape(picture.alt, quote=True)}">\n'
        f"<figcaption><strong>{inline_html(picture.title)}.</strong>"
        f" {_made(picture.note, section.job.caption)}</figcaption>\n</figure>"
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
