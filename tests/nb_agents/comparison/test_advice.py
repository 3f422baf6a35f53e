"""The sentence of advice and the tables, of runs that are made up."""

from __future__ import annotations

from nb_agents.comparison.question import QUESTION
from nb_agents.comparison.specification import ComparisonResult, ComparisonRun, ComparisonSpec, Row
from nb_evaluation.runs.provenance import versions


def made_up(method: str, seed: int, end: float, numbers: int) -> ComparisonRun:
    row = Row([0, 1_024], [-3.0, end], -0.1, -2.0, -0.1 if method.endswith("-k") else None, numbers)
    spec = ComparisonSpec(
        method=method, seed=seed, env="Pendulum-v1", target={"g": 14.0}, source_steps=2_048, steps=1_024
    )
    return ComparisonRun(spec, ComparisonResult({method: row}), versions(), None, 1.0, 1.0)


def test_the_advice_names_the_fewest_numbers_that_cannot_be_told_from_the_best() -> None:
    seeds = range(100, 106)
    best = [made_up("fine-tune", seed, -1.0 + 0.01 * (seed % 3), 4_000) for seed in seeds]
    behind = [made_up("head", seed, -2.0, 65) for seed in seeds]
    verdict = QUESTION.answer([*best, *behind])
    assert verdict.text.startswith("Adapt `fine-tune`: +1.01 [+1.00, +1.02] over `head` after 1,024 steps, and +2.01 [")
    assert verdict.tone == "worse"
    alike = [made_up("nb-pro-k", seed, -1.0 + 0.02 * ((seed + 1) % 3), 10) for seed in seeds]
    verdict = QUESTION.answer([*best, *behind, *alike])
    assert verdict.text.startswith("Adapt `nb-pro-k`: ")
    assert verdict.tone == "better"
    assert QUESTION.answer(best) is None
    assert QUESTION.answer([*best[:3], *behind[:3]]).tone == "open"
    tables = {
        table.title: {row[0]: row[1:] for row in table.rows} for table in QUESTION.tables([*best, *behind, *alike])
    }
    assert tables["Above `fine-tune`"]["`head`"][0] == "−1.01 [−1.02, −1.00]"
    assert tables["Returns on the target"]["`nb-pro-k`"][2:] == ["10", "40", "6"]
    assert tables["What is kept of the source"]["`nb-pro-k`"][2] == "equal in 6 of 6"
    (picture,) = QUESTION.figures([*best, *behind])
    assert [line.get_label() for line in picture.figure.axes[0].get_lines()] == ["fine-tune", "head"]


def test_the_advice_is_to_begin_anew_or_to_adapt_nothing_where_that_is_so() -> None:
    seeds = range(100, 106)
    tuned = [made_up("fine-tune", seed, -1.0, 4_000) for seed in seeds]
    tie = [made_up("head", seed, -1.0, 65) for seed in seeds]
    assert QUESTION.answer([*tuned, *tie]).text.startswith(
        "Adapt `head`: its 65 numbers cannot be told from `fine-tune`"
    )
    assert QUESTION.answer([*tuned[:3], *tie[:3]]).text.startswith("`fine-tune` and `head` ended highest after")
    anew = [made_up("scratch", seed, -0.5, 4_000) for seed in seeds]
    text = QUESTION.answer([*tuned, *tie, *anew]).text
    assert text.startswith("Train a new policy: `fine-tune`, the best that was adapted, is −0.50 [−0.50, −0.50] over")
    worse = [made_up(name, seed, -3.0 - (seed % 2), 65) for seed in seeds for name in ("fine-tune", "head")]
    verdict = QUESTION.answer(worse)
    assert verdict.text.startswith("Adapt nothing: after 1,024 steps no method is above the policy as it came")
    assert verdict.tone == "open"
