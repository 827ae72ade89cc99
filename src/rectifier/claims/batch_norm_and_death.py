"""Batch normalisation keeps ReLU's units from dying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.compared import across
from .experiments.deaths import BUDGET, DAMAGES, deaths, percent, setting, signed
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean, paired

if TYPE_CHECKING:
    from ..reporters.page import Chart

_EXTREME = {"step size 1": {"step": 1.0}}
_NORMS = {"none": "without", "batch": "with"}
#: Per cent of the units that it must save.
_SAVED = 20.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for changed in ({**DAMAGES, **_EXTREME}).values():
        for norm in _NORMS:
            for seed in plan.seeds:
                config = setting(norm=norm, **changed)
                yield Run(deaths, {**config, "budget": BUDGET[plan.quick], "seed": seed})


def _silent(results: Results, damage: str, norm: str) -> Effect:
    # With a training that broke off nothing is saved; without batch normalisation it is no death.
    changed = {**DAMAGES, **_EXTREME}[damage]
    shares = percent(results.where(**setting(norm=norm, **changed)), "silent", lost=float(norm == "batch"))
    return mean(shares, f"{damage}, {_NORMS[norm]} batch normalisation", "% of the units")


def _saved(results: Results, damage: str, name: str, what: str, unit: str, sign: float = 1.0) -> Effect:
    parts = (results.where(**setting(norm=norm, **DAMAGES[damage])) for norm in _NORMS)
    without, batch = (sign * percent(part, name, lost=float(place)) for place, part in enumerate(parts))
    return paired(without, batch, f"{damage}: {what}", unit)


def _judge(results: Results) -> Verdict:
    saved = {each: _saved(results, each, "silent", "silent units saved", "% of the units") for each in DAMAGES}
    gained = [_saved(results, each, "test", "accuracy gained", "points of accuracy", -1.0) for each in DAMAGES]
    extreme = [_silent(results, each, "batch") for each in _EXTREME]
    effects = (*saved.values(), *gained, *extreme)
    answers = {damage: decide(effect, _SAVED) for damage, effect in saved.items()}
    told = "; ".join(
        f"{damage}: {_silent(results, damage, 'none').value:.0f} % silent without, "
        f"{_silent(results, damage, 'batch').value:.0f} % with it, {signed(gain)} points of accuracy"
        for damage, gain in zip(DAMAGES, gained, strict=True)
    )
    rest = f"At step size 1, {extreme[0].value:.0f} % are silent with it."
    answer = across(answers.values())
    if answer == "depends":
        where = ", ".join(damage for damage, one in answers.items() if one == "holds")
        told = f"On what silences the units: it saves them from {where}. {told}"
    return Verdict(answer, f"{told}. {rest}", effects)


def _figure(results: Results) -> Chart:
    pairs = [(damage, norm) for damage in (*DAMAGES, *_EXTREME) for norm in _NORMS]
    effects = [_silent(results, *pair) for pair in pairs]
    return intervals(
        effects,
        x_title="silent units (per cent)",
        caption="Units that are silent on all 1,797 images after each training, without and with batch normalisation "
        "before every ReLU; the step size and all else are the same.",
        alt="; ".join(effect.told for effect in effects),
        groups=[f"{_NORMS[norm]} batch normalisation" for _, norm in pairs],
    )


CLAIM = Claim(
    name="batch-norm-and-death",
    group="death",
    place=40,
    statement="Batch normalisation keeps units of ReLU alive where they would fall silent without it.",
    source="Ioffe and Szegedy 2015, arXiv:1502.03167 (larger steps); told with most cures for dying ReLUs.",
    refuted_by="Trainings that silence units of which it saves less than 20 % of all. It depends where it saves them "
    "from one cause and not from another.",
    method="The digits' plain networks of 3 layers of 64 ReLUs, with and without batch normalisation before each, are "
    "trained at ten times the usual step size (momentum; Adam) and with initial biases of −1, which it takes away "
    "again; and at a step size of 1 to see where it ends. rectifier.check counts units that are silent on all 1,797 "
    "images. A training with it that broke off counts as all silent.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
