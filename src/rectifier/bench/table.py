"""Benchmarks as tables: in the terminal, and in the documentation. A ratio above 1 says that rectifier is faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .records import Absent, Benchmark, Timing

__all__ = ["Table", "absences", "header", "markdown", "tables"]


@dataclass(frozen=True)
class Table:
    """One function, kind, dtype and number of threads: a row a candidate, a column a size."""

    function: str
    kind: str
    dtype: str
    threads: int
    sizes: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Timing | None, ...]], ...]

    @property
    def title(self) -> str:
        of = "" if self.kind == "value" else f" {self.kind}"
        return f"{self.function}{of}, {self.dtype}, {self.threads} thread{'s' * (self.threads != 1)}"


def tables(benchmark: Benchmark) -> Iterator[Table]:
    """Every table, the rows in the order in which they were timed."""
    groups: dict[tuple[str, str, str, int], list[Timing]] = {}
    for timing in benchmark.timings:
        groups.setdefault((timing.function, timing.kind, timing.dtype, timing.threads), []).append(timing)
    for key, timings in groups.items():
        sizes = tuple(sorted({timing.values for timing in timings}))
        found: dict[str, dict[int, Timing]] = {}
        for timing in timings:
            # Ours is timed once more in the process with huge pages: only for the ratio there.
            found.setdefault(timing.candidate, {}).setdefault(timing.values, timing)
        names = sorted(found, key=_place)
        rows = tuple((name, tuple(found[name].get(size) for size in sizes)) for name in names)
        yield Table(*key, sizes, rows)


#: First words of the candidates' names, in the order of rows and columns.
_ORDER = ("rectifier", "streaming", "plain", "NumPy", "SciPy", "PyTorch", "JAX", "TensorFlow", "ONNX")


def _place(candidate: str) -> int:
    return _ORDER.index(candidate.split()[0])


def time_text(ns: float) -> str:
    """Nanoseconds a value, in three digits.

    >>> time_text(0.1234), time_text(12.34), time_text(1234.0)
    ('0.123', '12.3', '1234')
    """
    return f"{ns:.0f}" if ns >= 100 else f"{ns:.1f}" if ns >= 10 else f"{ns:.2f}" if ns >= 1 else f"{ns:.3f}"


def ratio_text(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def spread_text(timing: Timing) -> str:
    """Half the distance of the quartiles, in percent of the median."""
    return f"±{50 * (timing.high - timing.low) / timing.ns:.0f} %"


def absences(benchmark: Benchmark) -> list[str]:
    """What was not timed and why: one line a reason, with the functions that it is about."""
    about: dict[tuple[str, str], dict[str, None]] = {}
    for absent in benchmark.absent:
        about.setdefault((absent.candidate, absent.reason), {})[_of(absent)] = None
    everywhere = {_of(absent) for absent in benchmark.absent} | {
        _told(timing.function, timing.kind) for timing in benchmark.timings
    }
    lines = []
    for (candidate, reason), functions in about.items():
        where = "" if len(functions) == len(everywhere) else f" ({', '.join(functions)})"
        lines.append(f"{candidate}: {reason}{where}")
    return lines


def _of(absent: Absent) -> str:
    return _told(absent.function, absent.kind)


def _told(function: str, kind: str) -> str:
    return function if kind == "value" else f"{function} {kind}"


def header(benchmark: Benchmark) -> str:
    """What the figures must be told with, as one line."""
    machine = dict(benchmark.machine)
    first = [machine.pop("processor"), f"{machine.pop('cores')} cores", machine.pop("instruction set")]
    return "; ".join([", ".join(first), ", ".join(f"{name} {value}" for name, value in machine.items())])


def markdown(chosen: Sequence[Table], size: int) -> str:
    """Tables of one dtype and number of threads at one size: a row a function, a column a candidate.

    Ours as a time, the others as ratios, in bold where they are faster than ours.
    """
    timed = [(table, {name: _at(timings, size) for name, timings in table.rows}) for table in chosen]
    names = list(dict.fromkeys(name for _, row in timed for name, timing in row.items() if timing is not None))
    names.sort(key=_place)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for table, row in timed:
        if not any(row.values()):
            continue
        of = "" if table.kind == "value" else f" {table.kind}"
        lines.append(f"| `{table.function}`{of} | {' | '.join(_cell(row.get(name)) for name in names)} |")
    return "\n".join(lines)


def _at(timings: Sequence[Timing | None], size: int) -> Timing | None:
    return next((timing for timing in timings if timing is not None and timing.values == size), None)


def _cell(timing: Timing | None) -> str:
    if timing is None:
        return ""
    if timing.peer == "rectifier":
        return f"{time_text(timing.ns)} ns {spread_text(timing)}"
    text = ratio_text(timing.ratio)
    return f"**{text}**" if timing.ratio < 1 and timing.peer != "copy" else text
