"""The acts of ``heal`` on a PyTorch model. Each is planned and refused before anything is changed."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..._family import family
from ..._gain import gain
from ...checkup.plan import NOTHING_BELOW, Wanted
from ...errors import RectifierTypeError, RectifierValueError
from .sites import identify
from .surgery import (
    Edit,
    Edits,
    Look,
    count_parameters,
    look,
    optimizer_edits,
    output_change,
)
from .swap import MODEL, Found, Spot, exchange, find, ready
from .targets import Target, targets_of
from .tracing.graph import Consumer, Place

__all__ = ["Act", "recycle", "swap"]

Units = Sequence[int]


@dataclass(frozen=True)
class Act:
    """What was done at one site."""

    site: str
    units: tuple[int, ...]
    change: str
    output_change: float | None
    parameters_before: int
    parameters_after: int
    undo: Callable[[], None]


# Recycle


def recycle(
    model: nn.Module,
    wanted: Wanted,
    *,
    optimizer: torch.optim.Optimizer | None,
    probe: Any,
    seed: int | None,
    force: bool,
) -> tuple[list[Act], tuple[str, ...]]:
    """New incoming weights (normal, deviation gain/√fan-in), bias 0, outgoing weights 0, optimizer state anew."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    # All is planned, and so refused where it must be, before the first weight is written.
    plans: dict[str, tuple[Edits, str]] = {}

    def plan(target: Target, seen: Look | None) -> None:
        quiet = _quiet(target, wanted, seen)
        plans[target.place.site] = _plan(target.place, target.units, seen, quiet, optimizer, generator)

    targets, skipped = targets_of(model, wanted, "heal", probe=probe, alive=force, plan=plan)
    total = count_parameters(model)
    acts = []
    for target in targets:
        place, (edits, change) = target.place, plans[target.place.site]
        before = look(model, probe, [], "heal") if probe is not None else None
        edits.make()
        moved = None
        if before is not None:
            after = _until_it_fires(model, place, target.units, edits, probe, generator)
            moved = output_change(before, after)
        acts.append(Act(place.site, target.units, change, moved, total, total, partial(edits.undo, place.site)))
    return acts, skipped


#: Draws of a unit that stays silent on the probe, before it is left as it is.
_DRAWS = 20


def _until_it_fires(
    model: nn.Module, place: Place, units: Units, edits: Edits, probe: Any, generator: torch.Generator
) -> Look:
    """Behind a rectifier inputs are never negative, and a fresh unit may be born silent: draw that one again."""
    drawn = edits.edits[0].value
    assert isinstance(drawn, torch.Tensor)
    after = look(model, probe, [], "heal")
    for _ in range(_DRAWS):
        vitals = after.site(place.site)
        silent = [row for row, unit in enumerate(units) if vitals is not None and vitals.fired[unit] == 0]
        if not silent:
            break
        drawn[silent] = _draw(place, len(silent), generator).to(drawn)
        for edit in edits.edits:
            if edit.value is drawn:  # the weights, and what an optimizer keeps of them
                edit.write()
        after = look(model, probe, [], "heal")
    return after


def _draw(place: Place, count: int, generator: torch.Generator) -> torch.Tensor:
    """He et al. 2015, arXiv:1502.01852, with the gain of the rectifier behind."""
    shape = _tensor(place.layer.weight).shape[1:]
    fresh = torch.randn((count, *shape), generator=generator, dtype=torch.float64)
    return fresh * _deviation(place)


def _deviation(place: Place) -> float:
    return _gain(place) / math.sqrt(_tensor(place.layer.weight)[0].numel())


def _quiet(target: Target, wanted: Wanted, seen: Look | None) -> str | None:
    """On what these units were measured to give 0, the probe before the record; None where they do not."""
    place = target.place
    if place.rectifier not in NOTHING_BELOW:
        return None
    where, vitals = "on the probe", None if seen is None else seen.site(place.site)
    if vitals is None and seen is None:
        where, vitals = "on what the record saw", wanted.vitals.get(place.site)
    silent = vitals is not None and not any(vitals.fired[unit] for unit in target.units)
    return where if silent else None


def _plan(
    place: Place,
    units: Units,
    seen: Look | None,
    quiet: str | None,
    optimizer: torch.optim.Optimizer | None,
    generator: torch.Generator,
) -> tuple[Edits, str]:
    index = torch.as_tensor(list(units), dtype=torch.int64)
    layer = place.layer
    weight = _tensor(layer.weight)
    edits = [Edit(weight, 0, index, _draw(place, len(units), generator).to(weight.dtype))]
    if isinstance(layer.bias, torch.Tensor):
        edits.append(Edit(layer.bias, 0, index, 0.0))
    if place.norm is not None:
        starts = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        values = ((getattr(place.norm, name, None), start) for name, start in starts.items())
        edits += [Edit(value, 0, index, start) for value, start in values if isinstance(value, torch.Tensor)]
    told = []
    for consumer in place.consumers:
        more, line = _outgoing(place, consumer, index, seen, quiet)
        edits += more
        told.append(line)
    state = [edit for main in edits for edit in optimizer_edits(optimizer, main)]
    with_state = f"; {len(state)} slices of optimizer state reset" if optimizer is not None else ""
    norm = f", layer {place.norm_name} reset for them" if place.norm_name else ""
    change = (
        f"{len(units)} unit{'s' if len(units) != 1 else ''} of layer {place.layer_name} drawn anew "
        f"(normal, deviation {_deviation(place):.4g}), "
        f"bias 0{norm}; {'; '.join(told)}{with_state}"
    )
    return Edits([*edits, *state]), change


def _tensor(value: Any) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value


def _gain(place: Place) -> float:
    numbers = {}
    for name, value in place.parameters.items():
        if isinstance(value, torch.Tensor):
            value = float(value.detach().mean())
        if any(parameter.name == name and parameter.of == "value" for parameter in family[place.rectifier].parameters):
            numbers[name] = float(value)
    return gain(place.rectifier, **numbers)


def _outgoing(
    place: Place, consumer: Consumer, index: torch.Tensor, seen: Look | None, quiet: str | None
) -> tuple[list[Edit], str]:
    """Zero what reads the units; what they gave on average goes into the bias."""
    weight = _tensor(consumer.module.weight)
    columns = consumer.columns(index, place.units)
    zero = Edit(weight, 1, columns, 0.0)
    if quiet is not None:
        return [zero], f"their weights in layer {consumer.name} set to 0 (they gave 0 {quiet})"
    if seen is None or consumer.name not in seen.means:
        raise RectifierValueError(
            f"heal: `probe` must be given where the output of a unit is not 0; got None for {place.site!r} "
            f"({place.rectifier}). Pass a batch of inputs."
        )
    mean = seen.means[consumer.name][columns.to(weight.device)]
    read = weight.detach().to(torch.float64)[:, columns.to(weight.device)]
    given = read.reshape(read.shape[0], read.shape[1], -1).sum(dim=2) @ mean
    if not bool(torch.isfinite(given).all()):
        raise RectifierValueError(
            f"heal: `probe` must give finite outputs where the next layer is to take them over; got NaN or infinities "
            f"behind {place.site!r}. Leave such inputs out of it."
        )
    bias = consumer.module.bias
    if not isinstance(bias, torch.Tensor):
        raise RectifierValueError(
            f"heal: `findings` must name units whose mean output the next layer can take over; got {place.site!r}, "
            f"behind which layer {consumer.name} has no bias. Give it a bias, or leave these units out."
        )
    rows = torch.arange(bias.shape[0])
    compensated = Edit(bias, 0, rows, (bias.detach().to(torch.float64) + given).to(bias.dtype))
    size = float(given.abs().max())
    return [zero, compensated], (
        f"their weights in layer {consumer.name} set to 0 and their mean on the probe (at most {size:.4g}) put into "
        "its bias"
    )


# Swap


def swap(model: nn.Module, wanted: Wanted, *, with_: str | nn.Module, probe: Any) -> tuple[list[Act], tuple[str, ...]]:
    """Another rectifier in place of those at these sites."""
    found = find(model)
    spots = {name: spot for spot in found.spots if spot.is_rectifier for name in _labels(spot)}
    names, refused = [], []
    for name in dict.fromkeys(site.partition("@")[0] for site in wanted.units):
        if name in spots:
            names.append(name)
            continue
        error = _no_spot(name, found)
        if not wanted.record:
            raise error
        refused.append(error)
    if not names:
        raise refused[0]
    new = {name: _new_module(with_, model) for name in names}
    acts = []
    for name, module in new.items():
        spot, before = spots[name], count_parameters(model)
        ready(model, spot, module)
        seen = look(model, probe, [], "heal") if probe is not None else None
        same = [other for other in found.spots if other.module is spot.module]
        undo = exchange(model, [(other, module) for other in same], "act")
        moved = None if seen is None else output_change(seen, look(model, probe, [], "heal"))
        after = count_parameters(model)
        own = "; its parameters are new: add them to the optimizer" if after != before else ""
        change = f"{type(spot.module).__name__} replaced by {module!r} at {len(same)} place(s){own}"
        acts.append(Act(name, (), change, moved, before, after, undo))
    return acts, tuple(str(error).removeprefix("heal: ") for error in refused)


def _labels(spot: Spot) -> tuple[str, ...]:
    """The names that the check-up may give it: a function kept as an attribute is a call to it."""
    if spot.kind != "attribute":
        return spot.names
    row = (identify(spot.module) or ("",))[0]
    parents = (name.rpartition(".")[0] for name in spot.names)
    return (*spot.names, *(f"{parent}.{row}#0" if parent else f"{row}#0" for parent in parents))


def _no_spot(name: str, found: Found) -> RectifierValueError:
    reasons = dict(found.missed)
    inside = name.rpartition(".")[0] or MODEL
    reason = reasons.get(name) or ("#" in name and reasons.get(inside)) or "which is no rectifier there"
    return RectifierValueError(
        f"heal: `findings` must name sites of this model that can be swapped; got {name!r}, {reason}. "
        "Check the model as it is now, or change its code."
    )


def _new_module(with_: str | nn.Module, model: nn.Module) -> nn.Module:
    if isinstance(with_, nn.Module):
        return copy.deepcopy(with_)
    layers = {name: row.layer for name, row in family.items() if row.layer is not None}
    if not isinstance(with_, str):
        raise RectifierTypeError(
            f"heal: `with_` must be the name of a rectifier or a module; got {type(with_).__name__}. "
            'Pass for instance with_="leaky_relu".'
        )
    if with_ not in layers:
        raise RectifierValueError(
            f"heal: `with_` must be one of {', '.join(layers)}, or a module; got {with_!r}. "
            'Pass for instance with_="leaky_relu".'
        )
    module: nn.Module = getattr(importlib.import_module("rectifier.torch"), str(layers[with_]))()
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    return module if like is None else module.to(device=like.device, dtype=like.dtype)
