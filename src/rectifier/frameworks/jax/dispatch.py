"""How a call finds its way: array and parameter checked, then the compiled function of :mod:`.rules`."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core.primitives import convert_element_type_p

from ..._family import Parameter, Row, family
from ...errors import RectifierTypeError, RectifierValueError
from .. import framework_of, refuse_mixed
from ..numpy import given_parameter, parameter_value
from ..saving import GATED, check_choice
from . import rules

__all__ = ["apply", "call"]

Array = Any

_FLOATS = frozenset(np.dtype(kind) for kind in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64))
_INTEGERS = frozenset(np.dtype(code) for code in "bBhHiIqQ")
_BOOL = np.dtype(bool)
_SLOPED = ("leaky_relu", "prelu")


def apply(name: str, x: Array, **parameters: Any) -> Array:
    """f(x) for the row ``name``, as ``rectifier.relu(array)`` calls it: parameters by the row's own names.

    Raises RectifierTypeError, RectifierValueError for an x or a parameter that cannot be used.
    """
    return call(name, x, given_parameter(name, parameters), None)


def call(name: str, x: Array, value: Any, save: str | None) -> Array:
    """f(x) for the row ``name``, differentiable.

    x: an array of any shape, concrete or traced, or what ``jax.numpy.asarray`` makes one of without a copy of every
    element: a NumPy array, a number. Floating, integer or bool (integers promote as in ``jax.numpy.exp``, but relu, abs
    and relu6 with a whole ceiling keep them). value: the row's parameter, a number or an array that broadcasts with x;
    None for a row without. save: what the backward pass is to read; None for the function's default.
    Returns an array of x's dtype, as weakly typed as x.
    Raises RectifierTypeError, RectifierValueError for an argument that cannot be used.
    """
    row = family[name]
    x = _array(name, x)
    if x.dtype not in _FLOATS:
        return _not_floating(row, x, value, save)
    parameter = _parameter(row, x, value)
    if save is not None:
        _check_save(name, save, parameter)
    if isinstance(parameter, (np.ndarray, jax.Array)):
        x = _broadcast(name, x, parameter)
        h = rules.of_array(name, row.parameters[0].name, save)(x, parameter)
    else:
        h = rules.of_number(name, parameter, _keeps(name, parameter, save))(x)
    if not getattr(x, "weak_type", False):
        return h
    return convert_element_type_p.bind(h, new_dtype=h.dtype, weak_type=True, sharding=None)


def _keeps(name: str, number: float | None, save: str | None) -> str:
    if name in GATED or name == "prelu":
        return "gate"
    # For another β the output has more roundings behind it, and for β > 1 it underflows before the derivative does.
    return save or ("output" if name == "softplus" and number is None else "input")


def _array(name: str, x: Any) -> Array:
    if isinstance(x, jax.Array):
        return x
    if framework_of(x) not in (None, "jax") or isinstance(x, (list, tuple, str, bytes)) or x is None:
        raise RectifierTypeError(
            f"{name}: `x` must be a JAX array; got {type(x).__name__}. "
            f"Pass jax.numpy.asarray(x), or call rectifier.{name} on an array of another kind."
        )
    try:
        return jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise _wrong_dtype(name, getattr(x, "dtype", type(x).__name__)) from error


def _wrong_dtype(name: str, dtype: Any) -> RectifierTypeError:
    if jnp.issubdtype(dtype, jnp.complexfloating) if isinstance(dtype, np.dtype) else False:
        cure = "Apply it to x.real and x.imag, or to jax.numpy.abs(x)."
    else:
        cure = "Convert it with x.astype(jax.numpy.float32)."
    return RectifierTypeError(
        f"{name}: `x` must hold float16, bfloat16, float32, float64, integers or bool; got {dtype}. {cure}"
    )


def _not_floating(row: Row, x: Array, value: Any, save: str | None) -> Array:
    if x.dtype not in _INTEGERS and x.dtype != _BOOL:
        raise _wrong_dtype(row.name, x.dtype)
    if save is not None:
        check_choice(row.name, row.name, save, row.name == "prelu")
    if row.integers and x.dtype != _BOOL:
        if row.name == "relu6":
            h = _whole_relu6(row, x, value)
            if h is not None:
                return h
        else:
            _parameter(row, x, value)
            return jnp.maximum(x, 0) if row.name == "relu" else jnp.abs(x)
    return call(row.name, x.astype(_promoted(x.dtype)), value, save)


@functools.cache
def _promoted_in(dtype: Any, x64: bool) -> Any:
    return jax.eval_shape(jnp.exp, jax.ShapeDtypeStruct((), dtype)).dtype


def _promoted(dtype: Any) -> Any:
    return _promoted_in(dtype, bool(jax.config.jax_enable_x64))


def _whole_relu6(row: Row, x: Array, value: Any) -> Array | None:
    """Of integers under a whole ceiling; None where it is not whole, so that they promote."""
    why = "decides whether integers stay integers"
    ceiling = np.asarray(_concrete(row, row.parameters[0], value, np.dtype(np.float64), why))
    if (ceiling != np.floor(ceiling)).any():
        return None
    limit = int(jnp.iinfo(x.dtype).max)
    if isinstance(value, int):  # all its digits, and float(limit) may round up
        return jnp.clip(x, 0, np.asarray(min(value, limit), x.dtype))
    beyond = ceiling >= float(limit)
    whole = np.where(beyond, limit, np.where(beyond, 0, ceiling).astype(x.dtype)).astype(x.dtype)
    return jnp.clip(x, 0, whole)


# Parameters ----------------------------------------------------------------------------------------------------------


def _parameter(row: Row, x: Array, value: Any) -> float | Array | None:
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
    dtype = np.dtype(rules.wide(x.dtype))
    if parameter.of == "derivative":
        checked = _concrete(row, parameter, value, dtype, "decides what is kept for the backward pass")
    elif framework_of(value) == "jax":
        return _of_array(row, parameter, jnp.asarray(value), dtype)
    else:
        refuse_mixed(row.name, parameter.name, value, "jax")
        checked = parameter_value(row.name, parameter, value, dtype)
    if np.ndim(checked):
        return np.asarray(checked)
    number = float(checked)
    return None if number == 1 and parameter.name in ("alpha", "beta") else number


def _concrete(row: Row, parameter: Parameter, value: Any, dtype: np.dtype[Any], why: str) -> Any:
    """A parameter whose value decides what is computed, so that it must be known while tracing."""
    if isinstance(value, jax.core.Tracer):
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be known while tracing, as it {why}; "
            f"got a traced {value.aval.str_short()}. Pass a Python number, or mark it static (static_argnames)."
        )
    refuse_mixed(row.name, parameter.name, value, "jax")
    if isinstance(value, jax.Array):
        value = np.asarray(value)
    return parameter_value(row.name, parameter, value, dtype)


def _of_array(row: Row, parameter: Parameter, value: Array, dtype: np.dtype[Any]) -> Array:
    if value.dtype not in _FLOATS and value.dtype not in _INTEGERS:
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be a number or an array of numbers; got an array of {value.dtype}. "
            f"Pass a number such as {parameter.domain.example}."
        )
    # A learned slope that has diverged shall show as NaN. Elsewhere than on the CPU a look would wait for the device.
    if row.name != "prelu" and _can_be_read(value):
        parameter_value(row.name, parameter, np.asarray(value), dtype)
    return value.astype(dtype)


def _can_be_read(value: Array) -> bool:
    return (
        not isinstance(value, jax.core.Tracer)
        and value.is_fully_addressable
        and all(device.platform == "cpu" for device in value.devices())
    )


def _check_save(name: str, save: str, parameter: Any) -> None:
    """Refuse a ``save`` that this call cannot honour."""
    slope = parameter if name in _SLOPED and isinstance(parameter, jax.Array) else None
    check_choice(name, name, save, slope is not None or name == "prelu")
    if save == "output" and slope is not None and _can_be_read(slope) and bool((np.asarray(slope) <= 0).any()):
        raise RectifierValueError(
            f"{name}: `save` must be 'input' where a slope is not above 0, as the output does not tell the input "
            f"there; got 'output' and a slope of {np.asarray(slope).min().item():g}. Leave it out."
        )


def _broadcast(name: str, x: Array, parameter: Array) -> Array:
    """x expanded to the shape of the result."""
    try:
        shape = np.broadcast_shapes(x.shape, parameter.shape)
    except ValueError:
        argument = family[name].parameters[0].name
        raise RectifierValueError(
            f"{name}: `{argument}` must broadcast with x of shape {tuple(x.shape)}; "
            f"got shape {tuple(parameter.shape)}. "
            "Give it one value for each entry of the last axis, or reshape it with jax.numpy.expand_dims."
        ) from None
    return x if shape == x.shape else jnp.broadcast_to(x, shape)
