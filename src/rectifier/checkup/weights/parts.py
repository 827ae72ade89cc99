"""The layers with their numbers read, and the vitals of a record that they give."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..records import LayerVitals, SiteVitals
from .layers import Layer, Structure
from .measure import Rows, rows_of, values_of

__all__ = ["Bools", "Floats", "Part", "layer_vitals", "parts_of", "site_vitals"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Part:
    """One layer with its numbers read."""

    layer: Layer
    rows: Rows | None
    """Of its weight matrix or kernel; of a batch normalisation: that of the layer before it."""
    bias: Floats | None
    """Likewise."""
    scale: Floats | None = None
    shift: Floats | None = None
    mean: Floats | None = None
    variance: Floats | None = None
    before: Layer | None = None
    """Of a batch normalisation: the layer before it, as the names tell."""
    merged: bool = False
    """Its units are those of the batch normalisation behind it."""

    @property
    def site(self) -> bool:
        return self.layer.unitwise and not self.merged and self.layer.rectifier != "other"

    @property
    def whole_numbers(self) -> bool:
        """Is its kernel one that was read and holds no floating-point numbers?"""
        weight = self.layer.weight
        kernel = self.layer.role in ("linear", "conv", "attention")
        return kernel and self.rows is None and weight is not None and weight.read is not None


def parts_of(structure: Structure) -> tuple[Part, ...]:
    """Every layer, its tensors read once."""
    rows = {
        layer.name: rows_of(layer.weight, layer.axis)
        for layer in structure.layers
        if layer.weight is not None and layer.role in ("linear", "conv", "attention")
    }
    by_name = {layer.name: layer for layer in structure.layers}
    merged = {layer.follows for layer in structure.layers}
    parts = []
    for layer in structure.layers:
        if layer.role in ("batchnorm", "norm"):
            before = None if layer.follows is None else by_name[layer.follows]
            ones, zeros = np.ones(layer.units), np.zeros(layer.units)
            scale = ones if layer.weight is None else values_of(layer.weight)
            shift = zeros if layer.bias is None else values_of(layer.bias)
            parts.append(
                Part(
                    layer,
                    None if before is None else rows[before.name],
                    None if before is None else values_of(before.bias),
                    scale if scale is not None and shift is not None else None,
                    shift if scale is not None and shift is not None else None,
                    values_of(layer.mean),
                    values_of(layer.variance),
                    before,
                )
            )
        else:
            parts.append(Part(layer, rows.get(layer.name), values_of(layer.bias), merged=layer.name in merged))
    return tuple(parts)


def site_vitals(part: Part, moved: Floats | None = None) -> SiteVitals:
    """A place where a rectifier could be. Nothing was run, so that it saw no example."""
    units = part.layer.units
    none, unknown = np.zeros(units, dtype=np.int64), np.full(units, math.nan)
    of = part.before or (part.layer if part.layer.role != "batchnorm" else None)
    return SiteVitals(
        site=part.layer.name,
        rectifier=part.layer.rectifier or "not known",
        parameters={},
        layer=None if of is None else of.name,
        examples=0,
        fired=none,
        nan=none,
        sum_h=np.zeros(units),
        sum_abs_h=np.zeros(units),
        min_z=unknown,
        max_z=unknown,
        rms_h=math.nan,
        bias=part.bias,
        weight_norm=None if part.rows is None else part.rows.norm,
        moved=moved,
        scale=part.scale,
        shift=part.shift,
        normalised=part.layer.role == "batchnorm",
    )


def layer_vitals(parts: Iterable[Part]) -> tuple[LayerVitals, ...]:
    """The scales of the layers that have a matrix or kernel."""
    return tuple(
        LayerVitals(
            part.layer.name,
            part.rows.fan_in,
            part.layer.units,
            part.rows.rms,
            activation_rms=None,
            gradient_rms=None,
            weight_format=part.layer.weight.dtype,
        )
        for part in parts
        if part.rows is not None and part.layer.weight is not None and part.layer.role not in ("batchnorm", "norm")
    )
