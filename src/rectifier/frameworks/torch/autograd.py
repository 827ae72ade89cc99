"""How the functions are differentiated: one Function, parametrised by the row, and its twin for transforms.

This is the one place where the backward pass will change: :class:`Rectify` now keeps a whole tensor (z, or the output
where that says the same) and asks for f′ of it. A backward from a bit plane replaces what ``forward`` saves and what
``_input_gradient`` reads, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from . import composed, kernels

__all__ = ["Rectify", "RectifyTransformed", "output_suffices"]

Tensor = torch.Tensor
Gradients = tuple[Tensor | None, Tensor | None, None, None, None]


class Rectify(torch.autograd.Function):
    """h = f(z) for the row ``name``; ``native`` says whether the kernels may be used, else operators are composed.

    The backward pass is f′(z)·dh; under ``create_graph=True`` it is composed of operators, so it can be differentiated
    again.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, parameter: float | Tensor, name: str, native: bool, inplace: bool) -> Tensor:
        if inplace:  # and then native, and the output suffices: ``dispatch`` sees to it
            z_kept = None
            h = kernels.value(name, z, parameter, out=z)
            ctx.mark_dirty(z)
        else:
            # PyTorch keeps the output of relu too: the next layer keeps it anyway. It keeps the input of the others,
            # and code that changes their output in place (h += residual) relies on that.
            z_kept = None if name == "relu" and output_suffices(name, parameter) else z
            h = kernels.value(name, z, parameter) if native else composed.value(name, z, parameter)
        tensors = (parameter,) if isinstance(parameter, Tensor) else ()
        ctx.save_for_backward(h if z_kept is None else z_kept, *tensors)
        ctx.name, ctx.native = name, native
        ctx.number = 0.0 if tensors else parameter
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        (dh,) = gradients
        kept, *tensors = ctx.saved_tensors
        parameter = tensors[0] if tensors else ctx.number
        dz = _input_gradient(ctx.name, kept, parameter, dh, ctx.native) if ctx.needs_input_grad[0] else None
        ds = composed.slope_gradient(kept, parameter, dh) if ctx.needs_input_grad[1] else None
        return dz, ds, None, None, None


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
        parameter = tensors[0] if tensors else ctx.number
        dz = composed.input_gradient(ctx.name, z, parameter, dh) if ctx.needs_input_grad[0] else None
        ds = composed.slope_gradient(z, parameter, dh) if ctx.needs_input_grad[1] else None
        return dz, ds, None

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


def _input_gradient(name: str, kept: Tensor, parameter: float | Tensor, dh: Tensor, native: bool) -> Tensor:
    # Grad mode is on in a backward pass only when it is itself to be differentiated.
    if not native or torch.is_grad_enabled() or not (kernels.reach(kept) and kernels.reach(dh)):
        return composed.input_gradient(name, kept, parameter, dh)
    if name in _THEIRS and type(parameter) is float and not (name == "relu" and parameter):
        # The sum is NaN where a value is: what they make of that is not ours.
        if not math.isnan(kept.sum()):
            return _THEIRS[name](dh, kept, parameter)
        return composed.input_gradient(name, kept, parameter, dh)
    # 16 bits hold neither f′ in the tails nor the steps of its product with dh: rounded once, at the end. f′ of abs is
    # a sign.
    wide = kept.float() if kept.dtype.itemsize == 2 and name != "abs" else kept
    dz = kernels.derivative(name, wide, parameter).mul_(dh)
    # A sum is cheap, and finite unless a value is not: only then can an infinite gradient have met a derivative of 0,
    # and the slow way round is taken.
    if name in composed.BLOCKING and not math.isfinite(dz.sum(dtype=torch.float64)):
        return composed.input_gradient(name, kept, parameter, dh)
    return dz.to(kept.dtype)


#: PyTorch's own f′(z)·dh, in one pass, where it has our conventions at the kinks (but not at NaN) and rounds once.
_THEIRS: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "relu": lambda dh, z, _: torch.ops.aten.threshold_backward.default(dh, z, 0.0),
    "leaky_relu": lambda dh, z, slope: torch.ops.aten.leaky_relu_backward.default(dh, z, slope, False),
    "relu6": lambda dh, z, ceiling: torch.ops.aten.hardtanh_backward.default(dh, z, 0.0, ceiling),
}


def output_suffices(name: str, parameter: float | Tensor) -> bool:
    """Whether f′(f(z)) = f′(z) for every z, so that the output can be kept in place of the input."""
    match name:
        case "relu":
            return not isinstance(parameter, Tensor) and parameter == 0
        case "relu6":  # another ceiling may round down in 16 bits, and then look open
            return not isinstance(parameter, Tensor) and parameter == 6
        case "leaky_relu":
            return not isinstance(parameter, Tensor) and parameter > 0
    return False
