"""The acts of ``heal`` and ``prune`` on a PyTorch model. Each is planned and refused before anything is changed."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ..._family import family
from ...checkup.plan import NOTHING_BELOW, Act, Wanted
from ...errors import RectifierTypeError, RectifierValueError
from .optimizer_state import check_known
from .recycling import LastInputs, generator_of, recycle
from .rescaling import rescale
from .sites import identify
from .surgery import count_parameters, look, output_change, refuse_undo, unchanged
from .swap import MODEL, Found, Spot, exchange, find, ready
from .targets import targets_of
from .tracing.graph import Place

__all__ = ["Act", "LastInputs", "check_known", "generator_of", "prune", "recycle", "rescale", "swap"]


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


# Prune


def prune(model: nn.Module, wanted: Wanted, *, probe: Any) -> tuple[Act, tuple[str, ...]]:
    """Cut units out of chains of linear layers: smaller parameters in the same modules."""
    targets, skipped = targets_of(model, wanted, "prune", probe=probe, alive=False, fits=_check_chain)
    before = look(model, probe, [], "prune") if probe is not None else None
    parameters = count_parameters(model)
    undone: list[Callable[[], None]] = []
    told, cut = [], []
    for target in targets:
        place, units = target.place, list(target.units)
        kept = [unit for unit in range(place.units) if unit not in set(units)]
        spare = ""
        if not kept:  # a layer without units is no layer: one stays
            kept, units = [units[0]], units[1:]
            spare = " (one is kept, so that the layer stays)"
        size = place.units
        undone += _cut(place, kept)
        cut += units
        told.append(f"layer {place.layer_name}: {size} → {len(kept)} units{spare}")
    moved = None if before is None else output_change(before, look(model, probe, [], "prune"))
    sites = ", ".join(target.place.site for target in targets)
    left = [
        (module, name, parameter, parameter.detach().clone())
        for target in targets
        for module in (target.place.layer, *(consumer.module for consumer in target.place.consumers))
        for name, parameter in module._parameters.items()
        if parameter is not None
    ]

    def undo() -> None:
        if undone and any(m._parameters[name] is not p or not unchanged(p.detach(), was) for m, name, p, was in left):
            raise refuse_undo(sites, "parameters")
        for step in reversed(undone):
            step()
        undone.clear()

    change = f"{'; '.join(told)}. Parameters are new objects: make a new optimizer" if told else "nothing to cut"
    after = count_parameters(model)
    return Act(sites, tuple(cut), change, moved, parameters, after, undo), skipped


def _check_chain(place: Place) -> None:
    why = None
    if place.rectifier not in NOTHING_BELOW:
        why = f"{place.rectifier} does not give 0 where it is shut"
    elif not isinstance(place.layer, nn.Linear):
        why = f"{place.layer_name} is a {type(place.layer).__name__}"
    elif place.norm_name is not None:
        why = f"{place.norm_name} stands between"
    else:
        other = next((c for c in place.consumers if not isinstance(c.module, nn.Linear) or c.per_unit != 1), None)
        if other is not None:
            why = f"{other.name}, a {type(other.module).__name__}, reads its units"
    if why is not None:
        raise RectifierValueError(
            f"prune: {place.site!r} must stand in a chain Linear → rectifier → Linear; got a place where {why}. "
            "Leave this site out."
        )


def _cut(place: Place, kept: Sequence[int]) -> list[Callable[[], None]]:
    index = torch.as_tensor(list(kept), dtype=torch.int64)
    undo = [_shrink(place.layer, name, 0, index) for name in ("weight", "bias")]
    undo.append(_resize(place.layer, "out_features", len(kept)))
    for consumer in place.consumers:
        undo.append(_shrink(consumer.module, "weight", 1, index))
        undo.append(_resize(consumer.module, "in_features", len(kept)))
    return undo


def _shrink(module: nn.Module, name: str, axis: int, index: torch.Tensor) -> Callable[[], None]:
    old = module._parameters[name]
    if old is None:
        return lambda: None
    smaller = old.detach().index_select(axis, index.to(old.device)).clone()
    module._parameters[name] = nn.Parameter(smaller, requires_grad=old.requires_grad)

    def undo() -> None:
        module._parameters[name] = old

    return undo


def _resize(module: nn.Module, name: str, size: int) -> Callable[[], None]:
    old = getattr(module, name)
    setattr(module, name, size)
    return lambda: setattr(module, name, old)
