"""How a call finds its way: tensor and parameter checked, then the rule of :mod:`.rules`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..._family import Parameter, Row, family
from ...errors import RectifierTypeError, RectifierValueError
from .. import framework_of, refuse_mixed
from ..numpy import given_parameter, parameter_value
from ..saving import check_choice
from . import rules

__all__ = ["FLOATS", "apply", "as_dense", "call", "can_be_read"]

Tensor = Any

FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
_INTEGERS = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64)
_SLOPED = ("leaky_relu", "prelu")
_CURES = {
    "RaggedTensor": "Pass tf.ragged.map_flat_values(rectifier.{function}, x).",
    "SparseTensor": "Pass tf.sparse.to_dense({argument}).",
}


def apply(name: str, x: Tensor, **parameters: Any) -> Tensor:
    """f(x) for the row ``name``, as ``rectifier.relu(tensor)`` calls it: parameters by the row's own names.

    Raises RectifierTypeError, RectifierValueError for an x or a parameter that cannot be used.
    """
    return call(name, x, given_parameter(name, parameters), None)


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def call(name: str, x: Tensor, value: Any, save: str | None) -> Tensor:
    """f(x) for the row ``name``, differentiable.

    x: a dense tensor or variable of any shape, known or not, or what ``tf.convert_to_tensor`` makes one of: a NumPy
    array, a number. Floating, integer or bool (these become float32, but relu, abs and relu6 with a whole ceiling keep
    integers). value: the row's parameter, a number or an array that broadcasts with x; None for a row without. save:
    what the backward pass is to read; None for the function's default.
    Returns a tensor of x's dtype. Raises RectifierTypeError, RectifierValueError for an argument that cannot be used.
    """
    row = family[name]
    x = as_dense(name, "x", x)
    if x.dtype not in FLOATS:
        return _not_floating(row, x, value, save)
    parameter = _parameter(row, x, value)
    if save is not None:
        _check_save(name, save, parameter)
    keeps = _keeps(name, parameter, save)
    with tf.name_scope(name):
        if tf.is_tensor(parameter):
            return rules.of_tensor(name, keeps, _broadcast(name, x, parameter), parameter)
        if isinstance(parameter, np.ndarray):
            return rules.of_fixed(name, keeps, _broadcast(name, x, parameter), None, tf.constant(parameter))
        typed = None if parameter is None else rules.wide(x.dtype).as_numpy_dtype(parameter)
        return rules.of_fixed(name, keeps, x, parameter, typed)


def _keeps(name: str, parameter: Any, save: str | None) -> str:
    if name in ("relu", "abs", "relu6") or (name in _SLOPED and not tf.is_tensor(parameter)):
        return "gate"
    # For another β the output has more roundings behind it, and for β > 1 it underflows before the derivative does.
    return save or ("output" if name == "softplus" and parameter is None else "input")


def as_dense(function: str, argument: str, x: Any) -> Tensor:
    """x as a tensor. Raises RectifierTypeError for what is none, such as a list, a ragged or a sparse tensor."""
    if isinstance(x, tf.Tensor):
        return x
    kind = type(x).__name__
    if framework_of(x) == "tensorflow" and (tf.is_tensor(x) or isinstance(x, tf.Variable)) and kind not in _CURES:
        return tf.convert_to_tensor(x)
    if isinstance(x, (np.ndarray, np.generic, int, float, complex)):
        try:
            return tf.convert_to_tensor(x)
        except (TypeError, ValueError) as error:
            raise _wrong_dtype(function, argument, getattr(x, "dtype", kind)) from error
    cure = _CURES.get(kind, "").format(function=function, argument=argument)
    if kind == "RaggedTensor" and argument != "x":
        cure = f"Pass {argument}.to_tensor()."
    raise RectifierTypeError(
        f"{function}: `{argument}` must be a dense TensorFlow tensor; got {kind}. "
        + (cure or f"Pass tf.convert_to_tensor({argument}), or call rectifier.{function} on an array of another kind.")
    )


def _wrong_dtype(function: str, argument: str, dtype: Any) -> RectifierTypeError:
    if isinstance(dtype, tf.DType) and dtype.is_complex:
        cure = f"Apply it to tf.math.real({argument}) and tf.math.imag({argument}), or to tf.abs({argument})."
    else:
        cure = f"Convert it with tf.cast({argument}, tf.float32)."
    return RectifierTypeError(
        f"{function}: `{argument}` must hold float16, bfloat16, float32, float64, integers or bool; "
        f"got {getattr(dtype, 'name', dtype)}. {cure}"
    )


def _not_floating(row: Row, x: Tensor, value: Any, save: str | None) -> Tensor:
    if x.dtype not in _INTEGERS and x.dtype != tf.bool:
        raise _wrong_dtype(row.name, "x", x.dtype)
    if save is not None:
        check_choice(row.name, row.name, save, row.name == "prelu")
    if row.integers and x.dtype != tf.bool:
        if row.name == "relu6":
            h = _whole_relu6(row, x, value)
            if h is not None:
                return h
        else:
            _parameter(row, x, value)
            if x.dtype.is_unsigned:
                return tf.identity(x)
            return tf.where(x < 0, tf.zeros_like(x), x) if row.name == "relu" else tf.abs(x)
    return call(row.name, tf.cast(x, tf.float32), value, save)


def _whole_relu6(row: Row, x: Tensor, value: Any) -> Tensor | None:
    """Of integers under a whole ceiling; None where it is not whole, so that they become float32."""
    ceiling = np.asarray(
        _concrete(row, row.parameters[0], value, np.dtype(np.float64), "decides whether integers stay integers")
    )
    if (ceiling != np.floor(ceiling)).any():
        return None
    limit = x.dtype.max
    if isinstance(value, int):  # all its digits, and float(limit) may round up
        whole = np.asarray(min(value, limit), x.dtype.as_numpy_dtype)
    else:
        beyond = ceiling >= float(limit)
        whole = np.where(beyond, 0, ceiling).astype(x.dtype.as_numpy_dtype)
        whole[beyond] = limit
    top = tf.constant(whole)
    h = tf.where(x > top, top, x)
    return h if x.dtype.is_unsigned else tf.where(x < 0, tf.zeros_like(h), h)


# Parameters ----------------------------------------------------------------------------------------------------------


def _parameter(row: Row, x: Tensor, value: Any) -> Any:
    """The row's parameter, checked: a float, or an array of the dtype that x is computed in.

    None for a row without, and for a factor of 1.
    """
    if not row.parameters:
        return None
    (parameter,) = row.parameters
    if value is None:
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be given; got none. "
            f"Pass a number such as {parameter.domain.example}, or an array of them."
        )
    dtype = np.dtype(rules.wide(x.dtype).as_numpy_dtype)
    if parameter.of == "derivative":
        checked = _concrete(row, parameter, value, dtype, "decides what is kept for the backward pass")
    elif framework_of(value) == "tensorflow":
        return _of_tensor(row, parameter, as_dense(row.name, parameter.name, value), dtype)
    else:
        refuse_mixed(row.name, parameter.name, value, "tensorflow")
        checked = parameter_value(row.name, parameter, value, dtype)
    if np.ndim(checked):
        return np.asarray(checked)
    number = float(checked)
    return None if number == 1 and parameter.name in ("alpha", "beta") else number


def _concrete(row: Row, parameter: Parameter, value: Any, dtype: np.dtype[Any], why: str) -> Any:
    """A parameter whose value decides what is computed, so that it must be known while tracing."""
    refuse_mixed(row.name, parameter.name, value, "tensorflow")
    if framework_of(value) == "tensorflow":
        value = as_dense(row.name, parameter.name, value)
        if tf.is_symbolic_tensor(value):
            raise RectifierTypeError(
                f"{row.name}: `{parameter.name}` must be known while tracing, as it {why}; "
                f"got a traced {value.dtype.name} tensor. Pass a Python number."
            )
        value = value.numpy()
    return parameter_value(row.name, parameter, value, dtype)


def _of_tensor(row: Row, parameter: Parameter, value: Tensor, dtype: np.dtype[Any]) -> Tensor:
    if value.dtype not in FLOATS and value.dtype not in _INTEGERS:
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be a number or an array of numbers; got a tensor of "
            f"{value.dtype.name}. Pass a number such as {parameter.domain.example}."
        )
    # A learned slope that has diverged shall show as NaN. Elsewhere than on the CPU a look would wait for the device.
    if row.name != "prelu" and can_be_read(value):
        parameter_value(row.name, parameter, value.numpy(), dtype)
    return tf.cast(value, dtype)


def can_be_read(value: Tensor) -> bool:
    """Is it a tensor whose values are known, and at hand?"""
    return not tf.is_symbolic_tensor(value) and "CPU" in value.device


def _check_save(name: str, save: str, parameter: Any) -> None:
    """Refuse a ``save`` that this call cannot honour."""
    slope = parameter if name in _SLOPED and tf.is_tensor(parameter) else None
    check_choice(name, name, save, slope is not None or name == "prelu")
    if save == "output" and slope is not None and can_be_read(slope) and bool((slope.numpy() <= 0).any()):
        raise RectifierValueError(
            f"{name}: `save` must be 'input' where a slope is not above 0, as the output does not tell the input "
            f"there; got 'output' and a slope of {slope.numpy().min().item():g}. Leave it out."
        )


def _broadcast(name: str, x: Tensor, parameter: Any) -> Tensor:
    """x expanded to the shape of the result."""
    try:
        shape = tf.broadcast_static_shape(x.shape, tf.TensorShape(parameter.shape))
    except ValueError:
        argument = family[name].parameters[0].name
        raise RectifierValueError(
            f"{name}: `{argument}` must broadcast with x of shape {_shown(x.shape)}; got shape "
            f"{_shown(tf.TensorShape(parameter.shape))}. "
            "Give it one value for each entry of the last axis, or reshape it with tf.expand_dims."
        ) from None
    if shape.is_fully_defined():
        return x if shape == x.shape else tf.broadcast_to(x, shape)
    return tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(parameter)))


def _shown(shape: tf.TensorShape) -> tuple[int | None, ...]:
    return tuple(shape.as_list())
