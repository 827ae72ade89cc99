"""Act 2, death: a network trained with too large a step size loses units. Nothing is planted.

Whether a unit fires is asked of all training images before the first update and after every one, so each death has its
update; what closed a unit is measured by recomputing z with only its own weights, then with only its inputs changed.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import rectifier

from ..checkup.records import Record
from . import digits
from .camera import Camera, Death, Push, hidden_layers
from .chain import ChainRule, chain_rule

__all__ = [
    "SMALL_STEP",
    "STEP",
    "STEPS",
    "DeathResult",
    "Patient",
    "adam",
    "batch_stream",
    "copy_of",
    "run",
    "silent_units",
]

#: Adam's step size here; its usual one is 0.001.
STEP = 0.07
#: A step size that this network bears well.
SMALL_STEP = 0.003
#: Ten epochs of 21 batches.
STEPS = 210
#: Steps between the watch's snapshots: short enough to catch the step that killed, long enough to see 320 images.
_EVERY = 5


@dataclass(frozen=True, eq=False)
class DeathResult:
    """Act 2."""

    step: float
    """Adam's step size."""
    small_step: float
    steps: int
    hidden_units: int
    examples: int
    """Training images."""
    silent: Mapping[str, tuple[int, ...]]
    """Site → units that the check-up after training reported silent or proved dead."""
    deaths: tuple[Death, ...]
    fired: Mapping[str, npt.NDArray[np.bool_]] = field(repr=False)
    """Site → (steps + 1, units): did the unit fire on any training image after that many steps?"""
    causes: Mapping[str, int]
    """Cause as the watch named it → silent units ("not seen by the watch": those that it did not call silent)."""
    first_push: float
    """Largest fall of any first-layer z, over all training images, in the first update alone."""
    chain: ChainRule | None
    """The chain rule on one real unit; None where no first-layer unit died."""
    accuracy: tuple[float, ...]
    """Test accuracy before training and after each epoch."""
    accuracy_small: tuple[float, ...]
    """The same with the smaller step: the same weights at the start, the same batches."""
    silent_small: int
    """Units silent at the end with the smaller step size."""
    watched: Record = field(repr=False)
    """What ``rectifier.watch`` saw during training."""
    checked: Record = field(repr=False)
    """What ``rectifier.check`` found after it, on all training images."""
    weights: tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], ...] = field(repr=False)
    """(weight, bias) of each Linear at the end, so that anybody can count again."""

    @property
    def silent_units(self) -> int:
        return sum(len(units) for units in self.silent.values())

    @property
    def share(self) -> float:
        """Silent units ÷ hidden units."""
        return self.silent_units / self.hidden_units

    def pushed(self, push: Push) -> int:
        """How many deaths had this push."""
        return sum(death.push == push for death in self.deaths)

    @property
    def median_death(self) -> int | None:
        """Steps done by which half of those that died in training had fired for the last time."""
        died = [death.last_fired for death in self.deaths if death.last_fired is not None]
        return int(np.median(died)) if died else None


@dataclass(frozen=True, eq=False)
class Patient:
    """The dying network as training left it, for the acts that follow."""

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    record: Record


def adam(model: nn.Module, step: float) -> torch.optim.Optimizer:
    """PyTorch's Adam in its fused form: the same formula, a third of the time on networks this small."""
    return torch.optim.Adam(model.parameters(), lr=step, fused=True)


def copy_of(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, step: float
) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """The network and the optimizer's memory of it, to go on with at another step size; the originals stay."""
    twin = copy.deepcopy(model)
    memory = adam(twin, step)
    state: dict[str, Any] = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = step
    memory.load_state_dict(state)
    return twin, memory


def batch_stream(seed: int) -> digits.Stream:
    """The batches of this seed, the same for every treatment."""
    return digits.batches(digits.load(), torch.Generator().manual_seed(seed))


def silent_units(record: Record) -> dict[str, tuple[int, ...]]:
    """Site → units that a record's findings call silent or dead: those that never fired on what was seen."""
    named = {site.site: set[int]() for site in record.last.sites}
    for finding in record.of("silent", "dead"):
        named[finding.site].update(finding.units)
    return {site: tuple(sorted(units)) for site, units in named.items()}


def run(
    seed: int, *, step: float = STEP, steps: int = STEPS, tick: Callable[[float], None] = lambda share: None
) -> tuple[DeathResult, Patient]:
    """Train one network with too large a step size, watched; count its dead; train its twin with a small step size."""
    data = digits.load()
    model = digits.mlp(seed)
    optimizer = adam(model, step)
    camera = Camera(model, data.x_train)
    camera.shoot()

    def after(done: int) -> None:
        camera.shoot()
        tick(0.8 * done / steps)

    with rectifier.watch(model, optimizer, every=_EVERY, name="the dying network") as watch:
        accuracy = _train(model, optimizer, seed, steps, after)
    checked = rectifier.check(
        model, [(data.x_train, data.y_train)], digits.loss, box=digits.BOX, name="the dying network"
    )
    twin = digits.mlp(seed)
    accuracy_small = _train(twin, adam(twin, SMALL_STEP), seed, steps, lambda done: tick(0.8 + 0.2 * done / steps))
    silent = silent_units(checked)
    fired = camera.fired
    result = DeathResult(
        step=step,
        small_step=SMALL_STEP,
        steps=steps,
        hidden_units=sum(site.units for site in checked.last.sites),
        examples=len(data.x_train),
        silent=silent,
        deaths=camera.deaths(silent),
        fired=fired,
        causes=_causes(watch.record, silent),
        first_push=_first_push(camera, data.x_train),
        chain=chain_rule(model, data, next(iter(fired.values())), camera.first_layer),
        accuracy=accuracy,
        accuracy_small=accuracy_small,
        silent_small=sum(len(units) for units in silent_units(rectifier.check(twin, [data.x_train])).values()),
        watched=watch.record,
        checked=checked,
        weights=tuple(_numbers(layer) for layer in [*hidden_layers(model).values(), model[-1]]),
    )
    return result, Patient(model, optimizer, checked)


def _causes(watched: Record, silent: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The words before the colon of a finding's cause, counted over the units that are silent on all images."""
    named = {
        (finding.site, unit): finding.cause.partition(":")[0]
        for finding in watched.of("silent", "dead")
        for unit in finding.units
    }
    found = Counter(
        named.get((site, unit), "not seen by the watch") for site, units in silent.items() for unit in units
    )
    return dict(found.most_common())


def _train(
    model: nn.Module, optimizer: torch.optim.Optimizer, seed: int, steps: int, after: Callable[[int], None]
) -> tuple[float, ...]:
    data = digits.load()
    curve = [digits.accuracy(model, data.x_test, data.y_test)]

    def each(done: int) -> None:
        after(done)
        if done % digits.EPOCH == 0:
            curve.append(digits.accuracy(model, data.x_test, data.y_test))

    digits.train(model, optimizer, batch_stream(seed), steps, each)
    return tuple(curve)


def _first_push(camera: Camera, x: torch.Tensor) -> float:
    change = camera.first_layer[1] - camera.first_layer[0]
    return float(-(x.numpy() @ change[:, :-1].T + change[:, -1]).min())


def _numbers(layer: nn.Module) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()
