"""What an export to ONNX is shown: for each function the operator of PyTorch that becomes one standard operator.

Only values: what is kept for a backward pass, and the derivative at a kink, have no place in an exported model. ONNX
Runtime has none of the operators below in float64, nor has ONNX a slope of more digits than float32 there: such a
tensor gets the composition of :mod:`.composed`, and so does a parameter that is a tensor and no operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F

from . import composed

__all__ = ["value"]

Tensor = torch.Tensor


def value(name: str, z: Tensor, parameter: float | Tensor) -> Tensor:
    """f(z) for the row ``name``: of z's dtype and shape, floating. Parameters as in :mod:`.composed`."""
    if name in _PLAIN:
        return _PLAIN[name](z)
    single = z.dtype is not torch.float64
    if not isinstance(parameter, Tensor):
        if name == "relu6":
            return F.hardtanh(z, 0.0, parameter)
        if single and name in _OF_NUMBER:
            return _OF_NUMBER[name](z, parameter)
    elif single and name in ("leaky_relu", "prelu") and _along_channels(z, parameter):
        return F.prelu(z.float(), parameter.reshape(-1)).to(z.dtype)
    if name == "softplus":
        return _softplus(z, parameter)
    return composed.value(name, z, parameter)


def _squared_relu(z: Tensor) -> Tensor:
    h = torch.relu(z)
    return h * h


#: −∞ times a slope of 0 would be NaN.
def _leaky_relu(z: Tensor, slope: float) -> Tensor:
    return F.leaky_relu(z, slope) if slope else torch.relu(z)


_PLAIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "abs": torch.abs,
    "squared_relu": _squared_relu,
}
_OF_NUMBER: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "leaky_relu": _leaky_relu,
    "prelu": _leaky_relu,
    "elu": lambda z, alpha: F.elu(z, alpha),
    "celu": lambda z, alpha: F.celu(z, alpha),
    "selu": lambda z, _: F.selu(z),
    # Past 20 the identity is the same to the last digit of float32.
    "softplus": lambda z, beta: F.softplus(z, beta),
}


def _along_channels(z: Tensor, slope: Tensor) -> bool:
    """Whether it is one slope, or one for each entry of axis 1: what PyTorch's operator takes."""
    if slope.numel() == 1:
        return slope.ndim <= z.ndim
    axis_one = z.ndim >= 2 and slope.ndim == z.ndim - 1 and slope.shape[0] == slope.numel()
    return axis_one and slope.shape[0] == z.shape[1]


def _softplus(z: Tensor, beta: float | Tensor) -> Tensor:
    wide = z.double()
    if not isinstance(beta, Tensor):  # a number is rounded to the dtype of the computation, as everywhere
        beta = torch.full((), beta, dtype=z.dtype if z.dtype is torch.float64 else torch.float32, device=z.device)
    beta = beta.double()
    e = torch.exp(-torch.abs(wide * beta))
    # ONNX has no log1p, and log(1 + e) loses the digits of a small e: the quotient gives them back (Kahan; Goldberg
    # 1991, doi:10.1145/103162.103163, theorem 4).
    u = 1.0 + e
    digits = u > 1.0
    log1p = torch.where(digits, torch.log(u) * e / torch.where(digits, u - 1.0, 1.0), e)
    return (torch.relu(wide) + log1p / beta).to(z.dtype)
