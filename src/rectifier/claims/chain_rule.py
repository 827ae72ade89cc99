"""The chain rule by hand: where every factor is 1 the weight moves, where one is 0 it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.chain import chains
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import heatmap
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import mean
from .lab.verdicts import all_of

if TYPE_CHECKING:
    from ..reporters.page import Chart

_LENGTH = 6


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    many = 200 if plan.quick else 2000
    for seed in plan.seeds:
        for closed in range(_LENGTH + 1):
            config = {"activation": "relu", "length": _LENGTH, "closed": closed, "many": many, "seed": seed}
            yield Run(chains, config)


def _moved(results: Results) -> np.ndarray:
    """Percent of the chains whose weight moved, by seed, closed gate (0: none) and weight."""
    return 100 * np.array([results.where(closed=closed).values("moved") for closed in range(_LENGTH + 1)]).swapaxes(
        0, 1
    )


def _judge(results: Results) -> Verdict:
    parts = [results.of_seeds([seed]) for seed in results.seeds]
    alike = [100 * part.values("alike").sum() / part.values("slopes").sum() for part in parts]
    table = _moved(results)
    # The weights of a closed gate and of all before it; and the one after it, whose input is then 0.
    behind = [[seed[closed, : closed + 1].max() for closed in range(1, _LENGTH + 1)] for seed in table]
    same = mean(alike, "slopes of autograd that are the same number as by hand", "%")
    opened = mean(table[:, 0].min(axis=1), "all factors 1: weights that move", "%")
    shut = mean(np.max(behind, axis=1), "one factor 0: weights before it that move", "%")
    answer = all_of(
        "holds" if same.low == 100 else "does not hold",
        "holds" if opened.low == 100 else "does not hold",
        "holds" if shut.high == 0 else "does not hold",
    )
    told = (
        "All slopes that autograd found are those found by hand, to the bit. With every gate open each weight moved; "
        "with one gate closed neither its own weight nor any before it did, nor the one behind it, whose input is 0."
        if answer == "holds"
        else "The activation does not multiply by 1 where its gate is open and by 0 where it is closed."
    )
    return Verdict(answer, told, (same, opened, shut))


def _figure(results: Results) -> Chart:
    table = _moved(results).mean(axis=0)
    rows = ["no gate closed", *(f"gate {place} closed" for place in range(1, _LENGTH + 1))]
    told = "; ".join(
        f"{row}: weights {', '.join(str(k + 1) for k in np.flatnonzero(line)) or 'none'} move"
        for row, line in zip(rows, table, strict=True)
    )
    return heatmap(
        table.tolist(),
        x_labels=[f"w{k}" for k in range(1, _LENGTH + 1)],
        y_labels=rows,
        x_title="weight, from the input to the error",
        y_title="",
        caption="How many of the chains move a weight in one step, in percent. The slope of w1 is a product of all "
        "factors f′(z) behind it, which one 0 among them makes 0; and the weight behind a closed gate has an input of "
        "0. What is claimed is 100 in the first row, and in the others 0 up to the gate and one behind it.",
        alt=told,
    )


CLAIM = Claim(
    name="chain-rule",
    group="gradient",
    place=50,
    statement="Where all factors of the chain rule are 1 the weight moves, and where one is 0 it does not.",
    source="The chain rule; Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0.",
    refuted_by="One slope of autograd that is another number than the product found by hand; one weight that stays "
    "with all gates open; or one that moves before a closed gate.",
    method="Chains of six single units, h = max(0, w·h' + b), with weights and biases in quarters: few enough digits "
    "for float64 to round nothing. The slopes of ½(h − t)² are multiplied by hand in fractions, with 1 for an open "
    "gate and 0 for a closed one, and compared with PyTorch's.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(3, 5),
)
