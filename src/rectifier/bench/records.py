"""What was measured: frozen, and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import RectifierValueError

__all__ = ["Absent", "Benchmark", "Timing"]

FORMAT = "rectifier-bench/1"


@dataclass(frozen=True)
class Timing:
    """One candidate at one size."""

    function: str
    kind: str
    dtype: str
    threads: int
    values: int
    candidate: str
    peer: str
    """A key of ``peers.MODULES``; "rectifier" and "copy" for our own and for the limit."""
    fresh: bool
    """The result goes into memory of its own; otherwise into memory that is already there."""
    ns: float
    """Median over the rounds, in nanoseconds a value."""
    low: float
    high: float
    """Quartiles, in nanoseconds a value."""
    rounds: int
    ratio: float
    """Its median over that of ours, timed in the same process and into the same kind of memory."""


@dataclass(frozen=True)
class Absent:
    """A peer, or one of its ways, that was not timed, and why."""

    function: str
    kind: str
    dtype: str
    candidate: str
    reason: str


@dataclass(frozen=True)
class Benchmark:
    """All that a run measured, with what a figure must be told with."""

    timings: tuple[Timing, ...]
    absent: tuple[Absent, ...]
    machine: dict[str, str]
    seconds: float

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Benchmark:
        """Raises RectifierValueError where the text is no record of a benchmark."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ValueError(f"its format is {data['format']!r}")
            return cls(
                tuple(Timing(**entry) for entry in data["timings"]),
                tuple(Absent(**entry) for entry in data["absent"]),
                dict(data["machine"]),
                float(data["seconds"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RectifierValueError(
                f"bench: `path` must be a file written with bench --json; this one is not ({error}). Make one with: "
                "rectifier bench --json FILE"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Benchmark:
        return cls.from_json(path.read_text(encoding="utf-8"))

    @classmethod
    def joined(cls, parts: Iterable[Benchmark]) -> Benchmark:
        """One record of several runs. Raises RectifierValueError where they were not made on the same machine."""
        parts = tuple(parts)
        for part in parts[1:]:
            if part.machine != parts[0].machine:
                raise RectifierValueError(
                    f"bench: records that are joined must be of one machine, versions and commit; got "
                    f"{_difference(parts[0].machine, part.machine)}. Run them again together."
                )
        return cls(
            tuple(timing for part in parts for timing in part.timings),
            tuple(dict.fromkeys(absent for part in parts for absent in part.absent)),
            parts[0].machine,
            sum(part.seconds for part in parts),
        )


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    key = next(key for key in {**one, **other} if one.get(key) != other.get(key))
    return f"{key} {one.get(key)} and {other.get(key)}"
