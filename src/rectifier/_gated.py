"""The gate at work: h and its gate in one pass, and the backward pass from the gate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native
from ._family import Row
from ._gate import Gate, Kept
from .errors import RectifierTypeError, RectifierValueError
from .frameworks import numpy as numpy_ops

__all__ = ["FROM_GATE", "backward", "with_gate"]

#: The functions whose derivative the gate (with a plane beside it) tells in full.
FROM_GATE = ("relu", "leaky_relu", "prelu", "abs", "relu6")
#: Those with a loop of their own that does both.
_FUSED = {
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "prelu": "leaky_relu",
    "abs": "abs",
    "relu6": "relu6",
    "squared_relu": "squared_relu",
}

Array = npt.NDArray[Any]


def with_gate(row: Row, x: Any, given: Mapping[str, Any], out: Any, value: Any) -> tuple[Any, Gate]:
    """h and the gate. ``value(x, out=…)`` is the function itself, for arrays that the loops do not take."""
    function = f"{row.name}.with_gate"
    x = np.asarray(numpy_ops.input_array(function, x))
    kept = _kept_by(row.name, given)
    if row.name not in _FUSED or x.dtype not in numpy_ops.FLOATS or not x.dtype.isnative or not x.ndim:
        gate = Gate(x)
        plane = None if kept is None else _plane(kept, x, given)
        return value(x, out=out), gate._with(Kept(row.name, dict(given), kept, plane))

    order = _memory_order(x)
    flat = _flat(x, order)
    result = _result(flat, x, order) if out is None else _checked_out(function, "x", x, order, out)
    name = _FUSED[row.name]
    parameter, inner = None, 1
    if name in ("leaky_relu", "relu6"):
        [(key, number)] = given.items()
        parameter, inner = _pattern(function, row, key, number, x, order)
    elif kept == "zeros" and name == "relu":
        _pattern(function, row, "at_zero", given["at_zero"], x, order)  # only to be checked
        name = "relu_and_zeros"
    bits = np.empty(-(-x.size // 8), np.uint8)
    plane = None if kept is None else np.empty_like(bits)
    any_set = _native.with_gate(name, flat, result.transpose(order).reshape(-1), parameter, inner, bits, plane)
    if kept == "zeros" and not any_set:
        plane = None
    return result, Gate._of(bits, x.shape, order, Kept(row.name, dict(given), kept, plane))


def backward(row: Row, dh: Any, gate: Any, given: Mapping[str, Any], out: Any) -> Any:
    """dz. ``given``: every parameter of the derivative."""
    function = f"{row.name}.backward"
    dh = np.asarray(numpy_ops.input_array(function, dh))
    if dh.dtype.newbyteorder("=") not in numpy_ops.FLOATS:
        raise RectifierTypeError(
            f"{function}: `dh` must hold float16, bfloat16, float32 or float64; got {dh.dtype}. "
            "Convert it with dh.astype(numpy.float32)."
        )
    if dh.shape != gate.shape:
        raise RectifierValueError(
            f"{function}: `dh` must have the shape of the gate, {gate.shape}; got {dh.shape}. "
            f"Pass the gradient of the h that {row.name}.with_gate returned."
        )
    order = gate._order
    flat = _flat(dh, order)
    result = _result(flat, dh, order) if out is None else _checked_out(function, "dh", dh, order, out)
    name, gates, plane = "nothing", gate.bits, None
    parameter, inner = None, 1
    if row.name in ("leaky_relu", "prelu"):
        name = "slope"
        parameter, inner = _pattern(function, row, "negative_slope", given["negative_slope"], dh, order)
    elif row.name == "abs":
        name, plane = "mirror", _zeros(function, row, gate, "")
    elif row.name == "relu6":
        gates = _inside(function, gate, given["ceiling"])
    elif np.any(np.asarray(given["at_zero"]) != 0):
        plane = _zeros(function, row, gate, ", at_zero=0.5")
        parameter, inner = _pattern(function, row, "at_zero", given["at_zero"], dh, order)
        name = "nothing" if plane is None else "share"
    _native.backward(name, flat, result.transpose(order).reshape(-1), parameter, inner, gates, plane)
    return result if dh.ndim or out is not None else result[()]


def refuse(row: Row) -> RectifierTypeError:
    """Why this function has no backward pass from the gate."""
    return RectifierTypeError(
        f"{row.name}.backward: the gate must tell the whole derivative; got {row.name}, whose derivative is "
        f"{row.derivative}. Keep x and multiply: dh * {row.name}.derivative(x). "
        f"Those that the gate is enough for: {', '.join(FROM_GATE)}."
    )


def refuse_gate(function: str, gate: Any) -> RectifierTypeError:
    name = function.partition(".")[0]
    return RectifierTypeError(
        f"{function}: `gate` must be a Gate; got {type(gate).__name__}. Pass the one that {name}.with_gate(x) returns."
    )


def _kept_by(name: str, given: Mapping[str, Any]) -> str | None:
    """The plane beside the gate that the derivative needs."""
    if name == "relu6":
        return "inside"
    if name == "abs" or (name == "relu" and np.any(np.asarray(given["at_zero"]) != 0)):
        return "zeros"
    return None


def _plane(kept: str, x: Array, given: Mapping[str, Any]) -> npt.NDArray[np.uint8] | None:
    with np.errstate(invalid="ignore"):  # ml_dtypes' comparisons tell of a NaN
        if kept == "inside":
            wide = np.asarray(given["ceiling"]).astype(np.float64 if x.dtype.itemsize == 8 else np.float32)
            return Gate(~(x <= 0) & ~(x >= wide)).bits
        zeros = x == 0
    return Gate(zeros).bits if zeros.any() else None


def _zeros(function: str, row: Row, gate: Gate, parameter: str) -> npt.NDArray[np.uint8] | None:
    """Where z was 0; None where it never was."""
    if gate._kept is None or gate._kept.plane_of != "zeros":
        raise RectifierValueError(
            f"{function}: `gate` must say where z was 0; got a gate that does not. "
            f"Take it with {row.name}.with_gate(x{parameter})."
        )
    return gate._kept.plane


def _inside(function: str, gate: Gate, ceiling: Any) -> npt.NDArray[np.uint8]:
    kept = gate._kept
    if kept is None or kept.plane_of != "inside" or kept.plane is None:
        raise RectifierValueError(
            f"{function}: `gate` must say where z was below the ceiling; got a gate that does not. "
            "Take it with relu6.with_gate(x)."
        )
    if not np.array_equal(ceiling, kept.parameters["ceiling"]):
        raise RectifierValueError(
            f"{function}: `ceiling` must be the one that the gate was taken with, {kept.parameters['ceiling']}; "
            f"got {ceiling}. Leave it out."
        )
    return kept.plane


def _memory_order(x: Array) -> tuple[int, ...]:
    return tuple(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis])))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _flat(x: Array, order: tuple[int, ...]) -> Array:
    """The values in memory order: x's own memory where it is contiguous."""
    flat = np.ascontiguousarray(x.transpose(order)).reshape(-1)
    return np.require(flat.astype(flat.dtype.newbyteorder("="), copy=False), requirements=["A"])


def _pattern(
    function: str, row: Row, key: str, value: Any, x: Array, order: tuple[int, ...]
) -> tuple[float | Array, int]:
    """A parameter as the loops take it: a number; or an array that repeats, each entry so many times."""
    dtype = x.dtype.newbyteorder("=")
    checked = np.asarray(numpy_ops.own_parameter(function, row.parameter(key), value, dtype))
    if not checked.ndim:
        return float(checked), 1
    if checked.ndim > x.ndim or any(
        mine not in (1, theirs) for mine, theirs in zip(checked.shape[::-1], x.shape[::-1], strict=False)
    ):
        raise RectifierValueError(
            f"{function}: `{key}` must broadcast to the shape {x.shape}; got shape {checked.shape}. "
            "Give it one value for each entry of the last axis, or reshape it with numpy.expand_dims."
        )
    laid = checked.reshape((1,) * (x.ndim - checked.ndim) + checked.shape).transpose(order)
    sizes = [x.shape[axis] for axis in order]
    varying = [axis for axis, size in enumerate(laid.shape) if size != 1]
    if not varying:
        return float(laid.reshape(-1)[0]), 1
    first, last = varying[0], varying[-1]
    middle = laid.reshape(laid.shape[first : last + 1])
    repeats = np.broadcast_to(middle, sizes[first : last + 1])
    return np.ascontiguousarray(repeats).reshape(-1), math.prod(sizes[last + 1 :])


def _result(flat: Array, x: Array, order: tuple[int, ...]) -> Array:
    """An array of x's shape, laid out in memory as ``flat``, which has x's values in that order."""
    return _native.empty_like(flat).reshape(tuple(x.shape[axis] for axis in order)).transpose(_inverse(order))


def _checked_out(function: str, other: str, x: Array, order: tuple[int, ...], out: Any) -> Array:
    """``out``, if it is an array that the loops can write into as x is read."""
    like = f"Pass numpy.empty_like({other})."
    if not isinstance(out, np.ndarray):
        raise RectifierTypeError(f"{function}: `out` must be an array; got {type(out).__name__}. {like}")
    dtype = x.dtype.newbyteorder("=")
    if out.dtype != dtype or not out.dtype.isnative:
        raise RectifierTypeError(f"{function}: `out` must be of {other}'s dtype, {dtype}; got {out.dtype}. {like}")
    if out.shape != x.shape:
        raise RectifierValueError(
            f"{function}: `out` must have the shape of the result, {x.shape}; got {out.shape}. {like}"
        )
    if not out.flags.writeable:
        raise RectifierValueError(f"{function}: `out` must be writeable; got a read-only array. {like}")
    if not (out.transpose(order).flags.c_contiguous and out.flags.aligned):
        raise RectifierValueError(
            f"{function}: `out` must lie in memory without gaps and with its axes in the order of the gate's; "
            f"got strides {out.strides}. Pass numpy.empty(…).transpose(…) of that layout, or leave it out."
        )
    itself = out.ctypes.data == x.ctypes.data and out.strides == x.strides
    if not itself and np.may_share_memory(out, x):
        raise RectifierValueError(
            f"{function}: `out` must be {other} itself or share no memory with it; got arrays that overlap. {like}"
        )
    return out
