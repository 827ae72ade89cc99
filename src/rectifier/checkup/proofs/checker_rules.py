"""The rules of the checker: the interval of each operation, from the intervals of its inputs, in exact arithmetic.

Intervals are pairs of arrays of fractions, with infinite ends as floats; square roots and exponentials are rounded
away. The rules are those of docs/certificates.md and share no code with the prover's. Each is called as
``rule(arithmetic, settings, arrays, x, shapes, shape)``: the intervals and shapes of its inputs, and its own shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["INF", "RULES", "Arithmetic", "Refused", "exact"]

INF = math.inf
exact = np.vectorize(lambda v: Fraction(float(v)) if math.isfinite(v) else float(v), otypes=[object])
infinite = np.vectorize(math.isinf, otypes=[bool])


class Refused(Exception):
    """Why a certificate does not hold."""


@dataclass(frozen=True)
class Arithmetic:
    """u: unit roundoff of the framework's arithmetic; tiny: its smallest normal number."""

    u: Fraction
    tiny: Fraction

    def gamma(self, n: int) -> Any:
        return n * self.u / (1 - n * self.u) if 2 * n * self.u < 1 else INF

    def widen(self, low: Any, high: Any, magnitude: Any, n: int) -> Any:
        error = self.gamma(n) * magnitude + n * self.tiny
        return low - error, high + error


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refused(reason)


def _integers(values: Any) -> tuple[Any, Fraction]:
    """values = integers · unit, exactly."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    whole, exponent = (mantissa * 2.0**53).astype(np.int64), exponent.astype(np.int64) - 53
    if not whole.any():
        return whole.astype(object), Fraction(1)
    while not (whole & 255).any():  # float32 has 24 bits: shorter integers multiply faster
        whole, exponent = whole >> 8, exponent + 8
    least = int(exponent[whole != 0].min())
    return np.left_shift(whole.astype(object), np.where(whole == 0, 0, exponent - least)), Fraction(2) ** least


def _root(q: Any) -> tuple[Fraction, Fraction]:
    """The square root rounded down and up, to 80 bits."""
    q = Fraction(q)
    shift = 160 + max(0, q.denominator.bit_length() - q.numerator.bit_length())
    whole = math.isqrt((q.numerator << 2 * shift) // q.denominator)
    return Fraction(whole, 1 << shift), Fraction(whole + 1, 1 << shift)


def _size(ends: Any) -> Any:
    return np.maximum(abs(ends[0]), abs(ends[1]))


def _affine(own: Arithmetic, weight: Any, bias: Any, low: Any, high: Any) -> Any:
    """W·x + b in integers: 2·top = W·(low + high) + |W|·(high − low)."""
    (ints, unit), free = _integers(weight), infinite(low) | infinite(high)
    (a, b), step = _integers(np.stack([np.where(free, 0, low), np.where(free, 0, high)]).astype(np.float64))
    size, unit = abs(ints), unit * step
    middle, spread = (ints @ (a + b)) * (unit / 2), (size @ (b - a)) * (unit / 2)
    added = exact(bias if bias is not None else np.zeros(len(weight)))[:, None]
    magnitude = (size @ np.maximum(abs(a), abs(b))) * unit + abs(added)
    least, most = own.widen(middle - spread + added, middle + spread + added, magnitude, weight.shape[1] + 2)
    reached, zero = (weight != 0).astype(int) @ free.astype(int) > 0, ~weight.any(axis=1)[:, None]
    # Weights that are exactly 0 leave the bias as it is, whatever the input.
    return tuple(np.where(zero, added, np.where(reached, end, e)) for end, e in ((-INF, least), (INF, most)))


def _linear(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    low, high = (np.broadcast_to(e, (*e.shape[:-1], shapes[0][-1])) for e in x[0])
    columns = [e.reshape(-1, e.shape[-1]).T for e in (low, high)]
    ends = _affine(own, arrays["weight"], arrays.get("bias"), *columns)
    return tuple(e.T.reshape(*low.shape[:-1], -1) for e in ends)


def _windows(x: Any, padding: Any, mode: str, reach: Any, stride: Any, dilation: Any, fill: Any) -> Any:
    how: dict[str, Any] = {"mode": {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}.get(mode)}
    pairs = [(0, 0), *map(tuple, padding)]
    x = np.pad(x, pairs, **({"constant_values": fill} if mode == "zeros" else how))
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(reach), axis=tuple(range(1, x.ndim)))
    return view[(slice(None), *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))]


def _conv(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    weight, groups, n = arrays["weight"], s["groups"], math.prod(arrays["weight"].shape[2:])
    reach = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], s["dilation"], strict=True)]
    sizes = zip(shapes[0][1:], s["padding"], reach, s["stride"], strict=True)
    out = tuple((size + sum(p) - r) // t + 1 for size, p, r, t in sizes)
    _require(shape == (len(weight), *out), "a convolution has another shape than its settings give")
    if math.prod(x[0][0].shape[1:]) == 1 < math.prod(shapes[0][1:]):  # all positions share one range
        padded = s["mode"] == "zeros" and any(map(any, s["padding"]))
        ends = (np.minimum(x[0][0], 0), np.maximum(x[0][1], 0)) if padded else x[0]
        ends = tuple(np.broadcast_to(e, (shapes[0][0], *e.shape[1:])) for e in ends)  # channels may share one, too
        windows, out = [np.repeat(e.reshape(-1, 1, 1), n, 2) for e in ends], (1,) * len(out)
    else:
        ends = [np.broadcast_to(e, shapes[0]) for e in x[0]]
        windows = [_windows(e, s["padding"], s["mode"], reach, s["stride"], s["dilation"], 0) for e in ends]
    flat = [w.reshape(shapes[0][0], -1, n).swapaxes(1, 2) for w in windows]
    low, high = (e.reshape(groups, -1, e.shape[-1]) for e in flat)
    rows, bias = weight.reshape(groups, len(weight) // groups, -1), [None] * groups
    if "bias" in arrays:
        bias = arrays["bias"].reshape(groups, -1)
    parts = [_affine(own, rows[g], bias[g], low[g], high[g]) for g in range(groups)]
    return tuple(np.concatenate(end).reshape(-1, *out) for end in zip(*parts, strict=True))


def _along(arrays: Any, key: str, default: int, shape: Any, first: bool) -> Any:
    """An array of a normalisation where it broadcasts: on the first axis, or on the last ones."""
    if key not in arrays:
        return np.full((1,) * len(shape), Fraction(default), dtype=object)
    given = arrays[key]
    _require(given.shape == (shape[:1] if first else shape[len(shape) - given.ndim :]), "a normalisation does not fit")
    return exact(given.reshape(-1, *(1,) * (len(shape) - 1)) if first else given[(None,) * (len(shape) - given.ndim)])


def _scale(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    _require({"mean", "variance"} <= set(arrays), "a batch normalisation has no running statistics")
    (low, high), defaults = x[0], {"mean": 0, "variance": 0, "weight": 1, "bias": 0}
    mean, variance, weight, shift = (_along(arrays, key, d, shape, True) for key, d in defaults.items())
    roots = [_root(v + Fraction(s["epsilon"])) for v in variance.ravel()]
    scales = [weight / np.array([r[side] for r in roots], dtype=object).reshape(variance.shape) for side in (0, 1)]
    corners = [scale * (end - mean) + shift for scale in scales for end in (low, high)]
    size = abs(scales[0]) * (_size(x[0]) + abs(mean)) * (1 + Fraction(1, 2**60)) + abs(shift)
    least, most = own.widen(np.minimum.reduce(corners), np.maximum.reduce(corners), size, 10)
    return np.where(weight == 0, shift, least), np.where(weight == 0, shift, most)


def _moments(own: Arithmetic, s: Any, n: int, reach: Any, width: Any) -> tuple[Any, Any, Any]:
    """Of n values up to ``reach`` in magnitude and ``width`` apart, normalised together: the length of their vector,
    the largest one as computed, and how far what is computed of one is off."""
    g8, two, epsilon = own.gamma(8), s["passes"] == 2, Fraction(s["epsilon"])
    k = own.gamma(4 * n + 16 if s["centred"] and not two else n + 6)
    if 2 * k >= 1 or (s["centred"] and (reach == INF or epsilon <= 0)):
        return INF, INF, INF
    if not s["centred"]:
        radius = _root(n / (1 - k))[1]
        return radius, radius * (1 + g8), radius * g8
    rest = 1 - k - (0 if two else (k * reach) ** 2 / (4 * epsilon))
    if 16 * rest < 1:
        return INF, INF, INF
    radius, floor = _root(n / rest)[1], _root(epsilon)[0] * (1 if two else _root(rest)[0])
    mean = (own.gamma(n + 2) if two else k) * reach / floor
    mean = min(mean, _root(1 / rest)[1]) if two else mean
    one = min(_root((n - 1) / rest)[1], width / floor) + mean
    one = min(one, radius) if two else one
    extra = g8 * (one + reach / floor)
    return radius, one + extra, mean + extra


def _normalise(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    (low, high), first = x[0], s["channels"]
    weight, shift = (_along(arrays, key, d, shape, first) for key, d in (("weight", 1), ("bias", 0)))
    rows = s.get("rows") or 1  # none: of one example
    together = Fraction(math.prod(shape) * rows, s["groups"]) if first else math.prod(shape[len(shape) - s["axes"] :])
    _require(s["count"] == together >= 1 <= rows, "a normalisation is not of as many values as its shape gives")
    if first and s["groups"] == shape[0]:  # each channel by itself
        low, high = (e.reshape(len(e), -1) for e in (low, high))
    else:
        low, high = low.reshape(1, -1), high.reshape(1, -1)
    low, high = low.min(axis=1), high.max(axis=1)
    most = [_moments(own, s, s["count"], max(abs(a), abs(b)), b - a)[1] for a, b in zip(low, high, strict=True)]
    spread = abs(weight) * np.array(most, dtype=object).reshape(-1, *(1,) * (len(shape) - 1))
    ends = own.widen(shift - spread, shift + spread, spread + abs(shift), 4)
    return tuple(np.where(weight == 0, shift, end) for end in ends)


def _ellipsoid(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    """W·(γ·n + β) + b of a vector n of a given length, whose values sum to 0 where it is centred."""
    weight, n = arrays["weight"], shapes[0][-1]
    scale, shift = arrays.get("scale", np.ones(n)), arrays.get("shift", np.zeros(n))
    _require(
        weight.shape == (shape[-1], n) and scale.shape == shift.shape == (n,), "a layer does not fit what it reads"
    )
    (rows, a), (scale, b), (shift, c) = map(_integers, (weight, scale, shift))
    bias = exact(arrays.get("bias", np.zeros(len(weight))))
    radius, one, off = _moments(own, s, n, _size(x[0]).max(), x[0][1].max() - x[0][0].min())
    if radius == INF:
        return -INF, INF
    seen = rows * scale
    squares = (seen * seen).sum(axis=1) - (Fraction(1, n) * seen.sum(axis=1) ** 2 if s["centred"] else 0)
    length = np.array([_root(q * (a * b) ** 2)[1] for q in squares], dtype=object) * radius
    size = abs(scale) * (b * one) + abs(shift) * c
    error = own.gamma(4) * size + 4 * own.tiny
    # In integers, rounded up: products of fractions take their time.
    error, size = (
        (abs(rows) @ np.array([math.ceil(v * 2**99) for v in e])) * (a / 2**99) for e in (error, size + error)
    )
    middle, spread = (rows @ shift) * (a * c) + bias, length + abs(seen).sum(axis=1) * (a * b * off) + error
    ends = own.widen(middle - spread, middle + spread, size + abs(bias), n + 2)
    still = ~weight.any(axis=1)
    return tuple(np.where(still, bias, end).reshape(*(1,) * (len(shape) - 1), -1) for end in ends)


def _expm1(z: Any) -> Any:
    """The library's, which is right to far more than sixteen roundings of any framework."""
    return np.vectorize(lambda v: Fraction(math.expm1(v)), otypes=[object])(z)


def _elu(z: Any, g: Any, scale: float = 1.0, alpha: float = 1.0, rate: float = 1.0) -> Any:
    down = Fraction(alpha) * _expm1(np.minimum(z, 0) / Fraction(rate))
    return (np.maximum(z, 0) + down) * Fraction(scale)


def _softplus(z: Any, g: Any) -> Any:
    below = np.vectorize(lambda v: Fraction(math.log1p(math.exp(-abs(g["beta"] * v))) / g["beta"]), otypes=[object])
    return np.maximum(z, 0) + below(z)


def _clip(z: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(z, low), high)


#: Never outside these; f(z) ≤ max(z, 0) and never below these.
BETWEEN = {"sigmoid": (0, 1), "hardsigmoid": (0, 1), "tanh": (-1, 1)}
DIPS = {"silu": "-0.2785", "gelu": "-0.1701", "hardswish": "-0.3751"}
#: Monotone, or so on either side of 0 (where a slope may be negative). g: parameters.
CURVES: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda z, g: np.maximum(z, 0),
    "relu6": lambda z, g: _clip(z, 0, Fraction(g.get("ceiling", 6.0))),
    "hardtanh": lambda z, g: _clip(z, Fraction(g["low"]), Fraction(g["high"])),
    "abs": lambda z, g: abs(z),
    "squared_relu": lambda z, g: np.maximum(z, 0) ** 2,
    "leaky_relu": lambda z, g: np.maximum(z, 0) + np.where(z < 0, g["slope"] * np.minimum(z, 0), 0),
    "elu": lambda z, g: _elu(z, g, alpha=g.get("alpha", 1.0)),
    "celu": lambda z, g: _elu(z, g, alpha=g.get("alpha", 1.0), rate=g.get("alpha", 1.0)),
    "selu": lambda z, g: _elu(z, g, 1.0507009873554805, 1.6732632423543772),
    "softplus": _softplus,
}


def _rectifier(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    name, g, (low, high) = s["function"], dict(s["parameters"]), x[0]
    if name in BETWEEN:
        return BETWEEN[name]
    if name in DIPS:
        most = np.maximum(high, 0)
        return own.widen(np.full(high.shape, Fraction(DIPS[name])), most, most + 1, 16)
    name = "leaky_relu" if name == "prelu" else name
    positive = all(g.get(key, 1.0) > 0 for key in ("alpha", "beta", "ceiling"))
    _require(name in CURVES and positive, f"it has a rectifier {name!r} that is not known, or its parameters are not")
    slope = arrays.get("slope", np.array([g.get("negative_slope", 0.0)]))
    g["slope"] = exact(slope.reshape(-1, *(1,) * (len(shape) - 1)))
    least, most = (pick(CURVES[name](low, g), CURVES[name](high, g)) for pick in (np.minimum, np.maximum))
    across = (low < 0) & (high > 0) & (name in ("abs", "leaky_relu"))
    least, most = np.where(across, np.minimum(least, 0), least), np.where(across, np.maximum(most, 0), most)
    if name in ("relu", "relu6", "abs", "hardtanh"):
        return least, most
    extra = 1 / Fraction(g["beta"]) if name == "softplus" else 0
    if name in ("elu", "celu", "selu"):
        extra = (low < 0) * (2 * Fraction(g.get("alpha", 1.0)))
    # PyTorch's softplus gives z itself from βz = 20 on.
    return own.widen(least - Fraction(3e-9) * extra * (name == "softplus"), most, _size((least, most)) + extra, 16)


def _pool(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    mean, kernel, n = s["kind"] == "mean", s["kernel"], math.prod(s["kernel"])
    ends, axes = [np.broadcast_to(e, shapes[0]) for e in x[0]], tuple(range(-len(kernel), 0))
    fill = 0 if mean else -INF
    low, high = (_windows(e, s["padding"], "zeros", kernel, s["stride"], [1] * len(kernel), fill) for e in ends)
    _require(low.shape[: len(shape)] == shape, "a pooling has another shape than its settings give")
    if not mean:
        return low.max(axis=axes), high.max(axis=axes)
    low, high = (e.sum(axis=axes) * Fraction(1, n) for e in (low, high))
    return own.widen(low, high, _size(x[0]).max(), n + 2)


def _hull(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    """What covers all values along some axes (and 0): one of them, or where it is computed a weighted mean."""
    axes, n = tuple(s["axes"]), math.prod(shapes[0][d] for d in s["axes"])
    low, high = x[0][0].min(axis=axes, keepdims=True), x[0][1].max(axis=axes, keepdims=True)
    if s["zero"]:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    return own.widen(low, high, _size((low, high)), 4 * n + 16) if s["computed"] else (low, high)


def _combine(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    low = high = Fraction(s["constant"])
    size = abs(low)
    for factor, ends in zip(map(Fraction, s["coefficients"]), x, strict=True):
        low, high = low + factor * ends[factor <= 0], high + factor * ends[factor > 0]
        size = size + abs(factor) * _size(ends)
    return own.widen(low, high, size, 2 * len(x) + 1)


def _product(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
    corners = [a * b for a in x[0] for b in x[1]]
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    return own.widen(low, high, _size((low, high)), 1)


def _moved(move: Callable[[list[Any], Any, Any], Any]) -> Callable[..., Any]:
    """A rule that only moves values: ``move(ends of the inputs at full size, settings, shape)``."""

    def rule(own: Arithmetic, s: Any, arrays: Any, x: Any, shapes: Any, shape: Any) -> Any:
        full = [
            [np.broadcast_to(ends[i], own_shape) for ends, own_shape in zip(x, shapes, strict=True)] for i in (0, 1)
        ]
        return tuple(move(parts, s, shape) for parts in full)

    return rule


RULES: dict[str, Callable[..., Any]] = {
    "constant": lambda own, s, arrays, x, shapes, shape: (exact(arrays["value"]).reshape(shape),) * 2,
    "linear": _linear,
    "conv": _conv,
    "scale": _scale,
    "normalise": _normalise,
    "ellipsoid": _ellipsoid,
    "rectifier": _rectifier,
    "pool": _pool,
    "hull": _hull,
    "combine": _combine,
    "product": _product,
    "cat": _moved(lambda parts, s, shape: np.concatenate(parts, s["axis"])),
    "reshape": _moved(lambda parts, s, shape: parts[0].reshape(shape)),
    "permute": _moved(lambda parts, s, shape: parts[0].transpose(s["axes"])),
    "slice": _moved(lambda parts, s, shape: parts[0][(slice(None),) * s["axis"] + (slice(s["start"], s["stop"]),)]),
}
