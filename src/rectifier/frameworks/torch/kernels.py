"""The native kernels on plain CPU tensors: the loops that NumPy arrays end in, on the tensor's own memory.

Memory goes over by its address: an array around each tensor would take longer than a small ReLU. So what the loops are
told here must be true: one dtype, one length, no gaps. Tensors that lie otherwise are copied first.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ... import _native
from ..._family import family

__all__ = [
    "BYTES",
    "CLOSED",
    "PLAIN",
    "TWO_PLANES",
    "array",
    "backward",
    "bound",
    "gradient",
    "reach",
    "reach_kept",
    "unwatched",
    "value",
    "watched_value",
    "with_gate",
]

Tensor = torch.Tensor

_ROWS = [row for row in family.values() if not row.comparison]
_LOOP = {row.name: "leaky_relu" if row.name == "prelu" else row.name for row in _ROWS}
_UFUNC: dict[str, np.ufunc] = {name: getattr(_native, loop) for name, loop in _LOOP.items()}
#: Where the parameter is only a convention of the derivative, the value has none.
_VALUE_OPERAND = {row.name for row in _ROWS if row.parameters and row.parameters[0].of == "value"}
#: As the loops number them.
CODE = {torch.float16: 0, torch.float32: 1, torch.float64: 2, torch.bfloat16: 3}
#: By that number: the bits of an address that are 0 if it is aligned.
_UNALIGNED = (1, 3, 7, 1)
_value_at, _gradient_at = _native.value_at, _native.gradient_at
_with_gate_at, _backward_at = _native.with_gate_at, _native.backward_at
TWO_PLANES = frozenset({"abs", "relu6"})
#: What stands for f′ where the gate is closed.
CLOSED = {"relu": "nothing", "leaky_relu": "slope", "prelu": "slope", "abs": "mirror", "relu6": "nothing"}

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


# Asked at every call: bound once, as the way to each through three modules takes as long as the answer.
_strided = torch.strided
PLAIN = frozenset({Tensor, torch.nn.Parameter})
_transforms_active = torch._C._are_functorch_transforms_active
_is_batched = torch._C._functorch.is_legacy_batchedtensor
_modes, _is_tracing = torch._C._len_torch_dispatch_stack, torch._C._is_tracing
_empty_like, _uint8 = torch.empty_like, torch.uint8
#: Planes of bits are made of this one, which takes less time than to name a dtype, and no default device turns it.
BYTES = torch.empty(0, dtype=torch.uint8, device="cpu")


def reach(x: Tensor) -> bool:
    """Whether the kernels may touch this tensor's memory here and now.

    It must be a plain dense CPU tensor, with no tracer, function transform, forward derivative or dispatch mode
    watching the operators: they would see nothing.
    """
    return type(x) in PLAIN and x.dtype in _DTYPES and unwatched(x)


def unwatched(x: Tensor) -> bool:
    """The same for a tensor whose type and dtype are known to be right."""
    return (
        x.is_cpu
        and x.layout is _strided
        and not x.is_neg()
        # There are no public questions for these; PyTorch's own Python code asks in the same way. The second knows the
        # batches of autograd.grad(is_grads_batched=True), which are no transform to the first.
        and not _transforms_active()
        and not _is_batched(x)
        and _modes() == 0
        and forward_ad._current_level < 0
        and not _is_tracing()
    )


def reach_kept(bits: Tensor, n: int) -> bool:
    """Whether a plane is still as it was kept, of n values: hooks may have unpacked it otherwise."""
    return (
        bits.dtype is _uint8
        and bits.numel() == (n + 7) >> 3
        and bits.is_contiguous()
        and bits.is_cpu
        and type(bits) is Tensor
    )


def bound(name: str, dtype: torch.dtype) -> tuple[int, int, str]:
    """What the loops are told of a dtype and a function: its number, the bits of an unaligned address, its name."""
    code = CODE[dtype]
    return code, _UNALIGNED[code], _LOOP[name]


def value(name: str, z: Tensor, parameter: float | Tensor, out: Tensor | None = None) -> Tensor:
    """f(z) with the bits of NumPy's, in z's memory layout, or into ``out`` (which may be z)."""
    if isinstance(parameter, Tensor) and out is None and name in ("leaky_relu", "prelu"):
        return with_gate(name, z, parameter, False)[0]  # arrays for the ufunc would take longer than a gate too many
    h = _empty_like(z) if out is None else out
    if not isinstance(parameter, Tensor) and _alike(z, h):
        _value_at(_LOOP[name], CODE[z.dtype], z.data_ptr(), h.data_ptr(), z.numel(), parameter, False)
        return h
    operands = [_operand(z, parameter)] if name in _VALUE_OPERAND else []
    with np.errstate(all="ignore"):  # an overflow to infinity is no warning in PyTorch
        _UFUNC[name](array(z), *operands, out=array(h))
    return h


def watched_value(name: str, z: Tensor, parameter: float | Tensor) -> tuple[Tensor, bool]:
    """f(z), and whether some of it has underflowed or overflowed, so that f′ cannot be told from it."""
    if isinstance(parameter, Tensor):
        h = value(name, z, parameter)
        return h, bool((h < torch.finfo(h.dtype).smallest_normal).any())
    h = _empty_like(z)
    z = _like(z, h)
    return h, _value_at(_LOOP[name], CODE[z.dtype], z.data_ptr(), h.data_ptr(), z.numel(), parameter, True)


def with_gate(name: str, z: Tensor, parameter: float | Tensor, inplace: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """h in z's memory layout (or in z itself), and the planes of bits that the backward pass needs of it.

    The first says where dh passes; the second, of relu with a derivative at 0 and of abs, where z was 0, and is None
    where it never was. Bits lie in the order of h's memory.
    """
    h, n, code = _empty_like(z), z.numel(), CODE[z.dtype]
    bits = BYTES.new_empty((n + 7) >> 3)
    loop, plane, plane_at = _LOOP[name], None, 0
    if name in TWO_PLANES or (name == "relu" and (isinstance(parameter, Tensor) or parameter != 0)):
        plane = BYTES.new_empty((n + 7) >> 3)
        plane_at = plane.data_ptr()
        if name == "relu":
            loop, parameter = "relu_and_zeros", 0.0
    source = to = z.data_ptr()
    if inplace or not z.is_contiguous() or source & _UNALIGNED[code]:
        h, source, to = _placed(z, h, inplace)
    else:
        to = h.data_ptr()
    told, held = _pattern(parameter, h) if isinstance(parameter, Tensor) else (parameter, None)
    any_set = _with_gate_at(loop, code, source, to, n, told, bits.data_ptr(), plane_at)
    del held
    if inplace and h is not z:
        h = z.copy_(h)
    return (h, plane, None) if name == "relu6" else (h, bits, plane if any_set else None)  # type: ignore[return-value]


def backward(
    name: str,
    dh: Tensor,
    strides: tuple[int, ...] | None,
    parameter: float | Tensor,
    bits: Tensor,
    plane: Tensor | None,
) -> Tensor:
    """dz from what :func:`with_gate` kept of an h with these strides (None: contiguous), and laid out like it."""
    code, source = CODE[dh.dtype], dh.data_ptr()
    if strides is None and dh.is_contiguous() and not source & _UNALIGNED[code]:
        dz = _empty_like(dh)
    else:
        dz, laid = _laid(dh, strides)
        source = laid.data_ptr()
    closed, plane_at = CLOSED[name], 0
    if plane is not None:
        plane_at = plane.data_ptr()
        if name == "relu":
            closed = "share"
    told, held = _pattern(parameter, dz) if isinstance(parameter, Tensor) else (parameter, None)
    _backward_at(closed, code, source, dz.data_ptr(), dh.numel(), told, bits.data_ptr(), plane_at)
    del held
    return dz


def gradient(name: str, kept: Tensor, dh: Tensor, parameter: float | Tensor) -> Tensor:
    """f′·dh in one pass, f′ from z or, for a name that ends in ``_from_output``, from h."""
    dz, code, at, above = _empty_like(kept), CODE[kept.dtype], kept.data_ptr(), dh.data_ptr()
    copy = None
    if (at | above) & _UNALIGNED[code] or not (kept.is_contiguous() and dh.is_contiguous()):
        copy = _like(kept, dz)
        at = copy.data_ptr()
        above = (dh if _alike(dh, dz) else dz.copy_(dh)).data_ptr()
    told, held = _pattern(parameter, dz) if isinstance(parameter, Tensor) else (parameter, None)
    _gradient_at(_LOOP.get(name, name), code, at, above, dz.data_ptr(), dz.numel(), told)
    del copy, held
    return dz


def _placed(z: Tensor, h: Tensor, inplace: bool) -> tuple[Tensor, int, int]:
    """The tensor that is written (h, or z itself), and the addresses to read from and to write to."""
    at = z.data_ptr()
    if (z.is_contiguous() or z.stride() == h.stride()) and not at & _UNALIGNED[CODE[z.dtype]]:
        return (z, at, at) if inplace else (h, at, h.data_ptr())
    h.copy_(z)
    return h, h.data_ptr(), h.data_ptr()


def _alike(x: Tensor, h: Tensor) -> bool:
    """Whether x lies in memory as h does, which has no gaps unless it is x itself."""
    if x.is_contiguous():
        if not h.is_contiguous():
            return False
    elif x is h or x.stride() != h.stride():
        return False
    return not (x.data_ptr() | h.data_ptr()) & _UNALIGNED[CODE[x.dtype]]


def _like(x: Tensor, h: Tensor) -> Tensor:
    """x, or a copy of it that lies as h does."""
    return x if _alike(x, h) else torch.empty_like(h).copy_(x)


def _laid(dh: Tensor, strides: tuple[int, ...] | None) -> tuple[Tensor, Tensor]:
    """A fresh tensor with these strides, and dh as it lies in it (which may be the same)."""
    if strides is None:
        if dh.is_contiguous():
            dz = _empty_like(dh)
            return dz, dh if _alike(dh, dz) else dz.copy_(dh)
        dz = _empty_like(dh, memory_format=torch.contiguous_format)
    else:
        dz = torch.empty_strided(dh.shape, strides, dtype=dh.dtype)
    return dz, dh if _alike(dh, dz) else dz.copy_(dh)


def _pattern(parameter: Tensor, h: Tensor) -> tuple[Any, Tensor | None]:
    """A parameter as the loops take it: (address, how often each entry is repeated, how many there are); its holder."""
    if parameter.numel() == 1:
        return (parameter.data_ptr(), 1, 1), parameter
    strides = h.stride()
    order = sorted(range(h.ndim), key=lambda axis: -strides[axis])
    laid = parameter.reshape((1,) * (h.ndim - parameter.ndim) + tuple(parameter.shape)).permute(order)
    sizes = [h.shape[axis] for axis in order]
    varying = [axis for axis, size in enumerate(laid.shape) if size != 1]
    first, last = varying[0], varying[-1]
    middle = laid.reshape(laid.shape[first : last + 1]).expand(sizes[first : last + 1])
    repeats = middle.contiguous().reshape(-1)
    return (repeats.data_ptr(), math.prod(sizes[last + 1 :]), repeats.numel()), repeats


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


def _operand(z: Tensor, parameter: float | Tensor) -> Any:
    if isinstance(parameter, Tensor):
        return array(parameter)
    return np.float64(parameter) if z.dtype is torch.float64 else np.float32(parameter)
