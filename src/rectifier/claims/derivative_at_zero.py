"""Any value of the derivative at 0 trains alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.kinks import at_the_kink
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import best_step, tuned
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, counted, paired

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DTYPES = ("float16", "float32")
_OTHERS = (0.5, 1.0)
#: Quick or not → the grid.
_STEPS = {True: (0.03, 0.1, 0.3), False: (0.03, 0.1, 0.3, 1.0)}
#: Points of accuracy, and of how many images it is the share.
_COUNTS, _TESTED = 1.0, 450


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for dtype in _DTYPES:
        shared = {"activation": "relu", "dtype": dtype, "updates": 200 if plan.quick else 1000}
        usual = {**shared, "at_zero": 0.0}
        yield from tuned(at_the_kink, [usual], plan, done, steps=_STEPS[plan.quick])
        # One step size for all three: nothing but the derivative at 0 differs.
        step = best_step(at_the_kink, usual, plan, done, steps=_STEPS[plan.quick])
        if step is not None:
            for at_zero in _OTHERS:
                yield from (
                    Run(at_the_kink, {**shared, "at_zero": at_zero, "step": step, "seed": seed}) for seed in plan.seeds
                )


def _effects(results: Results) -> list[Effect]:
    effects = []
    for dtype in _DTYPES:
        usual = results.where(dtype=dtype, at_zero=0.0)
        for at_zero in _OTHERS:
            other = results.where(dtype=dtype, at_zero=at_zero)
            name = f"{dtype}, derivative {at_zero:g} − derivative 0"
            effect = paired(100 * other.values("test"), 100 * usual.values("test"), name, "points of accuracy")
            effects.append(counted(effect, _TESTED))
    return effects


def _judge(results: Results) -> Verdict:
    effects = _effects(results)
    told = " ".join(_told(results.where(dtype=dtype), dtype) for dtype in _DTYPES)
    if all(effect.low > -_COUNTS and effect.high < _COUNTS for effect in effects):
        return Verdict("holds", told, tuple(effects))
    worse = [effect for effect in effects if effect.low >= _COUNTS or effect.high <= -_COUNTS]
    if not worse:
        return Verdict("not enough", f"The spread over the seeds is wider than a point. {told}", tuple(effects))
    if len(worse) == len(effects):
        return Verdict("does not hold", told, tuple(effects))
    return Verdict(
        "depends", f"On the format and the value: {', '.join(e.what for e in worse)}. {told}", tuple(effects)
    )


def _told(results: Results, dtype: str) -> str:
    zeros, values = int(results.values("zeros").sum()), int(results.values("values").sum())
    usual = results.where(at_zero=0.0).values("weights")
    same = np.mean([results.where(at_zero=at_zero).values("weights") == usual for at_zero in _OTHERS])
    often = f"{zeros} times in {values:,}" if zeros else f"never in {values:,} times"
    return (
        f"{dtype}: z is exactly 0 {often}; {100 * same:.0f} % of trainings end with the same bits as with derivative 0."
    )


def _figure(results: Results) -> Chart:
    effects = _effects(results)
    return intervals(
        effects,
        x_title="difference of test accuracy (points)",
        caption="Each network trained once with derivative 0 at z = 0 and once with ½ or 1, all else the same. "
        "A difference counts from one point on.",
        alt="; ".join(effect.told for effect in effects),
        reference=0.0,
        groups=[dtype for dtype in _DTYPES for _ in _OTHERS],
    )


CLAIM = Claim(
    name="derivative-at-zero",
    group="function",
    place=15,
    statement="Whatever value ReLU's derivative at 0 is given, training goes alike, as z is hardly ever exactly 0.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.3; doubted by Bertoin et al. 2021, "
    "arXiv:2106.12915.",
    refuted_by=f"A difference of test accuracy of {_COUNTS:g} point or more between derivative 0 and ½ or 1.",
    method="A network 64 → 128 → 128 → 64 → 10 on the digits, in float32 and in float16 throughout (but the loss), "
    "plain SGD, the step size that is best with derivative 0. The three trainings of a seed share weights and batches. "
    "Zeros are counted at every rectifier of every update.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
)
