"""The acts of ``heal`` on a PyTorch model. Each is planned and refused before anything is changed."""

from __future__ import annotations

import copy
import importlib
from typing import Any

from torch import nn

from ..._family import family
from ...checkup.plan import Act, Wanted
from ...errors import RectifierTypeError, RectifierValueError
from .observer.kinds import has_weights
from .optimizer_state import check_known, kept_by
from .recycling import LastInputs, generator_of, recycle
from .rescaling import rescale
from .sites import identify
from .surgery import count_parameters, look, output_change
from .swap import MODEL, Found, Spot, exchange, find, ready

__all__ = ["Act", "LastInputs", "check_known", "generator_of", "kept_by", "recycle", "rescale", "swap"]


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
    acts: list[Act] = []
    for name, module in new.items():
        spot, before = spots[name], count_parameters(model)
        ready(model, spot, module)
        seen = look(model, probe, [], "heal") if probe is not None else None
        same = [other for other in found.spots if other.module is spot.module]
        undo = exchange(model, [(other, module) for other in same], "act")
        try:
            moved = None if seen is None else output_change(seen, look(model, probe, [], "heal"))
        except BaseException:  # the new module does not run here, and no receipt will come that could take it back
            for back in (undo, *(act.undo for act in reversed(acts))):
                back()
            raise
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
        if has_weights(with_):
            raise RectifierValueError(
                f"heal: `with_` must be a rectifier, or a module that can stand in for one; got {with_!r}, a layer "
                'with weights. Pass for instance with_="leaky_relu".'
            )
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
