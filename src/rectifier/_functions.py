"""The public functions: one :class:`Rectifier` per row of the family."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from . import _gated, _native
from ._family import POSITIVE_SLOPE, Parameter, Row, family
from ._gate import Gate
from .errors import RectifierTypeError
from .frameworks import numpy as numpy_ops
from .frameworks import ops_of
from .frameworks.dask import ChunkedGate, chunked

__all__ = ["FUNCTIONS", "Rectifier"]

#: Numbers that one function remembers for one dtype.
MOST_NUMBERS = 1024


class AtOnce(_native.Caller):
    """A ufunc whose common calls go to it at once; all others to ``slow``, which checks them at length.

    Common: an array proper, with the default parameter, a number seen before, or an array that needs no conversion.
    Checking takes ten times as long as the ufunc does on a small array.
    """

    def __init__(
        self,
        slow: Callable[..., Any],
        function: str,
        ufunc: np.ufunc | None,
        parameter: Parameter | None,
        dtypes: Iterable[np.dtype[Any]] = numpy_ops.FLOATS,
    ) -> None:
        """dtypes: of x, in the common calls."""
        self._parameter, self._function = parameter, function
        self._numbers: dict[np.dtype[Any], dict[float, Any]] = {}
        if parameter is None:
            super().__init__(slow, ufunc, None, dict.fromkeys(dtypes), self._numbers, 0.0, 0.0)
            return
        self._numbers |= {dtype: {} for dtype in dtypes}
        defaults: dict[np.dtype[Any], Any] = {}
        if parameter.default is not None:
            defaults = {dtype: self._operand(dtype, parameter.default) for dtype in self._numbers}
        domain = parameter.domain
        super().__init__(slow, ufunc, parameter.name, defaults, self._numbers, domain.low, domain.high)

    def _remember(self, x: Any, given: Mapping[str, Any]) -> None:
        """Check a number once: from now on calls with it are common. Raises RectifierError where it cannot be used."""
        value: Any = None if self._parameter is None else given.get(self._parameter.name)
        # By type: True is not 1 here. 0.0 and −0.0 would be one key.
        if type(x) is not np.ndarray or type(value) not in (float, int) or value == 0:
            return
        seen = self._numbers.get(x.dtype)
        if seen is not None:
            if len(seen) >= MOST_NUMBERS:
                seen.clear()
            seen[value] = self._operand(x.dtype, value)

    def _operand(self, dtype: np.dtype[Any], value: float) -> Any:
        """As an array of no dimensions: the ufunc would make one of a scalar at every call."""
        assert self._parameter is not None
        return np.asarray(numpy_ops.parameter_value(self._function, self._parameter, value, dtype))


class Rectifier:
    """One function of the rectified-linear family.

    Call it on an array of any framework: the result is an array of the same kind and dtype. NumPy arrays (and all
    that speak ``__array_ufunc__``) end in a true ufunc: ``out=`` and ``where=`` work, operands broadcast, a 0-d input
    gives a scalar, overlap of ``out`` with the input is handled. Integers and bool promote as in ``np.exp``, but
    ``relu``, ``relu6`` and ``abs`` keep integers.

    >>> import numpy as np, rectifier
    >>> rectifier.leaky_relu(np.array([-2.0, 3.0]), negative_slope=0.1)
    array([-0.2,  3. ])
    >>> rectifier.elu.derivative(np.float32(0.0), alpha=0.5)
    np.float32(0.5)
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.name = row.name
        kernel = "leaky_relu" if row.name == "prelu" else row.name
        self._value_ufunc: np.ufunc = getattr(_native, kernel)
        self._derivative_ufunc: np.ufunc = getattr(_native, f"{kernel}_derivative")
        self._inverse_ufunc: np.ufunc | None = getattr(_native, f"{kernel}_inverse") if row.inverse else None
        self._value_defaults = {p.name: p.default for p in row.parameters if p.of == "value"}
        self._inverse_row = _one_to_one(row)
        # The slope of abs, the ceiling of relu6 … shape the derivative as well as the value.
        self._derivative_defaults = {p.name: p.default for p in row.parameters}
        parameter = row.parameters[0] if row.parameters else None
        of_value, of_inverse = (parameter, self._inverse_row.parameters[0]) if self._value_defaults else (None, None)
        # relu6 keeps integers too, but its ceiling has to become one first.
        whole = numpy_ops.INTEGERS if row.integers and of_value is None else ()
        self._value = AtOnce(self._value_at_length, self.name, self._value_ufunc, of_value, [*numpy_ops.FLOATS, *whole])
        self._derivative = AtOnce(
            self._derivative_at_length, f"{self.name}.derivative", self._derivative_ufunc, parameter
        )
        self._inverse = AtOnce(
            self._inverse_at_length,
            f"{self.name}.inverse",
            self._inverse_ufunc,
            of_inverse,
            numpy_ops.FLOATS if row.inverse else (),
        )
        self.__doc__ = _docstring(row)
        self.__signature__ = _signature(self._value_defaults)

    # In Python, so that PyTorch's compiler can follow a call on its tensors.
    def __call__(self, x: Any, /, *positional: Any, out: Any = None, where: Any = True, **parameters: Any) -> Any:
        if positional:
            name = next(iter(self._value_defaults), "out")
            raise RectifierTypeError(
                f"{self.name}: `{name}` must be given by its name; got {len(positional)} more after x. "
                f"Write {self.name}(x, {name}=…)."
            )
        if type(x) is not ndarray:
            ops = ops_of(self.name, x)
            if ops is not None:
                return self._in_framework(ops, x, out, where, parameters)
        return self._value(x, out, where, parameters)

    def _value_at_length(self, x: Any, out: Any, where: Any, parameters: Mapping[str, Any]) -> Any:
        given = self._complete(self.name, self._value_defaults, parameters)
        self._value._remember(x, parameters)
        return numpy_ops.call(
            self.row,
            self.name,
            self._value_ufunc,
            x,
            given,
            out=out,
            where=where,
            keep_integers=self.row.integers,
        )

    def derivative(self, x: Any, /, *, out: Any = None, where: Any = True, **parameters: Any) -> Any:
        """f′(x), with the stated convention at each kink (see ``row.kinks``); NaN at NaN.

        x: a NumPy array (or one that speaks ``__array_ufunc__``) of any shape. Parameters as in the call; ``relu`` also
        takes ``at_zero`` in [0, 1]. Returns an array of x's dtype (integers promote as in ``np.exp``).
        Raises RectifierTypeError, RectifierValueError for an input, parameter or ``out`` that cannot be used.
        """
        return self._derivative(x, out, where, parameters)

    def _derivative_at_length(self, x: Any, out: Any, where: Any, parameters: Mapping[str, Any]) -> Any:
        function = f"{self.name}.derivative"
        self._refuse_other_frameworks(function, x)
        given = self._complete(function, self._derivative_defaults, parameters)
        self._derivative._remember(x, parameters)
        return numpy_ops.call(self.row, function, self._derivative_ufunc, x, given, out=out, where=where)

    def inverse(self, h: Any, /, *, out: Any = None, where: Any = True, **parameters: Any) -> Any:
        """The z with f(z) = h; NaN outside the range of f.

        There for leaky_relu (slope > 0), elu, celu, selu and softplus, which are one to one.
        Raises RectifierTypeError for the others.
        """
        return self._inverse(h, out, where, parameters)

    def _inverse_at_length(self, h: Any, out: Any, where: Any, parameters: Mapping[str, Any]) -> Any:
        function = f"{self.name}.inverse"
        if self._inverse_ufunc is None:
            raise RectifierTypeError(
                f"{function}: `{self.name}` must be one to one to have an inverse; got {self.row.formula}. "
                f"Those with one: {', '.join(row.name for row in family.values() if row.inverse)}."
            )
        self._refuse_other_frameworks(function, h)
        given = self._complete(function, self._value_defaults, parameters)
        self._inverse._remember(h, parameters)
        return numpy_ops.call(self._inverse_row, function, self._inverse_ufunc, h, given, out=out, where=where)

    def gate(self, x: Any, /) -> Any:
        """Which values are open (z > 0, or NaN), one bit each: a :class:`Gate`.

        x: a NumPy array of any shape. A Dask array, also in one of xarray's, gives a
        :class:`rectifier.frameworks.dask.ChunkedGate`, as lazy as x is: a Gate for each chunk.
        """
        function = f"{self.name}.gate"
        self._refuse_other_frameworks(function, x)
        chunks = chunked(x)
        if chunks is not None:
            return ChunkedGate(numpy_ops.input_array(function, chunks))
        return Gate(np.asarray(numpy_ops.input_array(function, x)))

    def with_gate(self, x: Any, /, *, out: Any = None, **parameters: Any) -> tuple[Any, Gate]:
        """``(h, gate)``: the value and the gate in one pass over x; the gate is all that :meth:`backward` needs.

        x: a NumPy array of any shape. Parameters as in :meth:`derivative`. out: an array of x's dtype, shape and memory
        layout, or x itself. Beside the gate, relu6 keeps one more bit a value (0 < z < ceiling); abs, and relu with an
        ``at_zero`` that is not 0, another (z == 0) only if a zero occurred.
        Raises RectifierTypeError, RectifierValueError for an input, parameter or ``out`` that cannot be used.

        >>> import numpy as np, rectifier
        >>> h, gate = rectifier.leaky_relu.with_gate(np.array([-2.0, 3.0]), negative_slope=0.1)
        >>> rectifier.leaky_relu.backward(np.array([10.0, 10.0]), gate)
        array([ 1., 10.])
        """
        function = f"{self.name}.with_gate"
        self._refuse_other_frameworks(function, x)
        if chunked(x) is not None:  # it would be computed, and held in one piece
            raise RectifierTypeError(
                f"{function}: `x` must be a NumPy array; got a Dask array. "
                f"Take {self.name}(x) and {self.name}.gate(x), which are as lazy as x is."
            )
        given = self._complete(function, self._derivative_defaults, parameters)
        of_value = {name: given[name] for name in self._value_defaults}

        def value(x: Any, out: Any) -> Any:
            return numpy_ops.call(
                self.row, function, self._value_ufunc, x, of_value, out=out, keep_integers=self.row.integers
            )

        return _gated.with_gate(self.row, x, given, out, value)

    def backward(self, dh: Any, gate: Gate, /, *, out: Any = None, **parameters: Any) -> Any:
        """dz = f′(z)·dh, with f′ read from the gate: relu, leaky_relu, prelu, abs and relu6.

        dh: a NumPy array of floats of the gate's shape. gate: from :meth:`with_gate`, whose parameters are used unless
        they are given here; from :meth:`gate` where the gate alone is enough (relu with ``at_zero`` 0, leaky_relu,
        prelu). out: an array of dh's dtype and shape, laid out in memory as the gate is, or dh itself. A closed gate of
        slope 0 gives 0, even of an infinite dh; where z was NaN the gate is open, so dz is dh.
        Raises RectifierTypeError for a function whose derivative the gate does not tell, RectifierValueError for a
        shape, a layout or a gate that does not fit.
        """
        function = f"{self.name}.backward"
        if self.name not in _gated.FROM_GATE:
            raise _gated.refuse(self.row)
        if not isinstance(gate, Gate):
            raise _gated.refuse_gate(function, gate)
        self._refuse_other_frameworks(function, dh)
        if chunked(dh) is not None:
            raise RectifierTypeError(
                f"{function}: `dh` must be a NumPy array; got a Dask array. "
                f"Multiply: dh * {self.name}.derivative(x), which is as lazy as they are."
            )
        taken = gate._kept
        known = taken.parameters if taken is not None and taken.function == self.name else {}
        given = self._complete(function, {**self._derivative_defaults, **known}, parameters)
        return _gated.backward(self.row, dh, gate, given, out)

    def _complete(
        self, function: str, defaults: Mapping[str, float | None], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The parameters in their order, with defaults filled in."""
        if not given.keys() <= defaults.keys():
            raise self._unknown(function, given, tuple(defaults))
        complete = {**defaults, **given}
        for name, default in defaults.items():
            if default is None and name not in given:
                raise RectifierTypeError(
                    f"{function}: `{name}` must be given; got none. "
                    f"Pass a number such as {self.row.parameter(name).domain.example}, or an array of them."
                )
        return complete

    def _unknown(self, function: str, given: Mapping[str, Any], known: tuple[str, ...]) -> RectifierTypeError:
        name = next(name for name in given if name not in known)
        if any(p.name == name and p.of == "derivative" for p in self.row.parameters):
            return RectifierTypeError(
                f"{function}: `{name}` is not a parameter of it; got {name}={given[name]!r}. "
                f"{self.name}.derivative takes it, and {self.name} of rectifier.torch, rectifier.jax and "
                "rectifier.tensorflow."
            )
        return numpy_ops.unknown_parameter(function, given, known)

    def _in_framework(self, ops: Any, x: Any, out: Any, where: Any, parameters: Mapping[str, Any]) -> Any:
        if self.row.comparison:
            raise RectifierTypeError(
                f"{self.name}: `x` must be a NumPy array, as this function is here to compare with; "
                f"got {ops.ARRAY}. Call the framework's own, or pass {ops.AS_NUMPY}."
            )
        if out is not None or where is not True:
            raise RectifierTypeError(
                f"{self.name}: `out` and `where` must be left out for {ops.ARRAY}; {ops.WITHOUT_OUT}"
            )
        return ops.apply(self.name, x, **self._complete(self.name, self._value_defaults, parameters))

    def _refuse_other_frameworks(self, function: str, x: Any) -> None:
        ops = ops_of(function, x)
        if ops is not None:
            raise RectifierTypeError(
                f"{function}: `x` must be a NumPy array; got {ops.ARRAY}. "
                f"Pass {ops.AS_NUMPY}, or differentiate with {ops.GRADIENT}."
            )

    def __repr__(self) -> str:
        return f"<rectifier.{self.name}: {self.row.formula}>"

    def _repr_html_(self) -> str:
        from .show.html import card

        return card(self.name)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _by_name, (self.name,)


class PRelu(Rectifier):
    """``prelu`` also has the derivative with respect to its slope."""

    def slope_derivative(self, x: Any, /, *, out: Any = None, where: Any = True) -> Any:
        """∂f/∂s = min(0, x), the same for every slope. x: a NumPy array of any shape; returns one of its dtype."""
        function = f"{self.name}.slope_derivative"
        self._refuse_other_frameworks(function, x)
        return numpy_ops.call(self.row, function, _native.leaky_relu_slope_derivative, x, {}, out=out, where=where)


def _one_to_one(row: Row) -> Row:
    """The row with the domains that an inverse asks for: a slope of 0 or below maps two inputs to one output."""
    return dataclasses.replace(
        row,
        parameters=tuple(
            dataclasses.replace(p, domain=POSITIVE_SLOPE) if p.name == "negative_slope" else p for p in row.parameters
        ),
    )


def _by_name(name: str) -> Rectifier:
    return FUNCTIONS[name]


def _signature(defaults: Mapping[str, float | None]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY),
            *(
                inspect.Parameter(name, keyword, default=inspect.Parameter.empty if default is None else default)
                for name, default in defaults.items()
            ),
            inspect.Parameter("out", keyword, default=None),
            inspect.Parameter("where", keyword, default=True),
        ]
    )


def _docstring(row: Row) -> str:
    kinks = "; ".join(f"at z = {kink.at}: {kink.derivative}" for kink in row.kinks) or "none"
    parameters = "\n".join(
        f"{p.name}: {p.meaning}; {p.domain.rule}; default {'none' if p.default is None else p.default}"
        + (" (derivative only)" if p.of == "derivative" else "")
        for p in row.parameters
    )
    arrays = "a NumPy array"
    if not row.comparison:
        arrays += ", one that speaks __array_ufunc__, a PyTorch tensor, a JAX array or a TensorFlow tensor"
    integers = "integer" if row.integers else "integer (promotes as in np.exp)"
    return f"""{row.title}: f(z) = {row.formula}.

Derivative: {row.derivative}. Convention at kinks: {kinks}. Range: {row.range}.

x: {arrays}, of any shape; float16, bfloat16, float32, float64, {integers}
{parameters}
out, where: as in a NumPy ufunc

Returns an array of the same kind and dtype. Raises RectifierTypeError for a dtype or ``out`` that cannot be used,
RectifierValueError for a parameter outside its domain or one that does not broadcast.

Source: {row.citation}.
"""


#: name → public function.
FUNCTIONS: Mapping[str, Rectifier] = {
    name: (PRelu if name == "prelu" else Rectifier)(row) for name, row in family.items()
}
