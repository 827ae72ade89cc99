"""What every installed framework does with the family, measured: defaults, conventions, defects, ours beside them.

:mod:`.plan` says who is asked, :mod:`.run` asks each framework in processes of its own (:mod:`.worker`), where
:mod:`.measure` looks; :mod:`.records` holds what was found, :mod:`.table` prints it and :mod:`.changes` says what is
no longer as it was. ``conventions.json`` beside this package is such a record; the family's rows are told from it.
"""

from __future__ import annotations

from .changes import changes
from .plan import make_plan
from .records import Comparison, Measured
from .run import compare

__all__ = ["Comparison", "Measured", "changes", "compare", "make_plan"]
