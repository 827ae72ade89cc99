"""Turning the observer's sums, and the weights as they are now, into frozen records of plain arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....checkup.proofs.network import Network
from ....checkup.records import LayerVitals, SiteVitals, Snapshot
from .kinds import as_array, bias_of, fan_in, kernel_of, rows
from .tally import SiteTally

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["Reader", "exact"]

Floats = npt.NDArray[np.float64]


def exact(variable: Any) -> Floats | None:
    """A variable's values in float64; None for none."""
    return None if variable is None else as_array(variable).astype(np.float64)


class Reader:
    """Reads an observer."""

    def __init__(self, observer: Observer) -> None:
        self._o = observer
        self._previous: dict[str, Floats] = {}
        self._updates: dict[str, float] = {}

    def measure_update(self) -> Callable[[], None]:
        before = {name: self._kernel(name) for name in self._o.layers}

        def after() -> None:
            for name, old in before.items():
                norm = float(np.linalg.norm(old))
                moved = float(np.linalg.norm(self._kernel(name) - old))
                self._updates[name] = moved / norm if norm else math.inf if moved else math.nan

        return after

    def _kernel(self, layer: str) -> Floats:
        kernel = exact(kernel_of(self._o.names[layer]))
        assert kernel is not None
        return kernel

    # One snapshot

    def take(self, step: int, loss: float | None) -> Snapshot | None:
        sites = {name: tally for name, tally in self._o.sites.items() if tally.examples}
        layers = [name for name, tally in self._o.layers.items() if tally.values]
        if not sites and not layers:
            return None
        made = tuple(self._site(name, tally) for name, tally in sites.items())
        scales = tuple(self._layer(name) for name in layers)
        for site in self._o.sites.values():
            site.clear()
        for layer in self._o.layers.values():
            layer.clear()
        self._updates.clear()
        return Snapshot(step=step, sites=made, layers=scales, loss=loss)

    def _site(self, name: str, tally: SiteTally) -> SiteVitals:
        sums, seen = tally.sums, tally.gradient_values
        values = tally.examples * tally.units - tally.unbounded_h
        weights = self._weights_of(tally)
        return SiteVitals(
            site=name,
            rectifier=tally.rectifier,
            parameters=_numbers(tally.parameters),
            layer=tally.layer,
            examples=tally.examples,
            fired=sums["fired"],
            nan=sums["nan"],
            sum_h=sums["sum_h"],
            sum_abs_h=sums["sum_abs_h"],
            min_z=sums["min_z"].astype(np.float64),
            max_z=sums["max_z"].astype(np.float64),
            rms_h=math.sqrt(tally.square_h / values) if values else math.nan,
            gradient_rms=math.sqrt(tally.square_gradient / (seen * tally.units)) if seen else None,
            gradient_abs=sums["gradient_abs"] / seen if seen else None,
            upstream=tally.upstream,
            infinite=sums["infinite"],
            inputs=tally.inputs,
            flat_low=sums.get("flat_low"),
            flat_high=sums.get("flat_high"),
            normalised=tally.norm is not None,
            dropout=tally.dropout,
            bias=weights.get("bias"),
            weight_norm=weights.get("weight_norm"),
            moved=weights.get("moved"),
            scale=weights.get("scale"),
            shift=weights.get("shift"),
        )

    def _weights_of(self, tally: SiteTally) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if tally.norm is not None:
            norm = self._o.names[tally.norm]
            found = {"scale": exact(norm.gamma), "shift": exact(norm.beta)}
        if tally.layer is None:
            return found
        layer = self._o.names[tally.layer]
        weight, bias = rows(layer), exact(bias_of(layer))
        if weight is None or weight.shape[0] != tally.units:
            return found
        found |= {"weight_norm": np.linalg.norm(weight, axis=1), "bias": bias}
        full = weight if bias is None else np.concatenate([weight, bias[:, None]], axis=1)
        old = self._previous.get(tally.layer)
        if old is not None and old.shape == full.shape:
            with np.errstate(divide="ignore", invalid="ignore"):
                found["moved"] = np.linalg.norm(full - old, axis=1) / np.linalg.norm(old, axis=1)
        self._previous[tally.layer] = full
        return found

    def _layer(self, name: str) -> LayerVitals:
        tally, layer = self._o.layers[name], self._o.names[name]

        def rms(square: float, values: int) -> float | None:
            return math.sqrt(square / values) if values else None

        finite = tally.input_values - tally.input_infinite
        gradients = tally.weight_gradients
        kernel = self._kernel(name)
        return LayerVitals(
            layer=name,
            fan_in=fan_in(layer),
            units=tally.units,
            weight_rms=math.sqrt(float(np.mean(np.square(kernel)))),
            activation_rms=rms(tally.square, tally.values),
            gradient_rms=rms(tally.square_gradient, tally.gradient_values),
            weight_gradient_rms=math.sqrt(float(np.mean(gradients))) if gradients else None,
            update_ratio=self._updates.get(name),
            first=tally.first,
            input_mean=tally.input_sum / finite if finite else None,
            input_rms=rms(tally.input_square, finite),
            values=tally.values / tally.samples if tally.samples else None,
            input_infinite=tally.input_infinite,
            format=tally.format,
            weight_format=str(kernel_of(layer).dtype),
        )

    # What a proof needs

    def networks(self, *, training: bool, deep: bool) -> tuple[tuple[Network, ...], str | None]:
        """The model as traced, with the range that its input was seen in; and why it could not be, or None."""
        if not deep:
            return (), None
        from ..lowering import network_of

        if self._o.several or self._o.input_shape is None:
            return (), "it is not called with one tensor of numbers, of one shape"
        formats = {tally.format for tally in self._o.layers.values() if tally.format}
        axes = {name: tally.axis - 1 for name, tally in self._o.sites.items() if tally.axis}
        whole = network_of(self._o.model, self._o.input_shape, axes, formats, training=training, seen=self._o.range)
        return ((), whole) if isinstance(whole, str) else ((whole,), None)


def _numbers(parameters: dict[str, Any]) -> dict[str, float]:
    """Those that are numbers; of what is learned, where it is a single one."""
    found = {}
    for key, value in parameters.items():
        if isinstance(value, (int, float)):
            found[key] = float(value)
        elif value is not None and math.prod(getattr(value, "shape", (0,))) == 1:
            found[key] = float(as_array(value).reshape(()))
    return found
