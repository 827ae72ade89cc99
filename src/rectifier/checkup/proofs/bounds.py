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
#: A variance of which less than this share is sure is not bounded.
_LEAST = 1 / 16


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
    positions = values[0][0].shape[:-1]
    columns = [end.reshape(-1, shapes[0][-1]).T for end in _spread(values[0], (*positions, shapes[0][-1]))]
    low, high = _affine(step.arrays["weight"].exact, _bias(step), (columns[0], columns[1]), net)
    return low.T.reshape(*positions, -1), high.T.reshape(*positions, -1)


def _conv(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    settings, weight, bias = step.settings, step.arrays["weight"].exact, _bias(step)
    kernel, groups, padding = weight.shape[2:], settings["groups"], settings["padding"]
    x, shape, spatial = values[0], shapes[0], len(weight.shape) - 2
    if math.prod(x[0].shape[1:]) == 1 < math.prod(shape[1:]):  # all positions share one range
        if settings["mode"] == "zeros" and any(any(pair) for pair in padding):
            x = np.minimum(x[0], 0.0), np.maximum(x[1], 0.0)
        x = _spread(x, (shape[0], *x[0].shape[1:]))
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
    first = step.settings.get("channels", True)
    return (
        values.reshape(-1, *(1,) * (ndim - 1)) if first else values.reshape(*(1,) * (ndim - values.ndim), *values.shape)
    )


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
    ndim, settings = len(shapes[0]), step.settings
    weight, shift = _channelwise(step, "weight", 1.0, ndim), _channelwise(step, "bias", 0.0, ndim)
    low, high = values[0]
    each = settings["channels"] and settings["groups"] == shapes[0][0]  # every channel by itself
    low, high = (end.reshape(end.shape[0] if each else 1, -1) for end in (low, high))
    low, high = low.min(axis=1), high.max(axis=1)
    bound = normalised(settings, np.maximum(np.abs(low), np.abs(high)), net.roundoff, high - low)
    spread = np.abs(weight) * bound.reshape(-1, *(1,) * (ndim - 1))
    bottom, top = _widened(shift - spread, shift + spread, spread + np.abs(shift), 4, net)
    zero = weight == 0
    return np.where(zero, shift, bottom), np.where(zero, shift, top)


def normalised(settings: Mapping[str, Any], reach: Any, u: float, width: Any = math.inf) -> Floats:
    """Largest |(x − mean)/√(variance + ε)| as computed, of ``count`` values up to ``reach`` in magnitude, ``width``
    apart; see :func:`moments`."""
    return moments(settings, reach, u, width)[1]


def moments(settings: Mapping[str, Any], reach: Any, u: float, width: Any = math.inf) -> tuple[Floats, Floats, Floats]:
    """Of n values normalised together: ‖·‖₂ of all of them, the largest one as computed, and how far what is computed
    of one is off at most.

    In exact arithmetic ‖x − mean‖₂ = √(n·variance), so that the normalised vector is √n long, and its values sum to 0.
    One of them is below √(n − 1): with d = x − mean, the other n − 1 deviations sum to −d, so that
    Σ deviation² ≥ d² + d²/(n − 1) and variance ≥ d²/(n − 1). It is at most width/√ε, too. By root mean square alone
    (not centred) one is at most √n. As computed:

    - two passes: the variance is summed around the mean as it was rounded, so |x − mean| ≤ √(n·variance) holds
      whatever that rounding was, and √(n − 1) but for what the mean is off, which the variance is no less than the
      square of; n + 6 roundings of a sum of squares move it by γ.
    - Welford: the variance is off by at most k·(variance + reach·√variance), k = γ of 4n + 16 roundings (Chan, Golub &
      LeVeque 1983, doi:10.1080/00031305.1983.10483115), the mean by k·reach. So what is divided by is no less than
      (1 − k)·variance − k·reach·√variance + ε, of which variance and ε are at most 1/(1 − k − (k·reach)²/4ε) times.
    - the affine form x·a + (β − mean·a) cancels: 8 roundings of values up to reach, over √ε at least.
    """
    n, epsilon, two = settings["count"], settings["epsilon"], settings["passes"] == 2
    reach, width = np.asarray(reach, dtype=np.float64), np.asarray(width, dtype=np.float64)
    k = gamma(4 * n + 16 if settings["centred"] and not two else n + 6, u)
    g8, nothing = gamma(8, u), np.full_like(reach, math.inf)
    if k >= 0.5 or (settings["centred"] and epsilon <= 0):
        return nothing, nothing, nothing
    if not settings["centred"]:
        radius = np.full_like(reach, math.sqrt(n / (1 - k)))
        return radius, radius * (1 + g8), radius * g8
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rest = 1 - k - (k * reach) ** 2 / (4 * epsilon) * (0.0 if two else 1.0)
        known = np.isfinite(reach) & (rest >= _LEAST)
        rest = np.where(known, rest, 1.0)
        floor = np.sqrt(epsilon * (1.0 if two else rest))
        radius = np.sqrt(n / rest)
        mean = (gamma(n + 2, u) if two else k) * reach / floor
        mean = np.minimum(mean, 1 / np.sqrt(rest)) if two else mean
        one = np.minimum(np.sqrt((n - 1) / rest), width / floor) + mean
        one = np.minimum(one, radius) if two else one
        extra = g8 * (one + reach / floor)
    # A little more than these few operations in float64 are off.
    more = 1 + 16 * _U64
    found = (radius * more, (one + extra) * more, (mean + extra) * more)
    return tuple(np.where(known, value, math.inf) for value in found)  # type: ignore[return-value]


def _ellipsoid(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    """W·(γ·n + β) + b, n normalised over the last axis: ‖n‖₂ is bounded, and Σn = 0 where it is centred.

    So Σ wᵢnᵢ ≤ ‖w − mean(w)‖₂·‖n‖₂, which is never more than interval arithmetic gives: each nᵢ alone is at most
    √(d − 1), which is ‖n‖₂·‖eᵢ − mean(eᵢ)‖₂.
    """
    weight, (low, high), n = step.arrays["weight"].exact, values[0], shapes[0][-1]
    scale = step.arrays["scale"].exact if "scale" in step.arrays else np.ones(n)
    shift = step.arrays["shift"].exact if "shift" in step.arrays else np.zeros(n)
    bias = _bias(step)
    added = np.zeros(len(weight)) if bias is None else bias
    settings = {**step.settings, "count": n}
    top, bottom = float(high.max()), float(low.min())
    radius, one, off = (float(v) for v in moments(settings, max(abs(bottom), abs(top)), net.roundoff, top - bottom))
    seen, size = weight * scale, np.abs(scale) * one + np.abs(shift)
    error = gamma(4, net.roundoff) * size + 4 * net.smallest
    along = seen - seen.mean(axis=1, keepdims=True) if settings["centred"] else seen
    spread = np.linalg.norm(along, axis=1) * radius + np.abs(seen).sum(axis=1) * off + np.abs(weight) @ error
    middle = weight @ shift + added
    magnitude = np.abs(weight) @ (size + error) + np.abs(added)
    ends = _widened(middle - spread, middle + spread, magnitude, n + 2, net)
    # The length and the mean are rounded here alone.
    slack = 4 * gamma(2 * n + 16, _U64) * np.linalg.norm(seen, axis=1) * radius
    still = (weight == 0).all(axis=1)
    found = np.where(still, added, ends[0] - slack), np.where(still, added, ends[1] + slack)
    return tuple(end.reshape(*(1,) * (len(step.shape) - 1), -1) for end in found)  # type: ignore[return-value]


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


# Pooling, and moving values


def _pool(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    settings, x, kernel = step.settings, values[0], step.settings["kernel"]
    mean, one = settings["kind"] == "mean", (1,) * len(kernel)
    windows = [
        _windows(end, settings["padding"], "zeros", kernel, settings["stride"], one, 0.0 if mean else -math.inf)
        for end in _spread(x, shapes[0])
    ]
    axes = tuple(range(-len(kernel), 0))
    low, high = (w.mean(axis=axes) if mean else w.max(axis=axes) for w in windows)
    if not mean:
        return low, high
    return _widened(low, high, np.broadcast_to(_largest(x).max(), low.shape), math.prod(kernel) + 2, net)


def _hull_of(step: Step, values: list[Interval], shapes: list[tuple[int, ...]], net: Network) -> Interval:
    """Weights that add up to 1 as computed: n roundings of each sum, of the scaling as its terms come, and a few."""
    axes = step.settings["axes"]
    low, high = _hull(values[0], axes)
    if step.settings["zero"]:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if not step.settings["computed"]:
        return low, high
    many = 4 * math.prod(shapes[0][d] for d in axes) + 16
    return _widened(low, high, np.maximum(np.abs(low), np.abs(high)), many, net)


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
    "ellipsoid": _ellipsoid,
    "pool": _pool,
    "hull": _hull_of,
    "combine": _combine,
    "product": _product,
    "cat": _cat,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _slice,
}
