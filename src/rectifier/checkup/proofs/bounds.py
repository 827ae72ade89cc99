"""Interval bounds of every step of a network, rounded outward: what the framework computes lies within them.

Each bound is computed in float64 and widened by the error that the framework's own arithmetic can make and by that of
the float64 arithmetic here; γₙ = n·u/(1 − n·u) bounds the relative error of n roundings in any order (Higham 2002,
Accuracy and Stability of Numerical Algorithms, §3.1), and each of n underflows adds at most the smallest normal
number. The bounds are then rounded outward to float32 numbers, so that a certificate can state them exactly.

What overflows is not bounded; a NaN is no firing. It holds for direct summation, which is what PyTorch runs on a CPU;
Winograd and FFT convolutions of an accelerator are not covered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .curves import EXACT, ends
from .network import Network, Step

__all__ = ["Interval", "gamma", "propagate"]

Floats = npt.NDArray[np.float64]
Interval = tuple[Floats, Floats]

_U64 = 2.0**-53
_TINY32 = 2.0**-126


def gamma(n: float, u: float) -> float:
    return n * u / (1.0 - n * u) if n * u < 0.5 else math.inf


def propagate(network: Network, box: Interval | None) -> list[Interval]:
    """The interval of each step: arrays of the step's shape, or with axes of length 1 along which it is the same."""
    found: list[Interval] = []
    for step in network.steps:
        values = [found[i] for i in step.inputs]
        shapes = [network.steps[i].shape for i in step.inputs]
        if step.op == "input":
            interval = box if box is not None else _anything(step.shape)
        elif step.op == "unknown":
            interval = _anything(step.shape)
        else:
            # Infinite ends give NaN where they meet a zero; _outward turns those into "anything".
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                interval = _OPS[step.op](step, values, shapes, network)
        found.append(_outward(interval, network.largest))
    return found


def _anything(shape: tuple[int, ...]) -> Interval:
    ones = np.ones((1,) * len(shape))
    return -math.inf * ones, math.inf * ones


def _outward(interval: Interval, largest: float) -> Interval:
    """To float32 numbers further out; infinite where they may overflow, or are not known."""
    low, high = (np.asarray(end, dtype=np.float64) for end in interval)
    low, high = np.where(np.isnan(low), -math.inf, low), np.where(np.isnan(high), math.inf, high)
    high = _up(high)
    low = -_up(-low)
    return np.where(low < -largest, -math.inf, low), np.where(high > largest, math.inf, high)


def _up(x: Floats) -> Floats:
    with np.errstate(over="ignore", under="ignore"):
        near = x.astype(np.float32)
        near = np.where(near < x, np.nextafter(near, np.float32(math.inf)), near).astype(np.float64)
    # No subnormal numbers: they are as good as 0 here, and would only make a certificate's exponents long.
    return np.where((near > 0) & (near < _TINY32), _TINY32, np.where((near < 0) & (near > -_TINY32), 0.0, near))


def _widened(low: Floats, high: Floats, magnitude: Floats, roundings: float, net: Network) -> Interval:
    """Both ends moved by ``roundings`` roundings of the framework, and as many of this arithmetic, of values up to
    ``magnitude``."""
    error = (gamma(roundings, net.roundoff) + 4 * gamma(roundings, _U64)) * magnitude + roundings * net.smallest
    return low - error, high + error


def _largest(interval: Interval) -> Floats:
    return np.maximum(np.abs(interval[0]), np.abs(interval[1]))


def _hull(interval: Interval, axes: Sequence[int]) -> Interval:
    return interval[0].min(axis=tuple(axes), keepdims=True), interval[1].max(axis=tuple(axes), keepdims=True)


def _spread(interval: Interval, shape: tuple[int, ...]) -> Interval:
    return np.broadcast_to(interval[0], shape), np.broadcast_to(interval[1], shape)


# Sums of products


def _affine(weight: Floats, bias: Floats | None, x: Interval, net: Network) -> Interval:
    """Of W·x + b for columns of x, shapes (units, n), (units,), (n, columns)."""
    low, high = x
    added = np.zeros((weight.shape[0], 1)) if bias is None else bias[:, None]
    positive, negative = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
    no_low, no_high = np.isneginf(low), np.isposinf(high)
    bounded = not (no_low.any() or no_high.any())
    if not bounded:
        low, high = np.where(no_low, 0.0, low), np.where(no_high, 0.0, high)
    top, bottom = positive @ high + negative @ low + added, positive @ low + negative @ high + added
    magnitude = np.abs(weight) @ np.maximum(np.abs(low), np.abs(high)) + np.abs(added)
    bottom, top = _widened(bottom, top, magnitude, weight.shape[1] + 2, net)
    if not bounded:
        reached = np.abs(weight) @ (no_low | no_high).astype(np.float64) > 0
        # An end that is not bounded leaves no bound of the rounding error either.
        bottom, top = np.where(reached, -math.inf, bottom), np.where(reached, math.inf, top)
    # Weights that are exactly 0 leave the bias as it is, whatever the input.
    zero = (weight == 0).all(axis=1, keepdims=True)
    return np.where(zero, added, bottom), np.where(zero, added, top)


def _bias(step: Step) -> Floats | None:
    return step.arrays["bias"].exact if "bias" in step.arrays else None


def _linear(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    x, shape = values[0], shapes[0]
    positions: tuple[int, ...] = (1,) * (len(shape) - 1) if step.settings.get("uniform") else shape[:-1]
    if step.settings.get("uniform"):
        x = _hull(x, range(len(shape) - 1))
    columns = [end.reshape(-1, shape[-1]).T for end in _spread(x, (*positions, shape[-1]))]
    low, high = _affine(step.arrays["weight"].exact, _bias(step), (columns[0], columns[1]), net)
    return low.T.reshape(*positions, -1), high.T.reshape(*positions, -1)


def _conv(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    settings, weight, bias = step.settings, step.arrays["weight"].exact, _bias(step)
    kernel, groups, padding = weight.shape[2:], settings["groups"], settings["padding"]
    x, shape, spatial = values[0], shapes[0], len(weight.shape) - 2
    if settings.get("uniform"):
        x = _hull(x, range(1, len(shape)))
        if settings["mode"] == "zeros" and any(any(pair) for pair in padding):
            x = np.minimum(x[0], 0.0), np.maximum(x[1], 0.0)
        columns = [np.repeat(end.reshape(shape[0], 1), math.prod(kernel), axis=1) for end in x]
        out: tuple[int, ...] = (1,) * spatial
    else:
        windows = [
            _windows(end, padding, settings["mode"], kernel, settings["stride"], settings["dilation"], 0.0)
            for end in _spread(x, shape)
        ]
        out = windows[0].shape[1 : 1 + spatial]
        # (channels, positions, kernel) → per channel: kernel × positions
        columns = [
            w.reshape(shape[0], math.prod(out), math.prod(kernel)).swapaxes(1, 2).reshape(shape[0], -1) for w in windows
        ]
    flat, size = weight.reshape(groups, weight.shape[0] // groups, -1), shape[0] // groups * math.prod(kernel)
    low, high = (end.reshape(groups, size, -1) for end in columns)
    shifts = [None] * groups if bias is None else list(bias.reshape(groups, -1))
    parts = [_affine(flat[g], shifts[g], (low[g], high[g]), net) for g in range(groups)]
    return tuple(np.concatenate(ends).reshape(-1, *out) for ends in zip(*parts, strict=True))  # type: ignore[return-value]


_MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _windows(
    x: Floats,
    padding: Sequence[Sequence[int]],
    mode: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    fill: float,
) -> Floats:
    """(channels, positions…) → (channels, out…, kernel…)."""
    pairs = [(0, 0), *((int(a), int(b)) for a, b in padding)]
    x = np.pad(x, pairs, constant_values=fill) if mode == "zeros" else np.pad(x, pairs, _MODES[mode])
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(1, x.ndim)))
    steps = tuple(slice(None, None, s) for s in stride)
    result: Floats = view[(slice(None), *steps, *(slice(None, None, d) for d in dilation))]
    return result


# Normalisation


def _channelwise(step: Step, name: str, default: float, ndim: int) -> Floats:
    """An array of a normalisation where it broadcasts against an example."""
    array = step.arrays.get(name)
    if array is None:
        return np.full((1,) * ndim, default)
    values = array.exact
    return values.reshape(-1, *(1,) * (ndim - 1)) if step.settings.get("channels", True) else values


def _scale(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    (low, high), ndim = values[0], len(shapes[0])
    mean, variance = (_channelwise(step, name, 0.0, ndim) for name in ("mean", "variance"))
    weight, shift = _channelwise(step, "weight", 1.0, ndim), _channelwise(step, "bias", 0.0, ndim)
    scale = weight / np.sqrt(variance + step.settings["epsilon"])
    moved = shift - mean * scale
    ends = scale * low, scale * high
    # Square root, division, two products and two sums, whatever their order: fewer than ten roundings.
    magnitude = np.abs(scale) * (_largest(values[0]) + np.abs(mean)) + np.abs(shift)
    bottom, top = _widened(np.minimum(*ends) + moved, np.maximum(*ends) + moved, magnitude, 10, net)
    zero = weight == 0
    return np.where(zero, shift, bottom), np.where(zero, shift, top)


def _normalise(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    ndim = len(shapes[0])
    weight, shift = _channelwise(step, "weight", 1.0, ndim), _channelwise(step, "bias", 0.0, ndim)
    reach = float(_largest(values[0]).max())
    bound = normalised(step.settings, reach, net.roundoff)
    spread = np.abs(weight) * bound
    bottom, top = _widened(shift - spread, shift + spread, spread + np.abs(shift), 4, net)
    zero = weight == 0
    return np.where(zero, shift, bottom), np.where(zero, shift, top)


def normalised(settings: Mapping[str, float], reach: float, u: float) -> float:
    """Largest |(x − mean)/√(variance + ε)| as computed, of n values up to ``reach`` in magnitude.

    In exact arithmetic it is below √(n − 1): with d = x − mean, the other n − 1 deviations sum to −d, so that
    Σ deviation² ≥ d² + d²/(n − 1) and variance ≥ d²/(n − 1). By root mean square alone (not centred) it is √n.
    As computed:

    - two passes: the variance is summed around the mean as it was rounded, so |x − mean| ≤ √(n·variance) holds
      whatever that rounding was, and √(n − 1) but for what the mean is off; n + 6 roundings of a sum of squares move
      it by γ.
    - Welford: the variance is off by at most k·(variance + reach·√variance), k = γ of 4n + 16 roundings (Chan, Golub &
      LeVeque 1983, doi:10.1080/00031305.1983.10483115), the mean by k·reach.
    - the affine form x·a + (β − mean·a) cancels: 8 roundings of values up to reach, over √ε at least.
    """
    n, epsilon = settings["count"], settings["epsilon"]
    if not settings["centred"]:
        return math.sqrt(n / (1 - gamma(n + 6, u))) * (1 + gamma(8, u)) if gamma(n + 6, u) < 0.5 else math.inf
    if not (math.isfinite(reach) and epsilon > 0):
        return math.inf
    if settings["passes"] == 2:
        k, off = gamma(n + 6, u), gamma(n + 2, u) * reach / math.sqrt(epsilon)
        if k >= 0.5:
            return math.inf
        most = min(math.sqrt(n / (1 - k)), math.sqrt((n - 1) / (1 - k)) + off)
        return most * (1 + gamma(8, u)) + gamma(8, u) * reach / math.sqrt(epsilon)
    k = gamma(4 * n + 16, u)
    rest = 1 - k - (k * reach) ** 2 / (2 * epsilon)
    if not rest >= 0.5:
        return math.inf
    return (math.sqrt((n - 1) / rest) + (k + gamma(8, u)) * reach / math.sqrt(epsilon * rest)) * (1 + gamma(8, u))


# Element by element


def _rectifier(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    given: dict[str, float | Floats] = dict(step.settings.get("parameters", {}))
    if "slope" in step.arrays:
        slope = step.arrays["slope"].exact
        given["negative_slope"] = slope if slope.size == 1 else slope.reshape(-1, *(1,) * (len(shapes[0]) - 1))
    function = step.settings["function"]
    low, high, size = ends(function, *values[0], given)
    # Sixteen roundings: what an exponential of any framework may be off by, and the arithmetic round it.
    return (low, high) if function in EXACT else _widened(low, high, size, 16, net)


def _combine(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    low = high = magnitude = np.asarray(step.settings["constant"], dtype=np.float64)
    magnitude = np.abs(magnitude)
    for factor, x in zip(step.settings["coefficients"], values, strict=True):
        low = low + factor * x[0 if factor > 0 else 1]
        high = high + factor * x[1 if factor > 0 else 0]
        magnitude = magnitude + abs(factor) * _largest(x)
    return _widened(low, high, magnitude, 2 * len(values) + 1, net)


def _product(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    (a, b), (c, d) = values
    corners = (a * c, a * d, b * c, b * d)
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    return _widened(low, high, np.maximum(np.abs(low), np.abs(high)), 1, net)


def _dropout(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    keep = 1.0 - step.settings["p"]
    low, high = (np.minimum(values[0][0] / keep, 0.0), np.maximum(values[0][1] / keep, 0.0))
    return _widened(low, high, np.maximum(-low, high), 3, net)


# Pooling, and moving values


def _pool(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    settings, x = step.settings, values[0]
    kernel = settings.get("kernel")
    mean = settings["kind"] == "mean"
    still = all(size == 1 for size in x[0].shape[1:]) and not (mean and settings.get("zeros"))
    if kernel is None or still:
        low, high = _hull(x, range(1, x[0].ndim))
        if mean and settings.get("zeros"):
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        low, high = (end.reshape(-1, *(1,) * (len(step.shape) - 1)) for end in (low, high))
        count = math.prod(shapes[0][1:])
    else:
        one = (1,) * len(kernel)
        fills = (0.0, 0.0) if mean else (-math.inf, -math.inf)
        windows = [
            _windows(end, settings["padding"], "zeros", kernel, settings["stride"], one, fill)
            for end, fill in zip(_spread(x, shapes[0]), fills, strict=True)
        ]
        axes = tuple(range(-len(kernel), 0))
        low, high = (w.mean(axis=axes) if mean else w.max(axis=axes) for w in windows)
        count = math.prod(kernel)
    if not mean:
        return low, high
    return _widened(low, high, np.broadcast_to(_largest(x).max(), low.shape), count + 2, net)


def _cat(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    axis, ndim = step.settings["axis"], len(step.shape)
    # Axes along which every part is the same stay short.
    other = [max(v[0].shape[d] for v in values) for d in range(ndim)]
    full = [tuple(s[d] if d == axis else other[d] for d in range(ndim)) for s in shapes]
    parts = [_spread(v, shape) for v, shape in zip(values, full, strict=True)]
    return np.concatenate([p[0] for p in parts], axis), np.concatenate([p[1] for p in parts], axis)


def _reshape(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    low, high = values[0]
    if low.size == 1:
        return low.reshape((1,) * len(step.shape)), high.reshape((1,) * len(step.shape))
    low, high = _spread(values[0], shapes[0])
    return low.reshape(step.shape), high.reshape(step.shape)


def _permute(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    return values[0][0].transpose(step.settings["axes"]), values[0][1].transpose(step.settings["axes"])


def _slice(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    axis = step.settings["axis"]
    if values[0][0].shape[axis] == 1:
        return values[0]
    part = (slice(None),) * axis + (slice(step.settings["start"], step.settings["stop"]),)
    return values[0][0][part], values[0][1][part]


def _constant(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    value = step.arrays["value"].exact.reshape(step.shape)
    return value, value


_OPS: Mapping[str, Callable[[Step, list[Interval], list[tuple[int, ...]], Network], Interval]] = {
    "constant": _constant,
    "linear": _linear,
    "conv": _conv,
    "scale": _scale,
    "normalise": _normalise,
    "rectifier": _rectifier,
    "pool": _pool,
    "combine": _combine,
    "product": _product,
    "dropout": _dropout,
    "cat": _cat,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _slice,
}
