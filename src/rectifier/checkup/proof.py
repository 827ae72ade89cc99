"""Proof that a unit can never fire: an interval bound of its pre-activation over a box of inputs, on plain arrays.

A bound is on what the framework *computes*, not only on the exact sum: to Σ max(wᵢ·lowᵢ, wᵢ·highᵢ) + b are added the
largest error of a rounded sum in any order, γₙ·(Σ|wᵢ||xᵢ| + |b|) with γₙ = n·u/(1 − n·u) and u the unit roundoff
(Higham 2002, Accuracy and Stability of Numerical Algorithms, §3.1), n times the smallest normal number for underflow,
and the error of the bound's own float64 arithmetic. It holds for direct summation, which is what PyTorch runs on a
CPU; Winograd and FFT convolutions of an accelerator are not covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import RectifierTypeError, RectifierValueError
from .plan import NOTHING_BELOW

__all__ = ["Box", "FirstLayer", "Normalisation", "parse_box", "prove", "upper_bound"]

Floats = npt.NDArray[np.float64]
Box = tuple[Any, Any]

_U64 = 2.0**-53


@dataclass(frozen=True, eq=False)
class Normalisation:
    """A batch normalisation in evaluation: γ·(z − mean)/√(variance + epsilon) + β, arrays of shape (units,)."""

    scale: Floats
    shift: Floats
    mean: Floats
    variance: Floats
    epsilon: float


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """A layer that acts on the model's input, the site it feeds, and the range its input was seen in."""

    site: str
    layer: str
    rectifier: str
    weight: Floats
    """(units, fan-in): for a convolution the channels of the unit's group × the positions of the kernel."""
    bias: Floats | None
    low: Floats
    """Smallest input seen: (features,) for a linear layer, (channels,) for a convolution."""
    high: Floats
    groups: int
    channels: bool
    """True for a convolution: ranges are per channel."""
    pads: bool
    """True where the input is padded with zeros: 0 belongs to the range of every channel."""
    normalisation: Normalisation | None
    roundoff: float
    """Unit roundoff u of the arithmetic the layer runs in."""
    smallest: float
    """Smallest normal number of its dtype."""
    input_shape: tuple[int, ...]
    """Shape of one example of the model's input."""


def parse_box(box: Any) -> tuple[Floats, Floats] | None:
    """The two ends of a box as float64 arrays; None where the range observed is to be used.

    Raises RectifierTypeError or RectifierValueError where it is no box.
    """
    if box is None:
        return None
    cure = "Pass numbers such as box=(0.0, 1.0), or two arrays of the shape of one example."
    if not isinstance(box, (tuple, list)) or len(box) != 2:
        raise RectifierTypeError(f"check: `box` must be a pair (low, high); got {type(box).__name__}. {cure}")
    try:
        low, high = (np.asarray(end, dtype=np.float64) for end in box)
    except (TypeError, ValueError):
        kinds = ", ".join(type(end).__name__ for end in box)
        raise RectifierTypeError(f"check: `box` must hold numbers or arrays; got ({kinds}). {cure}") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise RectifierValueError(f"check: `box` must be finite; got an end that is not. {cure}")
    try:
        ordered = bool((low <= high).all())
    except ValueError:
        raise RectifierValueError(
            f"check: `box` must have ends of one shape; got {low.shape} and {high.shape}. {cure}"
        ) from None
    if not ordered:
        raise RectifierValueError(f"check: `box` must have low ≤ high; got low > high. {cure}")
    return low, high


def _ranges(layer: FirstLayer, box: tuple[Floats, Floats] | None) -> tuple[Floats, Floats]:
    """Range of each weight's input, shape (units or 1, fan-in)."""
    low, high = layer.low, layer.high
    if box is not None:
        shape = layer.input_shape
        try:
            low, high = (np.broadcast_to(end, shape) for end in box)
        except ValueError:
            got = max((end.shape for end in box), key=len)
            raise RectifierValueError(
                f"check: `box` must broadcast to one example of shape {shape}; got arrays of shape {got}. "
                "Pass numbers such as box=(0.0, 1.0), or two arrays of the shape of one example."
            ) from None
        size = layer.low.shape[0]
        if layer.channels:
            low, high = (end.reshape(size, -1) for end in (low, high))
            low, high = low.min(axis=1), high.max(axis=1)
        else:  # positions in front of the features (tokens) share one range
            low, high = low.reshape(-1, size).min(axis=0), high.reshape(-1, size).max(axis=0)
    if layer.pads:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if not layer.channels:
        return low[None, :], high[None, :]
    units, fan_in = layer.weight.shape
    per_group = low.shape[0] // layer.groups
    kernel = fan_in // per_group
    group = np.arange(units) // (units // layer.groups)
    channel = group[:, None] * per_group + np.repeat(np.arange(per_group), kernel)[None, :]
    return low[channel], high[channel]


def upper_bound(layer: FirstLayer, box: tuple[Floats, Floats] | None = None) -> Floats:
    """Largest z that each unit can be computed to have, over the box (or the range observed), shape (units,)."""
    low, high = _ranges(layer, box)
    weight = layer.weight
    bias = np.zeros(weight.shape[0]) if layer.bias is None else layer.bias
    with np.errstate(invalid="ignore"):  # 0·∞
        ends = weight * low, weight * high
    if not all(np.isfinite(end).all() for end in ends):  # data that is infinite bounds nothing
        return np.full(weight.shape[0], np.inf)
    top = np.maximum(*ends).sum(axis=1) + bias
    bottom = np.minimum(*ends).sum(axis=1) + bias
    magnitude = (np.abs(weight) * np.maximum(np.abs(low), np.abs(high))).sum(axis=1) + np.abs(bias)
    n = weight.shape[1] + 2
    # The bound's own float64 sums, and the framework's, may each be off by their γₙ.
    error = (_gamma(n, layer.roundoff) + 2 * _gamma(n, _U64)) * magnitude + n * layer.smallest
    top, bottom = _up(top + error), -_up(-(bottom - error))
    if layer.normalisation is None:
        return top
    return _normalised(layer.normalisation, top, bottom, layer.roundoff, layer.smallest)


def _normalised(norm: Normalisation, top: Floats, bottom: Floats, u: float, smallest: float) -> Floats:
    scale = norm.scale / np.sqrt(norm.variance + norm.epsilon)
    shift = norm.shift - norm.mean * scale
    result = np.maximum(scale * top, scale * bottom) + shift
    reach = np.maximum(np.abs(top), np.abs(bottom))
    # Square root, division, two products and two sums, whatever their order: fewer than ten roundings.
    magnitude = np.abs(scale) * (reach + np.abs(norm.mean)) + np.abs(norm.shift)
    return _up(result + (_gamma(10, u) + 2 * _gamma(10, _U64)) * magnitude + 10 * smallest)


def _gamma(n: int, u: float) -> float:
    return n * u / (1.0 - n * u) if n * u < 0.5 else float("inf")


def _up(x: Floats) -> Floats:
    # Rounding a positive sum of magnitudes can lose one unit in the last place twice; two steps outward cover it.
    return np.nextafter(np.nextafter(x, np.inf), np.inf)


def prove(layers: tuple[FirstLayer, ...], box: tuple[Floats, Floats] | None) -> dict[str, dict[int, float]]:
    """site → unit → the bound (≤ 0) that proves that this unit cannot fire over the box.

    Only for rectifiers that are 0 for every z ≤ 0.
    """
    proved: dict[str, dict[int, float]] = {}
    for layer in layers:
        bound = upper_bound(layer, box)
        if layer.rectifier in NOTHING_BELOW:
            units = np.flatnonzero(bound <= 0)
            # A site reached by several layers, or twice, is proved only where every one of them proves it.
            proved[layer.site] = {int(unit): float(bound[unit]) for unit in units}
    return proved


def describe(layers: tuple[FirstLayer, ...], box: Box | None) -> str | None:
    """The box in words; None where no layer acts on the input."""
    if not layers:
        return None
    # Batches of training are normalised by their own statistics, which an interval does not bound.
    normalised = any(layer.normalisation is not None for layer in layers)
    return f"{_box(layers, box)}{', with batch normalisation in evaluation mode' if normalised else ''}"


def _box(layers: tuple[FirstLayer, ...], box: Box | None) -> str:
    if box is None:
        low, high = min(float(x.low.min()) for x in layers), max(float(x.high.max()) for x in layers)
        per = "channel" if layers[0].channels else "feature"
        return f"each input {per} within the range observed for it (over all of them {low:g} to {high:g})"
    ends = [np.asarray(end, dtype=np.float64) for end in box]
    if all(end.ndim == 0 for end in ends):
        return f"every input within [{float(ends[0]):g}, {float(ends[1]):g}], as given"
    return f"every input within its given range (over all of them {ends[0].min():g} to {ends[1].max():g})"
