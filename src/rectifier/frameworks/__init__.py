"""One adapter per framework; frameworks differ only here.

A framework is found by its array, in ``sys.modules``: none is ever imported for the user.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ..errors import RectifierTypeError

__all__ = ["ops_of"]

#: Frameworks whose arrays NumPy would convert silently, and whose functions are not here.
_WITHOUT_OPS = ("jax", "jaxlib", "tensorflow", "keras")


def ops_of(function: str, x: Any) -> ModuleType | None:
    """The operations for this array's framework; None for NumPy and every array that speaks ``__array_ufunc__``.

    Raises RectifierTypeError for an array of a framework that has no operations here.
    """
    torch = sys.modules.get("torch")
    # Tensors, and what stands for one by PyTorch's protocol: the proxies of torch.fx, for one.
    if torch is not None and (isinstance(x, torch.Tensor) or hasattr(type(x), "__torch_function__")):
        from .torch import ops

        return ops
    if type(x).__module__.partition(".")[0] in _WITHOUT_OPS:
        raise RectifierTypeError(
            f"{function}: `x` must be a NumPy array, an array that speaks __array_ufunc__ or a PyTorch tensor; "
            f"got {type(x).__module__}.{type(x).__qualname__}. Convert it with numpy.asarray(x)."
        )
    return None
