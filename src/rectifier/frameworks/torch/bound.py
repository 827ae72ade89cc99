""":class:`.autograd.FromValue` for one function, number or slope and dtype, with all bound that is looked up there.

What the general way asks anew at each call, of names, parameters and layouts, takes longer than a kernel does on 4096
values. These know the answers; what lies otherwise than they expect goes the general way's own steps.
"""

from __future__ import annotations

from typing import Any

import torch

from ... import _native
from . import composed, kernels

__all__ = ["direct", "slope_of", "value_of"]

Tensor = torch.Tensor
Function = type[torch.autograd.Function]
_unwatched, _is_grad_enabled = kernels.unwatched, torch.is_grad_enabled
_value_at, _gradient_at, _empty_like = _native.value_at, _native.gradient_at, torch.empty_like


def direct(function: Any) -> Function:
    """The function, its backward pass called by the engine itself.

    What PyTorch has in between looks up at each call which of two names the pass goes by: a thirtieth of the time of
    a small ReLU, forward and backward.
    """
    function._backward_cls.apply = function.backward
    return function  # type: ignore[no-any-return]


def value_of(name: str, number: float, dtype: torch.dtype, save: str) -> Function:
    """For a function that a bit does not tell, of one tensor; ``save`` as :func:`.saving.policy` gives it."""
    code, unaligned, loop = kernels.bound(name, dtype)
    watched, from_output = save == "whole", f"{name}_from_output"

    class Bound(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            at = z.data_ptr()
            if at & unaligned or not z.is_contiguous():
                h, lost = kernels.watched_value(name, z, number) if watched else (kernels.value(name, z, number), False)
            else:
                h = _empty_like(z)
                lost = _value_at(loop, code, at, h.data_ptr(), z.numel(), number, watched)
            ctx.from_input = from_input = lost or not watched
            ctx.save_for_backward(z if from_input else h)
            return h

        @staticmethod
        def backward(ctx: Any, dh: Tensor) -> Tensor:
            (kept,) = ctx.saved_tensors
            if _native_too(kept, dh, dtype):
                at, above = kept.data_ptr(), dh.data_ptr()
                if (at | above) & unaligned or not (kept.is_contiguous() and dh.is_contiguous()):
                    return kernels.gradient(name if ctx.from_input else from_output, kept, dh, number)
                dz = _empty_like(dh)
                named = loop if ctx.from_input else from_output
                _gradient_at(named, code, at, above, dz.data_ptr(), dz.numel(), number)
                return dz
            if ctx.from_input:
                return composed.input_gradient(name, kept, number, dh)
            return composed.input_gradient_from_output(name, kept, number, dh)

    Bound.__name__ = f"FromValue_{name}"
    return direct(Bound)


def slope_of(dtype: torch.dtype) -> Function:
    """For a leaky_relu of float32 or float64 whose slope is one number in a tensor and is learned."""
    code, unaligned, loop = kernels.bound("prelu", dtype)

    class Bound(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor, slope: Tensor) -> Tensor:
            ctx.save_for_backward(z, slope)
            at = z.data_ptr()
            if at & unaligned or not z.is_contiguous():
                return kernels.value("prelu", z, slope)
            h = _empty_like(z)
            _value_at(loop, code, at, h.data_ptr(), z.numel(), slope.item(), False)
            return h

        @staticmethod
        def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, Tensor | None]:
            z, slope = ctx.saved_tensors
            by_z, by_slope = ctx.needs_input_grad
            if not (_native_too(z, dh, dtype) and slope.dtype is dtype and kernels.reach(slope)):
                dz = composed.input_gradient("prelu", z, slope, dh) if by_z else None
                return dz, composed.slope_gradient(z, slope, dh) if by_slope else None
            at, above, n, number = z.data_ptr(), dh.data_ptr(), z.numel(), slope.item()
            dz = ds = None
            if (at | above) & unaligned or not (z.is_contiguous() and dh.is_contiguous()):
                dz = kernels.gradient("prelu", z, dh, number) if by_z else None
                ds = kernels.gradient("leaky_relu_slope", z, dh, 0.0).sum().view(slope.shape) if by_slope else None
                return dz, ds
            if by_slope:
                terms = z.new_empty(n)
                _gradient_at("leaky_relu_slope", code, at, above, terms.data_ptr(), n, 0.0)
                ds = terms.sum(0, True)
                if slope.ndim != 1:
                    ds = ds.view(slope.shape)
            if by_z:
                dz = _empty_like(z)
                _gradient_at(loop, code, at, above, dz.data_ptr(), n, number)
            return dz, ds

    Bound.__name__ = "FromValue_prelu"
    return direct(Bound)


def _native_too(kept: Tensor, dh: Tensor, dtype: torch.dtype) -> bool:
    """Whether the kernels may do the backward pass; what hooks have unpacked may lie elsewhere and be of another dtype.

    Grad mode is on in a backward pass only when it is itself to be differentiated.
    """
    return (
        not _is_grad_enabled()
        and type(dh) is Tensor
        and dh.dtype is dtype
        and _unwatched(dh)
        and kept.dtype is dtype
        and kept.is_cpu
        and type(kept) in kernels.PLAIN
        and kept.shape == dh.shape
    )
