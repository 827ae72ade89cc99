"""What an answer is worth, against the truth of each unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.patients.case import Answer, Case, Patient
from benchmarks.patients.truth import sums

__all__ = ["Score", "failed", "score"]

#: Labels whose units fire, or are no fault: to call one dead is wrong.
NOT_DEAD = frozenset({"rare", "dormant", "open", "closed", "live", "alive"})
#: Labels that are not scored where nothing was planted.
UNKNOWN = frozenset({"alive", "idle"})


@dataclass(frozen=True)
class Score:
    tool: str
    patient: str
    planted: int = 0
    """Units that are dead."""
    found: int = 0
    """Of them, called dead. For a tool that only counts: the most that its numbers can mean."""
    false: int = 0
    """Others called dead. For a tool that only counts: the fewest that its numbers can mean."""
    proved: int = 0
    """Of the planted, with a proof."""
    proved_false: int = 0
    """Proofs about units that fire."""
    named: bool = True
    """False: it counts, and does not say which."""
    unseen: int = 0
    """Planted units not found at places that the tool says it could not see."""
    scales: tuple[str, ...] = ()
    scales_said: tuple[str, ...] = ()
    healthy: bool = False
    alarms: tuple[str, ...] = ()
    causes: int = 0
    """Planted dead units whose cause is known."""
    causes_right: int = 0
    others: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """label → (planted, found, false), for the labels that the tool names."""
    counts_exact: bool | None = None
    """Its firing counts of every unit at every place that it saw equal a count by hand over the batches of all
    processes; None where it gives none."""
    error: str | None = None

    @property
    def outcome(self) -> str:
        """The answer about the planted dead units in a word."""
        if self.error is not None:
            return "error"
        if not self.planted:
            return "–"
        if self.found == self.planted and not self.false:
            return "found"
        if self.unseen and self.found + self.unseen == self.planted and not self.false:
            return "not observed" if not self.found else "found in part, the rest not observed"
        if not self.found and not self.false:
            return "0 dead"
        return "wrong"

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome}


def failed(tool: str, patient: Patient, case: Case, error: str) -> Score:
    many = sum(len(units) for units in case.planted().values())
    return Score(tool, patient.name, planted=many, healthy=patient.healthy, error=error)


def score(tool: str, patient: Patient, case: Case, answer: Answer, live: bool = False) -> Score:
    """Judge one answer. ``case``: with the batches of all processes. ``live``: the tool looked in training mode."""
    truth = case.truth
    dead = case.planted()
    for name in {*answer.dead, *answer.proved, *(answer.counts or {})}:
        if name not in truth:
            raise KeyError(f"score: the answer of {tool} names {name!r}, which is no place of {patient.name}")
    if answer.counts is None:
        said = answer.dead
        found = sum(len(dead[name] & set(units)) for name, units in said.items())
        false = sum(1 for name, units in said.items() for unit in units if truth[name][unit] in NOT_DEAD)
    else:
        idle = case.planted("idle")
        found = sum(min(many, len(dead[name])) for name, many in answer.counts.items())
        false = sum(max(0, many - len(dead[name]) - len(idle[name])) for name, many in answer.counts.items())
    causes = [
        (cause, answer.causes.get(name, {}).get(unit))
        for name, units in case.causes.items()
        for unit, cause in units.items()
    ]
    return Score(
        tool,
        patient.name,
        planted=sum(map(len, dead.values())),
        found=found,
        false=false,
        proved=sum(len(dead[name] & set(units)) for name, units in answer.proved.items()),
        proved_false=sum(1 for name, units in answer.proved.items() for unit in units if truth[name][unit] in NOT_DEAD),
        named=answer.counts is None,
        unseen=sum(_missed(name, dead, answer) for name in answer.unseen if name in dead),
        scales=tuple(sorted(case.scales)),
        scales_said=tuple(sorted(answer.scales)),
        healthy=patient.healthy,
        alarms=answer.alarms,
        causes=len(causes),
        causes_right=sum(right == said for right, said in causes),
        others={label: _other(case, label, places) for label, places in answer.others.items()},
        counts_exact=_exact(case, answer, live),
    )


def _missed(name: str, dead: Mapping[str, set[int]], answer: Answer) -> int:
    if answer.counts is not None:
        return max(0, len(dead[name]) - answer.counts.get(name, 0))
    return len(dead[name] - set(answer.dead.get(name, ())))


def _other(case: Case, label: str, places: Mapping[str, set[int]]) -> tuple[int, int, int]:
    planted = case.planted(label)
    found = sum(len(planted.get(name, set()) & units) for name, units in places.items())
    false = sum(
        1
        for name, units in places.items()
        for unit in units
        if case.truth[name][unit] != label and case.truth[name][unit] not in UNKNOWN
    )
    return sum(map(len, planted.values())), found, false


def _exact(case: Case, answer: Answer, live: bool) -> bool | None:
    if not answer.fired or case.rate:  # weights that move have no one count
        return None
    by_hand = sums(case, (inputs for inputs, _ in case.batches), training=live)
    return all(
        len(fired) == len(by_hand[name].fired)
        and all(
            low <= many <= high
            for low, many, high in zip(by_hand[name].least.tolist(), fired, by_hand[name].most.tolist(), strict=True)
        )
        for name, fired in answer.fired.items()
    )
