"""What the timing of training steps shares: ways that take turns, and the table of them.

Three ways take turns step by step, in changing order: the framework's f, the same once more ("again", which says how
much of a ratio is chance) and ours; a ratio is one step's time over that of the framework's step of the same round, and
what is shown is the median over the rounds with the quartiles. Processor time, of all threads, is less disturbed where
other programs run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy import write

__all__ = ["Size", "run", "take_turns"]

#: batch, width, hidden
Size = tuple[int, int, int]
#: A row's name, the size and the number of rounds → what take_turns found, with "name", "peer" and more columns.
Measure = Callable[[str, Size, int], dict[str, Any]]


def take_turns(steps: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Times of "theirs", "again" and "ours", each a step that returns when it is done."""
    clocks = {"ratio": time.perf_counter, "work": time.process_time}
    times: dict[str, dict[str, list[float]]] = {clock: {way: [] for way in steps} for clock in clocks}
    order = list(steps)
    for number in range(rounds + 3):  # the first ones warm up
        for way in order:
            begun = {which: clock() for which, clock in clocks.items()}
            steps[way]()
            for which, clock in clocks.items() if number >= 3 else ():
                times[which][way].append(clock() - begun[which])
        order.append(order.pop(0))
    ratios = {
        which: {
            way: statistics.quantiles([a / b for a, b in zip(taken[way], taken["theirs"], strict=True)], n=4)
            for way in ("ours", "again")
        }
        for which, taken in times.items()
    }
    return {"milliseconds": 1e3 * statistics.median(times["ratio"]["theirs"]), **ratios}


def table(rows: list[dict[str, Any]], size: Size, rounds: int, how: str) -> str:
    batch, width, hidden = size
    more = list(rows[0].get("more", {})) if rows else []
    heads = ["f", "beside", "its step, ms", "time, ours (again)", "processor time, ours (again)", *more]
    lines = [
        f"Batch {batch}, Dense {width}-{hidden}-{width}, float32, {rounds} rounds; {how}, {_machine()}.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for row in rows:
        time_, work = (
            "{1:.3f} [{0:.3f}, {2:.3f}] ".format(*row[key]["ours"]) + f"({row[key]['again'][1]:.3f})"
            for key in ("ratio", "work")
        )
        cells = [row["name"], f"`{row['peer']}`", f"{row['milliseconds']:.1f}", time_, work]
        lines.append(f"| {' | '.join([*cells, *(row['more'][key] for key in more)])} |")
    return "\n".join(lines)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(models, platform.machine())}, {os.cpu_count()} cores"


def run(description: str, marks: tuple[str, str], names: list[str], measure: Measure, how: str) -> None:
    """The program. names: of all rows, in their order."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", default=";".join(names), help="rows, with semicolons")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--size", default="512,512,2048", help="batch, width, hidden")
    parser.add_argument("--json", type=Path, help="rows of an earlier run, which are added to")
    parser.add_argument("--write", action="store_true", help="put the table into docs/frameworks.md")
    given = parser.parse_args()
    batch, width, hidden = map(int, given.size.split(","))
    size = batch, width, hidden
    rows: dict[str, Any] = {}
    if given.json is not None and given.json.exists():
        rows = {row["name"]: row for row in json.loads(given.json.read_text(encoding="utf-8"))}
    for name in given.only.split(";") if given.only else []:
        rows[name] = measure(name, size, given.rounds)
        print(rows[name], flush=True)
    made = table([rows[name] for name in names if name in rows], size, given.rounds, how)
    print(made)
    if given.json is not None:
        given.json.write_text(json.dumps(list(rows.values()), indent=1), encoding="utf-8")
    if given.write:
        write(*marks, made)
