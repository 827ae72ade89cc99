"""One process of a benchmark: every candidate in turn, round after round, at one number of threads.

Started by :mod:`.run` with the task as JSON on standard input; one line of JSON a cell goes to standard output.
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from itertools import repeat
from typing import IO, Any

from ..verify.inputs import dtype_of
from . import peers
from .peers import Data, Way, ours
from .records import Absent, Timing

__all__ = ["main"]

#: Seconds of one candidate's turn, as long as one call is shorter.
TURN = 0.002
#: A call shorter than this is preceded by one that is not timed.
LED_IN = 0.01
#: A median with quartiles asks for some rounds; more than that add nothing.
FEWEST, MOST = 5, 31
#: Seconds between turns where there are several threads: PyTorch's workers spin for so long after each of its calls,
#: on a core that the next candidate would need.
REST = 0.02


def main() -> None:
    # What a library prints must not get between the lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # a peer's, such as NumPy's of an overflow in an idiom
    task = json.load(sys.stdin)
    for name in task["functions"]:
        for kind in task["kinds"]:
            for dtype in task["dtypes"]:
                for size in task["sizes"]:
                    _send(lines, *_cell(task, name, kind, dtype, size))


def _send(lines: IO[str], timings: Sequence[Timing], absent: Sequence[Absent]) -> None:
    found = {"timings": [asdict(timing) for timing in timings], "absent": [asdict(reason) for reason in absent]}
    print(json.dumps(found), file=lines, flush=True)


def _cell(task: dict[str, Any], name: str, kind: str, dtype: str, size: int) -> tuple[list[Timing], list[Absent]]:
    data = Data(dtype_of(dtype), size)
    threads: int = task["threads"]
    candidates: list[tuple[str, Way]] = []
    for way in peers.ways("ours", name, kind, data, threads):
        way.run()
        candidates.append(("copy" if way.label in ours.COPIES else "rectifier", way))
    absent = []
    for peer in task["peers"]:
        found, reasons = _working(peer, name, kind, data, threads)
        candidates += [(peer, way) for way in found]
        absent += [Absent(name, kind, dtype, candidate, reason) for candidate, reason in reasons]
    if task["huge_pages"]:  # this process is for one comparison only
        candidates = [(peer, way) for peer, way in candidates if way.fresh]
    times = measure([way for _, way in candidates], task["seconds"], REST if threads > 1 else 0.0)
    medians = {way.label: statistics.median(turns) for (_, way), turns in zip(candidates, times, strict=True)}
    timings = []
    for (peer, way), turns in zip(candidates, times, strict=True):
        low, middle, high = (1e9 / size * quartile for quartile in statistics.quantiles(turns, n=4))
        mine = medians[ours.FRESH if way.fresh else ours.RESIDENT]
        ratio = medians[way.label] / mine
        timings.append(
            Timing(name, kind, dtype, threads, size, way.label, peer, way.fresh, middle, low, high, len(turns), ratio)
        )
    return timings, absent


def _working(peer: str, name: str, kind: str, data: Data, threads: int) -> tuple[list[Way], list[tuple[str, str]]]:
    """A peer's ways, each called once (which compiles it), and those that it does not have."""
    try:
        ways = peers.ways(peer, name, kind, data, threads)
    except Exception as error:  # a library's own way of saying that it has no such function for this dtype
        return [], [(peer, _reason(error, data))]
    if not ways:
        return [], [(peer, "no such function" if kind == "value" else "no such derivative")]
    working, absent = [], []
    for way in ways:
        try:
            way.run()
            working.append(way)
        except Exception as error:
            absent.append((way.label, _reason(error, data)))
    return working, absent


def _reason(error: Exception, data: Data) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    first = str(error).strip().partition("\n")[0]
    return f"not for {data.dtype.name} ({type(error).__name__}: {first[:100]})"


def measure(ways: Sequence[Way], seconds: float, rest: float) -> list[list[float]]:
    """Seconds a call, one entry a round, for each candidate.

    The candidates' order changes from round to round, so that none profits from the same one before it. seconds: to be
    used by all of them together. rest: seconds of silence before each turn.
    """
    once = [_once(way) for way in ways]
    calls = [max(1, int(TURN / one)) for one in once]
    # What fits in a cache is there or not by what ran before; a call of its own decides that.
    led_in = [one < LED_IN for one in once]
    times: list[list[float]] = [[] for _ in ways]
    order = list(range(len(ways)))
    shuffle = random.Random(0).shuffle
    begun = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for done in range(MOST):
            if done >= FEWEST and time.perf_counter() - begun > seconds:
                break
            shuffle(order)
            for index in order:
                if rest:
                    time.sleep(rest)
                times[index].append(_turn(ways[index], calls[index], led_in[index]))
    finally:
        gc.enable()
    return times


def _once(way: Way) -> float:
    """Seconds of one call, the fewest of three."""
    shortest = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        way.run()
        shortest = min(shortest, time.perf_counter() - start)
        if shortest > TURN:
            break
    return max(shortest, 1e-9)


def _turn(way: Way, calls: int, led_in: bool) -> float:
    run = way.run
    if led_in:
        run()  # brings its threads and its data back
    start = time.perf_counter()
    for _ in repeat(None, calls):
        run()
    return (time.perf_counter() - start) / calls


if __name__ == "__main__":
    main()
