"""What decides a run, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from typing_extensions import Self

FIRST_REPORTING_SEED = 100
"""Seeds below are for tuning, seeds from here on for reporting."""


@dataclass(frozen=True, kw_only=True)
class Specification:
    """Everything that decides a run: two runs of one specification give the same numbers to the last bit.

    A question adds its own fields; they hold JSON's types, or dataclasses and mappings of them.

    Attributes:
        method: Name of the method.
        seed: Seed of all random numbers, at least 0.

    Raises:
        ValueError: The seed is below 0.
    """

    method: str
    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_json(self) -> dict[str, Any]:
        """The specification as JSON's types, see `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a specification from `to_json`'s answer.

        Raises:
            TypeError: A field is missing or unknown.
            ValueError: A field is out of range.
        """
        return cls(**data)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name the specification, the same on every machine."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The run's name among all runs of a folder."""
        return f"{self.method}-seed{self.seed}-{self.digest}"

    @property
    def own(self) -> tuple[str, ...]:
        """Fields in which the runs of one job may differ: method and seed, and what belongs to a single method."""
        return ("method", "seed")

    @property
    def shared(self) -> dict[str, Any]:
        """What all runs of one job have in common, flattened to `name.key`: all but `own`."""
        flat: dict[str, Any] = {}
        for name, value in self.to_json().items():
            if name not in self.own:
                nested = isinstance(value, dict)
                flat |= {f"{name}.{key}": each for key, each in value.items()} if nested else {name: value}
        return flat
