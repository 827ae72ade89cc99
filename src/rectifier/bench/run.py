"""A benchmark's processes: one for each number of threads, as some libraries take theirs only where they start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import RectifierError
from . import peers
from .machine import machine
from .plan import Plan
from .records import Absent, Benchmark, Timing

__all__ = ["bench"]

Progress = Callable[[str, int, int], None]


def bench(plan: Plan, progress: Progress = lambda label, done, total: None) -> Benchmark:
    """Time what the plan says.

    plan: from :func:`make_plan`. progress: called with a label and the cells done and in all. Returns the Benchmark,
    in which peers that are not installed, or have no such function or dtype, are listed with the reason.
    Raises RectifierError where a process of it ends before its time, as where memory runs out.
    """
    begun = time.perf_counter()
    missing = tuple(peer for peer in plan.peers if not peers.installed(peer))
    there = [peer for peer in plan.peers if peer not in missing]
    tasks = [{"threads": threads, "peers": there, "huge_pages": False} for threads in plan.threads]
    if "torch" in there:
        tasks += [{"threads": threads, "peers": ["torch"], "huge_pages": True} for threads in plan.threads]
    timings: list[Timing] = []
    absent = [
        Absent(name, kind, dtype, peer, "not installed")
        for name in plan.functions
        for kind in plan.kinds
        for dtype in plan.dtypes
        for peer in missing
    ]
    each = plan.cells // len(plan.threads)
    for number, task in enumerate(tasks):
        where = f"{task['threads']} thread{'s' * (task['threads'] != 1)}" + ", huge pages" * bool(task["huge_pages"])
        progress(where, number * each, len(tasks) * each)
        for done, found in enumerate(_worker({**plan.to_dict(), **task}), start=1):
            timings += [Timing(**entry) for entry in found["timings"]]
            absent += [Absent(**entry) for entry in found["absent"]]
            progress(where, number * each + done, len(tasks) * each)
    order = {(f, k, d): i for i, (f, k, d) in enumerate(_tables(plan))}
    timings.sort(key=lambda t: (order[t.function, t.kind, t.dtype], t.threads))
    return Benchmark(tuple(timings), tuple(dict.fromkeys(absent)), machine(), time.perf_counter() - begun)


def _tables(plan: Plan) -> Iterator[tuple[str, str, str]]:
    return ((name, kind, dtype) for name in plan.functions for kind in plan.kinds for dtype in plan.dtypes)


def _worker(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a process of its own finds, cell by cell."""
    # -P: a file of the user's folder named like a library must not take its place.
    command = [sys.executable, "-P", "-m", f"{__package__}.worker"]
    environment = _environment(task["threads"], task["huge_pages"])
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            with process.stdin as stdin:
                json.dump(task, stdin)
            for line in process.stdout:
                yield json.loads(line)
        except BaseException:
            process.kill()
            raise
        if process.wait():
            errors.seek(0)
            last = errors.read().strip().rpartition("\n")[2] or "it said nothing"
            raise RectifierError(
                f"bench: the process with {task['threads']} threads ended with status {process.returncode}: {last}. "
                "Where memory ran out (status -9), pass smaller sizes; leave a peer out with --peer."
            )


def _environment(threads: int, huge_pages: bool) -> dict[str, str]:
    """The number of threads, for those that read it where they start; and everybody on the processor."""
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC", "RECTIFIER_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(counts, str(threads)),
        peers.HUGE_PAGES: "1" if huge_pages else "0",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
