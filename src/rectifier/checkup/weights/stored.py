"""What every format of weights is read into: named arrays, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import RectifierValueError
from .names import shown

__all__ = ["CURE", "Tensor", "Weights", "numpy_dtype", "unreadable"]

CURE = (
    "Pass a .safetensors file, a .pt or .pth written with torch.save(model.state_dict(), FILE), an .npz of arrays, "
    "or a Hugging Face folder."
)

#: A dtype of safetensors → its NumPy dtype; after a dot, the name that ml_dtypes gives it.
_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "C64": "<c8",
    "BF16": ".bfloat16",
    "F8_E4M3": ".float8_e4m3fn",
    "F8_E5M2": ".float8_e5m2",
    "F8_E4M3FNUZ": ".float8_e4m3fnuz",
    "F8_E5M2FNUZ": ".float8_e5m2fnuz",
    "F8_E8M0": ".float8_e8m0fnu",
}


def unreadable(path: object, reason: str, cure: str = CURE) -> RectifierValueError:
    return RectifierValueError(
        f"check_weights: `path` must be a file of weights; got {shown(str(path))!r}: {reason}. {cure}"
    )


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """The dtype of a name in a safetensors header; None for one that no array can hold.

    Raises ModuleNotFoundError where it needs ml_dtypes, which is absent.
    """
    code = _DTYPES.get(name)
    if code is None:
        return None
    if code.startswith("."):
        import ml_dtypes

        code = getattr(ml_dtypes, code[1:])
    dtype: np.dtype[Any] = np.dtype(code)
    return dtype


@dataclass(frozen=True, eq=False)
class Tensor:
    """One array of a file; ``read`` gives it, without a copy where the file can be mapped."""

    name: str
    """As it is shown."""
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], npt.NDArray[Any]] | None
    """None where the dtype is none that can be read."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A file or folder of weights."""

    path: str
    format: str
    tensors: Mapping[str, Tensor]
    """Shown name → tensor, in the file's order."""
    ordered: bool
    """True where that order is the one in which the model's parts were made; safetensors files are sorted."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The model's ``config.json`` where there is one."""
    told: tuple[str, ...] = ()
    """What could not be read, one line each."""
