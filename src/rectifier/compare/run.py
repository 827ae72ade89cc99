"""A comparison's processes: one for each group of candidates that can live together, and one more where it crashes."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .. import _native, oracle
from .._machine import processor, versions
from .plan import Candidate, Plan
from .records import Comparison, Measured

__all__ = ["VERSIONS", "compare"]

Progress = Callable[[str, int, int], None]

#: Distributions whose versions are told.
VERSIONS = (
    "rectifier",
    "numpy",
    "scipy",
    "torch",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "jax",
    "flax",
    "onnxruntime",
    "onnx",
)
#: Seconds after which a process is ended, whatever it is at.
LIMIT = 600.0


def compare(plan: Plan, progress: Progress = lambda label, done, total: None, *, jobs: int | None = None) -> Comparison:
    """Measure what the plan says.

    plan: from :func:`make_plan`. progress: called with a label and the functions done and in all. jobs: processes at a
    time, by default one a core, at most two. Returns the Comparison; a candidate whose process crashed is told in
    ``failed``, what it had measured before is kept. Raises OracleUnavailableError where mpmath is not installed.
    """
    begun = time.perf_counter()
    if plan.samples:
        oracle.value("relu", 0.0, np.float32)
    groups: dict[str, list[Candidate]] = {}
    for candidate in plan.candidates:
        groups.setdefault(candidate.process, []).append(candidate)
    run = _Run(plan, progress)
    # Those that take long first.
    slow = sorted(groups.values(), key=lambda group: _SLOW.index(group[0].process))
    with ThreadPoolExecutor(jobs or min(2, os.cpu_count() or 1)) as pool:
        try:
            list(pool.map(run.group, slow))
        except BaseException:
            run.stop()
            raise
    order = {candidate.label: index for index, candidate in enumerate(plan.candidates)}
    found = sorted(run.found, key=lambda one: (plan.functions.index(one.function), order[one.candidate]))
    failed = {label: run.failed[label] for label in order if label in run.failed}
    told = {name.removesuffix("-cpu"): number for name, number in versions(VERSIONS).items()}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{processor()} ({_native.isa()})"
    seconds = time.perf_counter() - begun
    return Comparison(
        tuple(found), failed, plan.absent, told, machine, today, plan.samples if plan.samples else 0, seconds
    )


_SLOW = ("torch compiled", "tensorflow", "jax", "torch", "numpy")


class _Run:
    """What the processes have found so far."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.found: list[Measured] = []
        self.failed: dict[str, str] = {}
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.running:
                process.kill()

    def group(self, group: list[Candidate]) -> None:
        """Every candidate of a group; those behind one that crashed get a new process."""
        left = list(group)
        while left and not self.stopped:
            at: str | None = None
            ended = None
            for message in self._process(left):
                if "begun" in message:
                    at = message["begun"]
                elif "found" in message:
                    self._add(Measured(**message["found"]))
                elif "failed" in message:
                    self.failed[at or left[0].label] = message["failed"]
                else:
                    ended = message["ended"]
            if ended is None:
                return
            labels = [candidate.label for candidate in left]
            crashed = labels.index(at) if at is not None else 0
            self.failed[labels[crashed]] = ended
            left = left[crashed + 1 :]

    def _add(self, one: Measured) -> None:
        with self.lock:
            self.found.append(one)
            self.progress(one.candidate, len(self.found), len(self.plan.functions) * len(self.plan.candidates))

    def _process(self, group: list[Candidate]) -> Iterator[dict[str, Any]]:
        """What a process says, line by line; at last {"ended": why} where it ended before its time."""
        task = {
            "candidates": [candidate.label for candidate in group],
            "functions": self.plan.functions,
            "dtypes": self.plan.dtypes,
            "samples": self.plan.samples,
        }
        # -P: a file of the user's folder named like a library must not take its place.
        command = [sys.executable, "-P", "-m", f"{__package__}.worker"]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
            subprocess.Popen(
                command,
                env=_environment(group[0].process),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            assert process.stdin is not None and process.stdout is not None
            with self.lock:
                self.running.add(process)
            limit = threading.Timer(LIMIT, process.kill)
            limit.start()
            try:
                with process.stdin as stdin:
                    json.dump(task, stdin)
                for line in process.stdout:
                    yield json.loads(line)
                if process.wait():
                    errors.seek(0)
                    yield {"ended": _why(process.returncode, errors.read())}
            except BrokenPipeError:
                yield {"ended": _why(process.wait(), "")}
            finally:
                limit.cancel()
                with self.lock:
                    self.running.discard(process)


def _why(status: int, said: str) -> str:
    last = said.strip().rpartition("\n")[2] or "it said nothing"
    name = signal.Signals(-status).name if status < 0 else str(status)
    return f"its process ended with {name}: {last[:200]}"


def _environment(process: str) -> dict[str, str]:
    """Everybody on the processor, and Keras on the backend that the process is for."""
    return {
        **os.environ,
        "KERAS_BACKEND": process if process in ("tensorflow", "jax", "torch") else "numpy",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
