"""Ways of moving a policy to a changed environment, compared on an environment of the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nb_agents.comparison.specification import ComparisonRun
    from nb_evaluation.report.tables import Table


@dataclass(frozen=True)
class Compared:
    """What a comparison gives.

    Attributes:
        advice: A sentence that says what to adapt.
        tables: The tables, with intervals.
        runs: The runs.
        page: The page, a file that a browser opens.
    """

    advice: str
    tables: Sequence[Table]
    runs: Sequence[ComparisonRun]
    page: Path

    def __str__(self) -> str:
        """The tables in Markdown, and the advice."""
        return "\n".join([*(f"{table.title}\n{table.markdown()}" for table in self.tables), self.advice])


def compare(
    env: str,
    *,
    source: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] = "comparison",
    workers: int = 1,
    ray: str | None = None,
    **options: Any,
) -> Compared:
    """Compare ways of moving a policy from a source to a target; the command ``neural-battery compare`` does the same.

    It goes on where it was interrupted, and needs ``pip install "neural-battery[compare]"``.

    Args:
        env: Id of an environment of Gymnasium's, "module:factory", or the name of a YAML file with all options.
        source: Keywords of the environment that the policy is trained on.
        target: Keywords of the one that it is moved to.
        out: Folder of the runs, the tables, the figure and the page.
        workers: Runs at a time.
        ray: Address of a Ray cluster that runs them; None for this machine.
        **options: The command's other options: ``common``, ``wrapper``, ``contexts``, ``algo``, ``hyperparameters``,
            ``like``, ``set``, ``methods``, ``source_steps``, ``steps``, ``evaluations``, ``episodes``, ``seeds``.

    Raises:
        ImportError: A package is missing.
        OSError: A file cannot be read or written.
        RuntimeError: A run has failed; the others are kept.
        TypeError: An option is of another kind.
        ValueError: An option is unknown or not accepted, the environments do not fit, or the folder holds another
            comparison.
    """
    try:
        from nb_agents.comparison.python import answered
    except ModuleNotFoundError as error:
        raise ImportError(f'compare needs {error.name}: pip install "neural-battery[compare]"') from error
    given = {name: each for name, each in (("source", source), ("target", target)) if each is not None}
    return answered(env, given | options, Path(out), workers, ray)
