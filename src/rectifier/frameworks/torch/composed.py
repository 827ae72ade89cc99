"""Value and derivative of every function as compositions of PyTorch operators: the PyTorch arithmetic, and all of it.

For whatever the native kernels do not reach: other devices, compiled and traced graphs, function transforms, tensor
subclasses; and for second derivatives everywhere, so the derivatives here are differentiable themselves. 16-bit inputs
are computed in float32 and rounded once.

Rules that the formulas keep: right near 0 (``expm1``, never ``exp − 1``) and in the tails (no threshold, no 1 − 1);
a branch that ``torch.where`` does not select is fed a harmless value first, because its infinite derivative times 0
would be NaN; NaN gives NaN; at a kink the row's convention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..._family import SELU_ALPHA, SELU_SCALE

__all__ = ["derivative", "input_gradient", "slope_gradient", "value"]

Tensor = torch.Tensor
Parameter = float | Tensor
"""The one parameter of a row, 0.0 for a row without; a tensor broadcasts and is float64 for float64 z, else float32."""
Formula = Callable[[Tensor, Parameter], Tensor]

#: Rows whose derivative can be exactly 0 on an interval or at the kink: an infinite gradient from above is stopped
#: there, as PyTorch's own do it (√relu(z) has gradient 0 at z < 0, not 0·∞).
BLOCKING = frozenset({"relu", "relu6", "squared_relu", "abs"})


def value(name: str, z: Tensor, parameter: Parameter) -> Tensor:
    """f(z), of z's dtype (floating, or an integer for relu, relu6, abs) and shape; not for autograd to follow."""
    return _VALUE[name](_wide(z), parameter).to(z.dtype)


def derivative(name: str, z: Tensor, parameter: Parameter) -> Tensor:
    """f′(z), in float64 for float64 z and float32 otherwise; differentiable in z."""
    return _DERIVATIVE[name](_wide(z), parameter)


def input_gradient(name: str, z: Tensor, parameter: Parameter, dh: Tensor) -> Tensor:
    """dz = f′(z)·dh, of z's dtype; differentiable in z and dh."""
    slope = derivative(name, z, parameter)
    dh = _wide(dh)
    if name in BLOCKING:
        dh = torch.where(slope != 0, dh, 0.0)
    return (slope * dh).to(z.dtype)


def slope_gradient(z: Tensor, slope: Tensor, dh: Tensor) -> Tensor:
    """ds = Σ min(0, z)·dh over what the slope was broadcast along: of the slope's shape and dtype; differentiable."""
    z, dh = _wide(z), _wide(dh)
    positive = z > 0
    product = torch.where(positive, 0.0, z) * torch.where(positive, 0.0, dh)
    return product.sum_to_size(slope.shape).to(slope.dtype)


def _wide(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _expm1(z: Tensor) -> Tensor:
    """e^z − 1 for z ≤ 0."""
    if not torch.compiler.is_compiling():
        return torch.expm1(z)
    # Inductor turns expm1 into exp(z) − 1 on the CPU: 19 % off at −1e−7. The tangent form has nothing to cancel at
    # z ≤ 0, as the denominator lies in [1, 2].
    t = torch.tanh(0.5 * z)
    return 2.0 * t / (1.0 - t)


def _nonpositive(z: Tensor) -> Tensor:
    """z where it is negative, 0 (or NaN) or below; 0 elsewhere."""
    return torch.where(z > 0, 0.0, z)


def _nan_kept(z: Tensor, slope: Tensor) -> Tensor:
    return torch.where(torch.isnan(z), z, slope)


#: PyTorch has few operators for these; they have no negative values.
_UNSIGNED = frozenset({torch.uint16, torch.uint32, torch.uint64})


# Values --------------------------------------------------------------------------------------------------------------


def _relu(z: Tensor, _: Parameter) -> Tensor:
    return z.clone() if z.dtype in _UNSIGNED else torch.relu(z)


def _leaky_relu(z: Tensor, slope: Parameter) -> Tensor:
    # Slope 0 at −∞ is 0, not 0·∞: there the smallest finite z stands for it.
    lowest = torch.finfo(z.dtype).min
    if isinstance(slope, Tensor):
        factor = torch.where(slope == 0, z.clamp(min=lowest), z)
    else:
        factor = z.clamp(min=lowest) if slope == 0 else z
    return torch.where(z > 0, z, slope * factor)


def _abs(z: Tensor, _: Parameter) -> Tensor:
    return z.clone() if z.dtype in _UNSIGNED else torch.abs(z)


def _relu6(z: Tensor, ceiling: Parameter) -> Tensor:
    if not z.is_floating_point() and not isinstance(ceiling, Tensor):
        limit = torch.iinfo(z.dtype).max
        ceiling = limit if ceiling >= limit else int(ceiling)
        if z.dtype in _UNSIGNED:
            return _clamp_unsigned(z, ceiling)
    # torch.clamp may lose the sign of −0.0.
    return torch.where(z > ceiling, ceiling, torch.where(z < 0, 0, z)).to(z.dtype)


def _clamp_unsigned(z: Tensor, ceiling: int) -> Tensor:
    # In int64, whose operators exist: what wraps to a negative number lies above every ceiling that does not.
    signed = z.to(torch.int64)
    if ceiling > torch.iinfo(torch.int64).max:
        ceiling -= 2**64
        above = (signed < 0) & (signed > ceiling)
    else:
        above = (signed < 0) | (signed > ceiling)
    return torch.where(above, ceiling, signed).to(z.dtype)


def _squared_relu(z: Tensor, _: Parameter) -> Tensor:
    return torch.relu(z).square()


def _elu(z: Tensor, alpha: Parameter) -> Tensor:
    return torch.where(z > 0, z, alpha * _expm1(_nonpositive(z)))


def _celu(z: Tensor, alpha: Parameter) -> Tensor:
    y = _nonpositive(z) / alpha
    # Next to 0 it is z to the last digit, and y may have lost all of its own to underflow.
    is_line = (z > 0) | (torch.abs(y) < torch.finfo(z.dtype).eps / 4)
    return torch.where(is_line, z, alpha * _expm1(y))


def _selu(z: Tensor, _: Parameter) -> Tensor:
    return torch.where(z > 0, SELU_SCALE * z, SELU_SCALE * SELU_ALPHA * _expm1(_nonpositive(z)))


def _softplus(z: Tensor, beta: Parameter) -> Tensor:
    # max(0, z) apart from the quotient: βz/β is not always z.
    return torch.relu(z) + torch.log1p(torch.exp(-torch.abs(beta * z))) / beta


# Derivatives ---------------------------------------------------------------------------------------------------------


def _relu_derivative(z: Tensor, at_zero: Parameter) -> Tensor:
    slope = torch.where(z > 0, 1.0, torch.where(z == 0, at_zero, torch.zeros_like(z)))
    return _nan_kept(z, slope)


def _leaky_relu_derivative(z: Tensor, slope: Parameter) -> Tensor:
    return _nan_kept(z, torch.where(z > 0, torch.ones_like(z), slope))


def _abs_derivative(z: Tensor, _: Parameter) -> Tensor:
    return _nan_kept(z, torch.sign(z))


def _relu6_derivative(z: Tensor, ceiling: Parameter) -> Tensor:
    return _nan_kept(z, ((z > 0) & (z < ceiling)).to(z.dtype))


def _squared_relu_derivative(z: Tensor, _: Parameter) -> Tensor:
    return _nan_kept(z, 2.0 * torch.where(z > 0, z, 0.0))


def _elu_derivative(z: Tensor, alpha: Parameter) -> Tensor:
    return torch.where(z > 0, 1.0, alpha * torch.exp(_nonpositive(z)))


def _celu_derivative(z: Tensor, alpha: Parameter) -> Tensor:
    return torch.where(z > 0, 1.0, torch.exp(_nonpositive(z) / alpha))


def _selu_derivative(z: Tensor, _: Parameter) -> Tensor:
    return torch.where(z > 0, SELU_SCALE, SELU_SCALE * SELU_ALPHA * torch.exp(_nonpositive(z)))


def _softplus_derivative(z: Tensor, beta: Parameter) -> Tensor:
    # The logistic function from e^−|βz|: right in both tails, and so is its own derivative (1 − σ would cancel). The
    # branch below takes −βz at 0, where the derivative of −|βz| as PyTorch defines it would be 0.
    y = beta * z
    e = torch.exp(torch.where(y < 0, y, -y))
    return torch.where(y < 0, e, 1.0) / (1.0 + e)


_VALUE: Mapping[str, Formula] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "prelu": _leaky_relu,
    "abs": _abs,
    "relu6": _relu6,
    "squared_relu": _squared_relu,
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "softplus": _softplus,
}
_DERIVATIVE: Mapping[str, Formula] = {
    "relu": _relu_derivative,
    "leaky_relu": _leaky_relu_derivative,
    "prelu": _leaky_relu_derivative,
    "abs": _abs_derivative,
    "relu6": _relu6_derivative,
    "squared_relu": _squared_relu_derivative,
    "elu": _elu_derivative,
    "celu": _celu_derivative,
    "selu": _selu_derivative,
    "softplus": _softplus_derivative,
}
