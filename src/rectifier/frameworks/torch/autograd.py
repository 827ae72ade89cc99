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

from . import composed, kept, kernels

__all__ = ["FromGate", "FromValue", "RectifyTransformed"]

Tensor = torch.Tensor
# Called for every small tensor: bound once.
_with_gate, _backward, _reach, _is_grad_enabled = (
    kernels.with_gate,
    kernels.backward,
    kernels.reach,
    torch.is_grad_enabled,
)


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
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        saved = ctx.saved_tensors
        name, strides, parameter = ctx.how
        bits, plane = saved[0], None
        if len(saved) > 1:
            plane = saved[1]
            if parameter is None:
                parameter = saved[2]
        # Grad mode is on in a backward pass only when it is itself to be differentiated.
        if not _is_grad_enabled() and _reach(dh):
            return _backward(name, dh, strides, parameter, bits, plane), None, None, None
        return kept.from_gate(name, dh, strides, parameter, bits, plane), None, None, None


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
        native = not torch.is_grad_enabled() and kernels.reach(dh) and kernels.reach(value)
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
        return *_composed(ctx, ctx.name, z, tensors[0] if tensors else ctx.number, dh), None

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


def _composed(
    ctx: Any, name: str, z: Tensor, parameter: float | Tensor, dh: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    dz = composed.input_gradient(name, z, parameter, dh) if ctx.needs_input_grad[0] else None
    ds = composed.slope_gradient(z, parameter, dh) if ctx.needs_input_grad[1] else None  # type: ignore[arg-type]
    return dz, ds
