"""Verdicts that rest on several effects, and curves with the spread of their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .claim import Answer
from .figures import Curve
from .statistics import Effect, Values, mean, ratio

__all__ = ["OPEN", "all_of", "curve", "geometric"]

#: What is told where an interval lies on both sides of its bound.
OPEN = "The seeds leave it open: an interval holds both what would refute it and what would not. More of them may tell."


def all_of(*answers: Answer) -> Answer:
    """One answer where all parts must hold: false where one is, else undecided where one is.

    >>> all_of("holds", "not enough", "does not hold")
    'does not hold'
    """
    for answer in ("does not hold", "not enough", "depends"):
        if answer in answers:
            return answer
    return "holds"


def geometric(values: Values, what: str, unit: str = "") -> Effect:
    """The geometric mean and its interval, for scales and factors; 0 where one of them is 0, NaN where one is NaN."""
    given = np.asarray(values, dtype=np.float64)
    if np.isnan(given).any():
        return Effect(what, math.nan, math.nan, math.nan, unit, len(given))
    if not (given > 0).all():
        return Effect(what, 0.0, 0.0, float(given.max()), unit, len(given))
    return ratio(given, np.ones_like(given), what, unit)


def curve(name: str, x: Sequence[float], table: npt.ArrayLike, *, log: bool = False) -> Curve:
    """A line with its band from one row of values a seed; geometric means on a log axis."""
    rows = np.asarray(table, dtype=np.float64)
    points = [(geometric if log else mean)(column, "") for column in rows.T]
    wide = [point if math.isfinite(point.low) else mean([point.value] * 2, "") for point in points]
    return Curve(name, x, [p.value for p in points], [p.low for p in wide], [p.high for p in wide])
