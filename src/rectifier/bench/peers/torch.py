"""PyTorch on the processor: operators with ``out=``, allocating, and compiled by Inductor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..._family import SELU_ALPHA, SELU_SCALE
from ...peers import torch as table
from . import HUGE_PAGES, SLOPE, Data, Way

__all__ = ["ways"]

Tensor = torch.Tensor
_nn: Any = torch._C._nn
_aten: Any = torch.ops.aten


def ways(name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    torch.set_num_threads(threads)
    # The compiler gives up on a function that it has compiled for too many shapes.
    torch.compiler.reset()
    x, out = _tensor(data.x), _tensor(data.out)
    if kind == "value":
        plain, into = _VALUES.get(name), _VALUES_OUT.get(name)
        operands: tuple[Tensor, ...] = (x,)
        if name == "prelu":
            operands = (x, torch.tensor([SLOPE], dtype=x.dtype))
    else:
        plain, into = _GRADIENTS.get(name), _GRADIENTS_OUT.get(name)
        # Of these PyTorch keeps the result, not the input.
        kept = getattr(torch, name)(x) if name in ("sigmoid", "tanh") else x
        operands = (_tensor(data.dh), kept)
        if name == "prelu":
            operands = (*operands, torch.tensor([SLOPE], dtype=x.dtype))
    if plain is None:
        return []
    if os.environ.get(HUGE_PAGES) == "1":
        return [Way("PyTorch allocating, huge pages", lambda: plain(*operands), fresh=True)]
    # The number of threads is part of the code; the compiler's cache of code knows it only as an option.
    compiled = torch.compile(plain, dynamic=False, options={"cpp.threads": threads})
    allocating = [
        Way("PyTorch allocating", lambda: plain(*operands), fresh=True),
        Way("PyTorch compiled", lambda: compiled(*operands), fresh=True),
    ]
    return allocating if into is None else [Way("PyTorch out=", lambda: into(*operands, out)), *allocating]


def _tensor(array: Any) -> Tensor:
    """A tensor on the array's memory."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


_Operator = Callable[..., Any]

#: A learned slope is an operand, and a square can take the place of what it is the square of.
_VALUES: dict[str, _Operator] = {
    **table.functions(),
    "prelu": torch.prelu,
    "squared_relu": lambda x: torch.relu(x).square_(),
    "threshold": lambda x: (x > 0).to(x.dtype),
}
#: relu, celu and selu are these operators, too; only here do they take ``out=``.
_VALUES_OUT: dict[str, _Operator] = {
    "relu": lambda x, out: torch.clamp_min(x, 0, out=out),
    "leaky_relu": lambda x, out: _nn.leaky_relu(x, 0.01, out=out),
    "abs": lambda x, out: torch.abs(x, out=out),
    "relu6": lambda x, out: _nn.hardtanh(x, 0.0, 6.0, out=out),
    "squared_relu": lambda x, out: torch.clamp_min(x, 0, out=out).square_(),
    "elu": lambda x, out: _nn.elu(x, out=out),
    "celu": lambda x, out: _nn.elu(x, 1.0, 1.0, 1.0, out=out),
    "selu": lambda x, out: _nn.elu(x, SELU_ALPHA, SELU_SCALE, out=out),
    "softplus": lambda x, out: _nn.softplus(x, out=out),
    "sigmoid": lambda x, out: torch.sigmoid(x, out=out),
    "tanh": lambda x, out: torch.tanh(x, out=out),
    "threshold": lambda x, out: torch.gt(x, 0, out=out),
}
_GRADIENTS: dict[str, _Operator] = {
    "relu": lambda dh, x: _aten.threshold_backward(dh, x, 0),
    "leaky_relu": lambda dh, x: _aten.leaky_relu_backward(dh, x, 0.01, False),
    "prelu": lambda dh, x, slope: _aten._prelu_kernel_backward(dh, x, slope)[0],
    "abs": lambda dh, x: dh * x.sgn(),
    "relu6": lambda dh, x: _aten.hardtanh_backward(dh, x, 0, 6),
    "squared_relu": lambda dh, x: torch.relu(x).mul_(2).mul_(dh),
    "elu": lambda dh, x: _aten.elu_backward(dh, 1, 1, 1, False, x),
    "celu": lambda dh, x: _aten.elu_backward(dh, 1, 1, 1, False, x),
    "selu": lambda dh, x: _aten.elu_backward(dh, SELU_ALPHA, SELU_SCALE, 1, False, x),
    "softplus": lambda dh, x: _aten.softplus_backward(dh, x, 1, 20),
    "sigmoid": lambda dh, h: _aten.sigmoid_backward(dh, h),
    "tanh": lambda dh, h: _aten.tanh_backward(dh, h),
}
_GRADIENTS_OUT: dict[str, _Operator] = {
    "relu": lambda dh, x, out: _aten.threshold_backward.grad_input(dh, x, 0, grad_input=out),
    "leaky_relu": lambda dh, x, out: _aten.leaky_relu_backward.grad_input(dh, x, 0.01, False, grad_input=out),
    "abs": lambda dh, x, out: torch.sgn(x, out=out).mul_(dh),
    "relu6": lambda dh, x, out: _aten.hardtanh_backward.grad_input(dh, x, 0, 6, grad_input=out),
    "squared_relu": lambda dh, x, out: torch.clamp_min(x, 0, out=out).mul_(2).mul_(dh),
    "elu": lambda dh, x, out: _aten.elu_backward.grad_input(dh, 1, 1, 1, False, x, grad_input=out),
    "celu": lambda dh, x, out: _aten.elu_backward.grad_input(dh, 1, 1, 1, False, x, grad_input=out),
    "selu": lambda dh, x, out: _aten.elu_backward.grad_input(dh, SELU_ALPHA, SELU_SCALE, 1, False, x, grad_input=out),
    "softplus": lambda dh, x, out: _aten.softplus_backward.grad_input(dh, x, 1, 20, grad_input=out),
    "sigmoid": lambda dh, h, out: _aten.sigmoid_backward.grad_input(dh, h, grad_input=out),
    "tanh": lambda dh, h, out: _aten.tanh_backward.grad_input(dh, h, grad_input=out),
}
