"""The native kernels on plain CPU tensors: the same ufuncs that NumPy arrays end in, on the tensor's own memory."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ... import _native
from ..._family import family

__all__ = ["array", "derivative", "reach", "value"]

Tensor = torch.Tensor

_ROWS = [row for row in family.values() if not row.comparison]
_UFUNC = {row.name: "leaky_relu" if row.name == "prelu" else row.name for row in _ROWS}
_VALUE = {name: getattr(_native, ufunc) for name, ufunc in _UFUNC.items()}
_DERIVATIVE = {name: getattr(_native, f"{ufunc}_derivative") for name, ufunc in _UFUNC.items()}
#: The parameter is an operand of the derivative's ufunc, and of the value's too except where it is only a convention.
_VALUE_OPERAND = {row.name for row in _ROWS if row.parameters and row.parameters[0].of == "value"}
_DERIVATIVE_OPERAND = {row.name for row in _ROWS if row.parameters}

_DTYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.int8: np.dtype(np.int8),
    torch.int16: np.dtype(np.int16),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
    torch.uint8: np.dtype(np.uint8),
    torch.uint16: np.dtype(np.uint16),
    torch.uint32: np.dtype(np.uint32),
    torch.uint64: np.dtype(np.uint64),
}
try:
    import ml_dtypes

    _DTYPES[torch.bfloat16] = np.dtype(ml_dtypes.bfloat16)
except ImportError:  # NumPy has no bfloat16 then: the composition of operators takes it
    pass


def reach(x: Tensor) -> bool:
    """Whether the kernels may touch this tensor's memory here and now.

    It must be a plain dense CPU tensor, with no tracer, function transform, forward derivative or dispatch mode
    watching the operators: they would see nothing.
    """
    return (
        (type(x) is Tensor or type(x) is torch.nn.Parameter)
        and x.is_cpu
        and x.dtype in _DTYPES
        and x.layout is torch.strided
        and not x.is_neg()
        # There are no public questions for these; PyTorch's own Python code asks in the same way. The second knows the
        # batches of autograd.grad(is_grads_batched=True), which are no transform to the first.
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._functorch.is_legacy_batchedtensor(x)
        and torch._C._len_torch_dispatch_stack() == 0
        and forward_ad._current_level < 0
        and not torch._C._is_tracing()
    )


def value(name: str, z: Tensor, parameter: float | Tensor, out: Tensor | None = None) -> Tensor:
    """f(z) with the bits of NumPy's, in z's memory layout, or into ``out`` (which may be z)."""
    operands = [_parameter(z, parameter)] if name in _VALUE_OPERAND else []
    return _call(_VALUE[name], z, operands, out)


def derivative(name: str, z: Tensor, parameter: float | Tensor) -> Tensor:
    """f′(z) with the bits of NumPy's, in z's memory layout."""
    operands = [_parameter(z, parameter)] if name in _DERIVATIVE_OPERAND else []
    return _call(_DERIVATIVE[name], z, operands, None)


def array(x: Tensor) -> Any:
    """The tensor's memory as a NumPy array, for as long as the tensor is held.

    Not ``Tensor.numpy()``: that forbids for good that the tensor's storage is resized, which is how sharded training
    frees its memory.
    """
    dtype = _DTYPES[x.dtype]
    if x.is_contiguous():
        return np.ndarray(tuple(x.shape), dtype, _memory(x, x.numel() * dtype.itemsize))
    strides = x.stride()
    last = sum((n - 1) * stride for n, stride in zip(x.shape, strides, strict=True))
    memory = _memory(x, (last + 1) * dtype.itemsize if x.numel() else 0)
    return np.ndarray(tuple(x.shape), dtype, memory, 0, [stride * dtype.itemsize for stride in strides])


def _memory(x: Tensor, size: int) -> Any:
    return (ctypes.c_char * size).from_address(x.data_ptr())


# An overflow to infinity is no warning in PyTorch.
@np.errstate(all="ignore")
def _call(ufunc: np.ufunc, z: Tensor, operands: list[Any], out: Tensor | None) -> Tensor:
    # PyTorch's memory rather than NumPy's, for its alignment and its allocator.
    result = torch.empty_like(z) if out is None else out
    ufunc(array(z), *operands, out=array(result))
    return result


def _parameter(z: Tensor, parameter: float | Tensor) -> Any:
    if isinstance(parameter, Tensor):
        return array(parameter)
    return np.float64(parameter) if z.dtype is torch.float64 else np.float32(parameter)
