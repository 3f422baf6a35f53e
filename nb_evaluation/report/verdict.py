"""A verdict: what the runs of a question say, in one sentence and in one colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from nb_evaluation.report.wording import number, told_apart
from nb_evaluation.stats.estimates import Estimate

Tone = Literal["better", "same", "worse", "open"]

TONES: dict[Tone, str] = {
    "better": "for gates",
    "same": "no difference",
    "worse": "against gates",
    "open": "open",
}
"""The word that stands beside a verdict, for a colour alone says nothing to those who cannot see it."""


GATED = ("nb", "signed-k", "conditioned-k")
"""Beginnings of the names of methods with gates."""


class Verdict(NamedTuple):
    """What the runs of a question say.

    Attributes:
        text: One sentence, without intervals.
        tone: Whether gates are better or worse, the same, or the runs leave it open.
        more: Sentences with the intervals, for those who read on.
        word: Word or two beside the sentence, where it is not about gates; that of `TONES` if empty.
    """

    text: str
    tone: Tone
    more: str = ""
    word: str = ""


def against(what: str, differences: Mapping[str, Estimate], baseline: str, more: str | None = None) -> Verdict | None:
    """The gated methods against a baseline; None where no gated method is compared with it.

    Args:
        what: The score that is compared, as the sentence begins.
        differences: Paired differences to the baseline, by method; positive is better.
        baseline: Name of the baseline.
        more: See `Verdict`; None for what each interval says.
    """
    more = f"{what}: {told_apart(differences, baseline)}." if more is None else more
    gated = {name: difference for name, difference in differences.items() if name.startswith(GATED)}
    if not gated:
        return None
    above = [f"`{name}`" for name, difference in gated.items() if difference.low > 0.0]
    below = [f"`{name}`" for name, difference in gated.items() if difference.high < 0.0]
    if not above and not below:
        return Verdict(f"{what}: no gates can be distinguished from `{baseline}`.", "same", more)
    tone: Tone = "open" if above and below else "better" if above else "worse"
    parts = [f"{listed(above)} {are(above)} above `{baseline}`" if above else f"no gates are above `{baseline}`"]
    parts += [f"{listed(below)} {are(below)} below it"] if below else []
    return Verdict(f"{what}: {'; '.join(parts)}.", tone, more)


def beats(method: str, differences: Mapping[str, Estimate], when: str) -> Verdict | None:
    """Whether a method is above its controls; None without any.

    Args:
        method: Name of the method.
        differences: Paired differences of the method to each control, by the controls' names; positive is better.
        when: Beginning of the sentence.
    """
    won = [f"`{name}`" for name, difference in differences.items() if difference.low > 0.0]
    rest = [f"`{name}`" for name, difference in differences.items() if not difference.low > 0.0]
    parts = [f"is above {listed(won)}"] if won else []
    parts += [f"is not shown to be above {listed(rest)}"] if rest else []
    text = f"{when} `{method}` {' and '.join(parts)}."
    return Verdict(text, "worse" if rest else "better", word="fails" if rest else "works") if differences else None


def without_gates(what: str, scores: Mapping[str, float], digits: int = 1) -> Verdict | None:
    """Where methods end that have no gates among them; None where one has.

    Args:
        what: The score, as the sentence begins.
        scores: Scores by method, at least one.
        digits: Number of decimals.
    """
    if any(name.startswith(GATED) for name in scores):
        return None
    low, high = min(scores, key=lambda name: scores[name]), max(scores, key=lambda name: scores[name])
    ends = [f"{number(scores[name], digits=digits)} (`{name}`)" for name in dict.fromkeys((low, high))]
    return Verdict(f"{what}: {' to '.join(ends)}.", "open", word="no gates here")


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def are(names: Sequence[str]) -> str:
    """The verb for a list of names."""
    return "is" if len(names) == 1 else "are"
