"""Sums over the values of one site or layer: O(units) float64 numbers on the host, the same for every backend."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ....checkup.flat import levels

__all__ = ["LayerTally", "SiteTally"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def _others(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _square(x: Array) -> float:
    flat = x.astype(np.float64).ravel()
    return float(flat @ flat)


@dataclass
class SiteTally:
    """What one site did since the last reading. Arrays are handed to it with their units on the last axis."""

    rectifier: str
    parameters: dict[str, Any]
    layer: str | None
    norm: str | None
    upstream: str | None
    axis: int
    """Of the units in the model."""
    units: int
    dropout: str | None = None
    """Layer that drops its outputs, once seen."""
    examples: int = 0
    inputs: int = 0
    unbounded_h: int = 0
    gradient_values: int = 0
    square_h: float = 0.0
    square_gradient: float = 0.0
    sums: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.examples = self.inputs = self.unbounded_h = self.gradient_values = 0
        self.square_h = self.square_gradient = 0.0
        counts = {name: np.zeros(self.units, np.int64) for name in ("fired", "nan", "infinite")}
        sums = {name: np.zeros(self.units) for name in ("sum_h", "sum_abs_h", "gradient_abs")}
        ends = {"min_z": np.full(self.units, math.inf), "max_z": np.full(self.units, -math.inf)}
        self.sums = {**counts, **sums, **ends}

    def see_input(self, z: Array, rows: int) -> None:
        """rows: independent samples; 0 where the same ones were counted at another call of the site."""
        others, sums = _others(z), self.sums
        self.examples += z.size // self.units
        self.inputs += rows
        sums["fired"] += (z > 0).sum(axis=others)
        nan = np.isnan(z)
        sums["nan"] += nan.sum(axis=others)
        sums["infinite"] += np.isinf(z).sum(axis=others)
        sums["min_z"] = np.minimum(sums["min_z"], np.where(nan, np.inf, z).min(axis=others))
        sums["max_z"] = np.maximum(sums["max_z"], np.where(nan, -np.inf, z).max(axis=others))
        numbers = {key: value for key, value in self.parameters.items() if isinstance(value, (int, float))}
        for name, level, below in zip(
            ("flat_low", "flat_high"), levels(self.rectifier, numbers), (True, False), strict=True
        ):
            if level is not None:
                count = ((z <= level) if below else (z >= level)).sum(axis=others)
                sums[name] = sums.get(name, 0) + count

    def see_output(self, h: Array) -> None:
        unbounded = ~np.isfinite(h)
        self.unbounded_h += int(unbounded.sum())
        h = np.where(unbounded, 0, h).astype(np.float64)
        others = _others(h)
        self.sums["sum_h"] += h.sum(axis=others)
        self.sums["sum_abs_h"] += np.abs(h).sum(axis=others)
        self.square_h += _square(h)

    def see_gradient_of_input(self, gradient: Array) -> None:
        self.gradient_values += gradient.size // self.units
        self.sums["gradient_abs"] += np.abs(gradient.astype(np.float64)).sum(axis=_others(gradient))

    def see_gradient_of_output(self, gradient: Array) -> None:
        self.square_gradient += _square(gradient)


@dataclass
class LayerTally:
    """Scales of one layer with weights since the last reading."""

    units: int
    first: bool
    upstream: str | None
    values: int = 0
    samples: int = 0
    format: str | None = None
    """Number format of its outputs."""
    square: float = 0.0
    gradient_values: int = 0
    square_gradient: float = 0.0
    input_values: int = 0
    input_sum: float = 0.0
    input_square: float = 0.0
    input_infinite: int = 0
    weight_gradients: list[float] = field(default_factory=list)
    """Mean squares of ∂loss/∂W, one a batch."""

    def clear(self) -> None:
        self.values = self.samples = self.gradient_values = self.input_values = self.input_infinite = 0
        self.square = self.square_gradient = self.input_sum = self.input_square = 0.0
        self.weight_gradients = []

    def see(self, x: Array, z: Array, kind: str) -> None:
        self.values += z.size
        self.samples += z.shape[0] if z.ndim > 1 else 1
        self.format = kind
        self.square += _square(z)
        infinite = np.isinf(x)
        x = np.where(infinite, 0, x).astype(np.float64)
        self.input_values += x.size
        self.input_infinite += int(infinite.sum())
        self.input_sum += float(x.sum())
        self.input_square += _square(x)

    def see_gradient(self, gradient: Array) -> None:
        self.gradient_values += gradient.size
        self.square_gradient += _square(gradient)
