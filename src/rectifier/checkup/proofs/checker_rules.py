"""The rules of the checker: the interval of each operation, from the intervals of its inputs, in exact arithmetic.

Intervals are pairs of arrays of fractions, with infinite ends as floats. They are those of docs/certificates.md and
share no code with the prover's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["INF", "Refused", "Rules", "exact"]

INF = math.inf
OUTSIDE = {"sigmoid": (0, 1), "hardsigmoid": (0, 1), "tanh": (-1, 1)}
DIPS = {"silu": "-0.2785", "gelu": "-0.1701", "hardswish": "-0.3751"}
MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
OPERATIONS = frozenset(
    {"constant", "linear", "conv", "scale", "normalise", "rectifier", "pool", "combine", "product", "dropout"}
    | {"cat", "reshape", "permute", "slice"}
)

exact = np.vectorize(lambda v: Fraction(float(v)) if math.isfinite(v) else float(v), otypes=[object])
infinite = np.vectorize(math.isinf, otypes=[bool])


class Refused(Exception):
    """Why a certificate does not hold."""


class Rules:
    """u: unit roundoff of the framework's arithmetic; tiny: its smallest normal number."""

    def __init__(self, u: Fraction, tiny: Fraction) -> None:
        self.u, self.tiny = u, tiny

    def interval(self, op: str, settings: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> tuple[Any, Any]:
        if op not in OPERATIONS:
            raise Refused(f"it has an operation {op!r}, which is not known")
        found: tuple[Any, Any] = getattr(self, f"_{op}")(settings, arrays, x, shapes, shape)
        return found

    def gamma(self, n: int) -> Any:
        return n * self.u / (1 - n * self.u) if 2 * n * self.u < 1 else INF

    def widen(self, low: Any, high: Any, magnitude: Any, n: int) -> Any:
        error = self.gamma(n) * magnitude + n * self.tiny
        return low - error, high + error

    def affine(self, weight: Any, bias: Any, low: Any, high: Any) -> Any:
        """W·x + b in integers: 2·top = W·(low + high) + |W|·(high − low)."""
        ints, scale = _integers(weight)
        free = infinite(low) | infinite(high)
        (a, b), shift = _pair(np.where(free, 0, low), np.where(free, 0, high))
        size, unit = abs(ints), Fraction(2) ** (scale + shift)
        middle, spread = (ints @ (a + b)) * (unit / 2), (size @ (b - a)) * (unit / 2)
        added = exact(bias if bias is not None else np.zeros(len(weight)))[:, None]
        magnitude = (size @ np.maximum(abs(a), abs(b))) * unit + abs(added)
        least, most = self.widen(middle - spread + added, middle + spread + added, magnitude, weight.shape[1] + 2)
        reached = (weight != 0).astype(np.int64) @ free.astype(np.int64) > 0
        zero = ~weight.any(axis=1)[:, None]
        least, most = np.where(reached, -INF, least), np.where(reached, INF, most)
        return np.where(zero, added, least), np.where(zero, added, most)

    def _linear(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        low, high = _positions(x[0], shapes[0], s["uniform"], last=True)
        least, most = self.affine(
            arrays["weight"], arrays.get("bias"), low.reshape(-1, low.shape[-1]).T, high.reshape(-1, low.shape[-1]).T
        )
        return least.T.reshape(*low.shape[:-1], -1), most.T.reshape(*low.shape[:-1], -1)

    def _conv(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        weight, groups = arrays["weight"], s["groups"]
        kernel = weight.shape[2:]
        ends: Any = _positions(x[0], shapes[0], s["uniform"], last=False)
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, s["dilation"], strict=True)]
        sizes = zip(shapes[0][1:], s["padding"], reach, s["stride"], strict=True)
        if shape != (len(weight), *((n + sum(p) - r) // t + 1 for n, p, r, t in sizes)):
            raise Refused("a convolution has another shape than its settings give")
        if s["uniform"]:
            if s["mode"] == "zeros" and any(itertools.chain(*s["padding"])):
                ends = np.minimum(ends[0], 0), np.maximum(ends[1], 0)
            windows, out = [np.repeat(e.reshape(-1, 1, 1), math.prod(kernel), 2) for e in ends], (1,) * len(kernel)
        else:
            out = shape[1:]
            windows = [_windows(e, s["padding"], s["mode"], reach, s["stride"], s["dilation"], 0) for e in ends]
        flat = [w.reshape(shapes[0][0], -1, math.prod(kernel)).swapaxes(1, 2) for w in windows]
        low, high = (e.reshape(groups, -1, e.shape[-1]) for e in flat)
        rows = weight.reshape(groups, len(weight) // groups, -1)
        bias = arrays["bias"].reshape(groups, -1) if "bias" in arrays else [None] * groups
        parts = [self.affine(rows[g], bias[g], low[g], high[g]) for g in range(groups)]
        return tuple(np.concatenate(end).reshape(-1, *out) for end in zip(*parts, strict=True))

    def _scale(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        (low, high), ndim = x[0], len(shape)
        mean, variance, weight, shift = (
            _channels(arrays.get(key), default, ndim)
            for key, default in (("mean", 0), ("variance", 0), ("weight", 1), ("bias", 0))
        )
        roots = [_root(v + Fraction(s["epsilon"])) for v in variance.ravel()]
        corners = []
        for side in (0, 1):
            scale = weight / np.array([r[side] for r in roots], dtype=object).reshape(variance.shape)
            corners += [scale * (low - mean) + shift, scale * (high - mean) + shift]
        size = abs(scale) * (np.maximum(abs(low), abs(high)) + abs(mean)) * (1 + Fraction(1, 2**60)) + abs(shift)
        least, most = self.widen(np.minimum.reduce(corners), np.maximum.reduce(corners), size, 10)
        return np.where(weight == 0, shift, least), np.where(weight == 0, shift, most)

    def _normalise(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        ndim, along = len(shape), s["channels"]
        weight, shift = (
            _channels(arrays.get(key), default, ndim if along else 0) for key, default in (("weight", 1), ("bias", 0))
        )
        spread = abs(weight) * self._normalised(s, np.maximum(abs(x[0][0]), abs(x[0][1])).max())
        least, most = self.widen(shift - spread, shift + spread, spread + abs(shift), 4)
        return np.where(weight == 0, shift, least), np.where(weight == 0, shift, most)

    def _normalised(self, s: Any, reach: Any) -> Any:
        n, g8 = int(s["count"]), self.gamma(8)
        k = self.gamma(n + 6 if s["passes"] == 2 or not s["centred"] else 4 * n + 16)
        if n < 1 or 2 * k >= 1 or (s["centred"] and (reach == INF or s["epsilon"] <= 0)):
            return INF
        if not s["centred"]:
            return _root(n / (1 - k))[1] * (1 + g8)
        floor = _root(Fraction(s["epsilon"]))[0]
        if s["passes"] == 2:
            most = min(_root(n / (1 - k))[1], _root((n - 1) / (1 - k))[1] + self.gamma(n + 2) * reach / floor)
            return most * (1 + g8) + g8 * reach / floor
        rest = 1 - k - (k * reach) ** 2 / (2 * Fraction(s["epsilon"]))
        if 2 * rest < 1:
            return INF
        return (_root((n - 1) / rest)[1] + (k + g8) * reach / (floor * _root(rest)[0])) * (1 + g8)

    def _rectifier(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        name, given = s["function"], dict(s["parameters"])
        if name in OUTSIDE:
            return OUTSIDE[name]
        low, high = x[0]
        if name in DIPS:
            most = np.maximum(high, 0)
            return self.widen(np.full(high.shape, Fraction(DIPS[name])), most, most + 1, 16)
        slope = arrays.get("slope", np.array(given.get("negative_slope", 0.0)))
        slope = exact(slope if slope.size == 1 else slope.reshape(-1, *(1,) * (len(shape) - 1)))
        if min(given.get("alpha", 1.0), given.get("beta", 1.0), given.get("ceiling", 1.0)) <= 0:
            raise Refused("a rectifier has a parameter that is not positive")
        ends = [_value(name, end, given, slope) for end in (low, high)]
        least, most = np.minimum(*ends), np.maximum(*ends)
        if name in ("abs", "leaky_relu", "prelu"):
            across = (low < 0) & (high > 0)
            least, most = np.where(across, np.minimum(least, 0), least), np.where(across, np.maximum(most, 0), most)
        if name in ("relu", "relu6", "abs", "hardtanh"):
            return least, most
        size = np.maximum(abs(least), abs(most))
        if name in ("elu", "celu", "selu"):
            size = size + (low < 0) * (2 * Fraction(given.get("alpha", 1.0)))
        if name == "softplus":
            least, size = least - Fraction(3e-9) / Fraction(given["beta"]), size + 1 / Fraction(given["beta"])
        return self.widen(least, most, size, 16)

    def _pool(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        mean, kernel, ends = s["kind"] == "mean", s.get("kernel"), x[0]
        if not kernel or (all(n == 1 for n in ends[0].shape[1:]) and not (mean and s["zeros"])):
            low, high = _positions(ends, shapes[0], True, last=False)
            low, high = (e.reshape(-1, *(1,) * (len(shape) - 1)) for e in (low, high))
            if mean and s["zeros"]:
                low, high = np.minimum(low, 0), np.maximum(high, 0)
            n = math.prod(shapes[0][1:])
        else:
            one, n = [1] * len(kernel), math.prod(kernel)
            fill = 0 if mean else -INF
            ends = [np.broadcast_to(e, shapes[0]) for e in ends]
            low, high = (_windows(e, s["padding"], "zeros", kernel, s["stride"], one, fill) for e in ends)
            axes = tuple(range(-len(kernel), 0))
            low, high = (e.sum(axis=axes) * Fraction(1, n) if mean else e.max(axis=axes) for e in (low, high))
        size = np.maximum(abs(x[0][0]), abs(x[0][1])).max()
        return self.widen(low, high, size, n + 2) if mean else (low, high)

    def _combine(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        low = high = Fraction(s["constant"])
        size = abs(low)
        for factor, ends in zip(map(Fraction, s["coefficients"]), x, strict=True):
            low, high = low + factor * ends[factor <= 0], high + factor * ends[factor > 0]
            size = size + abs(factor) * np.maximum(abs(ends[0]), abs(ends[1]))
        return self.widen(low, high, size, 2 * len(x) + 1)

    def _product(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        corners = [a * b for a in x[0] for b in x[1]]
        low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
        return self.widen(low, high, np.maximum(abs(low), abs(high)), 1)

    def _dropout(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        keep = 1 - Fraction(s["p"])
        low, high = np.minimum(x[0][0] / keep, 0), np.maximum(x[0][1] / keep, 0)
        return self.widen(low, high, np.maximum(-low, high), 3)

    # These move values

    def _constant(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        return (exact(arrays["value"]).reshape(shape),) * 2

    def _cat(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        parts = [[np.broadcast_to(end, own) for end in ends] for ends, own in zip(x, shapes, strict=True)]
        return tuple(np.concatenate([p[i] for p in parts], s["axis"]) for i in (0, 1))

    def _reshape(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        return tuple(np.broadcast_to(end, shapes[0]).reshape(shape) for end in x[0])

    def _permute(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        return tuple(np.broadcast_to(end, shapes[0]).transpose(s["axes"]) for end in x[0])

    def _slice(self, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        part = (slice(None),) * s["axis"] + (slice(s["start"], s["stop"]),)
        return tuple(np.broadcast_to(end, shapes[0])[part] for end in x[0])


def _integers(values: Any) -> tuple[Any, int]:
    """values = integers · 2^scale, exactly."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    whole, exponent = (mantissa * 2.0**53).astype(np.int64), exponent.astype(np.int64) - 53
    if not whole.any():
        return whole.astype(object), 0
    while not (whole & 255).any():  # float32 has 24 bits: shorter integers multiply faster
        whole, exponent = whole >> 8, exponent + 8
    least = int(exponent[whole != 0].min())
    return np.left_shift(whole.astype(object), np.where(whole == 0, 0, exponent - least).astype(object)), least


def _pair(low: Any, high: Any) -> tuple[Any, int]:
    return _integers(np.stack([low, high]).astype(np.float64))


def _root(q: Any) -> tuple[Fraction, Fraction]:
    """The square root rounded down and up, to 80 bits."""
    q = Fraction(q)
    shift = 160 + max(0, q.denominator.bit_length() - q.numerator.bit_length())
    whole = math.isqrt((q.numerator << 2 * shift) // q.denominator)
    return Fraction(whole, 1 << shift), Fraction(whole + 1, 1 << shift)


def _channels(array: Any, default: int, ndim: int) -> Any:
    """Along the first of ``ndim`` axes; along the last ones where ``ndim`` is 0."""
    if array is None:
        return np.full((1,) * ndim, Fraction(default), dtype=object)
    return exact(array.reshape(-1, *(1,) * (ndim - 1)) if ndim else array)


def _positions(ends: Any, shape: Sequence[int], uniform: bool, *, last: bool) -> list[Any]:
    """The ends for each position, or (uniform) what covers all of them; channels lie on the last or the first axis."""
    if not uniform:
        return [np.broadcast_to(end, shape) for end in ends]
    axes = tuple(range(len(shape) - 1) if last else range(1, len(shape)))
    low, high = (np.broadcast_to(e, [n if d not in axes else e.shape[d] for d, n in enumerate(shape)]) for e in ends)
    return [low.min(axis=axes, keepdims=True), high.max(axis=axes, keepdims=True)] if axes else [low, high]


def _windows(x: Any, padding: Any, mode: str, reach: Any, stride: Any, dilation: Any, fill: Any) -> Any:
    pairs = [(0, 0), *map(tuple, padding)]
    x = np.pad(x, pairs, constant_values=fill) if mode == "zeros" else np.pad(x, pairs, MODES[mode])
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(reach), axis=tuple(range(1, x.ndim)))
    return view[(slice(None), *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))]


def _exp_less_1(z: Any) -> Any:
    """The library's, which is right to far more than sixteen roundings of any framework."""
    return np.vectorize(lambda v: Fraction(math.expm1(v)), otypes=[object])(z)


def _value(name: str, z: Any, given: Any, slope: Any) -> Any:
    negative, positive = np.minimum(z, 0), np.maximum(z, 0)
    if name in ("relu", "relu6", "hardtanh"):
        low, high = (given["low"], given["high"]) if name == "hardtanh" else (0, given.get("ceiling", 6.0))
        return positive if name == "relu" else np.minimum(np.maximum(z, exact(low)), exact(high))
    if name in ("abs", "squared_relu"):
        return abs(z) if name == "abs" else positive * positive
    if name in ("leaky_relu", "prelu"):
        return positive + np.where(z < 0, slope * negative, 0)
    if name in ("elu", "celu", "selu"):
        alpha = Fraction(given.get("alpha", 1.0) if name != "selu" else 1.6732632423543772)
        curve = alpha * _exp_less_1(negative / (alpha if name == "celu" else 1))
        return (positive + curve) * (Fraction(1.0507009873554805) if name == "selu" else 1)
    if name == "softplus":
        beta = given["beta"]
        below = np.vectorize(lambda v: Fraction(math.log1p(math.exp(-abs(beta * v))) / beta), otypes=[object])
        return positive + below(z)
    raise Refused(f"it has a rectifier {name!r}, which is not known")
