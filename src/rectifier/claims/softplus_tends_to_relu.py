"""Softplus tends to ReLU as β grows, and its derivative is the sigmoid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.identities import softened
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import Curve, curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import mean

if TYPE_CHECKING:
    from ..reporters.page import Chart

_BETAS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
_DTYPES = ("float32", "float64")
#: A chord of width 2h misses the slope by h²β²/6 · max |σ″| at most, and float64 rounds its ends: together below this.
_CHORD = 1e-7


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        for dtype in _DTYPES:
            for beta in _BETAS:
                yield Run(
                    softened, {"beta": beta, "dtype": dtype, "many": 50_000 if plan.quick else 500_000, "seed": seed}
                )


def _judge(results: Results) -> Verdict:
    scaled = results.values("gap") * results.values("beta")
    first, last = (results.where(beta=beta, dtype="float64").values("gap") for beta in (_BETAS[0], _BETAS[-1]))
    effects = (
        mean(scaled.reshape(len(results.seeds), -1).max(axis=1), "largest gap × β (ln 2 is 0.693)"),
        mean(first, f"gap at β = {_BETAS[0]:g}"),
        mean(last, f"gap at β = {_BETAS[-1]:g}"),
        mean(_largest(results, "slope_off"), "sigmoid − slope of softplus, at most"),
        *(
            mean(_largest(results.where(dtype=dtype), "ulps"), f"derivative − sigmoid, {dtype}, at most", "ulps")
            for dtype in _DTYPES
        ),
    )
    tends = bool((scaled <= math.log(2) * (1 + 1e-12)).all() and (results.values("below") >= 0).all())
    slope = results.values("slope_off").max() < _CHORD and results.values("ulps").max() <= 1
    if tends and slope:
        told = (
            "Softplus is never below ReLU and never further above it than ln 2 ÷ β, at z = 0; its slope is the sigmoid."
        )
        return Verdict("holds", told, effects)
    wrong = [*([] if tends else ["the gap is not within ln 2 ÷ β"]), *([] if slope else ["the slope is another"])]
    return Verdict("does not hold", f"Seen: {', '.join(wrong)}.", effects)


def _largest(results: Results, name: str) -> list[float]:
    return [float(part.values(name).max()) for part in (results.of_seeds([seed]) for seed in results.seeds)]


def _figure(results: Results) -> Chart:
    gaps = [float(results.where(beta=beta).values("gap").max()) for beta in _BETAS]
    return curves(
        [
            Curve("largest gap measured", _BETAS, gaps),
            Curve("ln 2 ÷ β", _BETAS, [math.log(2) / beta for beta in _BETAS]),
        ],
        x_title="β",
        y_title="softplus − ReLU, at most",
        log_x=True,
        log_y=True,
        caption="The largest gap between softplus and ReLU, wherever it was met, over β. The claim allows it to be at "
        "most ln 2 ÷ β: four times the β, a quarter of the gap.",
        alt="Largest gap: "
        + "; ".join(f"{gap:.3g} at β = {beta:g}" for gap, beta in zip(gaps, _BETAS, strict=True))
        + ". ln 2 ÷ β is 0.693 at β = 1.",
    )


CLAIM = Claim(
    name="softplus-tends-to-relu",
    group="function",
    place=30,
    statement="Softplus tends to ReLU as β grows, and its derivative is the sigmoid.",
    source="Dugas et al. 2001, NIPS 13:472–478; Glorot, Bordes and Bengio 2011, AISTATS, PMLR 15:315–323.",
    refuted_by="A gap of more than ln 2 ÷ β somewhere; a slope of a chord that is not the sigmoid of β·z (by 1e−7, "
    "what the chord itself is off by); or a derivative more than 1 ulp from the sigmoid.",
    method="β from 1 to 1024, z drawn around 0 in float64 with 0 among them; the derivative also in float32.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(3, 5),
)
