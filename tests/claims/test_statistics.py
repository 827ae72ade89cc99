"""Intervals, decisions and ranks, against values known from elsewhere."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from rectifier.claims.lab.claim import Verdict
from rectifier.claims.lab.statistics import Effect, counted, decide, mean, median, paired, ranking, ratio
from rectifier.claims.lab.verdicts import geometric


def test_student_interval() -> None:
    # t(0.975, 4) = 2.776445; mean 3, standard deviation √2.5.
    found = mean([1, 2, 3, 4, 5], "x", "m")
    assert (found.value, found.seeds) == (3.0, 5)
    assert found.high - found.value == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)
    assert found.told == "x: 3 m (95 % interval 1.04 to 4.96, 5 seeds)"


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [mean(rng.normal(2.0, 1.0, 5), "") for _ in range(2000)]
    assert 0.94 < np.mean([each.low <= 2.0 <= each.high for each in found]) < 0.96


def test_equal_values_have_no_spread_not_even_infinite_ones() -> None:
    assert mean([math.inf] * 3, "x").told == "x: inf (the same for 3 seeds)"
    assert mean([2.0], "x").high == math.inf
    assert mean([], "x").told == "x: NaN (95 % interval NaN to NaN, 0 seeds)"


def test_pairing_takes_out_what_seeds_share() -> None:
    shared = np.array([0.0, 10.0, 20.0, 30.0])
    found = paired(shared + [1.0, 1.1, 0.9, 1.0], shared, "one − other")
    assert found.low > 0.8 and found.high < 1.2


def test_a_ratio_is_the_same_upside_down() -> None:
    one, other = [2.0, 4.0, 3.0], [1.0, 1.0, 1.5]
    up, down = ratio(one, other, ""), ratio(other, one, "")
    assert up.value == pytest.approx(1 / down.value) and up.low == pytest.approx(1 / down.high)
    assert up.value == pytest.approx(16 ** (1 / 3))


def test_a_median_bears_infinities() -> None:
    found = median([1.0, 2.0, math.inf, math.inf, 3.0], "steps")
    assert (found.value, found.low, found.high) == (3.0, 1.0, math.inf)


def test_of_an_even_number_the_median_is_the_lower_middle() -> None:
    assert median([100.0, 3.0, 2.0, 1.0], "steps").value == 2.0


def test_three_seeds_better_by_one_example_are_no_certainty() -> None:
    """By one of 114, whose share floats round otherwise for each seed."""
    one, other = (np.array([100 * (right + more) / 114 for right in (100, 103, 107)]) for more in (1, 0))
    found = paired(one, other, "one − other", "points")
    assert decide(found, 0.5) == "holds"
    wide = counted(found, 114)
    assert decide(wide, 0.5) == "not enough"
    assert (wide.value, wide.low, wide.high) == pytest.approx((100 / 114, 0.0, 200 / 114))
    spread = mean([1.0, 2.0, 1.0], "x")
    assert counted(spread, 3) == spread
    assert counted(found, 0) == found


def test_a_minus_is_one_sign() -> None:
    told = Verdict("holds", f"it is {-0.07:.2f} ({-3:+.0f}), or {1e-6:.0e}; see few-bits, 3-5, batch-2, α − 1").told
    assert told == "it is −0.07 (−3), or 1e−06; see few-bits, 3-5, batch-2, α − 1"


@pytest.mark.parametrize("sign", [1, -1])
def test_nan_supports_nothing(sign: Literal[1, -1]) -> None:
    nan, inf = math.nan, math.inf
    found = [
        geometric([nan, 1, 1], "x"),
        median([nan, 1, 1], "x"),
        mean([nan, 1, 1], "x"),
        Effect("", 0, 0, nan, "", 3),
    ]
    assert all(math.isnan(effect.high) for effect in found)
    assert [decide(effect, bound, sign=sign) for effect in found for bound in (-inf, -1.2, 1.2, inf)] == (
        ["not enough"] * 16
    )


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(0.2, 0.4, "holds"), (-0.4, 0.1, "does not hold"), (0.0, 0.3, "not enough")]
)
def test_decide_by_the_whole_interval(low: float, high: float, answer: str) -> None:
    assert decide(Effect("", (low + high) / 2, low, high, "", 5), 0.1) == answer
    assert decide(Effect("", -(low + high) / 2, -high, -low, "", 5), -0.1, sign=-1) == answer


def test_critical_differences_as_published() -> None:
    """Demšar 2006, section 3.2.2: four methods on 14 problems differ by 1.25; table 5: q is 3.164 for ten methods."""
    rng = np.random.default_rng(0)
    assert ranking({name: rng.normal(size=14) for name in "abcd"}).critical_difference == pytest.approx(1.25, abs=5e-3)
    ten = ranking({name: rng.normal(size=30) for name in "abcdefghij"})
    assert ten.critical_difference == pytest.approx(3.164 * math.sqrt(10 * 11 / (6 * 30)), rel=1e-3)


def test_ranks_and_groups() -> None:
    best, middle, worst = np.arange(12) + 3.0, np.arange(12) + 2.0, np.arange(12.0)
    middle[0] = best[0]  # a tie: both have rank 1.5
    scores = {"worst": worst, "middle": middle, "best": best}
    found = ranking(scores)
    assert list(found.ranks) == ["best", "middle", "worst"]
    assert found.ranks["best"] == pytest.approx((11 + 1.5) / 12) and found.ranks["worst"] == 3.0
    assert found.p_value < 1e-4
    # q is 2.343 for three: 0.957 apart. Best and middle are 0.917 apart, middle and worst 1.04.
    assert found.groups == (("best", "middle"),)
    assert ranking(scores, higher_is_better=False).ranks["worst"] == 1.0


def test_ties_everywhere_tell_nothing_apart() -> None:
    found = ranking({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]})
    assert found.p_value == 1.0 and found.groups == (("a", "b", "c"),)
