"""Value and derivative of every function as compositions of PyTorch operators: the PyTorch arithmetic, and all of it.

For whatever the native kernels do not reach: other devices, compiled and traced graphs, function transforms, tensor
subclasses; and for second derivatives everywhere, so the derivatives here are differentiable themselves.

Rules that the formulas keep: the functions with an exponential are computed in float64 and rounded once, which makes
them right near 0, in the tails and for every parameter; the others in float32 at least (float64 has nothing to add to
one product). A branch that ``torch.where`` does not select is fed a harmless value first, because its infinite
derivative times 0 would be NaN; NaN gives NaN; at a kink the row's convention. Compiled graphs take the exponentials of
:mod:`.single` where these will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..._family import SELU_ALPHA, SELU_SCALE
from . import single

__all__ = ["BLOCKING", "derivative", "input_gradient", "input_gradient_from_output", "slope_gradient", "value"]

Tensor = torch.Tensor
Parameter = float | Tensor
"""The one parameter of a row, 0.0 for a row without; a tensor broadcasts and is float64 for float64 z, else float32."""
Formula = Callable[[Tensor, Parameter, torch.dtype], Tensor]
"""Of z in the dtype that is computed in; told which dtype the result will be rounded to."""

#: Rows whose derivative can be exactly 0 on an interval or at the kink: an infinite gradient from above is stopped
#: there, as PyTorch's own do it (√relu(z) has gradient 0 at z < 0, not 0·∞).
BLOCKING = frozenset({"relu", "relu6", "squared_relu", "abs"})
#: Rows with an exponential.
_CURVED = frozenset({"elu", "celu", "selu", "softplus"})


def value(name: str, z: Tensor, parameter: Parameter) -> Tensor:
    """f(z), of z's dtype (floating, or an integer for relu, relu6, abs) and shape; not for autograd to follow."""
    if name in single.VALUE and _single_does(name, z, parameter):
        return single.VALUE[name](z.float()).to(z.dtype)
    return _VALUE[name](*_wide(name, z, parameter)).to(z.dtype)


def derivative(name: str, z: Tensor, parameter: Parameter) -> Tensor:
    """f′(z), in the dtype that it is computed in; differentiable in z."""
    return _DERIVATIVE[name](*_wide(name, z, parameter))


def input_gradient(name: str, z: Tensor, parameter: Parameter, dh: Tensor) -> Tensor:
    """dz = f′(z)·dh, of z's dtype; differentiable in z and dh."""
    if name in single.GRADIENT and _single_does(name, z, parameter):
        return single.GRADIENT[name](z.float(), dh.float()).to(z.dtype)
    return _product(name, derivative(name, z, parameter), dh).to(z.dtype)


def input_gradient_from_output(name: str, h: Tensor, parameter: Parameter, dh: Tensor) -> Tensor:
    """The same from h = f(z): for squared_relu, softplus, a positive slope, and, with digits lost, elu, celu, selu."""
    if name in single.GRADIENT_FROM_OUTPUT and _single_does(name, h, parameter):
        return single.GRADIENT_FROM_OUTPUT[name](h.float(), dh.float()).to(h.dtype)
    return _product(name, _FROM_OUTPUT[name](*_wide(name, h, parameter)), dh).to(h.dtype)


def slope_gradient(z: Tensor, slope: Tensor, dh: Tensor) -> Tensor:
    """ds = Σ min(0, z)·dh over what the slope was broadcast along: of the slope's shape and dtype; differentiable."""
    z, dh = _single(z), _single(dh)
    positive = z > 0
    product = torch.where(positive, 0.0, z) * torch.where(positive, 0.0, dh)
    return product.sum_to_size(slope.shape).to(slope.dtype)


def _product(name: str, slope: Tensor, dh: Tensor) -> Tensor:
    dh = dh.to(slope.dtype)
    if name in BLOCKING:
        dh = torch.where(slope != 0, dh, 0.0)
    return slope * dh


def _single(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _wide(name: str, z: Tensor, parameter: Parameter) -> tuple[Tensor, Parameter, torch.dtype]:
    if name not in _CURVED or z.dtype is torch.float64 or z.device.type == "mps":  # which has no float64
        return _single(z), parameter, z.dtype
    if isinstance(parameter, Tensor):
        return z.double(), parameter.double(), z.dtype
    if not _is_one(parameter):
        # A number is rounded to float32 first, as everywhere, and in the graph: it may be a symbol.
        parameter = torch.full((), parameter, dtype=torch.float32, device=z.device).double()
    return z.double(), parameter, z.dtype


def _single_does(name: str, z: Tensor, parameter: Parameter) -> bool:
    """Whether float32 alone is good enough, and quicker: in a compiled graph, under the default parameter.

    Under another one its products would have to be carried in two parts too. An exported graph is for others to read.
    """
    return (
        torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and z.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and (name == "selu" or _is_one(parameter))
    )


def _is_one(parameter: Parameter) -> bool:
    """Whether it is known to be 1, the default: a graph without an operation for it is a quicker one."""
    return not isinstance(parameter, Tensor) and parameter == 1


def _times(y: Tensor, parameter: Parameter) -> Tensor:
    return y if _is_one(parameter) else y * parameter


def _over(y: Tensor, parameter: Parameter) -> Tensor:
    return y if _is_one(parameter) else y / parameter


def _expm1(y: Tensor, dtype: torch.dtype) -> Tensor:
    """e^y − 1 for y ≤ 0, good for a result in ``dtype``."""
    if not torch.compiler.is_compiling() or y.dtype is not torch.float64:
        return torch.expm1(y)
    # Inductor turns expm1 into exp(y) − 1 on the CPU: 19 % off at −1e−7 in float32, which float64 only puts off.
    if dtype is not torch.float64:
        near = y > -0.00390625
        r = torch.where(near, y, 0.0)
        return torch.where(near, (((r * 0.25 + 1.0) * r * (1 / 3) + 1.0) * r * 0.5 + 1.0) * r, torch.exp(y) - 1.0)
    near = y > -0.35
    r = torch.where(near, y, 0.0)
    series = r * 1.1470745597729725e-11 + 1.6059043836821613e-10  # 1/14! and 1/13!; the next is below 2⁻⁵⁶ of the sum
    # Written here, as Dynamo makes inputs of the graph of floats that it finds elsewhere.
    for inverse_factorial in (
        2.08767569878681e-09,
        2.505210838544172e-08,
        2.755731922398589e-07,
        2.7557319223985893e-06,
        2.48015873015873e-05,
        0.0001984126984126984,
        0.001388888888888889,
        0.008333333333333333,
        0.041666666666666664,
        0.16666666666666666,
        0.5,
    ):
        series = series * r + inverse_factorial
    return torch.where(near, r + r * r * series, torch.exp(y) - 1.0)


@single.constant
def _selu_slopes() -> tuple[float, float]:
    """λ and λα."""
    return SELU_SCALE, SELU_SCALE * SELU_ALPHA


def _nonpositive(z: Tensor) -> Tensor:
    """z where it is negative, 0 (or NaN) or below; 0 elsewhere."""
    return torch.where(z > 0, 0.0, z)


def _depth(z: Tensor) -> Tensor:
    """−z where it is negative, 0 above.

    For derivatives, which have no expression in common with the value: what both need, a compiled graph would keep,
    even if it can be had from z in no time.
    """
    return torch.clamp(-z, min=0.0)


def _nan_kept(z: Tensor, slope: Tensor) -> Tensor:
    return torch.where(torch.isnan(z), z, slope)


#: PyTorch has few operators for these; they have no negative values.
_UNSIGNED = frozenset({torch.uint16, torch.uint32, torch.uint64})


# Values --------------------------------------------------------------------------------------------------------------
def _relu(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    return z.clone() if z.dtype in _UNSIGNED else torch.relu(z)


def _leaky_relu(z: Tensor, slope: Parameter, dtype: torch.dtype) -> Tensor:
    # Slope 0 at −∞ is 0, not 0·∞: there the smallest finite z stands for it.
    lowest = torch.finfo(z.dtype).min
    if isinstance(slope, Tensor):
        factor = torch.where(slope == 0, z.clamp(min=lowest), z)
    else:
        factor = z.clamp(min=lowest) if slope == 0 else z
    return torch.where(z > 0, z, slope * factor)


def _abs(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    return z.clone() if z.dtype in _UNSIGNED else torch.abs(z)


def _relu6(z: Tensor, ceiling: Parameter, dtype: torch.dtype) -> Tensor:
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


def _squared_relu(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    return torch.relu(z).square()


def _elu(z: Tensor, alpha: Parameter, dtype: torch.dtype) -> Tensor:
    return torch.where(z > 0, z, _times(_expm1(_nonpositive(z), dtype), alpha))


def _celu(z: Tensor, alpha: Parameter, dtype: torch.dtype) -> Tensor:
    y = _over(_nonpositive(z), alpha)
    # Next to 0 it is z to the last digit, and y may have lost all of its own to underflow.
    is_line = z > 0 if _is_one(alpha) else (z > 0) | (torch.abs(y) < torch.finfo(z.dtype).eps / 4)
    return torch.where(is_line, z, _times(_expm1(y, dtype), alpha))


def _selu(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    above, below = _selu_slopes()
    return torch.where(z > 0, above * z, below * _expm1(_nonpositive(z), dtype))


def _softplus(z: Tensor, beta: Parameter, dtype: torch.dtype) -> Tensor:
    # max(0, z) apart from the quotient: βz/β is not always z.
    return torch.relu(z) + _over(torch.log1p(torch.exp(-torch.abs(_times(z, beta)))), beta)


# Derivatives ---------------------------------------------------------------------------------------------------------


def _relu_derivative(z: Tensor, at_zero: Parameter, dtype: torch.dtype) -> Tensor:
    slope = torch.where(z > 0, 1.0, torch.where(z == 0, at_zero, torch.zeros_like(z)))
    return _nan_kept(z, slope)


def _leaky_relu_derivative(z: Tensor, slope: Parameter, dtype: torch.dtype) -> Tensor:
    return _nan_kept(z, torch.where(z > 0, torch.ones_like(z), slope))


def _abs_derivative(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    return _nan_kept(z, torch.sign(z))


def _relu6_derivative(z: Tensor, ceiling: Parameter, dtype: torch.dtype) -> Tensor:
    return _nan_kept(z, ((z > 0) & (z < ceiling)).to(z.dtype))


def _squared_relu_derivative(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    return _nan_kept(z, 2.0 * torch.where(z > 0, z, 0.0))


def _elu_derivative(z: Tensor, alpha: Parameter, dtype: torch.dtype) -> Tensor:
    return torch.where(-z < 0, 1.0, _times(torch.exp(-_depth(z)), alpha))


def _celu_derivative(z: Tensor, alpha: Parameter, dtype: torch.dtype) -> Tensor:
    return torch.exp(-_over(_depth(z), alpha))


def _selu_derivative(z: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    above, below = _selu_slopes()
    return torch.where(-z < 0, above, below * torch.exp(-_depth(z)))


def _softplus_derivative(z: Tensor, beta: Parameter, dtype: torch.dtype) -> Tensor:
    # The logistic function from e^−|βz|: right in both tails, and so is its own derivative (1 − σ would cancel). The
    # branch below takes −βz at 0, where the derivative of −|βz| as PyTorch defines it would be 0.
    y = _times(z, beta)
    e = torch.exp(torch.where(y < 0, y, -y))
    return torch.where(y < 0, e, 1.0) / (1.0 + e)


# Derivatives from the output ------------------------------------------------------------------------------------------


def _squared_relu_from_output(h: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    # √ has an infinite derivative at 0.
    positive = h > 0
    return _nan_kept(h, torch.where(positive, 2.0 * torch.sqrt(torch.where(positive, h, 1.0)), 0.0))


def _elu_from_output(h: Tensor, alpha: Parameter, dtype: torch.dtype) -> Tensor:
    return torch.where(h > 0, 1.0, _nonpositive(h) + alpha)


def _celu_from_output(h: Tensor, alpha: Parameter, dtype: torch.dtype) -> Tensor:
    return torch.where(h > 0, 1.0, _over(_nonpositive(h) + alpha, alpha))


def _selu_from_output(h: Tensor, _: Parameter, dtype: torch.dtype) -> Tensor:
    above, below = _selu_slopes()
    return torch.where(h > 0, above, _nonpositive(h) + below)


def _softplus_from_output(h: Tensor, beta: Parameter, dtype: torch.dtype) -> Tensor:
    t = _times(h, beta)
    # Apart from 0, where nothing cancels, by 1 − e^−t: the derivative of expm1 is made of its result, and lost at −1.
    near = t < 0.5
    return torch.where(near, -_expm1(-torch.where(near, t, 0.0), dtype), 1.0 - torch.exp(-t))


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
_FROM_OUTPUT: Mapping[str, Formula] = {
    "squared_relu": _squared_relu_from_output,
    "elu": _elu_from_output,
    "celu": _celu_from_output,
    "selu": _selu_from_output,
    "softplus": _softplus_from_output,
    "leaky_relu": _leaky_relu_derivative,  # for a positive slope h has the sign of z
    "prelu": _leaky_relu_derivative,
}
