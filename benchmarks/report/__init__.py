"""The report: tables and one HTML page, made from run files alone; `python -m benchmarks report FOLDER` writes them.

`tables.py` and `wording.py` are what the questions' own scripts write with; `questions.py` says what the page shows of
each question.
"""

from benchmarks.questions.transfer.tables import COLUMNS, MAIN_COLUMNS, comparison_table, gains_table, results_table
from benchmarks.report.wording import (
    FEWEST_SEEDS,
    caption,
    conditions,
    describe_budget,
    describe_context,
    describe_seeds,
    interval,
    number,
)
from nb_evaluation.report.tables import Table, markdown_page

__all__ = [
    "COLUMNS",
    "FEWEST_SEEDS",
    "MAIN_COLUMNS",
    "Table",
    "caption",
    "comparison_table",
    "conditions",
    "describe_budget",
    "describe_context",
    "describe_seeds",
    "gains_table",
    "interval",
    "markdown_page",
    "number",
    "results_table",
]
