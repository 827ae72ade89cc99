"""Hinge loss, perceptron loss, soft threshold and logistic loss are rectifiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .experiments.identities import losses
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, mean

if TYPE_CHECKING:
    from ..reporters.page import Chart

_LOSSES = {
    "hinge": "hinge loss, relu(1 − y·s)",
    "perceptron": "perceptron loss, relu(−y·s)",
    "soft_threshold": "soft threshold, relu(x − λ) − relu(−x − λ)",
    "logistic": "logistic loss, softplus(−y·s)",
    "hinge_of_sklearn": "scikit-learn's mean hinge loss",
    "soft_threshold_of_torch": "PyTorch's soft threshold",
}
_DTYPES = ("float32", "float64")


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        for dtype in _DTYPES:
            yield Run(losses, {"dtype": dtype, "many": 20_000 if plan.quick else 1_000_000, "seed": seed})


def _effects(results: Results) -> list[Effect]:
    return [
        mean(results.where(dtype=dtype).values(name), f"{told}, {dtype}: largest difference", "ulp")
        for name, told in _LOSSES.items()
        for dtype in _DTYPES
    ]


def _judge(results: Results) -> Verdict:
    off = {name: int(results.values(name).max()) for name in _LOSSES}
    worst = [max(row[name] for name in _LOSSES for row in results.of_seeds([seed])) for seed in results.seeds]
    effects = (mean(worst, "largest difference of any of them", "ulp"), *_effects(results))
    far = [_LOSSES[name] for name, most in off.items() if most > 1]
    if far:
        return Verdict("does not hold", f"More than an ulp apart: {'; '.join(far)}.", effects)
    near = [_LOSSES[name].partition(",")[0] for name, most in off.items() if most]
    told = f"The same bits, but for these, which are within 1 ulp: {', '.join(near)}." if near else "The same bits."
    plain, theirs = (int(results.values(name).max()) for name in ("logistic_plainly", "logistic_of_torch"))
    told += f" (PyTorch's own logistic loss is up to {theirs} ulp from ours, the plain formula log(1 + exp(−y·s)) "
    told += f"up to {plain:.0e}: where exp overflows.)"
    return Verdict("holds", told, effects)


def _figure(results: Results) -> Chart:
    found = _effects(results)
    return intervals(
        [replace(effect, what=effect.what.removesuffix(": largest difference")) for effect in found],
        x_title="largest difference from the closed form (ulp)",
        caption="Largest distance of each loss written with a rectifier from its closed form, or from that of another "
        "library; the claim allows 1 ulp.",
        alt="; ".join(effect.told for effect in found),
        reference=1.0,
        groups=[effect.what.split(", ")[-1].split(":")[0] for effect in found],
    )


CLAIM = Claim(
    name="losses-as-rectifiers",
    group="function",
    place=40,
    statement="Hinge, perceptron and logistic loss and LASSO's soft threshold are rectifiers in other words.",
    source="Rosasco et al. 2004, Neural Computation 16(5):1063–1076, for the losses; Daubechies, Defrise and De Mol "
    "2004, doi:10.1002/cpa.20042, for the soft threshold.",
    refuted_by="A loss that differs from its closed form by more than 1 ulp; or the mean hinge loss from "
    "scikit-learn's, or the soft threshold from PyTorch's.",
    method="Scores of 2⁻⁸ to 2⁴ in size, labels ±1 and thresholds drawn at random. The logistic loss is held against "
    "log(1 + exp(−y·s)) in the longest floating-point format, rounded once.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(3, 5),
)
