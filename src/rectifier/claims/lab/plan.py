"""How thoroughly a claim is looked at: quickly or in full, and with which seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import RectifierValueError

__all__ = ["Plan", "keep", "read"]

#: Seeds of one set; sets are disjoint, and the last fifty of each are for tuning.
_SET = 1000
_TUNING = 950
#: The most seeds of a plan, and the last of the sets.
_MOST, _LAST = 900, 1000
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


def read(folder: Path) -> dict[str, tuple[Plan, ...]]:
    """Claim → the plans that it was run with, of the runs kept in a folder: full before quick, then by their set.

    Raises RectifierValueError where the file is not one that :func:`keep` wrote.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {name: _ordered(map(_read_plan, plans)) for name, plans in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RectifierValueError(
            f"claims: `--results` must hold a {_FILE} that rectifier wrote; {str(path)!r} is none ({error}). "
            "Delete it and run the claims again: runs that are kept are not repeated."
        ) from error


def keep(folder: Path, plans: Mapping[str, Plan]) -> None:
    """Add plans to those of the folder, which are one for each set of seeds, quick and full, with the most seeds asked.

    Whole or not at all; raises OSError where the disk is full. Only for who may add runs: see ``Records.adding``.
    """
    from ... import _files

    told = {name: {(plan.quick, plan.set_of_seeds): plan for plan in kept} for name, kept in read(folder).items()}
    for name, plan in plans.items():
        kept = told.setdefault(name, {})
        before = kept.get((plan.quick, plan.set_of_seeds), plan)
        kept[plan.quick, plan.set_of_seeds] = max(before, plan, key=lambda each: each.many)
    written = {name: [asdict(plan) for plan in _ordered(kept.values())] for name, kept in sorted(told.items())}
    _files.write(folder / _FILE, json.dumps(written, indent=1) + "\n", force=True)


def _ordered(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    return tuple(sorted(plans, key=lambda plan: (plan.quick, plan.set_of_seeds)))


def _read_plan(entry: Any) -> Plan:
    match entry:
        case {"quick": bool(quick), "many": int(many), "set_of_seeds": int(number)}:
            if bool not in (type(many), type(number)) and 1 <= many <= _MOST and 0 <= number <= _LAST:
                return Plan(quick, many, number)
    raise ValueError(f"{entry!r} is no plan")
