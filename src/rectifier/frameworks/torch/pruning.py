"""The act of ``prune`` on a PyTorch model. It is planned and refused before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ...checkup.plan import NOTHING_BELOW, Wanted
from ...errors import RectifierValueError
from .acts import Act
from .surgery import count_parameters, look, output_change, refuse_undo, unchanged
from .targets import targets_of
from .tracing.graph import Place

__all__ = ["prune"]


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
