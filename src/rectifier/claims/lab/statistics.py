"""Effects with their spread over seeds, and which of many methods differ.

>>> paired([0.9, 0.8, 0.9], [0.7, 0.7, 0.6], "ReLU − sigmoid", "accuracy").told
'ReLU − sigmoid: 0.2 accuracy (95 % interval −0.0484 to 0.448, 3 seeds)'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...reporters.words import number

__all__ = ["CONFIDENCE", "Effect", "Ranking", "counted", "decide", "mean", "median", "paired", "ranking", "ratio"]

#: Of every interval here.
CONFIDENCE = 0.95
_RESAMPLES = 10_000

Values = Sequence[float] | npt.NDArray[np.floating]


@dataclass(frozen=True)
class Effect:
    """One figure with the interval that the seeds leave it."""

    what: str
    """What it is of, such as "ReLU − sigmoid"."""
    value: float
    low: float
    high: float
    unit: str
    """Such as "points of accuracy", "times", "steps"; empty for a pure number."""
    seeds: int

    @property
    def told(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        spread = "the same" if self.low == self.high else f"95 % interval {number(self.low)} to {number(self.high)}"
        within = f"{spread}, {self.seeds} seeds" if self.low != self.high else f"the same for {self.seeds} seeds"
        return f"{self.what}: {number(self.value)}{unit} ({within})"


def mean(values: Values, what: str, unit: str = "") -> Effect:
    """The mean with Student's interval, NaN of no values. Not for what may be infinite: see :func:`median`.

    Values that are all alike have an interval of no width: right of what no seed changes, such as an error in ulp; of
    shares of examples see :func:`counted`.
    """
    given = np.asarray(values, dtype=np.float64)
    if not len(given):
        return Effect(what, math.nan, math.nan, math.nan, unit, 0)
    if len(given) > 1 and np.all(given == given[0]):  # infinities too, which have no standard deviation
        same = float(given[0])
        return Effect(what, same, same, same, unit, len(given))
    middle = float(given.mean())
    half = _student(len(given)) * float(given.std(ddof=1)) / math.sqrt(len(given)) if len(given) > 1 else math.inf
    return Effect(what, middle, middle - half, middle + half, unit, len(given))


def counted(effect: Effect, examples: float) -> Effect:
    """An effect in points that is a difference of counts, among so many examples; 0: it is none, and stays as it is.

    Where all seeds come out alike to the example, Student's interval has no width, as if another seed could not differ
    by an example. It is then one example wide to either side; any other interval stays as it is.

    >>> counted(mean([1.0, 1.0, 1.0], "ReLU − tanh", "points"), 200).told
    'ReLU − tanh: 1 points (95 % interval 0.5 to 1.5, 3 seeds)'
    """
    if not examples:
        return effect
    one = 100 / examples
    # Differences of the same counts differ by rounding.
    if effect.high - effect.low < 1e-6 * one:
        return replace(effect, low=effect.value - one, high=effect.value + one)
    return effect


def _student(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, n - 1))


def paired(one: Values, other: Values, what: str, unit: str = "") -> Effect:
    """one − other, seed by seed, with Student's interval of the mean difference."""
    return mean(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64), what, unit)


def ratio(one: Values, other: Values, what: str, unit: str = "times") -> Effect:
    """one ÷ other, seed by seed: geometric mean and its interval. For times and scales, which are positive."""
    log = paired(np.log(one), np.log(other), what, unit)
    return Effect(what, math.exp(log.value), math.exp(log.low), math.exp(log.high), unit, log.seeds)


def median(values: Values, what: str, unit: str = "") -> Effect:
    """The median with a bootstrap interval: for values that may be infinite, such as steps to an accuracy not reached.

    Of an even number of values it is the lower one of the two in the middle, as their mean may be infinite; so are the
    bootstrap's. With few seeds the interval is too narrow: of three seeds it spans the smallest to the largest, which
    covers in 75 % of cases.
    """
    given = np.sort(np.asarray(values, dtype=np.float64))
    if np.isnan(given).any():
        return Effect(what, math.nan, math.nan, math.nan, unit, len(given))
    places = np.random.default_rng(0).integers(len(given), size=(_RESAMPLES, len(given)))
    # The middle of sorted places is the place of the middle value; no arithmetic that infinities would spoil.
    middles = given[np.sort(places, axis=1)[:, (len(given) - 1) // 2]]
    low, high = np.quantile(middles, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2], method="nearest")
    return Effect(what, float(given[(len(given) - 1) // 2]), float(low), float(high), unit, len(given))


def decide(
    effect: Effect, at_least: float = 0.0, *, sign: Literal[1, -1] = 1
) -> Literal["holds", "does not hold", "not enough"]:
    """Whether an effect is above a bound (below it with sign −1), as far as its whole interval says so.

    Of what is NaN, or has an end that is, nothing is said: "not enough".

    >>> decide(Effect("ReLU − sigmoid", 0.2, 0.15, 0.25, "", 10), at_least=0.1)
    'holds'
    """
    if any(map(math.isnan, (effect.value, effect.low, effect.high))):
        return "not enough"
    low, high = sorted((sign * effect.low, sign * effect.high))
    if low > sign * at_least:
        return "holds"
    return "does not hold" if high <= sign * at_least else "not enough"


@dataclass(frozen=True)
class Ranking:
    """Average ranks of methods over problems, 1 the best (Demšar 2006, JMLR 7:1–30)."""

    ranks: Mapping[str, float]
    """Best first."""
    problems: int
    p_value: float
    """Friedman's: how likely such ranks are where all methods are alike."""
    critical_difference: float
    """Nemenyi's: average ranks closer than this are not told apart."""

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The largest runs of methods that are not told apart: the bars of the figure."""
        names = list(self.ranks)
        runs: list[tuple[str, ...]] = []
        for start, first in enumerate(names):
            run = tuple(n for n in names[start:] if self.ranks[n] - self.ranks[first] < self.critical_difference)
            if len(run) > 1 and not (runs and set(run) <= set(runs[-1])):
                runs.append(run)
        return tuple(runs)


def ranking(scores: Mapping[str, Values], *, higher_is_better: bool = True) -> Ranking:
    """Rank methods by their scores on the same problems, in the same order; ties share their rank.

    scores: method → one score a problem (−inf for a training that failed); three methods, two problems at least.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    table = np.array([np.asarray(values, dtype=np.float64) for values in scores.values()])
    ranks = np.array([rankdata(-column if higher_is_better else column) for column in table.T])
    methods, problems = table.shape
    average = dict(zip(scores, ranks.mean(axis=0).tolist(), strict=True))
    # All ties: nothing tells them apart, and Friedman's statistic is 0 ÷ 0.
    tied = bool((ranks == ranks[:, :1]).all())
    p_value = 1.0 if tied else float(friedmanchisquare(*ranks.T).pvalue)
    q = float(studentized_range.ppf(CONFIDENCE, methods, np.inf)) / math.sqrt(2)
    critical = q * math.sqrt(methods * (methods + 1) / (6 * problems))
    return Ranking(dict(sorted(average.items(), key=lambda item: item[1])), problems, p_value, critical)
