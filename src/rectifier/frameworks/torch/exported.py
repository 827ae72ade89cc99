"""What an export to ONNX is shown: for each function the operator of PyTorch that becomes one standard operator.

Only values: what is kept for a backward pass, and the derivative at a kink, have no place in an exported model.

In float64 ONNX Runtime has none of the operators with a parameter, and theirs have the digits of float32 in ONNX. So
float64 is composed here, and any function whose parameter is a tensor that no operator takes. The exporters round
Python's numbers to float32 as well, where they make operands of them: hence :func:`_constant`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from ..._family import SELU_ALPHA, SELU_SCALE
from . import composed

__all__ = ["value"]

Tensor = torch.Tensor


def value(name: str, z: Tensor, parameter: float | Tensor) -> Tensor:
    """f(z) for the row ``name``: of z's dtype and shape, floating. Parameters as in :mod:`.composed`."""
    if name in _PLAIN:
        return _PLAIN[name](z)
    if name in _SLOPED and not isinstance(parameter, Tensor) and parameter == 0:
        return torch.relu(z)  # 0 times −∞ would be NaN
    single = z.dtype is not torch.float64
    if single and not isinstance(parameter, Tensor):
        return _OF_NUMBER[name](z, parameter)
    if not isinstance(parameter, Tensor):
        parameter = _constant(parameter, z)
    if name == "relu6":
        return composed.value(name, z, parameter)
    if name in _SLOPED:
        return _sloped(z.float() if single else z, parameter).to(z.dtype)
    return _COMPOSED[name](z.double(), parameter.double()).to(z.dtype)


def _constant(number: float, z: Tensor) -> Tensor:
    if torch._C._is_tracing():  # which warns of a tensor that is made of a number
        return torch.full((), number, dtype=torch.float64, device=z.device)
    return torch.tensor(number, dtype=torch.float64, device=z.device)


def _sloped(z: Tensor, slope: Tensor) -> Tensor:
    if z.dtype is not torch.float64 and _along_channels(z, slope):
        return F.prelu(z, slope.reshape(-1))
    return torch.where(z > 0, z, slope * z)


def _along_channels(z: Tensor, slope: Tensor) -> bool:
    """Whether it is one slope, or known to be one for each entry of axis 1: what PyTorch's operator takes."""
    if slope.ndim == 0:
        return True
    if torch._C._is_tracing():  # a look at a size would be frozen
        return False
    axis_one = z.ndim >= 2 and slope.ndim == z.ndim - 1 and slope.shape[0] == slope.numel()
    return axis_one and slope.shape[0] == z.shape[1]


# One operator --------------------------------------------------------------------------------------------------------


def _abs(z: Tensor) -> Tensor:
    # Of 16 bits the exporter makes float32 and does not say so.
    return torch.abs(z) if z.dtype is torch.float64 else torch.abs(z.float()).to(z.dtype)


def _squared_relu(z: Tensor) -> Tensor:
    h = torch.relu(z)
    return h * h


_SLOPED = frozenset({"leaky_relu", "prelu"})
_PLAIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "abs": _abs,
    "squared_relu": _squared_relu,
}
_OF_NUMBER: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "leaky_relu": lambda z, slope: F.leaky_relu(z, slope),
    "prelu": lambda z, slope: F.leaky_relu(z, slope),
    "relu6": lambda z, ceiling: F.hardtanh(z, 0.0, ceiling),
    "elu": lambda z, alpha: F.elu(z, alpha),
    "celu": lambda z, alpha: F.celu(z, alpha),
    "selu": lambda z, _: F.selu(z),
    # Past 20 the identity is the same to the last digit of float32.
    "softplus": lambda z, beta: F.softplus(z, beta),
}


# Compositions, in float64 --------------------------------------------------------------------------------------------


def _curve(z: Tensor, inner: Tensor | float, outer: Tensor, line: Tensor) -> Tensor:
    """outer·(e^(z/inner) − 1) for z ≤ 0, and the line that this is next to 0."""
    # ONNX has no expm1, and Exp(y) − 1 cancels near 0.
    y = z / inner
    t = torch.tanh(y * 0.5)
    return torch.where(y < -(2.0**-53), outer * ((t + t) / (1.0 - t)), line)


def _softplus(z: Tensor, beta: Tensor) -> Tensor:
    e = torch.exp(-torch.abs(z * beta))
    # log(1 + e) loses the digits of a small e: the quotient gives them back (Goldberg 1991,
    # doi:10.1145/103162.103163, theorem 4).
    u = 1.0 + e
    digits = u > 1.0
    log1p = torch.where(digits, torch.log(u) * e / torch.where(digits, u - 1.0, 1.0), e)
    return torch.relu(z) + log1p / beta


def _elu(z: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(z > 0, z, _curve(z, 1.0, alpha, alpha * z))


def _selu(z: Tensor, _: Tensor) -> Tensor:
    above, below = _constant(SELU_SCALE, z), _constant(SELU_SCALE * SELU_ALPHA, z)
    return torch.where(z > 0, above * z, _curve(z, 1.0, below, below * z))


_COMPOSED: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "elu": _elu,
    "celu": lambda z, alpha: _curve(z, alpha, alpha, z),  # above 0 as well
    "selu": _selu,
    "softplus": _softplus,
}
