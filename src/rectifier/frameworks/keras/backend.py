"""The framework that Keras runs on in this process, and what crosses from Keras to it."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np

from ...errors import RectifierTypeError, RectifierValueError
from .. import TITLES, framework_of

__all__ = ["BACKEND", "OWN", "held", "plain", "tensor"]

#: Keras takes its backend when it is imported, and keeps it.
BACKEND: str = keras.backend.backend()

if BACKEND not in ("torch", "jax", "tensorflow"):
    raise RectifierValueError(
        f"rectifier.keras: the backend of Keras must be 'torch', 'jax' or 'tensorflow'; got {BACKEND!r}. "
        "Set the environment variable KERAS_BACKEND before Keras is imported."
    )
#: The operations on the backend's own tensors.
OWN = importlib.import_module(f"rectifier.frameworks.{BACKEND}.ops")


def tensor(function: str, name: str, x: Any) -> Any:
    """x as a tensor of the backend: a tensor or Variable of it, a NumPy array, a number, a list.

    Raises RectifierTypeError for an array of another framework, which Keras would convert silently, and for what is
    no array.
    """
    if keras.ops.is_tensor(x):
        return x
    other = framework_of(x)
    if other not in (None, BACKEND):
        raise RectifierTypeError(
            f"{function}: `{name}` must be an array of {TITLES[BACKEND]}, on which Keras runs, a NumPy array or a "
            f"KerasTensor; got one of {TITLES[other]}. Convert it with numpy.asarray({name})."
        )
    if x is None or isinstance(x, (str, bytes)):
        raise RectifierTypeError(
            f"{function}: `{name}` must be an array of {TITLES[BACKEND]}, on which Keras runs, a NumPy array or a "
            f"KerasTensor; got {type(x).__name__}. Pass numbers."
        )
    return keras.ops.convert_to_tensor(x)


def held(parameter: Any) -> Any:
    """What a Variable holds now, in a stateless call too; anything else as it is."""
    return parameter.value if isinstance(parameter, keras.Variable) else parameter


def plain(owner: str, name: str, value: Any) -> Any:
    """A parameter as Python numbers, as a saved model holds it.

    Raises RectifierTypeError for one that cannot be: a Variable, whose value changes; a traced value, which has none.
    """
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    try:
        if isinstance(value, (keras.Variable, keras.KerasTensor)):
            raise TypeError
        return np.asarray(keras.ops.convert_to_numpy(value), np.float64).tolist()
    except Exception as error:  # each backend refuses a traced value with an error of its own
        raise RectifierTypeError(
            f"{owner}: `{name}` must be a number or an array of numbers to be saved; got {type(value).__name__}. "
            "Pass its values, or use PReLU, whose slope is learned and saved."
        ) from error
