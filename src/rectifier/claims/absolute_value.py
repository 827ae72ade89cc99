"""Slope −1 gives the absolute value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.identities import absolute_values
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import mean

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DTYPES = ("float16", "float32", "float64")
_SLOPES = (-1.0, -0.999)


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    many = 200_000 if plan.quick else 5_000_000
    for seed in plan.seeds:
        for dtype in _DTYPES:
            for slope in _SLOPES:
                yield Run(absolute_values, {"dtype": dtype, "slope": slope, "many": many, "seed": seed})


def _share(results: Results, dtype: str, slope: float) -> list[float]:
    return [100 * row["differ"] / row["compared"] for row in results.where(dtype=dtype, slope=slope)]


def _judge(results: Results) -> Verdict:
    effects = tuple(
        mean(_share(results, dtype, -1.0), f"{dtype}: results unlike |z|, slope −1", "%") for dtype in _DTYPES
    )
    zeros = max(row["zeros"] for row in results.where(slope=-1.0))
    if any(effect.high > 0 for effect in effects):
        return Verdict("does not hold", "Some results have other bits than |z|.", effects)
    told = "Every number drawn gives the bits of |z|"
    told += ", but 0 itself, whose sign turns: −1 · 0 is −0, which equals 0." if zeros else "."
    return Verdict("holds", told, effects)


def _figure(results: Results) -> Chart:
    slopes = {-1.0: "slope −1", -0.999: "slope −0.999"}
    effects = [
        mean(_share(results, dtype, slope), f"{dtype}, {told}", "%")
        for dtype in _DTYPES
        for slope, told in slopes.items()
    ]
    return intervals(
        effects,
        x_title="results with other bits than |z| (%)",
        caption="Share of the results whose bits are not those of |z|; what is claimed is 0 with slope −1. Slope "
        "−0.999 stands beside it to show that the measure can tell.",
        alt="; ".join(effect.told for effect in effects),
        groups=[told for _ in _DTYPES for told in slopes.values()],
    )


CLAIM = Claim(
    name="absolute-value",
    group="function",
    place=20,
    statement="With a slope of −1 the leaky rectifier is the absolute value, to the bit.",
    source="Folklore of the leaky rectifier: max(z, s·z) with s = −1 is |z|.",
    refuted_by="One number other than 0 whose leaky rectifier with slope −1 has other bits than |z|.",
    method="Numbers drawn evenly over all bit patterns (float16: all of them), so that every exponent, infinities and "
    "subnormal numbers are met. Both functions are computed and their bits compared.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(3, 5),
)
