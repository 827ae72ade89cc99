"""One run, in whatever process it was sent to."""

from __future__ import annotations

import os
import sys
import time
from functools import cache

from ..._machine import processor, versions
from .engines import Finished
from .experiment import Run

__all__ = ["finish"]

_TOLD = ("rectifier", "numpy", "scipy", "scikit-learn", "torch", "gymnasium")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def finish(run: Run) -> Finished:
    """Make a run on one thread: sums are then rounded alike wherever it is made."""
    _one_thread()
    started = time.perf_counter()
    outcome = run.experiment(run.config)
    return Finished(outcome, time.perf_counter() - started, _machine())


def _one_thread() -> None:
    for name in _THREADS:  # of libraries that are loaded from now on
        os.environ[name] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@cache
def _machine() -> dict[str, str]:
    return {"processor": processor(), **versions(_TOLD)}
