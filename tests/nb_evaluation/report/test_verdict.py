"""Verdicts in words and tones."""

import pytest

from nb_evaluation.report.verdict import Verdict, against, beats, without_gates
from nb_evaluation.stats.estimates import Estimate

UP, DOWN, EITHER = Estimate(2.0, 1.0, 3.0), Estimate(-2.0, -3.0, -1.0), Estimate(0.5, -1.0, 2.0)
NONE = Estimate(1.0, float("nan"), float("nan"))


@pytest.mark.parametrize(
    ("differences", "text", "tone"),
    [
        ({"nb": UP, "nb-k": EITHER}, "`nb` is above `fine-tune`", "better"),
        ({"nb": UP, "nb-pro": UP}, "`nb` and `nb-pro` are above `fine-tune`", "better"),
        ({"nb": EITHER, "nb-k": DOWN}, "no gates are above `fine-tune`; `nb-k` is below it", "worse"),
        ({"nb": UP, "nb-k": DOWN}, "`nb` is above `fine-tune`; `nb-k` is below it", "open"),
        ({"nb": EITHER, "nb-k": NONE}, "no gates can be distinguished from `fine-tune`", "same"),
        ({"nb": EITHER, "maml": DOWN}, "no gates can be distinguished from `fine-tune`", "same"),
    ],
)
def test_gates_against_a_baseline(differences: dict[str, Estimate], text: str, tone: str) -> None:
    assert against("Return", differences, "fine-tune", "more") == Verdict(f"Return: {text}.", tone, "more")


def test_without_gates_there_is_no_verdict_on_them() -> None:
    assert against("Return", {"maml": UP}, "fine-tune") is None
    found = without_gates("Return", {"maml": -6.12, "anil": -6.3, "reptile": -6.2})
    assert found == Verdict("Return: −6.3 (`anil`) to −6.1 (`maml`).", "open", word="no gates here")
    assert without_gates("Return", {"maml": -6.0}) == Verdict("Return: −6.0 (`maml`).", "open", word="no gates here")
    assert without_gates("Return", {"maml": -6.0, "nb-k": -7.0}) is None


def test_a_method_beats_its_controls_where_intervals_say_so() -> None:
    won = beats("maml", {"joint": UP, "untrained": UP}, "After one step")
    assert won == Verdict("After one step `maml` is above `joint` and `untrained`.", "better", word="works")
    lost = beats("maml", {"joint": UP, "untrained": EITHER}, "After one step")
    assert lost is not None
    assert lost.text == "After one step `maml` is above `joint` and is not shown to be above `untrained`."
    assert lost.tone == "worse"
    assert beats("maml", {}, "After one step") is None
