"""Rescaling on a PyTorch model: each layer gets the gain that the rectifier behind it needs, measured or computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.optim import Optimizer

from ...checkup.initialisation import gains
from ...checkup.plan import Act, Wanted
from ...errors import RectifierValueError
from .observer.kinds import has_weights
from .optimizer_state import state_edits
from .recycling import held, needed_gain, take_back
from .surgery import Edit, Edits, Look, count_parameters, look, output_change
from .targets import check_fresh
from .tracing.follow import followers
from .tracing.owners import shared

__all__ = ["rescale"]

#: Layers whose gain is that near to what it should be are left as they are.
_NEAR = 0.01
_RULE = "heal: `model` must have a layer whose scale can be repaired; got"


def rescale(
    model: nn.Module,
    wanted: Wanted,
    *,
    optimizers: Sequence[Optimizer],
    probe: Any,
    starts: Mapping[str, float | str] | None = None,
) -> tuple[list[Act], tuple[str, ...]]:
    """Scale the weights and the bias of each layer that feeds a rectifier, from the first to the last.

    With a probe the gain RMS(z) ÷ RMS(x) is measured, layer after layer; without one it is √fan-in · RMS(W).
    """
    if wanted.record:
        check_fresh(model, wanted, "heal")
    seen = None if probe is None else look(model, probe, [], "heal")
    pairs, skipped = _computed(model) if seen is None else _measured(seen)
    acts: list[Act] = []
    plans: dict[str, tuple[list[Edit], list[Edit]]] = {}
    for name in list(pairs):
        why = _unfit(model, name, *pairs[name])
        if why is not None:
            skipped.append(f"layer {name} was left as it is: {why}.")
            del pairs[name]
            continue
        # Refused before anything is changed; the factor follows when the layers before it have been scaled.
        plans[name] = _plan(model, name, optimizers, starts)
    if not pairs:
        got = "; ".join(skipped) or "no Linear or Conv layer that feeds a rectifier without a normalisation between"
        raise RectifierValueError(f"{_RULE} {got.removesuffix('.')}. Use normalisation, or initialise it by hand.")
    total = count_parameters(model)
    for name, (weights, state) in plans.items():
        if seen is not None:
            pairs[name] = _measured(seen)[0].get(name, (math.nan, math.nan))
        measured, needed = pairs[name]
        if not math.isfinite(measured) or measured <= 0 or abs(measured / needed - 1) <= _NEAR:
            continue
        edits = [*weights, *state]
        for edit in edits:
            if edit.value is None:  # the weights, and what an optimizer averages of them
                edit.value = edit.tensor.detach() * (needed / measured)
        Edits(edits).make()
        moved = None
        if seen is not None:
            before, seen = seen, look(model, probe, [], "heal")
            moved = output_change(before, seen)
        how = "of its weights" if seen is None else "RMS(z) ÷ RMS(x) on the probe"
        told = f"; {len(state)} states of the optimizer reset" if optimizers else ""
        change = f"weights and bias of layer {name} × {needed / measured:.4g}: gain {how} {measured:.4g} → {needed:.4g}"
        acts.append(Act(name, (), change + told, moved, total, total, partial(take_back, edits, name)))
    return acts, tuple(skipped)


def _measured(seen: Look) -> tuple[dict[str, tuple[float, float]], list[str]]:
    return {} if seen.snapshot is None else gains(seen.snapshot), []


def _computed(model: nn.Module) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """He et al. 2015, arXiv:1502.01852: independent weights of deviation g/√fan-in have the gain g."""
    found = {}
    for name, (row, parameters) in followers(model).rectifier.items():
        layer = model.get_submodule(name)
        weight = layer._parameters.get("weight")
        if not has_weights(layer) or weight is None:
            continue
        rms = float(weight.detach().to(torch.float64).square().mean().sqrt())
        found[name] = rms * math.sqrt(weight[0].numel()), needed_gain(row, parameters)
    return found, []


def _unfit(model: nn.Module, name: str, measured: float, needed: float) -> str | None:
    layer = model.get_submodule(name)
    weight = layer._parameters.get("weight")
    if is_parametrized(layer) or weight is None:
        return "its weight is computed from other parameters"
    both = shared(model, layer)
    if both is not None:
        return f"it shares its {both[0]} with {both[1]}"
    if not measured > 0 or not math.isfinite(measured):
        return f"its gain is {measured:g}, which no factor repairs"
    return None


def _plan(
    model: nn.Module, name: str, optimizers: Sequence[Optimizer], starts: Mapping[str, float | str] | None
) -> tuple[list[Edit], list[Edit]]:
    """Edits of weight and bias, whose values are still to come, and of what the optimizer keeps of them."""
    edits: list[Edit] = []
    state: list[Edit] = []
    rows = torch.arange(int(model.get_submodule(name).get_parameter("weight").shape[0]))
    for key in ("weight", "bias"):
        edit = held(model, name, key, rows, None)
        if edit is not None:
            edits.append(edit)
            state += state_edits(optimizers, edit, name, starts)
    return edits, state
