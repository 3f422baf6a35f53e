"""The methods of a sequence: a transfer method, and what it keeps of each task."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.methods import METHODS
from nb_evaluation.method import Described, Style


@dataclass(frozen=True, kw_only=True)
class Strategy(Described):
    """A transfer method along a sequence of tasks.

    Attributes:
        method: Key of `benchmarks.methods.METHODS`.
        keeps: What is stored for each task and put back when it returns: "weights", a kind of adapter that `Battery`
            knows, as "gates", or None.
        goes_on: Whether a task that is new starts from where the last one ended, and not from the source's policy.
        chooses: Whether nobody says which task comes back: the battery chooses among its k-sets by a few steps.
    """

    method: str
    keeps: str | None = None
    goes_on: bool = False
    chooses: bool = False


def _of(method: str, summary: str, *, keeps: str | None = None, goes_on: bool = False) -> Strategy:
    """A strategy that is drawn as its transfer method."""
    drawn = {name: getattr(METHODS[method], name) for name in ("row", "style", "panel")}
    return Strategy(summary=summary, method=method, keeps=keeps, goes_on=goes_on, **drawn)


STRATEGIES: dict[str, Strategy] = {
    "nb-k": _of("nb-k", "k per layer; a k-set per task", keeps="gates"),
    "nb-pro-k": _of("nb-pro-k", "k per layer and block; a k-set per task", keeps="gates"),
    "signed-k": _of("signed-k", "signed k per layer; a k-set per task", keeps="gates"),
    "signed-k-search": _of("signed-k-search", "the same, by search_k", keeps="gates"),
    "signed-k-nearest": Strategy(
        summary="the same; the battery chooses the k-set as a task comes back",
        method="signed-k-search",
        keeps="gates",
        chooses=True,
        row=METHODS["signed-k-search"].row + 1,
        style=Style("#F0E442", ":", "v"),
        panel=METHODS["signed-k-search"].panel,
    ),
    "last-k-cma": _of("last-k-cma", "only the last layer's is searched, a factor of the actions", keeps="gates"),
    "lora-1": _of("lora-1", "LoRA of rank 1; its factors are kept per task", keeps="lora"),
    "conditioned-k": _of("conditioned-k", "signed k = f(context), told; f trains on and on", goes_on=True),
    "fine-tune": _of("fine-tune", "one network that trains on and on", goes_on=True),
    "fine-tune-kept": Strategy(
        summary="fine-tuned from the source for each task; all weights kept",
        method="fine-tune",
        keeps="weights",
        row=METHODS["fine-tune"].row + 1,
        style=Style("#009E73", "--", "X"),
        panel=METHODS["fine-tune"].panel,
    ),
    "maml": _of("maml", "adapts from the same initialisation whenever a task comes"),
}
