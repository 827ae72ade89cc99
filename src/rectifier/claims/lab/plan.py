"""How thoroughly a claim is looked at: quickly or in full, and with which seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import RectifierValueError

__all__ = ["Plan", "read", "write"]

#: Seeds of one set; sets are disjoint, and the last fifty of each are for tuning.
_SET = 1000
_TUNING = 950
_FILE = "plans.json"


@dataclass(frozen=True)
class Plan:
    """What ``Claim.runs`` is asked for.

    >>> Plan(quick=True, many=3, set_of_seeds=1).seeds
    (1000, 1001, 1002)
    """

    quick: bool
    """Smaller budgets: shorter training, fewer step sizes. Quick and full runs are never mixed in a verdict."""
    many: int
    """How many seeds are judged."""
    set_of_seeds: int = 0
    """Sets of another number share no seed."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs that are judged; the same for every activation, so that they can be paired."""
        first = _SET * self.set_of_seeds
        return tuple(range(first, first + self.many))

    @property
    def tuning(self) -> tuple[int, ...]:
        """Of the runs that choose a step size: others, so that no activation is judged by what it was chosen for."""
        first = _SET * self.set_of_seeds + _TUNING
        return (first, first + 1)


def read(folder: Path) -> dict[str, Plan]:
    """Claim → the plan that it was last run with, of the runs kept in a folder; none where there are no runs."""
    path = folder / _FILE
    if not path.exists():
        return {}
    try:
        return {name: Plan(**entry) for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise RectifierValueError(
            f"claims: `--results` must hold a {_FILE} that rectifier wrote; {str(path)!r} is none ({error}). "
            "Delete it and run the claims again: runs that are kept are not repeated."
        ) from error


def write(folder: Path, plans: Mapping[str, Plan]) -> None:
    """Add plans to those of the folder. Whole or not at all; raises OSError where the disk is full."""
    from ... import _files

    folder.mkdir(parents=True, exist_ok=True)
    told = {name: asdict(plan) for name, plan in sorted({**read(folder), **plans}.items())}
    _files.write(folder / _FILE, json.dumps(told, indent=1) + "\n", force=True)
