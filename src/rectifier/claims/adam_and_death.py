"""Adam keeps ReLU's units from dying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.deaths import BUDGET, deaths, percent, setting
from .lab.claim import Claim, Verdict
from .lab.experiment import Config, Run
from .lab.fair import best_step, tuned
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean, paired
from .lab.verdicts import all_of

if TYPE_CHECKING:
    from ..reporters.page import Chart

_OPTIMIZERS = {"adam": "Adam", "momentum": "momentum", "sgd": "plain SGD"}
_STEPS = {
    "adam": (0.0003, 0.001, 0.003, 0.01, 0.03),
    "momentum": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    "sgd": (0.03, 0.1, 0.3, 1.0, 3.0),
}
#: Multiples of the best step size.
_TIMES = (1.0, 10.0)
_WHERE = {1.0: "best step size", 10.0: "ten times that"}
#: Per cent of the units that makes a difference.
_SAVED = 2.0


def _candidate(plan: Plan, optimizer: str) -> Config:
    config = setting(optimizer=optimizer)
    del config["step"]
    return {**config, "budget": BUDGET[plan.quick]}


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for optimizer, steps in _STEPS.items():
        candidate = _candidate(plan, optimizer)
        yield from tuned(deaths, [candidate], plan, done, steps=steps)
        best = best_step(deaths, candidate, plan, done, steps=steps)
        if best is not None:
            large = float(f"{_TIMES[-1] * best:g}")
            yield from (Run(deaths, {**candidate, "step": large, "seed": seed}) for seed in plan.seeds)


def _rows(results: Results, optimizer: str, times: float) -> Results:
    by_step = results.where(optimizer=optimizer).by("step")
    return by_step[sorted(by_step)[_TIMES.index(times)]]


def _silent(results: Results, optimizer: str, times: float) -> Effect | None:
    """Of the trainings that came to their end; None where none did."""
    rows = _rows(results, optimizer, times)
    ended = Results(row for row in rows if not row["diverged"])
    if not ended.rows:
        return None
    what = f"{_OPTIMIZERS[optimizer]}, {_WHERE[times]} ({rows.rows[0].config['step']:g})"
    return mean(percent(ended, "silent"), f"{what}: silent", "% of the units")


def _against(results: Results, rival: str, name: str) -> Effect:
    """SGD − Adam, each at its own best step size."""
    one, other = (percent(_rows(results, each, 1.0), name) for each in (rival, "adam"))
    told, unit = {"silent": ("silent", "% of the units"), "test": ("accuracy", "points of accuracy")}[name]
    return paired(one, other, f"{_OPTIMIZERS[rival]} − Adam, best step sizes: {told}", unit)


def _said(results: Results, times: float) -> str:
    parts = []
    for optimizer, title in _OPTIMIZERS.items():
        found = _silent(results, optimizer, times)
        parts.append(f"{title} {found.value:.0f} %" if found else f"{title} breaks off")
    return ", ".join(parts)


def _judge(results: Results) -> Verdict:
    rivals = [label for label in _OPTIMIZERS if label != "adam"]
    saved = {rival: _against(results, rival, "silent") for rival in rivals}
    right = [_against(results, rival, "test") for rival in rivals]
    large = [found for optimizer in _OPTIMIZERS if (found := _silent(results, optimizer, _TIMES[-1]))]
    effects = (*saved.values(), *right, *large)
    answers = {rival: decide(effect, _SAVED) for rival, effect in saved.items()}
    told = (
        f"Silent units at the best step sizes: {_said(results, 1.0)}; the accuracies differ by "
        f"{max(abs(effect.value) for effect in right):.1f} points at most. At ten times these: {_said(results, 10.0)}"
    )
    if "holds" in answers.values() and "does not hold" in answers.values():
        which = ", ".join(_OPTIMIZERS[rival] for rival, answer in answers.items() if answer == "holds")
        return Verdict("depends", f"On the other optimizer: fewer than with {which}. {told}.", effects)
    return Verdict(all_of(*answers.values()), f"{told}.", effects)


def _figure(results: Results) -> Chart:
    found = [(times, _silent(results, optimizer, times)) for times in _TIMES for optimizer in _OPTIMIZERS]
    shown = [(times, effect) for times, effect in found if effect]
    return intervals(
        [effect for _, effect in shown],
        x_title="silent units (per cent)",
        caption="Units that are silent on all 1,797 images after training with each optimizer, at its own best step "
        "size and at ten times that; trainings that broke off are left out.",
        alt="; ".join(effect.told for _, effect in shown),
        groups=[_WHERE[times] for times, _ in shown],
    )


CLAIM = Claim(
    name="adam-and-death",
    group="death",
    place=50,
    statement="Adam, whose steps are scaled for each weight, loses fewer units than SGD at the same accuracy.",
    source="Told with cures for dying ReLUs; Adam: Kingma and Ba 2015, arXiv:1412.6980.",
    refuted_by="Not 2 % of the units fewer silent with Adam than with SGD, with and without momentum, each at its own "
    "best step size. It depends where they are fewer than with one of the two.",
    method="Plain networks of 3 layers of 64 ReLUs learn the digits by Adam, by SGD with momentum 0.9 and by plain "
    "SGD, each at its own best step size of five, half a decade apart, found on other seeds by validation data, where "
    "their accuracy is comparable; then, to tell what a mistake costs, at ten times that. rectifier.check counts units "
    "that are silent on all 1,797 images.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
