"""Where runs are made: in local processes, on Dask or on Ray, all through joblib, or here, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .experiment import Outcome, Run

__all__ = ["Engine", "Finished", "Here"]


@dataclass(frozen=True)
class Finished:
    """One run's outcome, how long it took and where."""

    outcome: Outcome
    seconds: float
    machine: Mapping[str, str]


class Engine:
    """What makes runs; ``workers`` at a time."""

    workers: int = 1

    def run(self, runs: Sequence[Run], workers: int) -> Iterator[tuple[Run, Finished]]:
        """Every run with its outcome, in the order in which they end."""
        raise NotImplementedError


class Here(Engine):
    """In this process, one after the other: for tests, for a debugger, and to try a claim."""

    def run(self, runs: Sequence[Run], workers: int) -> Iterator[tuple[Run, Finished]]:
        from .worker import finish

        for run in runs:
            yield run, finish(run)
