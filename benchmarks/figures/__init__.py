"""Figures, made from finished runs alone.

`style.py` is what all of them share; each other file draws one kind.
"""

from benchmarks.questions.transfer.curves import save_curves
from benchmarks.questions.transfer.replay import save_before_and_after
from benchmarks.report.style import GROUPS, STYLES, Picture, panels, svg

__all__ = ["GROUPS", "STYLES", "Picture", "panels", "save_before_and_after", "save_curves", "svg"]
