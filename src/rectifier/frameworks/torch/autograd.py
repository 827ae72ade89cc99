"""How the functions are differentiated in eager mode, and what each keeps for it.

============================  ======================================  =========================================
class                         for                                     keeps
============================  ======================================  =========================================
:class:`FromGate`             relu, leaky_relu, abs, relu6, prelu     one bit a value; of abs, and of relu with a
                              (the slope needs no gradient)           derivative at 0, one more if a zero occurred
:class:`FromValue`            the rest, and learned slopes            the input or the output, by ``save``
:class:`RectifyTransformed`   ``torch.func`` and forward derivatives  the input
============================  ======================================  =========================================

All that is kept goes through ``save_for_backward``: checkpointing, hooks and offloading see nothing else.
"""

from __future__ import annotations

from typing import Any

import torch

from ... import _native
from . import composed, kept, kernels

__all__ = ["FromGate", "FromValue", "RectifyTransformed", "gate_of"]

Tensor = torch.Tensor
# Called for every small tensor: bound once.
_with_gate, _backward, _reach, _reach_kept, _is_grad_enabled = (
    kernels.with_gate,
    kernels.backward,
    kernels.reach,
    kernels.reach_kept,
    torch.is_grad_enabled,
)


_PLAIN = (Tensor, torch.nn.Parameter)


def _reach_parameter(parameter: float | Tensor, dh: Tensor) -> bool:
    """Whether a parameter is still as the loops take it, whatever hooks have unpacked it to."""
    if not isinstance(parameter, Tensor):
        return True
    return parameter.dtype is (torch.float64 if dh.dtype is torch.float64 else torch.float32) and _reach(parameter)


class FromGate(torch.autograd.Function):
    """h = f(z) by the kernels; the backward pass reads the gate."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, parameter: float | Tensor, name: str, inplace: bool) -> Tensor:
        h, bits, plane = _with_gate(name, z, parameter, inplace)
        if inplace:
            ctx.mark_dirty(z)
        if type(parameter) is float and plane is None:
            ctx.save_for_backward(bits)
            ctx.how = name, None if h.is_contiguous() else h.stride(), parameter
        else:
            ctx.save_for_backward(bits, plane, parameter if isinstance(parameter, Tensor) else None)
            ctx.how = name, None if h.is_contiguous() else h.stride(), parameter if type(parameter) is float else None
        return h

    @staticmethod
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor, None, None, None]:
        saved = ctx.saved_tensors
        name, strides, parameter = ctx.how
        bits, plane = saved[0], None
        if len(saved) > 1:
            plane = saved[1]
            if parameter is None:
                parameter = saved[2]
        # Grad mode is on in a backward pass only when it is itself to be differentiated.
        native = not _is_grad_enabled() and _reach(dh) and _reach_kept(bits, dh)
        native = native and (plane is None or _reach_kept(plane, dh))
        if native and _reach_parameter(parameter, dh):
            return _backward(name, dh, strides, parameter, bits, plane), None, None, None
        return kept.from_gate(name, dh, strides, parameter, bits, plane), None, None, None


def gate_of(name: str, number: float, dtype: torch.dtype) -> type[torch.autograd.Function]:
    """:class:`FromGate` of one tensor, for one number and dtype: with all bound that is looked up there.

    Forward and backward of 4096 values take a tenth less time. For relu with derivative 0 at 0 and all the others.
    """
    code, unaligned, loop, closed = kernels.bound(name, dtype)
    two = name in kernels.TWO_PLANES
    with_gate_at, backward_at = _native.with_gate_at, _native.backward_at
    empty_like, bytes_of = torch.empty_like, kernels.BYTES.new_empty

    class Bound(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            at = z.data_ptr()
            ctx.strides = None
            if at & unaligned or not z.is_contiguous():
                h, bits, plane = _with_gate(name, z, number, False)
                ctx.save_for_backward(*((bits,) if plane is None else (bits, plane)))
                if not h.is_contiguous():
                    ctx.strides = h.stride()
                return h
            h, n = empty_like(z), z.numel()
            bits = bytes_of((n + 7) >> 3)
            if not two:
                with_gate_at(loop, code, at, h.data_ptr(), n, number, bits.data_ptr(), 0)
                ctx.save_for_backward(bits)
                return h
            plane = bytes_of((n + 7) >> 3)
            any_set = with_gate_at(loop, code, at, h.data_ptr(), n, number, bits.data_ptr(), plane.data_ptr())
            if name == "relu6":
                ctx.save_for_backward(plane)
            elif any_set:
                ctx.save_for_backward(bits, plane)
            else:
                ctx.save_for_backward(bits)
            return h

        @staticmethod
        def backward(ctx: Any, dh: Tensor) -> Tensor:
            bits, *planes = ctx.saved_tensors
            strides = ctx.strides
            plane = planes[0] if planes else None
            # Grad mode is on in a backward pass only when it is itself to be differentiated.
            native = not _is_grad_enabled() and _reach(dh) and _reach_kept(bits, dh)
            if not native or not (plane is None or _reach_kept(plane, dh)):
                return kept.from_gate(name, dh, strides, number, bits, plane)
            at = dh.data_ptr()
            if planes or strides or at & unaligned or not dh.is_contiguous():
                return _backward(name, dh, strides, number, bits, plane)
            dz = empty_like(dh)
            backward_at(closed, code, at, dz.data_ptr(), dh.numel(), number, bits.data_ptr(), 0)
            return dz

    Bound.__name__ = f"FromGate_{name}"
    return Bound


class FromValue(torch.autograd.Function):
    """h = f(z) by the kernels; the backward pass reads z or h.

    ``save``: "input", "output", or "whole": the output, unless some of it has underflowed, then the input.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, parameter: float | Tensor, name: str, save: str, inplace: bool) -> Tensor:
        if save == "whole":
            h, lost = kernels.watched_value(name, z, parameter)
            save = "input" if lost else "output"
        elif inplace:
            h = kernels.value(name, z, parameter, out=z)
            ctx.mark_dirty(z)
        else:
            h = kernels.value(name, z, parameter)
        value = z if save == "input" else h
        if isinstance(parameter, Tensor):
            ctx.save_for_backward(value, parameter)
            ctx.how = name, save, None
        else:
            ctx.save_for_backward(value)
            ctx.how = name, save, parameter
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (dh,) = gradients
        value, *tensors = ctx.saved_tensors
        name, save, parameter = ctx.how
        if parameter is None:
            (parameter,) = tensors
        # What hooks have unpacked may lie elsewhere and be of another dtype.
        native = not _is_grad_enabled() and value.is_cpu and type(value) in _PLAIN and _reach(dh)
        native = native and value.dtype is dh.dtype and value.shape == dh.shape and _reach_parameter(parameter, dh)
        by_z, by_slope = ctx.needs_input_grad[:2]
        dz = _by_input(name, save, value, parameter, dh, native) if by_z else None
        ds = _by_slope(save, value, parameter, dh, native) if by_slope else None
        return dz, ds, None, None, None


def _by_input(name: str, save: str, value: Tensor, parameter: float | Tensor, dh: Tensor, native: bool) -> Tensor:
    learned = isinstance(parameter, Tensor) and name in ("leaky_relu", "prelu")  # its output tells its own gate
    if native:
        loop = name if save == "input" or learned else f"{name}_from_output"
        return kernels.gradient(loop, value, dh, parameter)
    if save == "input":
        return composed.input_gradient(name, value, parameter, dh)
    return composed.input_gradient_from_output(name, value, parameter, dh)


def _by_slope(save: str, value: Tensor, slope: Tensor, dh: Tensor, native: bool) -> Tensor:
    z = value if save == "input" else kept.input_from_output(value, slope)
    if native and z.dtype == dh.dtype and z.dtype.itemsize > 2:
        return kernels.gradient("leaky_relu_slope", z, dh, 0.0).sum_to_size(slope.shape)
    return composed.slope_gradient(z, slope, dh)


class RectifyTransformed(torch.autograd.Function):
    """The same for ``torch.func`` (vmap, grad, jvp, …) and forward derivatives.

    Apart, because they ask for ``setup_context`` (about three times as slow to call) and ``jvp`` (which
    ``torch.compile`` refuses).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, parameter: float | Tensor, name: str) -> Tensor:
        return composed.value(name, z, parameter)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        z, parameter, ctx.name = inputs
        tensors = (parameter,) if isinstance(parameter, Tensor) else ()
        ctx.save_for_backward(z, *tensors)
        ctx.save_for_forward(z, *tensors)
        ctx.number = 0.0 if tensors else parameter

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (dh,) = gradients
        z, *tensors = ctx.saved_tensors
        return *_gradients(ctx, ctx.name, z, tensors[0] if tensors else ctx.number, dh), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        z_tangent, parameter_tangent, _ = tangents
        z, *tensors = ctx.saved_tensors
        parameter = tensors[0] if tensors else ctx.number
        tangent = torch.zeros_like(z)
        if z_tangent is not None:
            tangent = tangent + composed.input_gradient(ctx.name, z, parameter, z_tangent)
        if parameter_tangent is not None:
            tangent = tangent + (torch.where(z > 0, 0.0, z) * parameter_tangent).to(z.dtype)
        return tangent


def _gradients(
    ctx: Any, name: str, z: Tensor, parameter: float | Tensor, dh: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    dz = composed.input_gradient(name, z, parameter, dh) if ctx.needs_input_grad[0] else None
    ds = composed.slope_gradient(z, parameter, dh) if ctx.needs_input_grad[1] else None  # type: ignore[arg-type]
    return dz, ds
