"""The proof of the digits: results judged by a reference that shares no code with the kernels.

:mod:`.plan` says what is judged, :mod:`.run` judges it, :mod:`.records` holds what was found, :mod:`.table` prints it.
The kernels, a framework's gradient and an installed peer (:mod:`.subjects`) are judged in the same way.
"""

from __future__ import annotations

from .plan import Case, make_plan
from .records import Proof, Result
from .run import verify

__all__ = ["Case", "Proof", "Result", "make_plan", "verify"]
