"""The ways of moving a policy to another task that are compared; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from nb_evaluation.method import DENSE, Described, Style


@dataclass(frozen=True, kw_only=True)
class Method(Described):
    """A method.

    Attributes:
        trains: Part of the actor that trains in the target, see `KGatedMixin.train_only`; "" where nothing does.
        gates: Kind of the gates that are inserted, "sigma" or "signed"; "" for none, they stand still at 1.
        begins: Whether it begins at the source policy.
    """

    trains: str = "all"
    gates: str = ""
    begins: bool = True


METHODS = {
    "fine-tune": Method(summary="all weights train", style=Style("#000000", "-", "o")),
    "nb-pro-k": Method(
        summary="a gate per layer and per block of 16 units is inserted, and the k's train alone",
        style=Style("#56B4E9", "--", "v"), trains="gates", gates="sigma",
    ),
    "signed-k": Method(
        summary="the same with gates that may turn units around", style=Style("#0072B2", "-", "s"), trains="gates",
        gates="signed",
    ),
    "biases": Method(summary="the biases train", style=Style("#009E73", "-", "h"), trains="biases"),
    "head": Method(summary="the last layer trains", style=Style("#E69F00", "-", "P"), trains="head"),
    "scratch": Method(summary="a new policy", style=Style("#999999", ":", "x"), begins=False),
    "student": Method(
        summary="over the contexts of --contexts: k = f(context), and a student that infers k from 8 transitions;"
                " neither takes a step in the target",
        style=Style("#CC79A7", "-", "*"), trains="", gates="signed",
    ),
    "conditioned": Method(
        summary="the student's teacher, which is told the context", style=Style("#CC79A7", DENSE, "d"), trains="",
        gates="signed",
    ),
}  # fmt: skip

RUN = tuple(name for name in METHODS if name != "conditioned")
"""The methods that are run; the teacher's row comes with its student's run."""

ADAPTING = tuple(name for name, method in METHODS.items() if method.trains and method.begins)
"""Those that train in the target from the source policy."""
