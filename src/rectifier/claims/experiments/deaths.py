"""Units that stop firing: how many, by what training, and what becomes of them when they are given a new start."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..lab.experiment import Config, Outcome, experiment
from ..lab.results import Results
from ..lab.statistics import Effect

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..tasks.setup import Setup
    from ..tasks.training import Batch

__all__ = ["ARMS", "BUDGET", "DAMAGES", "STUCK", "deaths", "percent", "remedies", "setting", "signed"]

#: A unit whose derivative is nowhere above this learns a thousand times slower than an open one.
STUCK = 1e-3
#: What is done to a network that has lost units: recycled once, again and again, with the step size or a smaller one.
ARMS = {
    "nothing": (False, False, False),
    "smaller": (False, False, True),
    "recycled": (True, False, False),
    "scheduled": (True, True, False),
    "recycled_smaller": (True, False, True),
}
#: Turns of the scheduled recycling in the second half of a training.
_TURNS = 5


#: Updates of one training: quick, full.
BUDGET = {True: 200, False: 1000}
#: What silences units, each with the rest as usual: the step size is ten times the usual one, the bias is low.
DAMAGES: dict[str, dict[str, Any]] = {
    "step size 0.3": {"step": 0.3},
    "Adam, step size 0.1": {"optimizer": "adam", "step": 0.1},
    "initial bias −1": {"init_bias": -1.0},
}


def setting(activation: str = "relu", /, **changed: Any) -> dict[str, Any]:
    """A configuration without budget and seed, every setting said, so that claims which mean the same run share it."""
    usual = {"step": 0.03, "optimizer": "momentum", "init": "gain", "init_bias": 0.0, "norm": "none"}
    return {"activation": activation, **usual, **changed}


def percent(rows: Results, name: str, lost: float = 0.0) -> npt.NDArray[np.float64]:
    """A share as a percentage, one a row; ``lost`` where the training broke off, so that there is none."""
    shares: npt.NDArray[np.float64] = 100 * np.nan_to_num(rows.values(name), nan=lost)
    return shares


def signed(effect: Effect) -> str:
    """A difference in whole numbers with its sign."""
    return f"{effect.value:+.0f}"


@experiment(version=1)
def deaths(config: Config) -> Outcome:
    """The digits' plain network (3 layers of 64 units) is trained; then all 1,797 images are shown to it.

    validation, test: shares that are right
    silent, dead, closed, stuck: see ``units``; silent_before: before the first update
    diverged: the loss was no longer finite; the shares of units are then NaN
    """
    setup, model, batches = _begin(config)
    before = units(model)["silent"]
    finite = _train(model, setup.make_optimizer(model), batches, setup.budget)
    return {**_told(model, finite), "silent_before": before, "diverged": not finite}


@experiment(version=1)
def remedies(config: Config) -> Outcome:
    """As ``deaths``; then it goes on for as long as before, from the same state and over the same batches, five times.

    nothing: at the same step size. smaller: at ``smaller`` times that. recycled: silent units are recycled first, by
    ``rectifier.heal`` with a batch as its probe. scheduled: and again five times, by ``rectifier.recycling``.
    recycled_smaller: recycled, and then at the smaller step size.

    first_…: as ``deaths`` tells it of the first half; nothing_…, smaller_… and so on: at the end of each
    """
    import rectifier

    setup, model, batches = _begin(config)
    optimizer = setup.make_optimizer(model)
    finite = _train(model, optimizer, batches, setup.budget)
    coming = [next(batches) for _ in range(setup.budget)]
    found = {f"first_{name}": value for name, value in _told(model, finite).items()}
    for arm, (recycled, again, smaller) in ARMS.items():
        net, memory = copy.deepcopy((model, optimizer))
        if smaller:
            memory.param_groups[0]["lr"] *= config["smaller"]
        going = finite
        if going and recycled and _known(net):
            record = rectifier.check(net, [_images()])
            rectifier.heal(net, record, memory, probe=coming[0][0], seed=setup.seed)
        if going and again and _known(net):
            with rectifier.recycling(net, memory, every=max(1, setup.budget // _TURNS), seed=setup.seed):
                going = _train(net, memory, iter(coming), setup.budget)
        elif going:
            going = _train(net, memory, iter(coming), setup.budget)
        found |= {f"{arm}_{name}": value for name, value in _told(net, going).items()}
    return found


def units(model: nn.Module) -> dict[str, float]:
    """Shares of the hidden units, over all 1,797 images.

    silent: those that ``rectifier.check`` finds to fire at none of them, whether or not it has a proof
    dead: those among them that it proves silent for every input within the range of the images
    closed: those that it finds to be at or below 0 at all of them, and yet to give something: Leaky ReLU and the like
    stuck: those whose derivative, as backpropagation sees it, is above 0.001 at none of them
    """
    import rectifier

    x = _images()
    counts, many = _counted(model, x)
    found = {"silent": 0.0, "dead": 0.0, "closed": 0.0, **{name: count / many for name, count in counts.items()}}
    if _known(model):  # and not a layer of its own that a test put under a true label
        record = rectifier.check(model, [x])
        for name, kinds in {"silent": ("silent", "dead"), "dead": ("dead",), "closed": ("always_closed",)}.items():
            told = {(finding.site, unit) for finding in record.of(*kinds) for unit in finding.units}
            found[name] = len(told) / many
    return found


def _counted(model: nn.Module, x: torch.Tensor) -> tuple[dict[str, int], int]:
    """How many units are silent and stuck, counted by hand, and how many there are."""
    import torch

    model.eval()
    found, many, h = {"silent": 0, "stuck": 0}, 0, x
    for name, part in model.named_children():
        z = h.detach().requires_grad_()
        h = part(z)
        if name.startswith("act"):
            (derivative,) = torch.autograd.grad(h.sum(), z)
            found["silent"] += int((h == 0).all(dim=0).sum())
            found["stuck"] += int((derivative.abs().amax(dim=0) <= STUCK).sum())
            many += z.shape[1]
    model.train()
    return found, many


def _known(model: nn.Module) -> bool:
    from ...frameworks.torch.sites import identify

    return any(identify(part) for part in model.modules())


def _images() -> torch.Tensor:
    import torch

    from ..tasks.images import parts

    return torch.cat([x for x, _ in parts().values()])


def _begin(config: Config) -> tuple[Setup, nn.Module, Iterator[Batch]]:
    from ..tasks import images
    from ..tasks.setup import Setup
    from ..tasks.training import shuffled

    common = {name: value for name, value in config.items() if name not in ("norm", "smaller")}
    setup = Setup(**common)
    model = images.feed_forward(setup.activation, 64, 3, 64, 10, config["norm"])
    setup.initialise(model)
    return setup, model, shuffled(images.parts()["train"], images.BATCH, setup.generator(1))


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], budget: int) -> bool:
    """``budget`` updates, or as many as there are until the loss is no longer finite; whether it always was."""
    from torch import nn

    for _ in range(budget):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if not math.isfinite(loss.item()):
            return False
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def _told(model: nn.Module, finite: bool) -> Mapping[str, float]:
    import torch

    from ..tasks import images
    from ..tasks.training import accuracy

    found = {}
    model.eval()
    with torch.no_grad():
        for part in ("validation", "test"):
            x, y = images.parts()[part]
            found[part] = accuracy(model(x), y) if finite else 0.1  # no better than guessing
    model.train()
    return {**found, **(units(model) if finite else dict.fromkeys(("silent", "dead", "closed", "stuck"), math.nan))}
