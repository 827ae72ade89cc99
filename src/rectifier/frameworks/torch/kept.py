"""f′ composed of operators from the plane of bits that a forward pass kept, and z from its output.

The way of second derivatives, of gradients batched by vmap and of whatever else watches operators; the kernels go the
same way in one pass.
"""

from __future__ import annotations

import torch

from . import composed

__all__ = ["from_gate", "input_from_output"]

Tensor = torch.Tensor


def from_gate(
    name: str,
    dh: Tensor,
    strides: tuple[int, ...] | None,
    parameter: float | Tensor,
    bits: Tensor,
    plane: Tensor | None,
) -> Tensor:
    """dz from what ``kernels.with_gate`` kept of an h with these strides; differentiable in dh."""
    wide = torch.float64 if dh.dtype is torch.float64 else torch.float32
    opened = _unpacked(bits, dh.shape, strides)
    closed = parameter if name in ("leaky_relu", "prelu") else -1.0 if name == "abs" else 0.0
    slope = torch.where(opened, torch.ones((), dtype=wide, device=dh.device), closed)
    if plane is not None:
        slope = torch.where(_unpacked(plane, dh.shape, strides), parameter if name == "relu" else 0.0, slope)
    return _product(name, slope.to(wide), dh)


def input_from_output(h: Tensor, slope: Tensor) -> Tensor:
    """z of a leaky_relu with a positive slope, in float64 for float64 h and float32 otherwise."""
    wide = h if h.dtype.itemsize > 2 else h.float()
    return torch.where(wide > 0, wide, wide / slope)


def _product(name: str, slope: Tensor, dh: Tensor) -> Tensor:
    wide = dh if dh.dtype.itemsize > 2 else dh.float()
    if name in composed.BLOCKING:
        wide = torch.where(slope != 0, wide, 0.0)
    return (slope * wide).to(dh.dtype)


def _unpacked(bits: Tensor, shape: torch.Size, strides: tuple[int, ...] | None) -> Tensor:
    """One boolean a value, laid out with these strides."""
    bits = bits.to(torch.uint8)  # a hook may have given the same numbers back as another dtype
    one_each = torch.bitwise_right_shift(bits.unsqueeze(1), torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
    flat = one_each.view(-1)[: shape.numel()].bool()
    return flat.view(shape) if strides is None else flat.as_strided(shape, strides)
