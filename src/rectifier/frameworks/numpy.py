"""What NumPy asks for around a ufunc: dtypes, parameters, ``out``; errors that say what to do.

The result has x's dtype. Every parameter becomes float64 for float64 x and float32 otherwise *before* the ufunc is
called, so the result is the exact real function of those, rounded once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._family import Parameter, Row, family
from ..errors import RectifierTypeError, RectifierValueError
from . import framework_of, refuse_mixed

__all__ = [
    "FLOATS",
    "INTEGERS",
    "call",
    "computed_in",
    "given_parameter",
    "input_array",
    "own_parameter",
    "parameter_value",
    "unknown_parameter",
]

#: The floating dtypes that the ufuncs take.
FLOATS: set[np.dtype[Any]] = {np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)}
try:
    import ml_dtypes

    FLOATS.add(np.dtype(ml_dtypes.bfloat16))
except ImportError:  # bfloat16 arrays exist only where ml_dtypes does
    pass
INTEGERS = tuple(np.dtype(code) for code in "bBhHiIlLqQ")


def call(
    row: Row,
    function: str,
    ufunc: np.ufunc,
    x: Any,
    parameters: Mapping[str, Any],
    *,
    out: Any = None,
    where: Any = True,
    keep_integers: bool = False,
) -> Any:
    """Apply a ufunc whose inputs are x and then ``parameters``, in their order."""
    x = input_array(function, x)
    if keep_integers and x.dtype.kind in "iu":
        operands = _integer_operands(row, function, x, parameters)
        if operands is not None:
            return _apply(function, ufunc, operands, parameters, out, where, x.dtype.newbyteorder("="))
    dtype = computed_in(x.dtype)
    values = [own_parameter(function, row.parameter(name), value, dtype) for name, value in parameters.items()]
    return _apply(function, ufunc, [x, *values], parameters, out, where, dtype)


def input_array(function: str, x: Any, name: str = "x") -> Any:
    """x, the argument ``name``, as an array of a dtype that the ufuncs take.

    These are float16, bfloat16, float32, float64, the integers and bool.

    Arrays that speak ``__array_ufunc__`` (Dask, xarray, …) are returned as they are.
    """
    if not hasattr(x, "__array_ufunc__") or not hasattr(x, "dtype"):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise RectifierTypeError(
                f"{function}: `{name}` must be an array of real numbers; got {type(x).__name__} that NumPy cannot make "
                "one of. Give every row the same length."
            ) from error
    dtype = x.dtype
    if not (isinstance(dtype, np.dtype) and (dtype.kind in "iub" or dtype.newbyteorder("=") in FLOATS)):
        raise RectifierTypeError(
            f"{function}: `{name}` must hold float16, bfloat16, float32, float64, integers or bool; got {dtype}. "
            f"{_dtype_cure(dtype, name)}"
        )
    return x


def _dtype_cure(dtype: Any, x: str) -> str:
    if dtype == np.dtype(np.longdouble):
        return f"Convert it with {x}.astype(numpy.float64)."
    if getattr(dtype, "kind", "") == "c":
        return f"Apply it to {x}.real and {x}.imag, or to numpy.abs({x})."
    if getattr(dtype, "kind", "") in "OSUV":
        return "Make an array of numbers first, such as numpy.array([1.0, 2.0])."
    return f"Convert it with {x}.astype(numpy.float32)."


def computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The floating dtype that ``np.exp`` would give."""
    if dtype.kind not in "iub":
        return dtype.newbyteorder("=")
    return np.dtype({1: np.float16, 2: np.float32}.get(dtype.itemsize, np.float64))


def parameter_value(function: str, parameter: Parameter, value: Any, dtype: np.dtype[Any]) -> Any:
    """A parameter for arrays of ``dtype``: float64 for float64, float32 otherwise; checked against its domain."""
    # Not 0: the cache would take 0.0 and −0.0 for one.
    if type(value) is float and value != 0.0:
        return _number(function, parameter, value, dtype == np.float64)
    wide = np.float64 if dtype == np.float64 else np.float32
    if type(value) is int and not -(2**63) <= value < 2**64:  # beyond NumPy's integers
        value = _float(value)
    if isinstance(value, (bool, np.bool_)) or not _is_numeric(value):
        traced = framework_of(value) == "jax"  # a concrete array of JAX can be read
        cure = "Pass x as a JAX array too" if traced else f"Pass a number such as {parameter.domain.example}"
        raise RectifierTypeError(
            f"{function}: `{parameter.name}` must be a number or an array of numbers; got {value!r}. {cure}."
        )
    if _is_lazy(value):
        return value.astype(wide)  # its values cannot be looked at now
    return _checked(function, parameter, value, wide)


def own_parameter(function: str, parameter: Parameter, value: Any, dtype: np.dtype[Any]) -> Any:
    """The same beside a NumPy array, where an array of another framework would lose its gradient unnoticed."""
    checked = parameter_value(function, parameter, value, dtype)  # it says more of what is traced
    if not isinstance(value, (float, int, np.ndarray, np.generic)) and not _is_lazy(value):
        refuse_mixed(function, parameter.name, value, None)
    return checked


def _float(value: int) -> float:
    """A whole number of any size; infinity beyond float64."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_lazy(value: Any) -> bool:
    """Is it an array of another library, such as Dask, whose values may not be there yet?"""
    return hasattr(value, "__array_ufunc__") and not isinstance(value, (np.ndarray, np.generic))


@functools.lru_cache(maxsize=1024)
def _number(function: str, parameter: Parameter, value: float, is_float64: bool) -> Any:
    """A Python number: remembered, as checking one takes ten times as long as the ufunc does on a small array."""
    return _checked(function, parameter, value, np.float64 if is_float64 else np.float32)


def _checked(function: str, parameter: Parameter, value: Any, wide: type[np.floating[Any]]) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        converted = np.asarray(value).astype(wide)
    good = parameter.domain.holds(converted)
    if not good.all():
        culprit = np.asarray(value)[~good].flat[0] if converted.ndim else value
        where = "" if wide is np.float64 or not _holds_wider(parameter, culprit) else " in float32"
        raise RectifierValueError(
            f"{function}: `{parameter.name}` {parameter.domain.rule}{where}; got {culprit}. "
            f"Pass a number such as {parameter.domain.example}."
        )
    return converted if converted.ndim else converted[()]


def _is_numeric(value: Any) -> bool:
    if hasattr(value, "__array_ufunc__") and hasattr(value, "dtype"):
        dtype = value.dtype
    else:
        try:
            dtype = np.asarray(value).dtype
        except (ValueError, TypeError, RuntimeError):  # ragged lists; tensors that NumPy cannot read
            return False
    return bool(dtype.kind in "iuf" or dtype in FLOATS)


def _holds_wider(parameter: Parameter, value: Any) -> bool:
    return bool(parameter.domain.holds(np.asarray(value, dtype=np.float64)))


def _check_broadcast(function: str, name: str, value: Any, x: Any) -> None:
    shape = np.shape(value)
    # A lazy array may not know its shape yet: its dimensions are NaN.
    if not shape or not all(isinstance(length, int) for length in (*shape, *getattr(x, "shape", (None,)))):
        return
    try:
        np.broadcast_shapes(shape, x.shape)
    except ValueError:
        raise RectifierValueError(
            f"{function}: `{name}` must broadcast with x of shape {tuple(x.shape)}; got shape {shape}. "
            "Give it one value for each entry of the last axis, or reshape it with numpy.expand_dims."
        ) from None


def _integer_operands(row: Row, function: str, x: Any, parameters: Mapping[str, Any]) -> list[Any] | None:
    """x and its parameters as x's integer dtype; None where a parameter is not whole, so that x must promote."""
    operands = [x]
    dtype = x.dtype.newbyteorder("=")
    limit = int(np.iinfo(dtype).max)
    for name, value in parameters.items():
        if _is_lazy(value):
            return None
        checked = np.asarray(own_parameter(function, row.parameter(name), value, np.dtype(np.float64)))
        if (checked != np.floor(checked)).any():
            return None
        # Whole numbers stay exact. A bound beyond the dtype bounds nothing, and converting it would wrap;
        # float(limit) may round up, hence >=.
        if type(value) is int:
            operands.append(dtype.type(min(value, limit)))
            continue
        given = np.asarray(value)
        beyond = given >= limit if given.dtype.kind in "iu" else given >= float(limit)
        operands.append(np.where(beyond, dtype.type(limit), np.where(beyond, 0, given).astype(dtype))[()])
    return operands


def _apply(
    function: str,
    ufunc: np.ufunc,
    operands: list[Any],
    names: Iterable[str],
    out: Any,
    where: Any,
    dtype: np.dtype[Any],
) -> Any:
    """names: of the operands after x. dtype: of the result."""
    try:
        return ufunc(*operands, out=out, where=where)
    except (ValueError, TypeError) as error:
        refusal = error
    # NumPy refuses before it computes, and knows no names: said in words here, only once it is needed.
    for name, value in zip(names, operands[1:], strict=True):
        _check_broadcast(function, name, value, operands[0])
    if all(isinstance(operand, (np.ndarray, np.generic)) for operand in operands):
        _check_out(function, operands, out, where, dtype)
    raise refusal


def _check_out(function: str, operands: list[Any], out: Any, where: Any, dtype: np.dtype[Any]) -> None:
    shape = np.broadcast_shapes(*(np.shape(operand) for operand in operands))
    try:
        shape = np.broadcast_shapes(shape, np.shape(where))
    except ValueError:
        raise RectifierValueError(
            f"{function}: `where` must broadcast with the result of shape {shape}; got shape {np.shape(where)}. "
            "Pass a mask of x's shape."
        ) from None
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if out is None or out is Ellipsis:
        return
    if not isinstance(out, np.ndarray):
        if hasattr(out, "__array_ufunc__"):
            return
        raise RectifierTypeError(
            f"{function}: `out` must be an array; got {type(out).__name__}. Pass numpy.empty({shape}, numpy.{dtype})."
        )
    if not _broadcasts_into(shape, out.shape):
        raise RectifierValueError(
            f"{function}: `out` must have the shape of the result, {shape}, or one that it broadcasts to; "
            f"got {out.shape}. Pass numpy.empty({shape}, numpy.{dtype})."
        )
    if not np.can_cast(dtype, out.dtype, casting="same_kind"):
        raise RectifierTypeError(
            f"{function}: `out` must be of a dtype that {dtype} casts to within its kind; got {out.dtype}. "
            f"Pass an array of {dtype}."
        )
    if not out.flags.writeable:
        raise RectifierValueError(
            f"{function}: `out` must be writeable; got a read-only array. Pass numpy.empty({shape}, numpy.{dtype})."
        )


def _broadcasts_into(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def given_parameter(name: str, parameters: Mapping[str, Any]) -> Any:
    """What the keywords of a call give for the row's parameter, or its default; None for a row without.

    Raises RectifierTypeError for a keyword that is not the row's.
    """
    known = {p.name: p.default for p in family[name].parameters}
    if not parameters.keys() <= known.keys():
        raise unknown_parameter(name, parameters, tuple(known))
    return next(iter((known | dict(parameters)).values()), None)


def unknown_parameter(function: str, parameters: Mapping[str, Any], known: tuple[str, ...]) -> RectifierTypeError:
    """The error for a keyword that the function does not have."""
    name, value = next((name, value) for name, value in parameters.items() if name not in known)
    cure = f"Its parameters: {', '.join(known)}." if known else "It has no parameters."
    return RectifierTypeError(f"{function}: `{name}` is not a parameter of it; got {name}={value!r}. {cure}")
