"""Judging: cases cut into pieces, each piece computed and compared, the pieces' verdicts put together."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _native, _verify, oracle
from . import inputs, origin, subjects
from .plan import Case
from .records import Proof, Result

__all__ = ["verify"]

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]

#: Inputs compared at once: their arrays stay in the cache.
CHUNK = 1 << 16
#: Inputs of one piece of work for a process: a second or so.
PIECE = 1 << 26
#: Inputs next to a tie that are kept in the record.
TIES_KEPT = 200


@dataclass(frozen=True)
class Piece:
    """A range of a case's inputs, for all subjects: the inputs are made once."""

    case: int
    start: int
    stop: int


@dataclass
class Tally:
    """One subject's verdict so far."""

    visited: int = 0
    misrounded: int = 0
    worst: float = -1.0
    worst_input: float = math.nan
    worst_result: float = math.nan
    near_ties: int = 0
    ties: tuple[float, ...] = ()
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        self.visited += other.visited
        self.misrounded += other.misrounded
        self.near_ties += other.near_ties
        self.seconds += other.seconds
        self.ties = (self.ties + other.ties)[:TIES_KEPT]
        if other.worst > self.worst:
            self.worst, self.worst_input, self.worst_result = other.worst, other.worst_input, other.worst_result


def verify(
    cases: Sequence[Case],
    who: Sequence[subjects.Subject],
    *,
    jobs: int | None = None,
    seed: int = 0,
    progress: Progress = lambda label, done, total: None,
    earlier: Proof | None = None,
    keep: Callable[[Proof], None] = lambda proof: None,
) -> Proof:
    """Judge every case with every subject that has it.

    cases: from :func:`make_plan`. who: subjects; those not installed are listed in the proof. jobs: processes, by
    default one a core. seed: of the samples. progress: called with a label and the inputs done and in all.
    earlier: what ``keep`` was given last in a run of the same that was cut short (see :func:`.origin.refuse_another`):
    its cases are not judged again. keep: called with the proof so far whenever a case is done.
    Returns the Proof. Raises OracleUnavailableError where mpmath is not installed.
    """
    begun = time.perf_counter()
    oracle.value("relu", 0.0, np.float32)
    absent = tuple(reason for subject in who if (reason := subjects.missing(subject)) is not None)
    present = [subject for subject in who if subjects.missing(subject) is None]
    pending = {index: case for index, case in enumerate(cases) if earlier is None or case.label in earlier.pending}
    of_earlier = () if earlier is None else earlier.results
    results = {_place(result, cases, present): result for result in of_earlier}
    before = 0.0 if earlier is None else earlier.seconds
    machine, versions, code = origin.machine(), origin.versions(), origin.code()
    question = origin.question(cases, who, seed)

    def so_far() -> Proof:
        found = tuple(result for _, result in sorted(results.items(), key=lambda item: item[0]))
        seconds = before + time.perf_counter() - begun
        labels = tuple(case.label for case in pending.values())
        return Proof(found, absent, machine, versions, seconds, pending=labels, code=code, question=question)

    pieces = [piece for index, case in pending.items() for piece in _pieces(index, case)]
    left = Counter(piece.case for piece in pieces)
    total = sum(piece.stop - piece.start for piece in pieces)
    tallies: dict[int, dict[int, Tally]] = defaultdict(lambda: defaultdict(Tally))
    done = 0
    for piece, found in _judged(cases, present, pieces, jobs or os.cpu_count() or 1, seed):
        case = cases[piece.case]
        for index, tally in found.items():
            tallies[piece.case][index].add(tally)
        done += piece.stop - piece.start
        left[piece.case] -= 1
        if not left[piece.case]:
            for index, tally in tallies.pop(piece.case, {}).items():
                results[piece.case, index] = _result(case, present[index], tally)
            del pending[piece.case]
            keep(so_far())
        progress(case.label, done, total)
    return so_far()


def _place(result: Result, cases: Sequence[Case], who: Sequence[subjects.Subject]) -> tuple[int, int]:
    """Where a result of an earlier run belongs: its case and its subject."""

    def key(one: Case | Result) -> tuple[object, ...]:
        return one.function, one.kind, one.dtype, one.parameter, one.default

    return [key(case) for case in cases].index(key(result)), [one.name for one in who].index(result.subject)


def _pieces(index: int, case: Case) -> Iterator[Piece]:
    total = case.count or 2 ** (8 * inputs.dtype_of(case.dtype).itemsize)
    size = PIECE if case.count is None else total
    for start in range(0, total, size):
        yield Piece(index, start, min(start + size, total))


def _judged(
    cases: Sequence[Case], who: Sequence[subjects.Subject], pieces: Sequence[Piece], jobs: int, seed: int
) -> Iterator[tuple[Piece, dict[int, Tally]]]:
    if jobs == 1 or len(pieces) <= 1:
        before = _native.isa()
        try:
            for piece in pieces:
                yield piece, _judge(cases[piece.case], who, piece, seed)
        finally:
            _native.use_isa(before)
        return
    # Fresh interpreters: a fork would copy the threads that a framework holds.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare) as pool:
        try:
            # Processes inherit what a thread has blocked: Ctrl-C is for this one to answer, from their first breath.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                futures = {pool.submit(_judge, cases[piece.case], who, piece, seed): piece for piece in pieces}
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # Nobody waits for what they are at.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


def _prepare() -> None:
    os.environ["RECTIFIER_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _judge(case: Case, who: Sequence[subjects.Subject], piece: Piece, seed: int) -> dict[int, Tally]:
    """The verdicts on one piece, by the subject's index."""
    chosen = inputs.sample(case, seed) if case.count is not None else None
    functions = {index: f for index, subject in enumerate(who) if (f := subject.function(case)) is not None}
    tallies = {index: Tally() for index in functions}
    for start in range(piece.start, piece.stop, CHUNK):
        stop = min(start + CHUNK, piece.stop)
        every = inputs.patterns(case.dtype, start, stop) if chosen is None else chosen[start:stop]
        judged: list[tuple[Array, Array, Tally]] = []
        for index, function in functions.items():
            begun = time.perf_counter()
            with np.errstate(all="ignore"):
                x = every if who[index].judged_at_nan else every[~np.isnan(every)]
                if not x.size:
                    continue
                got = _bits(np.ascontiguousarray(function(x), x.dtype))
            # Instruction sets nearly always agree to the bit: then the verdict is the same, and comparing is quicker
            # than judging.
            same = (tally for inputs_, results, tally in judged if inputs_ is x and np.array_equal(results, got))
            verdict = next(same, None) or _compare(case, x, got)
            judged.append((x, got, verdict))
            tallies[index].add(verdict)
            tallies[index].seconds += time.perf_counter() - begun
    return tallies


def _bits(values: Array) -> Array:
    return values.view(f"uint{8 * values.dtype.itemsize}")


def _compare(case: Case, x: Array, got: Array) -> Tally:
    """The verdict on results, given as bits."""
    wide = np.float64 if case.dtype == "float64" else np.float32
    parameter = 0.0 if case.parameter is None else float(wide(case.parameter))
    misrounded, worst, at, near = _verify.compare(case.function, case.kind, case.dtype, _bits(x), got, parameter)
    results = got.view(x.dtype)
    tally = Tally(x.size, misrounded)
    if at >= 0:
        tally.worst, tally.worst_input, tally.worst_result = worst, float(x[at]), float(results[at])
    if near:
        _decide(tally, case, x[near], results[near])
    return tally


def _decide(tally: Tally, case: Case, x: Array, got: Array) -> None:
    """Inputs next to a tie, by arithmetic of any precision."""
    right = oracle.results(case.kind, case.function, x, x.dtype, **case.parameters)
    wrong = (_bits(right) != _bits(got)) & ~(np.isnan(right) & np.isnan(got))
    tally.near_ties += x.size
    tally.misrounded += int(wrong.sum())
    tally.ties = (tally.ties + tuple(float(v) for v in x[: TIES_KEPT - len(tally.ties)]))[:TIES_KEPT]
    # A right result next to a tie is off by half an ulp as near as matters; one of them stands for all.
    asked = np.flatnonzero(wrong) if wrong.any() else np.array([0])
    error = oracle.ulp_error(got[asked], case.function, x[asked], kind=case.kind, **case.parameters)
    at = int(np.argmax(error))
    if error[at] > tally.worst:
        tally.worst = float(error[at])
        tally.worst_input, tally.worst_result = float(x[asked[at]]), float(got[asked[at]])


def _result(case: Case, subject: subjects.Subject, tally: Tally) -> Result:
    return Result(
        function=case.function,
        kind=case.kind,
        dtype=case.dtype,
        subject=subject.name,
        parameter=case.parameter,
        default=case.default,
        visited=tally.visited,
        exhaustive=case.count is None,
        misrounded=tally.misrounded,
        max_error=_exact_error(case, tally),
        worst_input=tally.worst_input,
        worst_result=tally.worst_result,
        near_ties=tally.near_ties,
        ties=tally.ties if case.dtype != "float64" else (),
        promise=subject.promise(case),
        seconds=tally.seconds,
    )


def _exact_error(case: Case, tally: Tally) -> float:
    """The largest error, computed anew in arithmetic of any precision at the input that has it."""
    if not math.isfinite(tally.worst) or tally.worst < 0:
        return max(tally.worst, 0.0)
    dtype = inputs.dtype_of(case.dtype)
    x, got = np.array([tally.worst_input]).astype(dtype), np.array([tally.worst_result]).astype(dtype)
    return float(oracle.ulp_error(got, case.function, x, kind=case.kind, **case.parameters)[0])
