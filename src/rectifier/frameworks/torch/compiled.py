"""Where the kernels do not reach, differentiated so that a bit is kept: compiled graphs and other devices.

Everything here is an expression of PyTorch operators, eager or traced. ``torch.compile`` makes one graph of the forward
and the backward pass and decides itself what is kept between them, whatever ``save_for_backward`` is given: what costs
the fewest bytes, as long as the rest can be computed again from it. The packed planes are an eighth of the next best,
so they are what it keeps.

The planes are not laid out as those of :class:`rectifier.Gate`: eight values that lie apart by an eighth of an axis
share a byte, since Inductor packs whole vectors in this order and single values in the other (17 times as slow on a
CPU with AVX-512).
"""

from __future__ import annotations

from typing import Any

import torch

from . import composed, kept

__all__ = ["RectifyComposed"]

Tensor = torch.Tensor
Gradients = tuple[Tensor | None, Tensor | None, None, None]


class RectifyComposed(torch.autograd.Function):
    """h = f(z) for the row ``name``, composed of operators.

    ``save``: what the backward pass reads, "gate", "output", "input", or "whole": the output where that will do.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, parameter: float | Tensor, name: str, save: str) -> Tensor:
        h = composed.value(name, z, parameter)
        tensors = (parameter,) if isinstance(parameter, Tensor) else ()
        if save == "whole":
            # Float16 underflows early. In the others the digits that the output has lost below the smallest normal
            # number are of gradients below 1e-19 (squared_relu) and 1e-38; a look at them would break the graph.
            save = "input" if z.dtype is torch.float16 else "output"
        values: tuple[Tensor, ...]
        if save == "gate":
            values = tuple(pack(plane) for plane in _planes(name, z, parameter))
        else:
            values = (z if save == "input" else h,)
        ctx.save_for_backward(*values, *tensors)
        ctx.name, ctx.save, ctx.count = name, save, len(values)
        ctx.number = 0.0 if tensors else parameter
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        (dh,) = gradients
        saved = ctx.saved_tensors
        values, tensors = saved[: ctx.count], saved[ctx.count :]
        parameter = tensors[0] if tensors else ctx.number
        dz = ds = None
        if ctx.needs_input_grad[0]:
            if ctx.save == "gate":
                dz = _from_gate(ctx.name, values, parameter, dh)
            elif ctx.save == "input":
                dz = composed.input_gradient(ctx.name, values[0], parameter, dh)
            else:
                dz = composed.input_gradient_from_output(ctx.name, values[0], parameter, dh)
        if ctx.needs_input_grad[1]:
            z = values[0] if ctx.save == "input" else kept.input_from_output(values[0], parameter)
            ds = composed.slope_gradient(z, parameter, dh)
        return dz, ds, None, None


# The gate ------------------------------------------------------------------------------------------------------------


def _planes(name: str, z: Tensor, parameter: float | Tensor) -> tuple[Tensor, ...]:
    """What f′ is to be told from: where it is 1 (a NaN is open, so that nothing is hidden), and where z is 0."""
    if name == "relu6":
        return (~((z <= 0) | (z >= parameter)),)
    open_ = ~(z <= 0)
    zeros = name == "abs" or (name == "relu" and (isinstance(parameter, Tensor) or parameter != 0))
    return (open_, z == 0) if zeros else (open_,)


def _from_gate(name: str, planes: tuple[Tensor, ...], parameter: float | Tensor, dh: Tensor) -> Tensor:
    axis = _axis(dh)
    parts = _split(dh, axis)
    if isinstance(parameter, Tensor) and parameter.ndim:
        parameter = _split(parameter.expand(dh.shape), axis)
    open_, *zeros = (_unpacked(plane, parts.ndim, axis or 0) for plane in planes)
    if name in ("leaky_relu", "prelu"):
        closed = (parameter * parts).to(parts.dtype)
    elif name == "abs":
        closed = torch.where(zeros[0], 0.0, -parts)
    elif zeros:
        closed = torch.where(zeros[0], (parameter * parts).to(parts.dtype), 0.0)
    else:
        closed = torch.zeros((), dtype=parts.dtype, device=parts.device)
    return _joined(torch.where(open_, parts, closed), axis, dh)


# Planes of bits ------------------------------------------------------------------------------------------------------


def pack(plane: Tensor) -> Tensor:
    """Booleans to bits: bit k of a byte is from the k-th eighth of the axis that :func:`_axis` picks."""
    axis = _axis(plane)
    parts = _split(plane, axis).unbind(axis or 0)
    # Sums of powers of two in float32 and one conversion: Inductor makes vectors of these, and of shifted bytes not.
    total = torch.where(parts[0], 1.0, 0.0)
    for bit in range(1, 8):
        total = total + torch.where(parts[bit], float(1 << bit), 0.0)
    return total.to(torch.uint8)


def _unpacked(bits: Tensor, ndim: int, axis: int) -> Tensor:
    """Booleans, in the shape of what :func:`_split` gives."""
    # Inductor makes vectors of 32 bits; elsewhere it is memory that counts.
    dtype = torch.int32 if torch.compiler.is_compiling() else torch.uint8
    shift = torch.arange(8, dtype=dtype, device=bits.device).reshape(8, *[1] * (ndim - axis - 1))
    return ((bits.to(dtype).unsqueeze(axis) >> shift) & 1) != 0


def _axis(x: Tensor) -> int | None:
    """The axis of the units, where eight divides it: a view splits it, whatever the layout in memory. Else None.

    No other axis is asked, as the number of units seldom changes, and of what is asked a compiled graph is made anew
    when the answer changes.
    """
    axis = 1 if x.ndim > 3 else x.ndim - 1
    return axis if x.ndim and x.shape[axis] and x.shape[axis] % 8 == 0 else None


def _split(x: Tensor, axis: int | None) -> Tensor:
    """x with the axis as 8 × an eighth of it; for None all of x, flat and padded, as 8 × an eighth."""
    if axis is not None:
        return x.reshape(*x.shape[:axis], 8, x.shape[axis] // 8, *x.shape[axis + 1 :])
    flat = x.reshape(-1)
    eighth = (flat.shape[0] + 7) // 8
    return torch.nn.functional.pad(flat, (0, 8 * eighth - flat.shape[0])).reshape(8, eighth)


def _joined(parts: Tensor, axis: int | None, like: Tensor) -> Tensor:
    """What :func:`_split` gave, in the shape of ``like``."""
    if axis is not None:
        return parts.flatten(axis, axis + 1)
    return parts.reshape(-1)[: like.numel()].reshape(like.shape)
