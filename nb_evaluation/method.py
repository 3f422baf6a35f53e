"""What tables, figures and command lines have to know of a method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

REFERENCE_PANEL = "*"
"""The panel of a method that is drawn in every panel, to compare across them."""

FEW = 6
"""Number of methods that fit into one panel."""


class Style(NamedTuple):
    """How a method is drawn; line and marker distinguish methods in print without colour.

    Attributes:
        colour: A colour of Okabe and Ito's palette, which the colour-blind can distinguish.
        line: Line style of matplotlib.
        marker: Marker of matplotlib.
    """

    colour: str
    line: str | tuple[int, tuple[float, ...]]
    marker: str


BLACK = Style("#000000", "-", "o")
"""Of methods that are drawn by themselves, or not at all."""

DENSE = (0, (4.0, 1.0, 1.0, 1.0, 1.0, 1.0))
"""A line style: a dash and two dots, close to each other."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """A method as tables, figures and command lines show it.

    Attributes:
        summary: What the method does, in a few words.
        row: Place among the rows of a table; they rise.
        style: How the method is drawn.
        panel: Title of the panel of figures with many lines that the method is drawn in, or `REFERENCE_PANEL`.
    """

    summary: str
    row: int = 0
    style: Style = BLACK
    panel: str = ""


def panels(names: Iterable[str], methods: Mapping[str, Described]) -> dict[str, list[str]]:
    """Which methods go into which panel, by the panel's title; the title of a single one is empty."""
    wanted = set(names)
    present = [name for name in methods if name in wanted]
    if len(present) <= FEW:
        return {"": present}
    reference = [name for name in present if methods[name].panel == REFERENCE_PANEL]
    titles = dict.fromkeys(methods[name].panel for name in present if name not in reference)
    return {title: reference + [name for name in present if methods[name].panel == title] for title in titles}
