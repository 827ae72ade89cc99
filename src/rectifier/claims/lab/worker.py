"""One run, in whatever process it was sent to."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ... import __version__
from ..._machine import processor, versions
from .experiment import Outcome, Run

__all__ = ["Made", "make"]

_TOLD = ("numpy", "scipy", "scikit-learn", "torch", "gymnasium")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Made:
    """What one run made, how long it took and where; or why it failed."""

    outcome: Outcome | None
    seconds: float
    machine: Mapping[str, str]
    error: str = ""
    """The traceback, where the experiment raised an exception."""
    absent: str = ""
    """The module that the worker lacks, where that is why."""


def make(run: Run) -> Made:
    """Make a run on one thread: sums are then rounded alike wherever it is made."""
    from threadpoolctl import threadpool_limits

    for name in _THREADS:  # of libraries that are loaded from now on
        os.environ[name] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    _own_lock()
    started = time.perf_counter()
    try:
        with threadpool_limits(1):
            outcome = run.experiment(run.config)
    except Exception as error:
        # Told, not raised: one run that fails must not take the others of the sweep with it.
        absent = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        return Made(None, time.perf_counter() - started, {}, traceback.format_exc(), absent)
    return Made(outcome, time.perf_counter() - started, _machine())


@cache
def _own_lock() -> None:
    """PyTorch asks tqdm for a bar, whose lock spans processes: a worker that is killed would leave it, and warn."""
    with contextlib.suppress(ImportError):
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())


@cache
def _machine() -> dict[str, str]:
    return {"processor": processor(), "rectifier": __version__, **versions(_TOLD)}
