"""Leaky units: a running average over time that forgets."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native
from ._family import FINITE, SHARE, Domain, Parameter
from .errors import RectifierTypeError, RectifierValueError
from .frameworks import numpy as numpy_ops
from .frameworks import ops_of

__all__ = ["ALPHA", "INITIAL", "axis_of", "leaky_average"]

_NAME = "leaky_average"
ALPHA = Parameter("alpha", None, Domain(SHARE.rule, "0.9", SHARE.low, SHARE.high), "the share of the past")
INITIAL = Parameter("initial", 0.0, FINITE, "the average before the first step")
#: As the loops number them.
_CODES = {np.dtype(np.float16): 0, np.dtype(np.float32): 1, np.dtype(np.float64): 2}


def leaky_average(v: Any, alpha: Any, *, axis: int = -1, initial: Any = 0.0, out: Any = None) -> Any:
    """The leaky unit μ ← α·μ + (1 − α)·v over time: μ_t = α·μ_{t−1} + (1 − α)·v_t.

    What came k steps ago weighs (1 − α)·α^k, so a unit remembers for about 1/(1 − α) steps. The sum is carried in
    float64 whatever the values are, and each step is rounded to the result's dtype once; α = 0 gives v itself,
    α = 1 keeps ``initial``, also where v is infinite.

    v: array, floating (integers and bool promote as in ``np.exp``); time runs along ``axis``. Also a PyTorch tensor,
        a JAX array or a TensorFlow tensor, which have gradients for v, alpha and initial.
    alpha: the share of the past, in [0, 1]; a number, or an array that broadcasts with v without its time axis.
    axis: of time; the last by default.
    initial: μ before the first step, a finite number or an array likewise.
    out: array for the result, of v's shape and the result's dtype; v itself is allowed. NumPy only.

    Returns an array of v's shape: μ at every step. Raises RectifierTypeError, RectifierValueError for arguments that
    cannot be used.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure"); Goodfellow, Bengio & Courville 2016,
    Deep Learning, section 10.9.2.

    >>> leaky_average(np.array([1.0, 1.0, 1.0]), 0.5)
    array([0.5  , 0.75 , 0.875])
    """
    operations = ops_of(_NAME, v)
    if operations is not None:
        if out is not None:
            raise RectifierTypeError(
                f"{_NAME}: `out` must be left out for {operations.ARRAY}; got {type(out).__name__}. "
                "Use what the call returns."
            )
        return operations.leaky_average(v, alpha, axis=axis, initial=initial)
    v = numpy_ops.input_array(_NAME, v, "v")
    if not isinstance(v, (np.ndarray, np.generic)):
        raise RectifierTypeError(
            f"{_NAME}: `v` must be a NumPy array, a PyTorch tensor, a JAX array or a TensorFlow tensor; "
            f"got {type(v).__name__}. "
            "Apply it to each block of series, all of whose steps must be in the block."
        )
    dtype = numpy_ops.computed_in(v.dtype)
    v = np.asarray(v, dtype)
    time = axis_of(axis, v.ndim)
    series = v.shape[:time] + v.shape[time + 1 :]
    alphas = _of_series(ALPHA, alpha, dtype, series)
    initials = _of_series(INITIAL, initial, dtype, series)
    result = _result(v, out)
    source = np.ascontiguousarray(v)
    to = (
        result
        if result.flags.c_contiguous and result.flags.aligned and result.dtype.isnative
        else np.empty_like(source)
    )
    if np.may_share_memory(to, source) and to.ctypes.data != source.ctypes.data:
        source = source.copy()
    if v.size:
        _native.average_at(
            _CODES.get(dtype, 3),
            source.ctypes.data,
            0,
            to.ctypes.data,
            math.prod(v.shape[:time]),
            v.shape[time],
            math.prod(v.shape[time + 1 :]),
            alphas.ctypes.data,
            int(alphas.ndim > 0),
            initials.ctypes.data,
            int(initials.ndim > 0),
            0,
            0,
        )
    if to is not result:
        result[...] = to
    return result


def axis_of(axis: Any, ndim: int) -> int:
    """The time axis, counted from the first. Raises RectifierTypeError, RectifierValueError where there is none."""
    try:
        number = operator.index(axis)
    except TypeError:
        raise RectifierTypeError(
            f"{_NAME}: `axis` must be a whole number; got {axis!r}. Pass the axis of time, such as -1."
        ) from None
    if not ndim:
        raise RectifierValueError(
            f"{_NAME}: `v` must have an axis of time; got a single number. Pass an array of steps."
        )
    if not -ndim <= number < ndim:
        raise RectifierValueError(
            f"{_NAME}: `axis` must lie in [{-ndim}, {ndim - 1}] for v with {ndim} axes; got {number}. "
            "Pass the axis of time, such as -1."
        )
    return number % ndim


def _of_series(
    parameter: Parameter, value: Any, dtype: np.dtype[Any], series: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """A number, or one for each series; as the family's parameters, float64 for float64 v and float32 otherwise."""
    numbers = np.asarray(numpy_ops.own_parameter(_NAME, parameter, value, dtype), np.float64)
    if not numbers.ndim:
        return numbers
    try:
        return np.ascontiguousarray(np.broadcast_to(numbers, series))
    except ValueError:
        raise RectifierValueError(
            f"{_NAME}: `{parameter.name}` must broadcast with v without its axis of time, {series}; "
            f"got shape {numbers.shape}. Give it one value a series, or a single number."
        ) from None


def _result(v: npt.NDArray[Any], out: Any) -> npt.NDArray[Any]:
    if out is None:
        return np.empty(v.shape, v.dtype)
    if not isinstance(out, np.ndarray) or out.shape != v.shape or out.dtype != v.dtype or not out.flags.writeable:
        got = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise RectifierValueError(
            f"{_NAME}: `out` must be a writeable array of {v.dtype} and shape {v.shape}; got {got}. "
            "Pass np.empty_like(v)."
        )
    return out
