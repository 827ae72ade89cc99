"""The leaky average on tensors, differentiable: native on plain CPU tensors, else composed of PyTorch's operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ... import _native
from ..._family import Parameter
from ..._leaky import ALPHA, INITIAL, axis_of
from ...errors import RectifierTypeError, RectifierValueError
from .. import refuse_mixed
from ..numpy import parameter_value
from . import kernels

__all__ = ["leaky_average"]

Tensor = torch.Tensor
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, None]


def leaky_average(v: Tensor, alpha: float | Tensor, *, axis: int = -1, initial: float | Tensor = 0.0) -> Tensor:
    """The leaky unit μ ← α·μ + (1 − α)·v over time: μ_t = α·μ_{t−1} + (1 − α)·v_t.

    On CPU tensors in eager mode the bits are those of ``rectifier.leaky_average`` on NumPy arrays, and the backward
    pass keeps v alone: ∂loss/∂v is the same recurrence from the last step to the first, and ∂μ/∂α is carried forward
    beside μ, s_t = α·s_{t−1} + μ_{t−1} − v_t. Elsewhere the recurrence is a scan in ⌈log₂ T⌉ passes.

    v: tensor, floating; time runs along ``axis``.
    alpha: the share of the past, in [0, 1]; a number, or a tensor that broadcasts with v without its time axis. A
        tensor that requires a gradient gets one; its values are looked at only where that waits for no device.
    axis: of time; the last by default.
    initial: μ before the first step, a number or a tensor likewise.

    Returns a tensor of v's shape and dtype: μ at every step. Raises RectifierTypeError, RectifierValueError for
    arguments that cannot be used.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure"); Goodfellow, Bengio & Courville 2016,
    Deep Learning, section 10.9.2.

    >>> leaky_average(torch.ones(3), 0.5)
    tensor([0.5000, 0.7500, 0.8750])
    """
    if not isinstance(v, Tensor):
        raise RectifierTypeError(
            f"leaky_average: `v` must be a torch.Tensor; got {type(v).__name__}. "
            "Pass torch.as_tensor(v), or call rectifier.leaky_average on a NumPy array."
        )
    if v.dtype not in kernels.CODE:
        raise RectifierTypeError(
            f"leaky_average: `v` must hold float16, bfloat16, float32 or float64; got {v.dtype}. "
            "Convert it with v.float()."
        )
    time = axis_of(axis, v.ndim)
    series = v.shape[:time] + v.shape[time + 1 :]
    alpha, initial = _parameter(ALPHA, alpha, v, series), _parameter(INITIAL, initial, v, series)
    if not torch.compiler.is_compiling() and all(kernels.reach(one) for one in (v, alpha, initial)) and v.numel():
        return Average.apply(v, alpha, initial, time)  # type: ignore[no-any-return, no-untyped-call]
    return _composed(v, alpha, initial, time)


def _parameter(parameter: Parameter, value: Any, v: Tensor, series: torch.Size) -> Tensor:
    """As the family's parameters: float64 for float64 v, and float32 otherwise."""
    wide = torch.float64 if v.dtype == torch.float64 else torch.float32
    if not isinstance(value, Tensor):
        # Looked at here too, as PyTorch's compiler cannot follow NumPy's way.
        if type(value) in (float, int) and parameter.domain.low <= value <= parameter.domain.high:
            return torch.full((), float(value), dtype=wide, device=v.device)
        refuse_mixed("leaky_average", parameter.name, value, "torch")
        return torch.as_tensor(_checked(parameter, value, wide), dtype=wide, device=v.device)
    if value.is_complex() or value.dtype == torch.bool:
        raise RectifierTypeError(
            f"leaky_average: `{parameter.name}` must be a number or a tensor of numbers; got {value.dtype}. "
            f"Pass a number such as {parameter.domain.example}."
        )
    if not torch.compiler.is_compiling() and value.is_cpu and kernels.reach(value):
        _checked(parameter, value.detach().to(torch.float64).numpy(), wide)
    if value.ndim > len(series) or any(
        mine not in (1, theirs) for mine, theirs in zip(value.shape[::-1], series[::-1], strict=False)
    ):
        raise RectifierValueError(
            f"leaky_average: `{parameter.name}` must broadcast with v without its axis of time, {tuple(series)}; "
            f"got shape {tuple(value.shape)}. Give it one value a series, or a single number."
        )
    return value.to(wide)


def _checked(parameter: Parameter, value: Any, wide: torch.dtype) -> Any:
    return parameter_value(
        "leaky_average", parameter, value, np.dtype(np.float64 if wide.itemsize == 8 else np.float32)
    )


class Average(torch.autograd.Function):
    """μ by the native loops; keeps v (and the parameters), no average."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, alpha: Tensor, initial: Tensor, time: int) -> Tensor:
        ctx.save_for_backward(v, alpha, initial)
        ctx.time = time
        source = v.contiguous()
        out = torch.empty_like(source)
        _run(source, None, out, alpha, initial, time)
        return out

    @staticmethod
    def backward(ctx: Any, dmu: Tensor) -> Gradients:
        v, alpha, initial = ctx.saved_tensors
        wants_v, wants_alpha, wants_initial, _ = ctx.needs_input_grad
        if torch.is_grad_enabled() or not all(kernels.reach(one) for one in (v, dmu, alpha, initial)):
            return _differentiable(ctx, v, alpha, initial, dmu)
        count = v.numel() // v.shape[ctx.time]
        d_alpha = torch.empty(count, dtype=torch.float64) if wants_alpha else None
        d_initial = torch.empty(count, dtype=torch.float64) if wants_initial else None
        dv = torch.empty(v.shape, dtype=v.dtype)
        _run(v.contiguous(), dmu.contiguous(), dv, alpha, initial, ctx.time, d_alpha, d_initial)
        series = v.shape[: ctx.time] + v.shape[ctx.time + 1 :]
        return (
            dv if wants_v else None,
            _summed(d_alpha, alpha, series),
            _summed(d_initial, initial, series),
            None,
        )


def _run(
    source: Tensor,
    dmu: Tensor | None,
    out: Tensor,
    alpha: Tensor,
    initial: Tensor,
    time: int,
    d_alpha: Tensor | None = None,
    d_initial: Tensor | None = None,
) -> None:
    shape = source.shape
    series = shape[:time] + shape[time + 1 :]
    alphas, initials = _of_series(alpha, series), _of_series(initial, series)
    _native.average_at(
        kernels.CODE[source.dtype],
        source.data_ptr(),
        0 if dmu is None else dmu.data_ptr(),
        out.data_ptr(),
        math.prod(shape[:time]),
        shape[time],
        math.prod(shape[time + 1 :]),
        alphas.data_ptr(),
        int(alphas.ndim > 0),
        initials.data_ptr(),
        int(initials.ndim > 0),
        0 if d_alpha is None else d_alpha.data_ptr(),
        0 if d_initial is None else d_initial.data_ptr(),
    )


def _of_series(value: Tensor, series: torch.Size) -> Tensor:
    value = value.detach().to(torch.float64)
    return value if not value.ndim else value.expand(series).contiguous()


def _summed(gradient: Tensor | None, parameter: Tensor, series: torch.Size) -> Tensor | None:
    if gradient is None:
        return None
    return gradient.view(series).sum_to_size(parameter.shape).to(parameter.dtype)


def _differentiable(ctx: Any, v: Tensor, alpha: Tensor, initial: Tensor, dmu: Tensor) -> Gradients:
    """The gradients as a graph that can be differentiated again."""
    given = (v, alpha, initial)
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = [one if one.requires_grad and create else one.detach().requires_grad_() for one in given]
        mu = _composed(inputs[0], inputs[1], inputs[2], ctx.time)
        wanted = [one for one, wants in zip(inputs, ctx.needs_input_grad, strict=False) if wants]
        found = iter(torch.autograd.grad(mu, wanted, dmu, create_graph=create))
    dv, d_alpha, d_initial = (next(found) if wants else None for wants in ctx.needs_input_grad[:3])
    return dv, d_alpha, d_initial, None


def _composed(v: Tensor, alpha: Tensor, initial: Tensor, time: int) -> Tensor:
    """A scan by doubling: after pass k each step holds the sum over the 2^k steps up to it."""
    wide = alpha.dtype
    series = v.shape[:time] + v.shape[time + 1 :]
    total = v.movedim(time, 0).to(wide)
    if not total.shape[0]:
        return v.clone()
    power, steps, reach = alpha, total.shape[0], 1
    first = alpha * initial
    total = (1 - alpha) * total
    total = torch.cat([total[:1] + first.expand(series), total[1:]])
    while reach < steps:
        total = torch.cat([total[:reach], total[reach:] + power * total[:-reach]])
        power, reach = power * power, 2 * reach
    return total.to(v.dtype).movedim(0, time)
