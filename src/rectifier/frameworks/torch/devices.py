"""Which kernels there are for tensors on other devices than the CPU; that there are none is said once a device type."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from types import ModuleType

__all__ = ["kernels_of"]


@functools.cache
def kernels_of(device: str) -> ModuleType | None:
    """The module with kernels for this type of device; None where PyTorch's operators have to do, with a warning."""
    if device == "meta":
        return None
    if device == "cuda" and importlib.util.find_spec("triton") is not None:
        return importlib.import_module(".triton_kernels", __package__)
    cure = "Install Triton for kernels of its own." if device == "cuda" else "Results and memory are the same."
    warnings.warn(
        f"rectifier.torch: no kernels for {device} tensors; PyTorch's operators are composed, which is slower. {cure}",
        stacklevel=2,
    )
    return None
