"""The paper's own recipe: as released, as printed, and with only the k's adapting, beside MAML and experts."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from benchmarks.questions.recipe import rows
from benchmarks.questions.recipe.rows import MAML, ROWS, MAMLSettings, Variant
from benchmarks.questions.recipe.tables import point, recipe_answer, recipe_pictures, recipe_tables
from nb_evaluation.arguments import add_seeds, refuse, reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.report.wording import made_by
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification


@dataclass(frozen=True, kw_only=True)
class RecipeSpec(Specification):
    """A row, made for all its seeds at once; `method` is a key of `ROWS`, `seed` the first of the seeds.

    Attributes:
        seeds: Seeds of the row.
        settings: Fields of `Variant`, or of `MAMLSettings`.
        phases: Episodes by the drive's amplitude.
        episodes_per_round: Episodes that a seed collects with one policy.
    """

    seeds: tuple[int, ...]
    settings: dict[str, Any]
    phases: dict[str, int]
    episodes_per_round: int = rows.EPISODES_PER_ROUND
    __hash__ = Specification.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "seeds", tuple(self.seeds))  # JSON knows lists only

    @property
    def name(self) -> str:
        """See `Specification.name`; of the row's name what any file system takes."""
        row = "".join(c if c.isalnum() and c.isascii() else "-" for c in self.method)
        return f"{row}-seed{self.seed}-{self.digest}"

    @property
    def own(self) -> tuple[str, ...]:
        """See `Specification.own`."""
        return ("method", "seed", "seeds", "settings")


@dataclass
class RecipeResult:
    """A row; lists hold a number for each seed, returns over the fixed starts where nothing else is said.

    Attributes:
        untrained: Return at A = 1.8 before any training.
        source_before: Return at A = 1.0 before the second phase.
        zero_shot: Return at A = 1.8 then.
        final: Return at A = 1.8 at the end.
        source_after: Return at A = 1.0 at the end.
        best_episode: Best training episode at A = 1.8; None for MAML.
        few_shot: Return at A = 1.8 after the inner steps on one episode there; None but for MAML.
        largest_gate: Largest gate of all policies at the end; None without gates.
        expert: Return of the expert by A, where it is a trained policy.
    """

    untrained: list[float]
    source_before: list[float]
    zero_shot: list[float]
    final: list[float]
    source_after: list[float]
    best_episode: list[float] | None = None
    few_shot: list[float] | None = None
    largest_gate: float | None = None
    expert: dict[str, float] | None = None


class RecipeRun(FinishedRun[RecipeSpec, RecipeResult]):
    """A finished row."""

    spec_type, result_type = RecipeSpec, RecipeResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        lists = {name: each for name, each in asdict(self.result).items() if isinstance(each, list)}
        if {len(each) for each in lists.values()} != {len(self.spec.seeds)}:
            raise ValueError(f"{', '.join(lists)} must have a number for each of {len(self.spec.seeds)} seeds")


class Recipe(Question[RecipeSpec, RecipeRun]):
    """What the paper's own recipe reaches."""

    name = "recipe"
    title = "Recipe: the paper's own, over its published protocol"
    run: ClassVar[type[RecipeRun]] = RecipeRun
    methods = ROWS
    intervals = ""
    tables = staticmethod(recipe_tables)
    answer = staticmethod(recipe_answer)
    figures = staticmethod(recipe_pictures)
    caption = staticmethod(made_by)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_seeds(parser, default=30)
        what = f"rows of the table, of: {'; '.join(ROWS)} (default: all)"
        parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=what)
        refuse(parser, {"--rows": "--methods ROW"})

    def specifications(self, options: argparse.Namespace) -> list[RecipeSpec]:
        """See `Question.specifications`; rows that share a pretraining follow each other."""
        wanted = [name for name in (*rows.VARIANTS, MAML) if name in options.methods]
        fewer = min(options.seeds, rows.CONTROL_SEEDS)
        return [specify(name, options.seeds if name in rows.FULL else fewer) for name in wanted]

    def execute(self, spec: RecipeSpec) -> RecipeResult:
        """See `Question.execute`."""
        from benchmarks.questions.recipe import maml, runs

        if spec.method == MAML:
            return RecipeResult(**maml.run(MAMLSettings(**spec.settings), spec.seeds))
        return RecipeResult(**runs.run(Variant(**spec.settings), spec.seeds))

    def line(self, run: RecipeRun) -> str:
        """See `Question.line`."""
        return f"final {point(run.result.final)}"


def specify(row: str, num_seeds: int) -> RecipeSpec:
    """A row's specification with the published protocol, for a number of seeds from the first reporting one."""
    seeds = tuple(reporting_seeds(num_seeds))
    settings = asdict(MAMLSettings() if row == MAML else rows.VARIANTS[row])
    phases = {str(A): episodes for A, episodes in rows.PHASES.items()}
    return RecipeSpec(method=row, seed=seeds[0], seeds=seeds, settings=settings, phases=phases)


QUESTION = Recipe()
