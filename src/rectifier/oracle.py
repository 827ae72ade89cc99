"""The exact functions, in as many digits as it takes, rounded once: what the kernels are held to.

Shares no code with the kernels, and imports nothing until it is called but NumPy. Slow on purpose (some
10,000 values a second): it is for checks, not for use.

::

    >>> import numpy as np
    >>> from rectifier import oracle
    >>> print(oracle.value("elu", [-1.0, 2.0], np.float32, alpha=1.0))
    [-0.63212055  2.        ]

Parameters are first rounded to float64 for float64 and to float32 otherwise, as the ufuncs take them; one that is left
out has its usual value. Every function takes arrays and broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rectifier.errors import RectifierError, RectifierTypeError, RectifierValueError

__all__ = ["OracleUnavailableError", "derivative", "inverse", "results", "ulp_error", "value"]

Kind = Literal["value", "derivative", "slope_derivative", "inverse"]
Array = npt.NDArray[Any]
Exact = Callable[..., Any]

SELU_LAMBDA = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772

# digits of the significand, exponent of the smallest normal value, exponent of the largest
FORMATS = {
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}

DEFAULTS = {"negative_slope": 0.01, "alpha": 1.0, "beta": 1.0, "ceiling": 6.0, "at_zero": 0.0}

# Bits carried at first, and where the search for the side of a tie ends: beyond it the value is the tie.
FIRST_PRECISION = 160
LAST_PRECISION = 5120


class OracleUnavailableError(RectifierError, ImportError):
    """mpmath, in whose arithmetic the oracle computes, is not installed."""


def _context() -> Any:
    try:
        import mpmath
    except ImportError as error:
        raise OracleUnavailableError(
            "oracle: mpmath is not installed, and the exact values are computed with it. Run `pip install mpmath`."
        ) from error
    module: ModuleType = mpmath
    # A context of its own: the caller's precision stays as it is.
    return module.MPContext()


def _softplus_inverse(m: Any, h: Any, beta: Any) -> Any:
    if h < 0:
        return m.nan
    return m.ninf if h == 0 else m.log(m.expm1(beta * h)) / beta


def _log1p_inverse(m: Any, share: Any) -> Any:
    if share < -1:
        return m.nan
    return m.ninf if share == -1 else m.log1p(share)


def _sigmoid_slope(m: Any, t: Any) -> Any:
    e = m.exp(-abs(t))
    return e / (1 + e) ** 2


# (function, kind) -> parameter names, formula of (context, x, *parameters) for finite and infinite x.
EXACT: dict[tuple[str, Kind], tuple[tuple[str, ...], Exact]] = {
    ("relu", "value"): ((), lambda m, x: max(x, m.zero)),
    ("relu", "derivative"): (("at_zero",), lambda m, x, z: m.one if x > 0 else m.zero if x < 0 else z),
    ("leaky_relu", "value"): (
        ("negative_slope",),
        lambda m, x, s: x if x > 0 else m.zero if s == 0 else s * x,
    ),
    ("leaky_relu", "derivative"): (("negative_slope",), lambda m, x, s: m.one if x > 0 else s),
    ("leaky_relu", "slope_derivative"): ((), lambda m, x: min(x, m.zero)),
    ("leaky_relu", "inverse"): (("negative_slope",), lambda m, h, s: h if h > 0 else h / s),
    ("abs", "value"): ((), lambda m, x: abs(x)),
    ("abs", "derivative"): ((), lambda m, x: m.sign(x)),
    ("relu6", "value"): (("ceiling",), lambda m, x, c: min(max(x, m.zero), c)),
    ("relu6", "derivative"): (("ceiling",), lambda m, x, c: m.one if 0 < x < c else m.zero),
    ("squared_relu", "value"): ((), lambda m, x: max(x, m.zero) ** 2),
    ("squared_relu", "derivative"): ((), lambda m, x: 2 * max(x, m.zero)),
    ("elu", "value"): (("alpha",), lambda m, x, a: x if x > 0 else a * m.expm1(x)),
    ("elu", "derivative"): (("alpha",), lambda m, x, a: m.one if x > 0 else a * m.exp(x)),
    ("elu", "inverse"): (("alpha",), lambda m, h, a: h if h > 0 else _log1p_inverse(m, h / a)),
    ("celu", "value"): (("alpha",), lambda m, x, a: x if x > 0 else a * m.expm1(x / a)),
    ("celu", "derivative"): (("alpha",), lambda m, x, a: m.one if x > 0 else m.exp(x / a)),
    ("celu", "inverse"): (("alpha",), lambda m, h, a: h if h > 0 else a * _log1p_inverse(m, h / a)),
    ("selu", "value"): (
        (),
        lambda m, x: m.mpf(SELU_LAMBDA) * (x if x > 0 else m.mpf(SELU_ALPHA) * m.expm1(x)),
    ),
    ("selu", "derivative"): (
        (),
        lambda m, x: m.mpf(SELU_LAMBDA) * (m.one if x > 0 else m.mpf(SELU_ALPHA) * m.exp(x)),
    ),
    ("selu", "inverse"): (
        (),
        lambda m, h: (
            h / m.mpf(SELU_LAMBDA) if h > 0 else _log1p_inverse(m, h / (m.mpf(SELU_LAMBDA) * m.mpf(SELU_ALPHA)))
        ),
    ),
    ("softplus", "value"): (
        ("beta",),
        lambda m, x, b: (max(b * x, m.zero) + m.log1p(m.exp(-abs(b * x)))) / b,
    ),
    ("softplus", "derivative"): (("beta",), lambda m, x, b: 1 / (1 + m.exp(-b * x))),
    ("softplus", "inverse"): (("beta",), _softplus_inverse),
    ("sigmoid", "value"): ((), lambda m, x: 1 / (1 + m.exp(-x))),
    ("sigmoid", "derivative"): ((), _sigmoid_slope),
    ("tanh", "value"): ((), lambda m, x: m.sign(x) * -m.expm1(-2 * abs(x)) / (1 + m.exp(-2 * abs(x)))),
    ("tanh", "derivative"): ((), lambda m, x: 4 * _sigmoid_slope(m, 2 * x)),
    ("threshold", "value"): ((), lambda m, x: m.one if x > 0 else m.zero),
    ("threshold", "derivative"): ((), lambda m, x: m.zero),
}

# Where an exact 0 carries the sign of x: functions through the origin, and the inverses of those.
ODD_AT_ZERO = {"relu", "leaky_relu", "relu6", "elu", "celu", "selu", "tanh"}


def _zero(name: str, kind: Kind, x: float, parameters: tuple[float, ...]) -> float:
    """The exact result is 0: which one."""
    if name == "leaky_relu" and kind == "derivative":
        return parameters[0]
    if name == "relu" and kind == "derivative" and x == 0:
        return parameters[0]
    if name == "leaky_relu" and kind in ("value", "inverse"):
        return math.copysign(1.0, parameters[0]) * math.copysign(0.0, x)
    if name in ("elu", "celu", "selu") and kind == "value" and x < 0:
        return -0.0
    signed = kind in ("inverse", "slope_derivative") or (kind == "value" and name in ODD_AT_ZERO)
    return x if signed and x == 0 else 0.0


def _format(dtype: npt.DTypeLike) -> tuple[int, int, int]:
    name = np.dtype(dtype).name
    if name not in FORMATS:
        raise RectifierTypeError(
            f"oracle: `dtype` must be float16, bfloat16, float32 or float64; got {name}. Pass np.float32."
        )
    return FORMATS[name]


def _rounded(exact: Any, form: tuple[int, int, int]) -> float:
    """A finite nonzero number of any precision, to nearest even in the format."""
    digits, low, high = form
    man, exp = exact.man_exp  # man without its sign
    size, sign = int(man), -1.0 if exact < 0 else 1.0
    last = max(int(exp) + size.bit_length() - digits, low - digits + 1)
    drop = last - int(exp)
    if drop > 0:
        half = (size >> (drop - 1)) & 1 if drop <= size.bit_length() else 0
        rest = size & ((1 << (drop - 1)) - 1) if drop <= size.bit_length() else size
        size = size >> drop
        size += half and (rest != 0 or size & 1)
    else:
        size <<= -drop
    if size == 0:
        return math.copysign(0.0, sign)
    if last + size.bit_length() - 1 > high:
        return math.copysign(math.inf, sign)
    return sign * math.ldexp(size, last)


def _parse(name: str, kind: Kind, dtype: npt.DTypeLike, x: Any, given: dict[str, Any]) -> tuple[Exact, list[Array]]:
    if (name, kind) not in EXACT:
        known = ", ".join(sorted({n for n, k in EXACT if k == kind}))
        raise RectifierValueError(f"oracle: `name` must be one of {known} for {kind}; got {name!r}. Pass 'elu'.")
    names, formula = EXACT[name, kind]
    for key in given:
        if key not in names:
            takes = ", ".join(f"`{n}`" for n in names) or "no parameter"
            raise RectifierTypeError(f"oracle: {kind} of {name} takes {takes}; got `{key}`. Leave it out.")
    wide = np.dtype(dtype).name == "float64"
    parameters = [
        np.asarray(given.get(n, DEFAULTS[n])).astype(np.float64 if wide else np.float32).astype(np.float64)
        for n in names
    ]
    with np.errstate(invalid="ignore"):  # converting a signalling NaN
        values = np.asarray(x).astype(dtype).astype(np.float64)
    return formula, list(np.broadcast_arrays(values, *parameters))


def _exact(m: Any, formula: Exact, numbers: tuple[float, ...]) -> Any:
    return formula(m, *(m.mpf(n) for n in numbers))


def _evaluate(
    m: Any, formula: Exact, name: str, kind: Kind, numbers: tuple[float, ...], form: tuple[int, int, int]
) -> tuple[float, Any]:
    """The result in the format, and the number that was rounded to it."""
    precision = FIRST_PRECISION
    while True:
        m.prec = precision
        exact = _exact(m, formula, numbers)
        if m.isnan(exact):
            return math.nan, exact
        if m.isinf(exact):
            return float(exact), exact
        if exact == 0:
            return math.copysign(0.0, _zero(name, kind, numbers[0], numbers[1:])), exact
        # The computed number is within a few units of its own last place of the exact one.
        slack = abs(exact) * m.ldexp(1, 24 - precision)
        below, above = _rounded(exact - slack, form), _rounded(exact + slack, form)
        if below == above or precision >= LAST_PRECISION:
            return _rounded(exact, form), exact
        precision *= 2


def results(kind: Kind, name: str, x: npt.ArrayLike, dtype: npt.DTypeLike, **parameters: npt.ArrayLike) -> Array:
    """The kind of function named, correctly rounded. Other arguments and errors as in :func:`value`."""
    form = _format(dtype)
    formula, arrays = _parse(name, kind, dtype, x, parameters)
    m = _context()
    out = np.empty(arrays[0].shape, np.float64)
    for i, numbers in enumerate(zip(*(a.ravel().tolist() for a in arrays), strict=True)):
        nan = any(math.isnan(n) for n in numbers)
        out.flat[i] = math.nan if nan else _evaluate(m, formula, name, kind, numbers, form)[0]
    return out.astype(dtype)


def value(name: str, x: npt.ArrayLike, dtype: npt.DTypeLike, **parameters: npt.ArrayLike) -> Array:
    """f(x), correctly rounded.

    Args:
        name: a function of the family, such as ``"elu"``, or sigmoid, tanh, threshold.
        x: array, any shape; converted to `dtype` first.
        dtype: float16, float32, float64 or ml_dtypes.bfloat16, of x and of the result.
        **parameters: by their names, such as ``alpha=1.0``; they broadcast with x.

    Returns:
        Array of `dtype`, of the shape that x and the parameters broadcast to.

    Raises:
        RectifierValueError: unknown function.
        RectifierTypeError: unknown parameter or dtype.
        OracleUnavailableError: mpmath is not installed.
    """
    return results("value", name, x, dtype, **parameters)


def derivative(name: str, x: npt.ArrayLike, dtype: npt.DTypeLike, **parameters: npt.ArrayLike) -> Array:
    """f′(x), correctly rounded, with the library's values at the kinks. Arguments and errors as in :func:`value`."""
    return results("derivative", name, x, dtype, **parameters)


def inverse(name: str, h: npt.ArrayLike, dtype: npt.DTypeLike, **parameters: npt.ArrayLike) -> Array:
    """The x with f(x) = h, correctly rounded; NaN outside the range. Arguments and errors as in :func:`value`."""
    return results("inverse", name, h, dtype, **parameters)


def ulp_error(
    got: npt.ArrayLike, name: str, x: npt.ArrayLike, *, kind: Kind = "value", **parameters: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """``|got − exact|`` in units of the last place that the exact result has in got's dtype.

    Args:
        got: results to judge; their dtype is the one judged.
        name, x, parameters: as in :func:`value`.
        kind: which function of the row: ``"value"``, ``"derivative"``, ``"slope_derivative"`` or ``"inverse"``.

    Returns:
        float64 array. 0.5 or less where correctly rounded; ``inf`` where got is NaN, infinite or the other zero and the
        correctly rounded result is not, or the reverse.

    Raises:
        The same as :func:`value`.
    """
    results = np.asarray(got)
    form = _format(results.dtype)
    formula, arrays = _parse(name, kind, results.dtype, x, parameters)
    m = _context()
    shape = arrays[0].shape
    with np.errstate(invalid="ignore"):
        given = np.broadcast_to(results, shape).astype(np.float64).ravel().tolist()
    out = np.empty(shape, np.float64)
    for i, numbers in enumerate(zip(*(a.ravel().tolist() for a in arrays), strict=True)):
        if any(math.isnan(n) for n in numbers):
            out.flat[i] = 0.0 if math.isnan(given[i]) else math.inf
            continue
        right, exact = _evaluate(m, formula, name, kind, numbers, form)
        out.flat[i] = _distance(m, given[i], right, exact, form)
    return out


def _distance(m: Any, got: float, right: float, exact: Any, form: tuple[int, int, int]) -> float:
    if math.isnan(right) or math.isnan(got):
        return 0.0 if math.isnan(right) and math.isnan(got) else math.inf
    if math.isinf(right) or math.isinf(got):
        return 0.0 if right == got else math.inf
    if right == 0 and got == 0:
        same = math.copysign(1.0, right) == math.copysign(1.0, got)
        if not same or exact == 0:
            return 0.0 if same else math.inf
    digits, low, _ = form
    exponent = low if exact == 0 else max(int(m.floor(m.log(abs(exact), 2))), low)
    return float(abs(m.mpf(got) - exact) / m.ldexp(1, exponent - digits + 1))
