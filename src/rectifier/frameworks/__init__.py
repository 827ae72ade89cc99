"""One adapter per framework; frameworks differ only here.

A framework is found by its array, in ``sys.modules``: none is ever imported for the user.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import RectifierTypeError

__all__ = ["TITLES", "framework_of", "ops_of", "refuse_mixed"]

#: Frameworks whose arrays NumPy would convert silently, and whose functions are not here.
_WITHOUT_OPS = ("jax", "jaxlib", "keras")
TITLES = {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow", "keras": "Keras"}


def framework_of(x: Any) -> str | None:
    """ "torch", "jax" or "tensorflow" where x is an array of theirs, "keras" for a symbolic one; else None."""
    torch = sys.modules.get("torch")
    # Tensors, and what stands for one by PyTorch's protocol: the proxies of torch.fx, for one.
    if torch is not None and (isinstance(x, torch.Tensor) or hasattr(type(x), "__torch_function__")):
        return "torch"
    if _is_of_keras(x, "KerasTensor"):  # a Variable of Keras's stands for an array of its backend, by its protocol
        return "keras"
    jax = sys.modules.get("jax")
    # Tracers count as arrays; __jax_array__ is the protocol of what stands for one: Flax's variables, for one.
    if jax is not None and (isinstance(x, jax.Array) or hasattr(type(x), "__jax_array__")):
        return "jax"
    # __tf_tensor__ is the protocol of what stands for a tensor: Keras's variables, for one. Ragged and sparse tensors
    # are TensorFlow's too, so that they are refused in its words.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and (
        hasattr(type(x), "__tf_tensor__") or type(x).__module__.partition(".")[0] == "tensorflow"
    ):
        return "tensorflow"
    return None


def _is_of_keras(x: Any, kind: str) -> bool:
    there = getattr(sys.modules.get("keras"), kind, None)  # Keras 2 has neither
    return there is not None and isinstance(x, there)


def ops_of(function: str, x: Any) -> ModuleType | None:
    """The operations for this array's framework; None for NumPy and every array that speaks ``__array_ufunc__``.

    Raises RectifierTypeError for an array of a framework that has no operations here.
    """
    framework = framework_of(x)
    if framework == "keras" or _is_of_keras(x, "Variable"):
        from .keras import ops as keras_ops

        return keras_ops
    if framework == "torch":
        from .torch import ops as torch_ops

        return torch_ops
    if framework == "jax":
        from .jax import ops as jax_ops

        return jax_ops
    if framework == "tensorflow":
        from .tensorflow import ops as tensorflow_ops

        return tensorflow_ops
    if type(x).__module__.partition(".")[0] in _WITHOUT_OPS:
        raise RectifierTypeError(
            f"{function}: `x` must be a NumPy array, an array that speaks __array_ufunc__, a PyTorch tensor, a JAX "
            f"array or a TensorFlow tensor; got {type(x).__module__}.{type(x).__qualname__}. "
            "Convert it with numpy.asarray(x)."
        )
    return None


def refuse_mixed(function: str, name: str, value: Any, own: str | None) -> None:
    """Refuse a parameter that is an array of another framework than x, which would be converted silently.

    own: x's framework; None for NumPy, with which every array goes together that speaks ``__array_ufunc__``.
    """
    other = framework_of(value)
    if other == own:
        return
    if other is not None:
        title = TITLES[other]
    elif hasattr(value, "__array_ufunc__") and not isinstance(value, (np.ndarray, np.generic)):
        title = type(value).__module__.partition(".")[0]
    else:
        return
    kinds = "a number or an array of NumPy" if own is None else f"a number, a NumPy array or an array of {TITLES[own]}"
    raise RectifierTypeError(
        f"{function}: `{name}` must be {kinds}, as x is; "
        f"got one of {title}. Convert one of them: a call cannot mix frameworks."
    )
