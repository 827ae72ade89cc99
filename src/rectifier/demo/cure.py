"""Act 3, cure: remedies side by side on the same dying networks, at the same step size and at a smaller one.

Each seed's network is trained with too large a step size as in act 2. Then every remedy gets its own copy of that
network (weights and optimizer's memory), the same batches and the same number of further updates, so remedies differ in
nothing but themselves. A remedy is compared with doing nothing *at the same step size*, seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

import rectifier
import rectifier.torch as rt

from ..checkup.records import Record
from . import digits
from .death import SMALL_STEP, STEP, STEPS, adam, copy_of, silent_units

__all__ = ["REMEDIES", "SEEDS", "SWAPS", "Arm", "CureResult", "Remedy", "Run", "run"]

SEEDS = 10
Remedy = Literal["nothing", "recycle", "Leaky ReLU 0.01", "Leaky ReLU 0.1", "ELU", "He initialisation"]
REMEDIES: tuple[Remedy, ...] = (
    "nothing",
    "recycle",
    "Leaky ReLU 0.01",
    "Leaky ReLU 0.1",
    "ELU",
    "He initialisation",
)
"""He initialisation is a fresh start: all that was learned is given up, and the further steps are all it has."""

#: Remedies that put another rectifier in the place of the ReLU.
SWAPS: dict[str, nn.Module] = {
    "Leaky ReLU 0.01": rt.LeakyReLU(0.01),
    "Leaky ReLU 0.1": rt.LeakyReLU(0.1),
    "ELU": rt.ELU(),
}


@dataclass(frozen=True)
class Run:
    """One remedy on one seed's network."""

    remedy: Remedy
    step: float
    accuracy: float
    """Test accuracy at the end."""
    silent: int
    """Hidden units that fire on no training image at the end, and have no living negative part."""
    output_change: float
    """max |Δ output| over the training images at the moment of the remedy."""


@dataclass(frozen=True)
class Arm:
    """One remedy at one step, over all seeds."""

    remedy: Remedy
    step: float
    accuracies: tuple[float, ...]
    """Test accuracy of each seed."""
    silent: tuple[int, ...]
    output_change: float
    """Largest max |Δ output| at the moment of the remedy over the seeds."""
    gain: float
    """Mean over the seeds of accuracy − accuracy of doing nothing at the same step size."""
    gain_error: float
    """Standard error of that mean."""

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def sure(self) -> bool:
        """Is the gain larger than twice its standard error?"""
        return self.gain > 2.0 * self.gain_error


@dataclass(frozen=True)
class CureResult:
    """Act 3."""

    step: float
    small_step: float
    steps_before: int
    steps_after: int
    seeds: tuple[int, ...]
    hidden_units: int
    silent_before: tuple[int, ...]
    """Silent units of each seed's network when the remedies were given."""
    arms: tuple[Arm, ...]
    smaller_step_gain: float
    """The remedy "smaller step size" alone: mean of accuracy at the smaller − at the same step size."""
    smaller_step_error: float

    def at(self, step: float) -> tuple[Arm, ...]:
        return tuple(arm for arm in self.arms if arm.step == step)

    def of(self, remedy: Remedy, step: float) -> Arm:
        return next(arm for arm in self.at(step) if arm.remedy == remedy)

    def best(self, step: float) -> Arm:
        """The remedy with the largest mean gain at this step size, doing nothing aside."""
        return max((arm for arm in self.at(step) if arm.remedy != "nothing"), key=lambda arm: arm.gain)


def run(
    seed: int,
    *,
    seeds: int = SEEDS,
    steps: int = STEPS,
    processes: int | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> CureResult:
    """All remedies on ``seeds`` networks, seeded ``seed``, ``seed`` + 1 …; in up to 2 processes by default."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

    chosen = tuple(range(seed, seed + seeds))
    if processes is None:
        processes = min(2, cpu_count())
    outcomes: list[tuple[int, int, list[Run]]] = []
    # One thread a process: two of them on two cores would otherwise wait for each other.
    with parallel_config("loky", n_jobs=processes, inner_max_num_threads=1):
        for outcome in Parallel(return_as="generator")(delayed(one_seed)(each, steps) for each in chosen):
            outcomes.append(outcome)
            tick(len(outcomes) / seeds)
    runs = [outcome[2] for outcome in outcomes]
    lower = [by[REMEDIES[0], SMALL_STEP].accuracy - by[REMEDIES[0], STEP].accuracy for by in map(_index, runs)]
    mean, error = _mean(lower)
    return CureResult(
        step=STEP,
        small_step=SMALL_STEP,
        steps_before=steps,
        steps_after=steps,
        seeds=chosen,
        hidden_units=outcomes[0][0],
        silent_before=tuple(outcome[1] for outcome in outcomes),
        arms=tuple(_arm(runs, remedy, step) for step in (STEP, SMALL_STEP) for remedy in REMEDIES),
        smaller_step_gain=mean,
        smaller_step_error=error,
    )


def one_seed(seed: int, steps: int) -> tuple[int, int, list[Run]]:
    """(hidden units, silent units when the remedies were given, all runs) of one seed."""
    with digits.one_thread():
        data = digits.load()
        model = digits.mlp(seed)
        optimizer = adam(model, STEP)
        generator = torch.Generator().manual_seed(seed)
        digits.train(model, optimizer, digits.batches(data, generator), steps)
        record = rectifier.check(model, [data.x_train])
        silent = sum(len(units) for units in silent_units(record).values())
        further = generator.get_state()
        runs = []
        for step in (STEP, SMALL_STEP):
            for remedy in REMEDIES:
                stream = digits.batches(data, torch.Generator().set_state(further))
                runs.append(_treat(model, optimizer, record, remedy, step, seed, stream, steps))
        return sum(site.units for site in record.last.sites), silent, runs


def _treat(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    record: Record,
    remedy: Remedy,
    step: float,
    seed: int,
    stream: digits.Stream,
    steps: int,
) -> Run:
    data = digits.load()
    patient, memory = copy_of(model, optimizer, step)
    with torch.no_grad():
        before = patient(data.x_train)
    memory, change = _give(patient, memory, record, remedy, step, seed)
    if change is None:
        with torch.no_grad():
            change = float((patient(data.x_train) - before).abs().max())
    digits.train(patient, memory, stream, steps)
    silent = sum(len(units) for units in silent_units(rectifier.check(patient, [data.x_train])).values())
    return Run(remedy, step, digits.accuracy(patient, data.x_test, data.y_test), silent, change)


def _give(
    patient: nn.Sequential,
    memory: torch.optim.Optimizer,
    record: Record,
    remedy: Remedy,
    step: float,
    seed: int,
) -> tuple[torch.optim.Optimizer, float | None]:
    """Apply the remedy; return the optimizer to go on with and, for recycling, the receipts' max |Δ output|."""
    data = digits.load()
    if remedy == "recycle":
        receipts = rectifier.heal(patient, record, memory, how="recycle", probe=data.x_train, seed=seed)
        return memory, max((receipt.output_change or 0.0 for receipt in receipts), default=0.0)
    if remedy in SWAPS:
        rectifier.heal(patient, record, memory, how="swap", with_=SWAPS[remedy])
    if remedy == "He initialisation":
        rt.init_(patient, generator=torch.Generator().manual_seed(seed))
        return adam(patient, step), None
    return memory, None


def _index(runs: list[Run]) -> dict[tuple[Remedy, float], Run]:
    return {(each.remedy, each.step): each for each in runs}


def _arm(runs: list[list[Run]], remedy: Remedy, step: float) -> Arm:
    by_seed = [_index(each) for each in runs]
    mine = [by[remedy, step] for by in by_seed]
    gain, error = _mean([by[remedy, step].accuracy - by[REMEDIES[0], step].accuracy for by in by_seed])
    return Arm(
        remedy=remedy,
        step=step,
        accuracies=tuple(each.accuracy for each in mine),
        silent=tuple(each.silent for each in mine),
        output_change=max(each.output_change for each in mine),
        gain=gain,
        gain_error=error,
    )


def _mean(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error (infinite for a single value: it shows no spread)."""
    if len(values) < 2:
        return float(np.mean(values)), math.inf
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
