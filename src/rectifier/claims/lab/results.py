"""The results table: rows of what was asked and what was measured, always in the same order.

>>> table = Results([Row("trained", {"activation": name, "seed": seed}, {"accuracy": 0.9 - 0.1 * seed})
...                  for seed in (1, 0) for name in ("relu", "tanh")])
>>> table.where(activation="relu").values("accuracy")
array([0.9, 0.8])
>>> [(name, len(part)) for name, part in table.by("activation").items()]
[('relu', 2), ('tanh', 2)]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import RectifierValueError
from .experiment import Config, Outcome

__all__ = ["Results", "Row"]


@dataclass(frozen=True)
class Row:
    """One finished run. ``row["accuracy"]`` looks into the outcome, then into the configuration."""

    experiment: str
    config: Config
    outcome: Outcome
    seconds: float = field(default=float("nan"), compare=False)
    """How long it took: a property of the machine, and no part of the result."""
    machine: str = field(default="", compare=False)

    def __getitem__(self, name: str) -> Any:
        if name in self.outcome:
            return self.outcome[name]
        if name not in self.config:
            raise RectifierValueError(
                f"claims: `--results` must hold what runs measured; a run of {self.experiment!r} on record, with seed "
                f"{self.seed}, lacks {name!r}. Delete its line and run the claims again."
            )
        return self.config[name]

    @property
    def seed(self) -> int:
        seed: int = self.config["seed"]
        return seed


class Results:
    """Rows in the order of their seeds, and within one seed as the claim asked for them."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: row.seed))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"Results({len(self)} rows, seeds {self.seeds})"

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(row.seed for row in self.rows))

    def where(self, experiment: str | None = None, **config: Any) -> Results:
        """The rows of an experiment, and with these values in their configuration; a row that lacks one is left out."""
        return Results(
            row
            for row in self.rows
            if (experiment is None or row.experiment == experiment)
            and all(name in row.config and row.config[name] == value for name, value in config.items())
        )

    def of_seeds(self, seeds: Iterable[int]) -> Results:
        """The rows with one of these seeds: ``of_seeds(plan.tuning)`` is what a step size is chosen from."""
        chosen = frozenset(seeds)
        return Results(row for row in self.rows if row.seed in chosen)

    def by(self, name: str) -> dict[Any, Results]:
        """The rows that have ``name`` in their configuration, by its value, in the order asked for."""
        parts: dict[Any, list[Row]] = {}
        for row in self.rows:
            if name in row.config:
                parts.setdefault(row.config[name], []).append(row)
        return {value: Results(rows) for value, rows in parts.items()}

    def values(self, name: str) -> npt.NDArray[Any]:
        """One value a row, or one line of values, in the order of the seeds."""
        return np.array([row[name] for row in self.rows])
