"""Act 4, cut: what stays silent is pruned. Same outputs, fewer numbers, fewer microseconds, all measured.

The network of act 2 is trained on with the smaller step size and nothing else, so that it becomes as good as it can
with the units it has left; those that stay silent are cut.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import rectifier

from ..checkup.records import Receipt, Record
from . import digits
from .camera import hidden_layers
from .death import SMALL_STEP, STEPS, Patient, copy_of, silent_units

__all__ = ["BATCH_SIZES", "Cut", "CutResult", "Timing", "run"]

BATCH_SIZES = (1, 64, 1347)


@dataclass(frozen=True)
class Timing:
    """Median time of one forward pass, one thread, the two networks by turns."""

    batch: int
    before: float
    """Microseconds."""
    after: float
    """Microseconds."""

    @property
    def speedup(self) -> float:
        return self.before / self.after


@dataclass(frozen=True)
class Cut:
    """What one cut took away and what it did to the outputs."""

    units: int
    hidden: tuple[int, ...]
    """Units left in each hidden layer."""
    parameters: int
    """Numbers left."""
    change_train: float
    """max |Δ output| on the training images."""
    change_test: float
    """max |Δ output| on the test images."""
    accuracy: float
    """Test accuracy afterwards."""


@dataclass(frozen=True)
class CutResult:
    """Act 4."""

    steps: int
    """Further steps at the smaller step size."""
    hidden: tuple[int, ...]
    """Units of each hidden layer before."""
    silent_before: int
    """Silent units before those further steps."""
    silent: int
    """And after them."""
    returned: int
    """Units that were silent before and fire after."""
    parameters: int
    accuracy: float
    largest_output: float
    """Largest |output| on the training images: what the changes are to be compared with."""
    proved: Cut
    """Only units proved dead for every image whose pixels lie in [0, 1]: what ``rectifier.prune`` does unasked."""
    silent_cut: Cut
    """Also units that were only seen silent on all training images: with ``silent=True``, the user's word."""
    timings: tuple[Timing, ...]
    """Before any cut, and after both."""


def run(
    patient: Patient,
    stream: digits.Stream,
    *,
    steps: int = STEPS,
    rounds: int = 200,
    tick: Callable[[float], None] = lambda share: None,
) -> CutResult:
    """Train the patient on with the smaller step size, then cut what is still silent. The patient stays as it is."""
    data = digits.load()
    model, memory = copy_of(patient.model, patient.optimizer, SMALL_STEP)
    digits.train(model, memory, stream, steps, lambda done: tick(0.5 * done / steps))
    record = rectifier.check(model, [data.x_train], box=digits.BOX)
    whole = copy.deepcopy(model)
    before, after = (_pairs(silent_units(each)) for each in (patient.record, record))
    proved = _cut(model, whole, record, silent=False)
    everything = _cut(model, whole, rectifier.check(model, [data.x_train], box=digits.BOX), silent=True)
    tick(0.7)
    with torch.no_grad():
        largest = float(whole(data.x_train).abs().max())
    return CutResult(
        steps=steps,
        hidden=_hidden(whole),
        silent_before=len(before),
        silent=len(after),
        returned=len(before - after),
        parameters=_parameters(whole),
        accuracy=digits.accuracy(whole, data.x_test, data.y_test),
        largest_output=largest,
        proved=proved,
        silent_cut=everything,
        timings=tuple(_timing(whole, model, data.x_train[:batch], rounds) for batch in BATCH_SIZES),
    )


def _cut(model: nn.Sequential, whole: nn.Sequential, record: Record, *, silent: bool) -> Cut:
    data = digits.load()
    receipt: Receipt = rectifier.prune(model, record, silent=silent, probe=data.x_train)
    with torch.no_grad():
        change_train, change_test = (float((model(x) - whole(x)).abs().max()) for x in (data.x_train, data.x_test))
    return Cut(
        units=len(receipt.units),
        hidden=_hidden(model),
        parameters=_parameters(model),
        change_train=change_train,
        change_test=change_test,
        accuracy=digits.accuracy(model, data.x_test, data.y_test),
    )


def _pairs(silent: dict[str, tuple[int, ...]]) -> set[tuple[str, int]]:
    return {(site, unit) for site, units in silent.items() for unit in units}


def _hidden(model: nn.Sequential) -> tuple[int, ...]:
    return tuple(layer.out_features for layer in hidden_layers(model).values())


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _timing(before: nn.Module, after: nn.Module, x: torch.Tensor, rounds: int) -> Timing:
    """By turns, so that whatever else the machine does meets both alike."""
    took: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for turn in range(rounds + 10):
            for model, times in zip((before, after), took, strict=True):
                start = time.perf_counter()
                model(x)
                elapsed = time.perf_counter() - start
                if turn >= 10:  # the first turns warm caches up
                    times.append(1e6 * elapsed)
    return Timing(len(x), statistics.median(took[0]), statistics.median(took[1]))
