"""The proof of the speed: every function side by side with every installed peer, and with a copy of the same bytes.

:mod:`.plan` says what is timed, :mod:`.run` starts a process for each number of threads, in which :mod:`.worker` times
the candidates of :mod:`.peers` in turn; :mod:`.records` holds what was found, :mod:`.table` and :mod:`.chart` show it.
"""

from __future__ import annotations

from .plan import Plan, make_plan
from .records import Absent, Benchmark, Timing
from .run import bench

__all__ = ["Absent", "Benchmark", "Plan", "Timing", "bench", "make_plan"]
