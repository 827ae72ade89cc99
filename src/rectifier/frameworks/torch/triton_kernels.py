"""The functions that a gate tells, in Triton: h and its packed gate in one pass, dz from the gate in another.

The bits are those of :class:`rectifier.Gate`: flat over memory order, least significant first, padded with zeros. Only
this module imports Triton, and only a CUDA tensor (or a test in Triton's interpreter) imports this module.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from . import kept

__all__ = ["FromGate", "backward", "reach", "with_gate"]

Tensor = torch.Tensor

_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32})
#: Bytes of a plane that one program makes: 1,024 values, eight to a thread.
_BYTES = 128


def reach(x: Tensor, parameter: float | Tensor) -> bool:
    """Whether the kernels may touch this tensor's memory: a plain CUDA tensor that nothing watches, and a number.

    float64 is left to PyTorch's operators, as Triton passes numbers in float32.
    """
    return (
        (type(x) is Tensor or type(x) is torch.nn.Parameter)
        and x.is_cuda
        and x.dtype in _DTYPES
        and x.layout is torch.strided
        and not isinstance(parameter, Tensor)
        and torch._C._len_torch_dispatch_stack() == 0
    )


class FromGate(torch.autograd.Function):
    """h = f(z); the backward pass reads the gate."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, parameter: float, name: str) -> Tensor:
        h, bits, plane = with_gate(name, z, parameter)
        ctx.save_for_backward(bits, plane)
        ctx.how = name, parameter, h.stride()
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (dh,) = gradients
        bits, plane = ctx.saved_tensors
        name, parameter, strides = ctx.how
        if torch.is_grad_enabled():  # it is itself to be differentiated
            return kept.from_gate(name, dh, strides, parameter, bits, plane), None, None
        return backward(name, dh, strides, parameter, bits, plane), None, None


def with_gate(name: str, z: Tensor, parameter: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """h, the plane of what is open (relu6: of what lies inside), and the plane of zeros for abs and relu′(0) ≠ 0."""
    if not torch.ops.aten.is_non_overlapping_and_dense.default(z):
        z = z.contiguous()
    h = torch.empty_like(z)
    bits = torch.empty((z.numel() + 7) // 8, dtype=torch.uint8, device=z.device)
    plane = torch.empty_like(bits) if name == "abs" or (name == "relu" and parameter != 0) else None
    if z.numel():
        grid = (triton.cdiv(bits.numel(), _BYTES),)
        _with_gate[grid](z, h, bits, plane, z.numel(), parameter, name, plane is not None, _BYTES)
    return h, bits, plane


def backward(
    name: str, dh: Tensor, strides: tuple[int, ...], parameter: float, bits: Tensor, plane: Tensor | None
) -> Tensor:
    """dz from what :func:`with_gate` gave with an h of these strides."""
    if dh.stride() != strides:  # a gradient from a sum has none of its own
        dh = torch.empty_strided(dh.shape, strides, dtype=dh.dtype, device=dh.device).copy_(dh)
    dz = torch.empty_strided(dh.shape, strides, dtype=dh.dtype, device=dh.device)
    if dz.numel():
        grid = (triton.cdiv(bits.numel(), _BYTES),)
        _backward[grid](dh, dz, bits, plane, dz.numel(), parameter, name, plane is not None, _BYTES)
    return dz


@triton.jit  # type: ignore[untyped-decorator]
def _packed(booleans: Any, each: Any) -> Any:
    return tl.sum(booleans.to(tl.int32) << each, axis=1).to(tl.uint8)


@triton.jit  # type: ignore[untyped-decorator]
def _with_gate(
    z_at: Any,
    h_at: Any,
    bits_at: Any,
    plane_at: Any,
    n: Any,
    parameter: Any,
    NAME: tl.constexpr,
    PLANE: tl.constexpr,
    BYTES: tl.constexpr,
) -> None:
    byte = tl.program_id(0).to(tl.int64) * BYTES + tl.arange(0, BYTES)
    each = tl.arange(0, 8)[None, :]
    at = byte[:, None] * 8 + each
    there = at < n
    stored = tl.load(z_at + at, mask=there)
    z = stored.to(tl.float32)
    opened = (z <= 0) == 0  # a NaN is open
    if NAME == "relu":
        h = tl.where(z < 0, 0.0, z)  # −0.0 and NaN stay
    elif NAME == "relu6":
        h = tl.where(z > parameter, parameter, tl.where(z < 0, 0.0, z))
        opened = ((z <= 0) | (z >= parameter)) == 0
    elif NAME == "abs":
        h = tl.abs(z)
    else:  # a slope of 0 gives −0.0 at −∞ as everywhere below 0
        h = tl.where(z > 0, z, parameter * tl.where((parameter == 0) & (z < 0), -1.0, z))
    tl.store(h_at + at, h.to(stored.dtype), mask=there)
    tl.store(bits_at + byte, _packed(opened & there, each), mask=byte * 8 < n)
    if PLANE:
        tl.store(plane_at + byte, _packed((z == 0) & there, each), mask=byte * 8 < n)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(
    dh_at: Any,
    dz_at: Any,
    bits_at: Any,
    plane_at: Any,
    n: Any,
    parameter: Any,
    NAME: tl.constexpr,
    PLANE: tl.constexpr,
    BYTES: tl.constexpr,
) -> None:
    byte = tl.program_id(0).to(tl.int64) * BYTES + tl.arange(0, BYTES)
    each = tl.arange(0, 8)[None, :]
    at = byte[:, None] * 8 + each
    there = at < n
    stored = tl.load(dh_at + at, mask=there)
    dh = stored.to(tl.float32)
    bits = tl.load(bits_at + byte, mask=byte * 8 < n, other=0).to(tl.int32)
    if NAME == "relu" or NAME == "relu6":
        closed = tl.zeros_like(dh)
    elif NAME == "abs":
        closed = -dh
    else:
        closed = parameter * dh
    if PLANE:
        zeros = tl.load(plane_at + byte, mask=byte * 8 < n, other=0).to(tl.int32)
        at_zero = parameter * dh if NAME == "relu" else tl.zeros_like(dh)
        closed = tl.where(((zeros[:, None] >> each) & 1) != 0, at_zero, closed)
    dz = tl.where(((bits[:, None] >> each) & 1) != 0, dh, closed)
    tl.store(dz_at + at, dz.to(stored.dtype), mask=there)
