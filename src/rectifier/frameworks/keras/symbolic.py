"""Calls on symbolic tensors: shape and dtype of the result now, the operation as a node of the functional model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ..._family import family
from ...errors import RectifierTypeError, RectifierValueError
from .. import refuse_mixed
from ..numpy import parameter_value
from ..saving import check_choice
from .backend import BACKEND, OWN, held, plain

__all__ = ["Rectify", "check", "own"]

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


def _floating(x: Any) -> bool:
    """Whether a tensor holds numbers that the functions are computed in as they are."""
    return keras.backend.standardize_dtype(x.dtype) in _FLOATS


def _promoted(name: str, x: Any, parameters: Mapping[str, Any]) -> str:
    """The dtype in which f(x) is computed: x's own, or Keras's for what is not floating and does not stay whole.

    Raises RectifierTypeError for complex numbers and all others that no function takes.
    """
    dtype: str = keras.backend.standardize_dtype(x.dtype)
    if dtype in _FLOATS:
        return dtype
    if dtype not in _INTEGERS and dtype != "bool":
        raise RectifierTypeError(
            f"{name}: `x` must hold float16, bfloat16, float32, float64, integers or bool; got {dtype}. "
            'Convert it with keras.ops.cast(x, "float32").'
        )
    row = family[name]
    whole = all(_is_whole(parameters[p.name]) for p in row.parameters if p.of == "value" and row.integers)
    if row.integers and dtype != "bool" and whole:
        return dtype
    return str(keras.backend.result_type(dtype, float))


def _is_whole(value: Any) -> bool:
    given = np.asarray(keras.ops.convert_to_numpy(value))
    return bool((given == np.floor(given)).all())


# The name is what a saved model refers to.
@keras.saving.register_keras_serializable("rectifier")
class Rectify(keras.Operation):  # type: ignore[misc]
    """One call of a function of the family: what ``rk.elu(keras_tensor)`` leaves in a functional model.

    function: its name in ``rectifier.family``
    parameters: of the function, by name
    save: what the backward pass is to read
    Raises RectifierTypeError, RectifierValueError for a parameter that cannot be used.
    """

    def __init__(
        self, function: str, parameters: Mapping[str, Any], *, save: str | None = None, name: str | None = None
    ) -> None:
        label = f"rectifier_{function}"
        super().__init__(name=name or f"{label}_{keras.backend.get_uid(label)}")
        check_choice(function, function, save, learned=function == "prelu")
        for argument, value in parameters.items():
            check(function, function, argument, value)
        self.function, self.parameters, self.save = function, dict(parameters), save

    def call(self, x: Any) -> Any:
        return own(self.function, x, self.parameters, self.save)

    def compute_output_spec(self, x: Any) -> Any:
        """A symbolic tensor of x's shape and of the result's dtype."""
        for name, value in self.parameters.items():
            _check_broadcast(self.function, name, value, x)
        return keras.KerasTensor(x.shape, dtype=_promoted(self.function, x, self.parameters))

    def get_config(self) -> dict[str, Any]:
        """What a saved model holds. Raises RectifierTypeError for a parameter that cannot be saved."""
        numbers = {name: plain(self.function, name, value) for name, value in self.parameters.items()}
        return {**super().get_config(), "function": self.function, "parameters": numbers, "save": self.save}


def check(owner: str, function: str, name: str, value: Any) -> None:
    """Refuse a parameter when a layer or a node is made, not when it is first called; one of tensors is left to then.

    Raises RectifierTypeError, RectifierValueError.
    """
    if not isinstance(value, keras.Variable) and not keras.ops.is_tensor(value):
        refuse_mixed(owner, name, value, BACKEND)
        parameter_value(owner, family[function].parameter(name), value, np.dtype(np.float32))


def own(name: str, x: Any, parameters: Mapping[str, Any], save: str | None) -> Any:
    """f(x) by the backend's own operations, for a tensor of its."""
    if not _floating(x):
        dtype = _promoted(name, x, parameters)
        if dtype != keras.backend.standardize_dtype(x.dtype):
            x = keras.ops.cast(x, dtype)
    return getattr(OWN, name)(x, **{key: held(value) for key, value in parameters.items()}, save=save)


def _check_broadcast(function: str, name: str, value: Any, x: Any) -> None:
    shape = tuple(np.shape(value))
    sizes = tuple(x.shape)[::-1]
    if len(shape) <= len(sizes) and all(
        mine == 1 or theirs in (None, mine) for mine, theirs in zip(shape[::-1], sizes, strict=False)
    ):
        return
    raise RectifierValueError(
        f"{function}: `{name}` must broadcast to x of shape {tuple(x.shape)}; got shape {shape}. "
        "Give it one value for each entry of the last axis, or reshape it with keras.ops.expand_dims."
    )
