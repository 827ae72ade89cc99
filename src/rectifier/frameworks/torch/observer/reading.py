"""Turning the observer's sums, and the weights as they are now, into frozen records of plain arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ....checkup.proofs.network import Network, Site, Step
from ....checkup.records import LayerVitals, SiteVitals, Snapshot
from ..calm import plain_value, value_of
from ..tracing.lowering import first_layer, next_layer
from .layers import input_axis
from .tally import SiteTally, to_host

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["Reader"]

Floats = npt.NDArray[np.float64]
Group = dict[str, torch.Tensor]


#: ε → name of the format.
_FORMATS = {
    torch.finfo(dtype).eps: str(dtype).removeprefix("torch.")
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
}


def rows(module: nn.Module, weight: torch.Tensor | None) -> torch.Tensor | None:
    """The weights with one row a unit, (units, fan-in) float64; None where rows are no units (transposed)."""
    if isinstance(module, _ConvTransposeNd) or weight is None:
        return None
    return weight.detach().to(torch.float64).reshape(weight.shape[0], -1)


def fan_in(module: nn.Module) -> int:
    if isinstance(module, _ConvNd):
        # A transposed convolution has as many inputs a unit where strides do not thin them out.
        return module.in_channels // module.groups * math.prod(module.kernel_size)
    assert isinstance(module, nn.Linear)
    return module.in_features


def _as_seen(chains: tuple[Network, ...]) -> tuple[Network, ...]:
    """Proofs of first layers, with what they rest on where the model's forward pass could not be read as a graph."""
    words = ", where the layer is called on the input as it was seen to be"
    return tuple(replace(chain, condition=chain.condition + words) for chain in chains)


class Reader:
    """Reads an observer. What depends on the weights is read with the sums: one transfer a take."""

    def __init__(self, observer: Observer) -> None:
        self._o = observer
        self._previous: dict[str, torch.Tensor] = {}
        self._updates: dict[str, torch.Tensor] = {}
        self._gradients: dict[str, list[torch.Tensor]] = {}

    # Weights: their gradient and their last step

    def see_weight_gradients(self, gradients: Mapping[str, torch.Tensor] | None = None) -> None:
        if gradients is None:
            gradients = {}
            for name in self._o.layers:
                weight = plain_value(self._o.names[name], "weight")
                # Only a leaf keeps its gradient; a computed weight has none to read.
                if weight is not None and weight.is_leaf and weight.grad is not None:
                    gradients[name] = weight.grad
        for name, gradient in gradients.items():
            if hasattr(gradient, "full_tensor"):  # sharded: all processes are here
                gradient = gradient.full_tensor()
            if not gradient.is_sparse:
                square = gradient.detach().to(torch.float64).square().mean().reshape(1)
                self._gradients.setdefault(name, []).append(square)

    def forget(self, names: Collection[str]) -> None:
        """Of these modules others are there now, whose weights did not come about by a step."""
        for layer in list(self._previous):
            if any(f"{layer}.".startswith(f"{name}.") for name in names):
                del self._previous[layer]

    def measure_update(self) -> Callable[[], None]:
        before = {name: self._weight(name).clone() for name in self._o.layers}

        def after() -> None:
            for name, old in before.items():
                new = self._weight(name)
                if new.shape == old.shape:
                    moved = (new.to(torch.float64) - old).norm() / old.to(torch.float64).norm()
                    self._updates[name] = moved.reshape(1)

        return after

    def _weight(self, layer: str) -> torch.Tensor:
        weight = value_of(self._o.names[layer], "weight")
        assert weight is not None
        return weight

    # One snapshot

    def take(self, step: int, loss: float | None) -> Snapshot | None:
        sites = {name: tally for name, tally in self._o.sites.items() if tally.examples}
        layers = {name: tally for name, tally in self._o.layers.items() if tally.values}
        if not sites and not layers:
            return None
        groups: list[Group] = [tally.sums for tally in sites.values()]
        groups += [self._weights_of(tally) for tally in sites.values()]
        groups += [{**tally.sums, **self._layer_group(name)} for name, tally in layers.items()]
        read = to_host(groups)
        made = tuple(
            self._site(name, tally, read[i], read[len(sites) + i]) for i, (name, tally) in enumerate(sites.items())
        )
        scales = tuple(self._layer(name, read[2 * len(sites) + i]) for i, name in enumerate(layers))
        for site in self._o.sites.values():
            site.clear()
        for layer in self._o.layers.values():
            layer.clear()
        self._updates.clear()
        self._gradients.clear()
        return Snapshot(step=step, sites=made, layers=scales, loss=loss)

    def _weights_of(self, tally: SiteTally) -> Group:
        group: Group = {}
        names = self._o.names
        for key, value in tally.parameters.items():
            if isinstance(value, torch.Tensor) and value.numel() == 1:
                group[f"parameter {key}"] = value.detach()
        if tally.norm is not None:
            norm = names[tally.norm]
            for key, value in (("scale", value_of(norm, "weight")), ("shift", value_of(norm, "bias"))):
                if value is not None and value.numel() == tally.units:
                    group[key] = value
        if tally.layer is None:
            return group
        module = names[tally.layer]
        weight, bias = rows(module, value_of(module, "weight")), value_of(module, "bias")
        if weight is not None and weight.shape[0] == tally.units:
            full = weight
            group["weight_norm"] = weight.norm(dim=1)
            if bias is not None:
                group["bias"] = bias
                full = torch.cat([weight, bias.to(torch.float64)[:, None]], dim=1)
            old = self._previous.get(tally.layer)
            if old is not None and old.shape == full.shape:
                group["moved"] = (full - old).norm(dim=1) / old.norm(dim=1)
            self._previous[tally.layer] = full.clone()
        return group

    def _layer_group(self, name: str) -> Group:
        weight = self._weight(name)
        group = {"weight": weight.to(torch.float64).square().mean().reshape(1)}
        if name in self._updates:
            group["update"] = self._updates[name]
        if name in self._gradients:
            group["weight_gradient"] = torch.stack(self._gradients[name]).mean().reshape(1)
        return group

    def _site(self, name: str, tally: SiteTally, sums: dict[str, Floats], weights: dict[str, Floats]) -> SiteVitals:
        values = tally.looked * tally.units - float(sums["unbounded_h"][0])
        seen = tally.gradient_values
        numbers = {key: float(value) for key, value in tally.parameters.items() if isinstance(value, (int, float))}
        numbers |= {key[10:]: float(v[0]) for key, v in weights.items() if key.startswith("parameter ")}
        return SiteVitals(
            site=name,
            rectifier=tally.rectifier,
            parameters=numbers,
            layer=tally.layer,
            examples=tally.examples,
            fired=sums["fired"].astype(np.int64),
            nan=sums["nan"].astype(np.int64),
            sum_h=sums["sum_h"],
            sum_abs_h=sums["sum_abs_h"],
            min_z=sums["min_z"],
            max_z=sums["max_z"],
            rms_h=math.sqrt(float(sums["square_h"][0]) / values) if values else math.nan,
            gradient_rms=math.sqrt(float(sums["square_gradient"][0]) / (seen * tally.units)) if seen else None,
            gradient_abs=sums["gradient_abs"] / seen if seen else None,
            upstream=tally.upstream,
            infinite=sums["infinite"].astype(np.int64),
            inputs=tally.inputs,
            flat_low=_counts(sums.get("flat_low")),
            flat_high=_counts(sums.get("flat_high")),
            looked=tally.looked if tally.looked < tally.examples else None,
            graded=tally.graded,
            recent=0,
            until=0,
            # None beside a number of steps: a look has refuted what the gradients say
            lived=sums["lived"].astype(np.int64) if "lived" in sums and not sums["refuted"][0] else None,
            lives=sums["lives"].astype(np.int64) if "lives" in sums and not sums["refuted"][0] else None,
            normalised=tally.norm is not None,
            dropout=tally.dropout,
            **{key: weights.get(key) for key in ("bias", "weight_norm", "moved", "scale", "shift")},
        )

    def _layer(self, name: str, sums: dict[str, Floats]) -> LayerVitals:
        tally = self._o.layers[name]

        def rms(key: str, values: int) -> float | None:
            return math.sqrt(float(sums[key][0]) / values) if values else None

        finite = tally.input_values - int(sums["input_infinite"][0])
        return LayerVitals(
            layer=name,
            fan_in=fan_in(self._o.names[name]),
            units=tally.units,
            weight_rms=math.sqrt(float(sums["weight"][0])),
            activation_rms=rms("square", tally.values),
            gradient_rms=rms("square_gradient", tally.gradient_values),
            weight_gradient_rms=math.sqrt(float(sums["weight_gradient"][0])) if "weight_gradient" in sums else None,
            update_ratio=float(sums["update"][0]) if "update" in sums else None,
            first=tally.first,
            input_mean=float(sums["input"][0]) / finite if finite else None,
            input_rms=rms("input_square", finite),
            values=tally.values / tally.samples if tally.samples else None,
            input_infinite=int(sums["input_infinite"][0]),
            format=_FORMATS.get(tally.coarsest),
            weight_format=str(self._weight(name).dtype).removeprefix("torch."),
        )

    # What a proof needs

    def networks(self, *, training: bool, deep: bool) -> tuple[tuple[Network, ...], str | None]:
        """The networks that bound the sites: the model as traced, and each first layer as it was seen to be called.

        training: as in training mode. deep: False for the first layers alone. Also: why the model could not be
        traced, or None.
        """
        chains = self._first_layers()
        if not deep:
            return chains, None
        from ..tracing.bounds import traced  # loads torch.fx, which a look without proofs does not need

        shape = self._o.input_shape
        if shape is None or self._o.calls_differ is not None:
            return _as_seen(chains), self._o.calls_differ or "it is not called with one tensor"
        roundoff = max((self._roundoff_of(name) for name in self._o.layers), default=0.0)
        axes = {name: tally.axis - 1 for name, tally in self._o.sites.items() if tally.axis}
        # A forward pass may branch on whether gradients are kept: traced is what ran.
        with torch.set_grad_enabled(self._o.with_gradients):
            whole = traced(self._o.model, shape, axes, training=training, rows=self._o.largest_batch, roundoff=roundoff)
        if isinstance(whole, str):
            return _as_seen(chains), whole
        kept = tuple(site for site in whole.sites if self._agrees(whole, site))
        whole = replace(whole, sites=kept, observed=self._input_range(whole, shape))
        return (whole, *chains), None

    def _roundoff_of(self, layer: str) -> float:
        return _roundoff(self._weight(layer), self._o.layers[layer].coarsest)

    def _agrees(self, network: Network, site: Site) -> bool:
        """Whether the layer before a site is the one that was seen there: else the trace is not what ran."""
        tally = self._o.sites[site.name]
        step = network.steps[site.step]
        if step.shape[site.axis] != tally.units:
            return False
        while step.op in ("scale", "reshape", "permute", "pool", "hull") or (
            # a batch normalisation, or what a dropout keeps
            (step.op == "normalise" and isinstance(self._o.names.get(step.layer), nn.modules.batchnorm._BatchNorm))
            or (step.op == "combine" and not step.layer)
        ):
            step = network.steps[step.inputs[0]]
        made = step.layer if step.op in ("linear", "ellipsoid", "conv") and step.layer in self._o.names else None
        return made == tally.layer

    def _input_range(self, network: Network, shape: tuple[int, ...]) -> tuple[Floats, Floats] | None:
        """The range that the model's input was seen in, from those of the layers that read it."""
        found: tuple[Floats, Floats] | None = None
        if self._o.ranges.keys() == {""}:
            axes = tuple(d for d in range(len(shape)) if d != input_axis(len(shape) + 1) - 1)
            low, high = (np.expand_dims(end.double().cpu().numpy(), axes) for end in self._o.ranges[""])
            return low, high
        for step in network.steps:
            if step.op not in ("linear", "conv") or step.layer not in self._o.ranges:
                continue
            source = network.steps[step.inputs[0]]
            seen = source.shape
            while source.op in ("reshape", "hull"):
                source = network.steps[source.inputs[0]]
            if source.op != "input":
                continue
            ends = [end.double().cpu().numpy() for end in self._o.ranges[step.layer]]
            if step.op == "conv":
                ends = [end.reshape(-1, *(1,) * (len(seen) - 1)) for end in ends]
            if seen != shape:
                ends = [np.broadcast_to(end, seen).reshape(shape) for end in ends]
            else:
                ends = [end.reshape((1,) * (len(seen) - end.ndim) + end.shape) for end in ends]
            low, high = ends
            found = (low, high) if found is None else (np.maximum(found[0], low), np.minimum(found[1], high))
        return found

    def _first_layers(self) -> tuple[Network, ...]:
        found = []
        for site, tally in self._o.sites.items():
            if tally.layer is None or not tally.on_input or tally.layer not in self._o.ranges:
                continue
            low, high = (end.double().cpu().numpy() for end in self._o.ranges[tally.layer])
            steps = self._chain(tally)
            if steps is None:
                continue
            stored = self._weight(tally.layer)
            info = torch.finfo(stored.dtype)
            shape = (-1, *(1 for _ in steps[0].shape[1:]))
            found.append(
                Network(
                    steps=tuple(steps),
                    sites=(Site(site, tally.rectifier, len(steps) - 1, 0),),
                    roundoff=self._roundoff_of(tally.layer),
                    smallest=float(info.tiny),
                    largest=float(info.max),
                    condition=", with batch normalisation in evaluation mode" if tally.norm else "",
                    training=self._o.training_only and tally.norm is None,
                    input_shape=self._o.input_shape or (),
                    observed=(low.reshape(shape), high.reshape(shape)),
                )
            )
        return tuple(found)

    def _chain(self, tally: SiteTally) -> list[Step] | None:
        """Input, layer and normalisation in evaluation mode, all positions of a convolution taken together."""
        assert tally.layer is not None
        steps = first_layer(self._o.names[tally.layer], tally.layer, len(self._o.ranges[tally.layer][0]))
        if steps is None or tally.norm is None:
            return steps
        return next_layer(self._o.names[tally.norm], tally.norm, steps)


def _counts(values: Floats | None) -> npt.NDArray[np.int64] | None:
    return None if values is None else values.astype(np.int64)


def _roundoff(weight: torch.Tensor, coarsest: float) -> float:
    """Unit roundoff of a product as the framework may compute it: TensorFloat-32 and bfloat16 passes are coarser."""
    own = float(torch.finfo(weight.dtype).eps) / 2
    if coarsest / 2 > own:  # autocast: weights and inputs were rounded as well, and each product is of two of them
        return 2 * coarsest
    if weight.dtype != torch.float32:
        return own
    if torch.get_float32_matmul_precision() != "highest":
        return max(own, 2.0**-8)
    if weight.is_cuda and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32):
        return max(own, 2.0**-10)
    return own
