"""How thoroughly a claim is looked at: quickly or in full, and with which seeds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plan"]

#: Seeds of one set; sets are disjoint, and the last fifty of each are for tuning.
_SET = 1000
_TUNING = 950


@dataclass(frozen=True)
class Plan:
    """What ``Claim.runs`` is asked for."""

    quick: bool
    """Smaller budgets: shorter training, fewer step sizes. Quick and full runs are never mixed in a verdict."""
    seeds: tuple[int, ...]
    """Of the runs that are judged; the same for every activation, so that they can be paired."""
    tuning: tuple[int, ...]
    """Of the runs that choose a step size: others, so that no activation is judged by what it was chosen for."""

    @classmethod
    def make(cls, quick: bool, seeds: int, set_of_seeds: int = 0) -> Plan:
        """``seeds`` seeds of a set; sets of another number share none.

        >>> Plan.make(True, 3, set_of_seeds=1)
        Plan(quick=True, seeds=(1000, 1001, 1002), tuning=(1950, 1951))
        """
        first = _SET * set_of_seeds
        tuning = first + _TUNING
        return cls(quick, tuple(range(first, first + seeds)), (tuning, tuning + 1))
