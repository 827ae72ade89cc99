"""Rectified-linear units for PyTorch: functions with autograd, layers that replace ``torch.nn``'s, initialisation,
and ``swap`` and ``lean``, which put rectifiers in the place of others.

>>> import torch, rectifier.torch as rt
>>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), rt.LeakyReLU(0.1), torch.nn.Linear(16, 2))
>>> rt.init_(model)[0].rectifier
'leaky_relu'
>>> rt.softplus(torch.tensor([0.0]), beta=2.0)
tensor([0.3466])

On CPU tensors in eager mode the bits are those of NumPy's functions in ``rectifier``; on other devices, in compiled
graphs and under ``torch.func`` the same formulas are composed of PyTorch's operators.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":  # PyTorch is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(
        'rectifier.torch: `torch` must be installed; it was not found. Run: pip install "rectifier[torch]"',
        name="torch",
    ) from error

from ..frameworks.torch.ops import (
    abs,
    celu,
    elu,
    leaky_average,
    leaky_relu,
    prelu,
    relu,
    relu6,
    selu,
    softplus,
    squared_relu,
)
from ._init import Initialised, init_
from ._layers import CELU, ELU, SELU, Abs, LeakyReLU, PReLU, ReLU, ReLU6, Softplus, SquaredReLU
from ._leaky import LeakyAverage, LeakyCell
from ._lean import Leaned, lean
from ._swap import Change, Missed, Swapped, swap
from ._weights import load_weights, save_weights

__all__ = [
    "CELU",
    "ELU",
    "SELU",
    "Abs",
    "Change",
    "Initialised",
    "LeakyAverage",
    "LeakyCell",
    "Leaned",
    "LeakyReLU",
    "Missed",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Softplus",
    "SquaredReLU",
    "Swapped",
    "abs",
    "celu",
    "elu",
    "init_",
    "lean",
    "leaky_average",
    "leaky_relu",
    "load_weights",
    "prelu",
    "relu",
    "relu6",
    "save_weights",
    "selu",
    "softplus",
    "squared_relu",
    "swap",
]
