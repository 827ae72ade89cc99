"""The functions with an exponential in float32 alone, for compiled graphs, where float64 takes four times as long.

e^y = 2^k·e^r with |r| ≤ ½ ln 2 (Cody & Waite 1980), and e^r − 1 from its series; what a rounding loses where that would
show is carried along (Dekker 1971, doi:10.1007/BF01397083). So results are within 1 ulp of the correctly rounded, and
gradients within 2. Only operators that Inductor makes vectors of; it has no expm1 (``exp(y) − 1`` stands for it), and
takes longer to blend a vector with a constant than for the whole exponential: hence the clamps.

Differentiable: ``round`` and whole numbers have the derivative 0, so what is differentiated is the series at its r.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ..._family import SELU_ALPHA, SELU_SCALE

__all__ = ["GRADIENT", "GRADIENT_FROM_OUTPUT", "VALUE", "constant"]

Tensor = torch.Tensor
Function = TypeVar("Function", bound=Callable[..., object])


def constant(function: Function) -> Function:
    """What it returns is a constant of compiled graphs; Dynamo makes inputs of floats that it finds elsewhere.

    Does what ``torch.compiler.assume_constant_result`` does, which imports all of Dynamo: a second at every import of
    ours, and the end of a process that has TensorFlow and then loads Triton.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def _power_of_two(k: Tensor) -> Tensor:
    """2^k for whole numbers from −126 to 127, by its bits."""
    return ((k + 127) << 23).view(torch.float32)


def _reduced(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """k, r and e^r − 1 − r, where y = k·ln 2 + r, for −340 ≤ y ≤ 0."""
    k = torch.round(y * 1.4426950408889634)
    r = (y - k * 0.693359375) + k * 0.00021219444005469057  # the first product is exact
    # A term more than the value needs, for the second derivative.
    series = r * 2.48015873015873e-05 + 0.0001984126984126984
    series = series * r + 0.001388888888888889
    series = series * r + 0.008333333333333333
    series = series * r + 0.041666666666666664
    series = series * r + 0.16666666666666666
    series = series * r + 0.5
    return k.to(torch.int32), r, r * r * series


def _expm1(y: Tensor) -> tuple[Tensor, Tensor]:
    """e^y − 1 for y ≤ 0, and what its rounding has lost."""
    k, r, tail = _reduced(torch.clamp(y, min=-87.0))
    scale = _power_of_two(k)
    p = r + tail
    whole = scale - 1.0
    rest = scale * p
    result = whole + rest
    return result, (rest - (result - whole)) + scale * (tail - (p - r))


def _exp(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """k, and e^y / 2^k with what its rounding has lost, for −340 ≤ y ≤ 0."""
    k, r, tail = _reduced(y)
    p = r + tail
    result = 1.0 + p
    return k, result, (p - (result - 1.0)) + (tail - (p - r))


def _scaled(k: Tensor, y: Tensor, dh: Tensor) -> Tensor:
    """2^k·y·dh, where 2^k alone may be too small a number: a large dh brings its digits back."""
    quarter = (-k) >> 2
    scale = _power_of_two(-quarter)
    return y * scale * dh * scale * scale * _power_of_two(k + 3 * quarter)


def _depth(z: Tensor) -> Tensor:
    """z where it is negative, 0 above; for derivatives: see :func:`.composed._depth`."""
    return -torch.clamp(-z, 0.0, 340.0)


def _leading(x: Tensor) -> Tensor:
    """x without its last 12 bits, so that products of two such are exact."""
    return (x.view(torch.int32) & -4096).view(torch.float32)


@constant
def _selu_slopes() -> tuple[float, float, float, float]:
    """λ and λα, each as a number of 12 bits and the rest."""
    above, below = SELU_SCALE, SELU_SCALE * SELU_ALPHA
    leading = [round(slope * 2**11) / 2**11 for slope in (above, below)]
    return leading[0], above - leading[0], leading[1], below - leading[1]


def _times(x: Tensor, lost: Tensor | float, leading: float, rest: float) -> Tensor:
    """(x + lost)·(leading + rest), rounded once."""
    first = _leading(x)
    return first * leading + (((x - first) + lost) * leading + x * rest)


def _elu(z: Tensor) -> Tensor:
    return torch.where(z >= 0, z, _expm1(torch.clamp(z, max=0.0))[0])


def _elu_gradient(z: Tensor, dh: Tensor) -> Tensor:
    k, y, lost = _exp(_depth(z))
    return _scaled(k, y + lost, dh)


def _selu(z: Tensor) -> Tensor:
    above, above_rest, below, below_rest = _selu_slopes()
    y, lost = _expm1(torch.clamp(z, max=0.0))
    finite = torch.clamp(z, max=torch.finfo(torch.float32).max)  # ∞ has nothing left without its last bits
    h = torch.where(z > 0, _times(finite, 0.0, above, above_rest), _times(y, lost, below, below_rest))
    return torch.where(z == 0, z, h)  # −0.0 stays


def _selu_gradient(z: Tensor, dh: Tensor) -> Tensor:
    above, above_rest, below, below_rest = _selu_slopes()
    k, y, lost = _exp(_depth(z))
    return torch.where(-z < 0, dh * (above + above_rest), _scaled(k, _times(y, lost, below, below_rest), dh))


def _softplus(z: Tensor) -> Tensor:
    k, y, lost = _exp(torch.clamp(-torch.abs(z), min=-340.0))
    scale = _power_of_two(torch.clamp(k, min=-126))
    e, lost = y * scale, lost * scale
    # log(1 + e) = 2 artanh(s) with s = e/(2 + e) ≤ ⅓; what the sum and the quotient have lost is made good.
    d = 2.0 + e
    s = e / d
    s_first, d_first = _leading(s), _leading(d)
    d_rest = d - d_first
    left = ((e - s_first * d_first) - s_first * d_rest) - (s - s_first) * d
    more = (left + lost - s * ((e - (d - 2.0)) + lost)) / d
    square = s * s
    series = square * 0.15 + 0.15384615384615385  # in place of 2/15 and what follows
    series = series * square + 0.18181818181818182
    series = series * square + 0.2222222222222222
    series = series * square + 0.2857142857142857
    series = series * square + 0.4
    series = series * square + 0.6666666666666666
    near = 2.0 * s + (2.0 * more + s * square * series)
    far = _scaled(k, y, torch.ones_like(y))  # below −20 it is e^z
    return torch.where(z < -20.0, far, torch.relu(z) + near)


def _softplus_gradient_from_output(h: Tensor, dh: Tensor) -> Tensor:
    y, lost = _expm1(-h)
    return -(y + lost) * dh


VALUE = {"elu": _elu, "celu": _elu, "selu": _selu, "softplus": _softplus}
"""f(z) for α = 1, β = 1."""
GRADIENT = {"elu": _elu_gradient, "celu": _elu_gradient, "selu": _selu_gradient}
"""f′(z)·dh."""
GRADIENT_FROM_OUTPUT = {"softplus": _softplus_gradient_from_output}
"""The same from f(z)."""
