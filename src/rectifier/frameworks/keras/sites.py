"""Which layer or function is a rectifier: Keras's own and ours, mapped to rows of the family. The one such table.

What is deliberately no site: calls of ``keras.ops.sigmoid``, ``tanh`` and ``abs`` inside a custom layer: outside
activations (losses, gates, attention) they are too common. As ``activation=`` of a layer they are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from ..._family import family
from ...checkup.flat import FLAT

__all__ = ["CALLS", "computes_plainly", "identify", "identify_call", "identify_function", "keeps_values"]

Site = tuple[str, dict[str, Any]]

#: Name of a function of Keras's → row of the family, or function with flat parts.
_NAMES: Mapping[str, str] = {
    **{name: name for name in ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "softplus", "sigmoid", "tanh")},
    **{name: name for name in ("gelu", "silu", "mish")},
    "hard_sigmoid": "hardsigmoid",
    "hard_silu": "hardswish",
    "hard_tanh": "hardtanh",
}
#: Calls that are watched for wherever they are made: functions of Keras's backend, through which all of its own go.
CALLS = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "softplus")
#: Parameter of a function of Keras's → that of the row, with Keras's default.
_PARAMETERS: Mapping[str, tuple[str, float]] = {
    "leaky_relu": ("negative_slope", 0.2),
    "elu": ("alpha", 1.0),
    "celu": ("alpha", 1.0),
}


def identify(layer: Any) -> Site | None:
    """The row of the family and the parameters of an activation layer, or None where it is none.

    Subclasses, ours among them, count as what they derive from. The slope of a PReLU is its variable: it is learned.

    >>> identify(keras.layers.LeakyReLU(0.2))
    ('leaky_relu', {'negative_slope': 0.2})
    >>> identify(keras.layers.ReLU(max_value=6.0)), identify(keras.layers.Dense(3))
    (('relu6', {}), None)
    """
    row = getattr(type(layer), "rectifier_row", None)
    if row is not None:  # ours
        return str(row), _ours(str(row), layer)
    match layer:
        case keras.layers.ReLU():
            return _relu(layer.negative_slope, layer.max_value, layer.threshold)
        case keras.layers.LeakyReLU():
            return "leaky_relu", {"negative_slope": float(layer.negative_slope)}
        case keras.layers.PReLU():
            return "prelu", {"negative_slope": getattr(layer, "alpha", None)}
        case keras.layers.ELU():
            return "elu", {"alpha": float(layer.alpha)}
        case keras.layers.Activation():
            return identify_function(layer.activation)
    return None


def _ours(row: str, layer: Any) -> dict[str, Any]:
    if row == "prelu":
        return {"negative_slope": getattr(layer, "alpha", None)}
    names = [p.name for p in family[row].parameters if p.of == "value"] if row in family else []
    return {name: _number(getattr(layer, name)) for name in names if getattr(layer, name, None) is not None}


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, (int, float)) else value


def _relu(slope: Any, ceiling: Any, threshold: Any) -> Site | None:
    """Keras's ReLU has three parameters; with others than these it is no function of the family."""
    if threshold:
        return None
    if slope:
        return ("leaky_relu", {"negative_slope": float(slope)}) if ceiling is None else None
    if ceiling is None:
        return "relu", {}
    return "relu6", {} if ceiling == 6 else {"ceiling": float(ceiling)}


def identify_function(function: Any) -> Site | None:
    """The same of a function, such as the ``activation`` of a layer.

    >>> identify_function(keras.activations.get("leaky_relu"))
    ('leaky_relu', {'negative_slope': 0.2})
    >>> identify_function(keras.activations.linear) is None
    True
    """
    if isinstance(function, keras.layers.Layer):
        return identify(function)
    home = getattr(function, "__module__", None) or ""
    name = getattr(function, "__name__", "")
    if home.startswith("rectifier.") and name in family:
        return name, {p.name: p.default for p in family[name].parameters if p.of == "value" and p.default is not None}
    if not home.startswith("keras."):
        return None
    row = _NAMES.get(name)
    return None if row is None else (row, _given(row, (), {}))


def identify_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Site:
    """The same of a call of a backend's function of this name (one of :data:`CALLS`)."""
    return name, _given(name, args[1:], kwargs)


def _given(row: str, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if row not in _PARAMETERS:  # ours take them by keyword
        of_value = {p.name for p in family[row].parameters if p.of == "value"} if row in family else set()
        return {name: _number(value) for name, value in kwargs.items() if name in of_value}
    name, default = _PARAMETERS[row]
    value = rest[0] if rest else kwargs.get(name, default)
    return {name: float(value)} if isinstance(value, (int, float)) and math.isfinite(value) else {name: value}


def keeps_values(function: Any) -> bool:
    """Whether an ``activation`` does nothing."""
    return function is None or getattr(function, "__name__", "") == "linear"


def known(row: str) -> bool:
    return row in family or row in FLAT


def computes_plainly(layer: Any) -> bool:
    """Whether its forward pass is Keras's own or ours, on its weights as they are: a subclass may compute anything."""
    call: Callable[..., Any] = type(layer).call
    home = getattr(inspect.unwrap(call), "__module__", "") or ""
    whole = getattr(layer, "quantization_mode", None) is None
    return whole and home.startswith(("keras.", "rectifier.")) and "call" not in vars(layer)
