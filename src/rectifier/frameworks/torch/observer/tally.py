"""Sums over the values of one site or layer, kept on the device: O(units) numbers, and no wait for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .popcount import Popcount

__all__ = ["LayerTally", "SiteTally", "to_host"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def _reductions(x: torch.Tensor, axis: int) -> tuple[int, ...]:
    return tuple(d for d in range(x.ndim) if d != axis % x.ndim)


def per_unit(x: torch.Tensor, axis: int, dtype: torch.dtype) -> torch.Tensor:
    """Σ over everything but the unit axis, in ``dtype``, so that no count and no sum is rounded to float32."""
    others = _reductions(x, axis)
    return x.sum(dim=others, dtype=dtype) if others else x.to(dtype)


def norm_1(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Σ|x| of each unit, without a copy of x in between."""
    others = _reductions(x, axis)
    if not others:
        return x.abs().to(torch.float64)
    total: torch.Tensor = torch.linalg.vector_norm(x, ord=1, dim=others, dtype=torch.float64)
    return total


def square(x: torch.Tensor) -> torch.Tensor:
    """Σx², without a copy of x in between."""
    norm: torch.Tensor = torch.linalg.vector_norm(x, dtype=torch.float64)
    return norm.square()


def _may_be_unbounded(x: torch.Tensor) -> bool:
    """Whether a NaN or an infinity may be in it.

    On a CPU one sum tells (it may overflow without: then the longer way is gone for nothing); elsewhere asking would
    wait for the device, so the answer is yes.
    """
    return x.device.type != "cpu" or not math.isfinite(x.sum().item())


#: Rectifiers whose Σ|h| is Σh.
_NEVER_NEGATIVE = frozenset({"relu", "relu6", "squared_relu", "abs", "softplus", "sigmoid", "threshold"})


@dataclass
class SiteTally:
    """What one site did since the last reading. ``z`` is read before the rectifier runs: it may run in place."""

    rectifier: str
    parameters: dict[str, Any]
    layer: str | None
    norm: str | None
    upstream: str | None
    axis: int
    units: int
    device: torch.device
    ndim: int = 0
    """Of z, at the last look."""
    size: int = 0
    """Of z, likewise: how many values."""
    examples: int = 0
    looked: int = 0
    """Of these, those whose values were summed; of the others only the gates were counted."""
    graded: int | None = None
    """Steps at which the gradient of each unit's parameters was read; None where they could not be followed."""
    inputs: int = 0
    gradient_values: int = 0
    on_input: bool = True
    """False where its layer was not, or not each time, called on the model's input."""
    dropout: str | None = None
    """Call that drops its outputs, once seen."""
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    popcount: Popcount = field(default_factory=Popcount)
    fired_at: Ints | None = None
    """The memory of ``sums["fired"]``, where it is a CPU's."""

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        def zeros(size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
            return torch.zeros(size, dtype=dtype, device=self.device)

        self.examples = self.looked = self.inputs = self.gradient_values = 0
        self.graded = None
        self.sums = {
            "fired": zeros(self.units, torch.int64),
            "nan": zeros(self.units, torch.int64),
            "infinite": zeros(self.units, torch.int64),
            "unbounded_h": zeros(1, torch.int64),
            "sum_h": zeros(self.units),
            "sum_abs_h": zeros(self.units),
            "min_z": zeros(self.units) + math.inf,
            "max_z": zeros(self.units) - math.inf,
            "gradient_abs": zeros(self.units),
            "square_h": zeros(1),
            "square_gradient": zeros(1),
        }
        self.fired_at = self.sums["fired"].numpy() if self.device.type == "cpu" else None

    def see_input(self, z: torch.Tensor) -> None:
        others = _reductions(z, self.axis)
        self.ndim, self.size = z.ndim, z.numel()
        self.examples += z.numel() // self.units
        self.looked += z.numel() // self.units
        self.inputs += z.shape[0] if self.axis % z.ndim else 1  # units first: one sample without a batch
        self.sums["fired"] += per_unit(z > 0, self.axis, torch.int64)
        low = high = z
        if _may_be_unbounded(z):
            nan = torch.isnan(z)
            self.sums["infinite"] += per_unit(torch.isinf(z), self.axis, torch.int64)
            self.sums["nan"] += per_unit(nan, self.axis, torch.int64)
            low, high = z.masked_fill(nan, math.inf), z.masked_fill(nan, -math.inf)
        low, high = (low.amin(dim=others), high.amax(dim=others)) if others else (low, high)
        self.sums["min_z"] = torch.minimum(self.sums["min_z"], low.to(torch.float64))
        self.sums["max_z"] = torch.maximum(self.sums["max_z"], high.to(torch.float64))

    def count(self, z: torch.Tensor, packed: bool, h: object = None) -> None:
        """Count which units fired, and nothing else: for the steps between looks.

        packed: whether the memory of tensors may be read (:func:`countable`). h: what a layer of ours returned.
        """
        if z.ndim != self.ndim or z.shape[self.axis] != self.units or not z.is_floating_point():
            return
        self.examples += z.numel() // self.units
        axis = self.axis % z.ndim
        self.inputs += z.shape[0] if axis else 1
        if packed and self.fired_at is not None:
            if h is not None and self.rectifier == "relu" and self.popcount.keep(h, z, axis, self.fired_at):
                return
            if self.popcount.hold(z, axis, self.fired_at):
                return
        z = z.detach()
        self.sums["fired"] += per_unit(z > 0, axis, torch.int64)
        self.sums["nan"] += per_unit(torch.isnan(z), axis, torch.int64)
        self.sums["infinite"] += per_unit(torch.isinf(z), axis, torch.int64)

    def settle(self) -> None:
        """Count the gates that :meth:`count` has put aside."""
        if self.fired_at is not None:
            self.popcount.count(self.fired_at)

    def see_output(self, h: torch.Tensor) -> None:
        if _may_be_unbounded(h):
            unbounded = ~torch.isfinite(h)
            self.sums["unbounded_h"] += unbounded.sum()
            h = h.masked_fill(unbounded, 0)
        total = per_unit(h, self.axis, torch.float64)
        self.sums["sum_h"] += total
        self.sums["sum_abs_h"] += total if self.rectifier in _NEVER_NEGATIVE else norm_1(h, self.axis)
        self.sums["square_h"] += square(h)

    def see_gradient_of_input(self, gradient: torch.Tensor) -> None:
        self.gradient_values += gradient.numel() // self.units
        self.sums["gradient_abs"] += norm_1(gradient, self.axis)

    def see_gradient_of_output(self, gradient: torch.Tensor) -> None:
        self.sums["square_gradient"] += square(gradient)


@dataclass
class LayerTally:
    """Scales of one layer with weights since the last reading."""

    layer: str
    units: int
    first: bool
    upstream: str | None
    device: torch.device
    values: int = 0
    samples: int = 0
    coarsest: float = 0.0
    """Largest ε of the dtypes that its outputs were computed in."""
    gradient_values: int = 0
    input_values: int = 0
    sums: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.values = self.samples = self.gradient_values = self.input_values = 0
        names = ("square", "square_gradient", "input", "input_square", "input_infinite")
        self.sums = {name: torch.zeros(1, dtype=torch.float64, device=self.device) for name in names}

    def see(self, x: torch.Tensor, z: torch.Tensor) -> None:
        self.values += z.numel()
        self.coarsest = max(self.coarsest, torch.finfo(z.dtype).eps)
        self.samples += z.shape[0] if z.ndim > 1 else 1
        self.sums["square"] += square(z)
        self.input_values += x.numel()
        total = x.sum(dtype=torch.float64)
        if x.device.type != "cpu" or not math.isfinite(total.item()):
            # A NaN stays, and makes the mean NaN; ∞ − ∞ must not look like one.
            infinite = torch.isinf(x)
            self.sums["input_infinite"] += infinite.sum()
            x = x.masked_fill(infinite, 0)
            total = x.sum(dtype=torch.float64)
        self.sums["input"] += total
        self.sums["input_square"] += square(x)

    def see_gradient(self, gradient: torch.Tensor) -> None:
        self.gradient_values += gradient.numel()
        self.sums["square_gradient"] += square(gradient)


def to_host(tallies: Iterable[dict[str, torch.Tensor]]) -> list[dict[str, Floats]]:
    """All the sums as float64 arrays, one transfer a device (counts are exact up to 2⁵³)."""
    groups = list(tallies)
    flat: dict[torch.device, list[torch.Tensor]] = {}
    for group in groups:
        for tensor in group.values():
            flat.setdefault(tensor.device, []).append(tensor.to(torch.float64).reshape(-1))
    host = {device: torch.cat(parts).cpu().numpy() for device, parts in flat.items()}
    position = dict.fromkeys(host, 0)
    read: list[dict[str, Floats]] = []
    for group in groups:
        row: dict[str, Floats] = {}
        for name, tensor in group.items():
            start = position[tensor.device]
            position[tensor.device] = start + tensor.numel()
            row[name] = host[tensor.device][start : start + tensor.numel()].copy()
        read.append(row)
    return read
