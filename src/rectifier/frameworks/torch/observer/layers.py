"""The layers with weights: their scales, the range of the model's input, and which layer made a value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from .kinds import computes_plainly
from .naming import recomputing
from .provenance import Origin
from .tally import LayerTally

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["input_axis", "see_input", "see_layer", "see_norm"]


def see_layer(o: Observer, name: str, module: nn.Module, x: torch.Tensor, z: torch.Tensor) -> None:
    """Add one call of a layer with weights to the scales, and remember its output as the layer's."""
    if not z.is_floating_point() or not x.is_floating_point() or recomputing():
        return
    past = o.origins[x]
    tally = o.layers.get(name)
    if tally is None:
        axis = _axis_of(module)
        tally = LayerTally(name, z.shape[axis], past.input, past.site, z.device)
        o.layers[name] = tally
    tally.see(x.detach(), z.detach())
    if past.input:
        _range(o, name, _axis_of(module), x.detach())
    if z.requires_grad and torch.is_grad_enabled():
        # Detached: the gradient may have one itself, and its graph must not be kept.
        z.register_hook(lambda gradient: tally.see_gradient(gradient.detach()))  # type: ignore[no-untyped-call]
    # A forward of another make, or a hook that put something else in place, is no longer W·x + b.
    exact = computes_plainly(module) and o.origins[z].made
    o.origins[z] = Origin(
        layer=name if exact else None,
        on_input=exact and past.input,
        axis=_axis_of(module),
        makers=frozenset({f"layer {name}"}),
    )


def see_norm(o: Observer, name: str, module: nn.Module, x: torch.Tensor, z: torch.Tensor) -> None:
    """Remember the output of a normalisation as that of the layer before it."""
    past, seen = o.origins[x], o.origins[z]
    if not (seen.made and computes_plainly(module)):
        return
    # Units of the layer and channels of the normalisation must be the same.
    same = past.norm is None and past.axis == 1 - x.ndim
    layer = past.layer if same else None
    on_input = layer is not None and past.on_input
    o.origins[z] = replace(seen, layer=layer, norm=name, on_input=on_input, made=False)


def _axis_of(module: nn.Module) -> int:
    return -1 if isinstance(module, nn.Linear) else -1 - len(module.kernel_size)  # type: ignore[arg-type]


def see_input(o: Observer, x: torch.Tensor) -> None:
    """Keep the range of the model's input, under the name of the model, until a layer with weights reads it."""
    if o.ranges.keys() <= {""} and x.ndim > 1:
        axis = input_axis(x.ndim)
        if "" not in o.ranges or len(o.ranges[""][0]) == x.shape[axis]:
            _range(o, "", axis - x.ndim, x.detach())


def input_axis(ndim: int) -> int:
    """Axis of the features of a model's input: the last one (tokens), of maps the channels."""
    return 1 if ndim > 3 else ndim - 1


def _range(o: Observer, name: str, axis: int, x: torch.Tensor) -> None:
    if x.numel() == 0 or not x.is_floating_point():
        return
    axis = x.ndim + axis
    others = tuple(d for d in range(x.ndim) if d != axis)
    low, high = (x.amin(dim=others), x.amax(dim=others)) if others else (x, x)
    # NaN goes through to the ends, so on a CPU they tell; elsewhere asking would wait for the device.
    if x.device.type != "cpu" or bool(torch.isnan(low).any()):
        nan = torch.isnan(x)
        low, high = x.masked_fill(nan, torch.inf), x.masked_fill(nan, -torch.inf)
        low, high = (low.amin(dim=others), high.amax(dim=others)) if others else (low, high)
    if name in o.ranges:
        low, high = torch.minimum(low, o.ranges[name][0]), torch.maximum(high, o.ranges[name][1])
    o.ranges[name] = (low, high)
