"""PyTorch on the processor: eager, and compiled by Inductor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import SLOPE, Array, Function, Functions, Lookup, each

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "gradient", "prelu_start"]


def functions() -> Functions:
    import torch
    import torch.nn.functional as F

    return {
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "prelu": lambda z: F.prelu(z, torch.full((1,), SLOPE, dtype=z.dtype)),
        "abs": torch.abs,
        "relu6": F.relu6,
        "squared_relu": lambda z: F.relu(z).square(),
        "elu": F.elu,
        "celu": F.celu,
        "selu": F.selu,
        "softplus": F.softplus,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }


def as_it_comes() -> Functions:
    from torch import nn

    return {
        "leaky_relu": nn.LeakyReLU(),
        "relu6": nn.ReLU6(),
        "elu": nn.ELU(),
        "celu": nn.CELU(),
        "softplus": nn.Softplus(),
    }


def prelu_start() -> dict[str, float | None]:
    from torch import nn

    slope = nn.PReLU().weight.detach()
    return {"num_parameters": slope.numel(), "init": float(slope.mean())}


def gradient(f: Callable[[Any], Any], x: Array) -> Array:
    """The gradient at x for an upstream gradient of 1."""
    import torch

    z = tensor(x).requires_grad_()
    h = f(z)
    h.backward(torch.ones_like(h))
    return array(z.grad)


def tensor(x: Array) -> Any:
    import torch

    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(x.copy())


def array(tensor: Any) -> Array:
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        bits: Array = tensor.view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    values: Array = tensor.numpy()
    return values


#: Values that the compiled functions take at once; not a multiple of a vector's lanes, so that there is a tail.
COMPILED_FOR = 4099


def _compiled(functions: Functions) -> Lookup:
    """All functions in one graph, compiled once and for one shape: each compilation takes seconds."""
    import torch

    names = tuple(functions)
    graph = torch.compile(lambda zs: [functions[name](z) for name, z in zip(names, zs, strict=True)], dynamic=False)

    @functools.lru_cache(64)
    def results(values: bytes) -> tuple[list[Array], list[Array]]:
        x = np.frombuffer(values, np.float32)
        zs = [tensor(x).requires_grad_() for _ in names]
        hs = graph(zs)
        torch.autograd.backward(hs, [torch.ones_like(h) for h in hs])
        return [array(h) for h in hs], [array(z.grad) for z in zs]

    def lookup(name: str, kind: str) -> Function | None:
        if name not in names or kind not in ("value", "derivative"):
            return None
        index = names.index(name)

        def function(x: Array) -> Array:
            if x.dtype != np.float32:
                raise TypeError(f"compiled for float32 only, not for {x.dtype.name}")
            whole = np.resize(x, -(-x.size // COMPILED_FOR) * COMPILED_FOR)
            pieces = [results(piece.tobytes()) for piece in whole.reshape(-1, COMPILED_FOR)]
            return np.concatenate([piece[kind == "derivative"][index] for piece in pieces])[: x.size]

        return function

    return lookup


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {
    "PyTorch": each(lambda f: lambda x: array(f(tensor(x))), lambda f: lambda x: gradient(f, x)),
    "PyTorch compiled": _compiled,
}
PLACES: Mapping[str, tuple[str, ...]] = {
    "relu": ("torch.nn.functional.relu",),
    "leaky_relu": ("torch.nn.functional.leaky_relu", "torch.nn.LeakyReLU"),
    "prelu": ("torch.nn.PReLU",),
    "abs": ("torch.abs",),
    "relu6": ("torch.nn.functional.relu6",),
    "elu": ("torch.nn.functional.elu", "torch.nn.ELU"),
    "celu": ("torch.nn.functional.celu", "torch.nn.CELU"),
    "selu": ("torch.nn.functional.selu",),
    "softplus": ("torch.nn.Softplus",),
}
