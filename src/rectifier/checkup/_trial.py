"""``trial``: short trainings of each remedy from the same state, side by side, on the user's own model."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RectifierError, RectifierTypeError, RectifierValueError
from ._check import check
from ._heal import check_starts, heal
from .adapters import adapter_for, adapter_for_loaded, is_keras
from .records import Record
from .trial_arguments import (
    CLIP,
    NOTHING,
    RECYCLE,
    RESCALE,
    Remedy,
    check_arguments,
    check_batches,
    check_source,
    chosen_remedies,
)

__all__ = ["Arm", "Trial", "mean_and_error", "trial"]

#: 97.5 % quantiles of Student's t for 1, 2, … degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)


@dataclass(frozen=True)
class Arm:
    """One remedy at one step size, over all repeats."""

    remedy: str
    step: float
    """The step size as a share of the optimizer's own: 1, or the smaller one."""
    scores: tuple[float, ...]
    """What each repeat came to; NaN where it diverged; empty where the remedy was refused."""
    silent: tuple[int, ...]
    """Units that fired on none of the training batches at the end, and have no living negative part."""
    output_change: float | None
    """Largest max |Δ output| at the moment of the remedy, where its receipts tell."""
    gain: float
    """Mean over the repeats of what it is better by than doing nothing at the same step size; for the smaller step
    alone, than doing nothing at the optimizer's own."""
    gain_error: float
    """Standard error of that mean; infinite for one repeat, which shows no spread."""
    note: str = ""
    """Why there was nothing to do, or why it was refused."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores)) if self.scores else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over the repeats; NaN for one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else math.nan

    @property
    def sure(self) -> bool:
        """Is the gain, or loss, larger than noise: outside the 95 % interval of Student's t over the repeats?"""
        return abs(self.gain) > _quantile(len(self.scores)) * self.gain_error


@dataclass(frozen=True)
class Trial:
    """What :func:`trial` found. ``print`` it for the table."""

    arms: tuple[Arm, ...]
    measure: str
    """What was measured, such as "loss on the test batches"."""
    higher: bool
    """Whether more of it is better."""
    steps: int
    seeds: tuple[int, ...]
    units: int
    """Units of all sites of the (first) model."""
    silent_before: tuple[int, ...]
    """Silent units when the remedies were given, for each repeat."""

    def of(self, remedy: str, step: float = 1.0) -> Arm:
        """The arm of a remedy at a share of the step size. Raises RectifierValueError where there is none."""
        found = next((arm for arm in self.arms if arm.remedy == remedy and arm.step == step), None)
        if found is None:
            tried = ", ".join(f"{arm.remedy!r} at {arm.step:g}" for arm in self.arms)
            raise RectifierValueError(
                f"trial: `remedy` must be one that was tried; got {remedy!r} at step {step:g}. Tried were {tried}."
            )
        return found

    @property
    def best(self) -> Arm:
        """The arm with the best mean of all."""
        sign = 1.0 if self.higher else -1.0
        return max((arm for arm in self.arms if math.isfinite(arm.mean)), key=lambda arm: sign * arm.mean)

    def __str__(self) -> str:
        from .trial_table import table

        return table(self)


def trial(
    model: Any,
    data: Iterable[Any],
    loss: Callable[[Any, Any], Any],
    optimizer: Any = None,
    *,
    remedies: Iterable[str | tuple[str, Remedy]] = (NOTHING, RECYCLE, "leaky_relu", RESCALE, CLIP),
    steps: int = 200,
    repeats: int = 5,
    smaller: float | None = 0.1,
    clip: float = 1.0,
    test: Iterable[Any] | None = None,
    score: Callable[[Any, Any], Any] | None = None,
    seed: int = 0,
    starts: Mapping[str, float | str] | None = None,
) -> Trial:
    """Try remedies on copies of a model: the same weights, optimizer state, random state and batches for each.

    Each remedy trains for ``steps`` steps, at the optimizer's step size and at a smaller one, ``repeats`` times with
    other orders of the batches and other random numbers. What it is better by than doing nothing at the same step
    size is taken repeat by repeat, so that what all repeats share falls out of the difference.

    The model, its optimizer and every random state are afterwards bit for bit what they were, also where something
    raises: copies are trained, which takes the memory of a second model and of ``steps`` batches.

    model: a PyTorch model, with ``optimizer``; or a function of a seed that returns ``(model, optimizer)``, called once
        a repeat, so that the spread is over networks as well.
    data: batches ``(inputs, targets)`` that can be iterated again and again, such as a list or a DataLoader.
    loss: called as ``loss(outputs, targets)``, returns a scalar.
    remedies: names, "nothing" (always there), "recycle", a rectifier for a swap such as "leaky_relu", "rescale", "clip
        gradients"; or pairs ``(name, function)``: the function is called with a model, its optimizer and the record of
        a check, changes them, and may return another optimizer. Recycling and swaps act on the silent units of a
        :func:`rectifier.check` of the batches.
    steps: of each training. repeats: trainings of each remedy. smaller: the smaller step size as a share of the
        optimizer's own; None for none. clip: the norm to which "clip gradients" clips. No scheduler is stepped.
    test: batches to judge on; by default the first pass over ``data``. score: called as ``score(outputs, targets)``
        for each batch, more is better; by default the loss, less is better. seed: the first repeat's. starts: as
        in :func:`rectifier.heal`.

    Raises RectifierTypeError or RectifierValueError for arguments that cannot be used. A remedy that the model refuses
    is told in its arm; what the loss, the data or a function of the user's raises comes through.

    >>> import torch, rectifier
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> x = torch.rand(64, 2)
    >>> data = [(part, part.sum(1, keepdim=True)) for part in x.split(8)]
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> tried = rectifier.trial(net, data, torch.nn.functional.mse_loss, sgd, remedies=["rescale"], steps=8, repeats=2)
    >>> [(arm.remedy, arm.step) for arm in tried.arms]
    [('nothing', 1.0), ('rescale', 1.0), ('nothing', 0.1), ('rescale', 0.1)]
    """
    chosen = chosen_remedies(remedies)
    check_arguments(loss, score, steps, repeats, smaller, clip, seed)
    check_starts("trial", starts)
    check_source(data, "data")
    if test is not None:
        check_source(test, "test")
    made = callable(model) and not _is_model(model)
    adapter = adapter_for_loaded("trial") if made else adapter_for(model, "trial")
    trials = adapter.trials
    if not made:
        trials.patient_of(adapter.observable(model, "trial"), optimizer, "`model`")
    elif optimizer is not None:
        raise RectifierTypeError(
            "trial: `optimizer` must be left out where a function makes the model; got "
            f"{type(optimizer).__name__}. Let the function return (model, optimizer)."
        )
    seeds = tuple(range(seed, seed + repeats))
    runs: list[_Repeat] = []
    options = _Options(loss, score or loss, clip, starts)
    with trials.isolated(model, data):
        judged = [] if test is None else list(test)
        if test is not None:
            check_batches(judged, "test")
        for each in seeds:
            batches, epoch = trials.draw(data, steps, each)
            check_batches(batches)
            trials.seed_all(each)
            patient = _made(trials, model, each) if made else trials.Patient(model, optimizer)
            runs.append(_Repeat(trials, patient, batches, epoch, judged or batches[:epoch], options, each))
            runs[-1].all(chosen, (1.0,) if smaller is None else (1.0, smaller))
    return _sum_up(runs, chosen, smaller, score, test, steps, seeds)


@dataclass(frozen=True)
class _Options:
    loss: Callable[[Any, Any], Any]
    score: Callable[[Any, Any], Any]
    clip: float
    starts: Mapping[str, float | str] | None


class _Repeat:
    """All remedies on copies of one model, with one order of the batches."""

    def __init__(
        self,
        trials: Any,
        patient: Any,
        batches: list[Any],
        epoch: int,
        judged: list[Any],
        options: _Options,
        seed: int,
    ) -> None:
        self._trials, self._patient, self._batches, self._judged = trials, patient, batches, judged
        self._options, self._seed = options, seed
        self._look = batches[:epoch]
        self._record = check(patient.model, self._look)
        self.units = sum(site.units for site in self._record.last.sites)
        self.silent_before = _silent(self._record)
        self.outcomes: dict[tuple[str, float], tuple[float, int] | None] = {}
        self.notes: dict[str, str] = {}
        self.changes: dict[str, float] = {}

    def all(self, remedies: dict[str, Remedy | None], factors: tuple[float, ...]) -> None:
        for factor in factors:
            for name, remedy in remedies.items():
                self.outcomes[name, factor] = self._one(name, remedy, factor)

    def _one(self, name: str, remedy: Remedy | None, factor: float) -> tuple[float, int] | None:
        options, patient = self._options, self._patient.copy()
        if factor != 1.0:
            patient.slow(factor)
        self._trials.seed_all(self._seed)
        try:
            if self._give(name, remedy, patient) is False:
                self.notes[name] = "nothing to do"
                return self.outcomes[NOTHING, factor]
        except RectifierError as error:
            self.notes[name] = f"refused: {error}"
            return None
        self._trials.seed_all(self._seed)
        patient.train(self._batches, options.loss, options.clip if name == CLIP else None)
        return patient.judge(self._judged, options.score), _silent(check(patient.model, self._look))

    def _give(self, name: str, remedy: Remedy | None, patient: Any) -> bool | None:
        """Apply a remedy; False where there was nothing to do."""
        model, optimizer, probe = patient.model, patient.optimizer, self._look[0][0]
        starts = self._options.starts
        if remedy is not None:
            patient.optimizer = remedy(model, optimizer, self._record) or optimizer
            return None
        if name in (NOTHING, CLIP):
            return None
        if name == RESCALE:
            acts = self._trials.rescale(model, optimizer, probe, starts)
        elif name == RECYCLE:
            acts = heal(model, self._record, optimizer, probe=probe, seed=self._seed, starts=starts)
        else:
            acts = heal(model, self._record, optimizer, how="swap", with_=name, probe=probe)
            if acts:
                self._trials.adopt(model, optimizer)
        moved = [act.output_change for act in acts if act.output_change is not None]
        self.changes[name] = max([self.changes.get(name, 0.0), *moved])
        return bool(acts)


def _sum_up(
    runs: list[_Repeat],
    remedies: dict[str, Remedy | None],
    smaller: float | None,
    score: Any,
    test: Any,
    steps: int,
    seeds: tuple[int, ...],
) -> Trial:
    what = "loss" if score is None else getattr(score, "__name__", "score").strip("<>")
    return Trial(
        arms=tuple(
            _arm(runs, name, factor, score is not None)
            for factor in ((1.0,) if smaller is None else (1.0, smaller))
            for name in remedies
        ),
        measure=f"{what} on the {'training' if test is None else 'test'} batches",
        higher=score is not None,
        steps=steps,
        seeds=seeds,
        units=runs[0].units,
        silent_before=tuple(run.silent_before for run in runs),
    )


def _arm(runs: list[_Repeat], name: str, factor: float, higher: bool) -> Arm:
    outcomes = [run.outcomes[name, factor] for run in runs]
    done = [outcome for outcome in outcomes if outcome is not None]
    alone = name == NOTHING and factor != 1.0
    basis = [run.outcomes[NOTHING, 1.0 if alone else factor] for run in runs]
    pairs = [(mine[0], its[0]) for mine, its in zip(outcomes, basis, strict=True) if mine is not None and its]
    differences = [(mine - its) * (1 if higher else -1) for mine, its in pairs]
    gain, error = mean_and_error(differences)
    changes = [run.changes[name] for run in runs if name in run.changes]
    return Arm(
        remedy=name,
        step=factor,
        scores=tuple(outcome[0] for outcome in done),
        silent=tuple(outcome[1] for outcome in done),
        output_change=max(changes, default=None),
        gain=gain,
        gain_error=error,
        note="; ".join(dict.fromkeys(run.notes[name] for run in runs if name in run.notes)),
    )


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error (infinite for a single value: it shows no spread)."""
    if not values:
        return math.nan, math.inf
    if len(values) < 2:
        return values[0], math.inf
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _quantile(repeats: int) -> float:
    if repeats < 2:
        return math.inf
    return _T[repeats - 2] if repeats - 2 < len(_T) else 1.96 + 2.5 / (repeats - 1)


def _silent(record: Record) -> int:
    return len({(finding.site, unit) for finding in record.of("silent", "dead") for unit in finding.units})


def _is_model(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return is_keras(model) or (torch is not None and isinstance(model, torch.nn.Module))


def _made(trials: Any, make: Callable[[int], Any], seed: int) -> Any:
    made = make(seed)
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise RectifierTypeError(
            f"trial: `model` must return a pair where it is a function; got {type(made).__name__}. "
            "Return (model, optimizer)."
        )
    return trials.patient_of(*made, "the function `model`")
