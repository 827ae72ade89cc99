"""The gradient is dh·f′(z) correctly rounded, within two units of the last place, over the whole range of every dtype.

The reference is the formula in long double: the tails are formed there without cancellation and without underflow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from rectifier._family import SELU_ALPHA, SELU_SCALE
from rectifier.frameworks.torch.ops import PUBLIC

Array = np.ndarray[Any, Any]
Wide = np.longdouble
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
#: digits of the significand, exponent of the smallest normal number, the largest number
FORMATS: dict[torch.dtype, tuple[int, int, float]] = {
    torch.float16: (11, -14, 65504.0),
    torch.bfloat16: (8, -126, 3.3895313892515355e38),
    torch.float32: (24, -126, 3.4028234663852886e38),
    torch.float64: (53, -1022, 1.7976931348623157e308),
}
pytestmark = pytest.mark.skipif(np.finfo(Wide).nmant <= 53, reason="the reference needs a long double of its own")


def _exponential(z: Array, scale: Any) -> Array:
    return np.where(z > 0, Wide(1), scale * np.exp(np.minimum(z, 0)))


#: f′ of z and the parameter, both in long double.
EXACT: dict[str, Callable[[Array, Any], Array]] = {
    "relu": lambda z, _: (z > 0).astype(Wide),
    "leaky_relu": lambda z, s: np.where(z > 0, Wide(1), s),
    "prelu": lambda z, s: np.where(z > 0, Wide(1), s),
    "abs": lambda z, _: np.sign(z),
    "relu6": lambda z, c: ((z > 0) & (z < c)).astype(Wide),
    "squared_relu": lambda z, _: 2 * np.maximum(z, 0),
    "elu": lambda z, a: _exponential(z, a),
    "celu": lambda z, a: _exponential(z / a, Wide(1)),
    "selu": lambda z, _: Wide(SELU_SCALE) * _exponential(z, Wide(SELU_ALPHA)),
    "softplus": lambda z, b: 1 / (1 + np.exp(-b * z)),
}
PARAMETER = {
    "leaky_relu": ("negative_slope", [0.01, -0.3]),
    "prelu": ("negative_slope", [0.25]),
    "relu6": ("ceiling", [6.0]),
    "elu": ("alpha", [1.0, 0.3]),
    "celu": ("alpha", [1.0, 2.5]),
    "softplus": ("beta", [1.0, 3.0]),
}
CASES = [(name, number) for name in sorted(EXACT) for number in PARAMETER.get(name, ("", [None]))[1]]


def wide(x: torch.Tensor) -> Array:
    return (x.float() if x.dtype is torch.bfloat16 else x).numpy().astype(Wide)


def inputs(dtype: torch.dtype) -> torch.Tensor:
    """All of a 16-bit dtype; else every exponent, the span where the exponentials live, and the edges of saturation."""
    if dtype.itemsize == 2:
        z = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
        return z[z.isfinite()]
    rng = np.random.default_rng(0)
    integer: Any = np.uint32 if dtype is torch.float32 else np.uint64
    floating: Any = np.float32 if dtype is torch.float32 else np.float64
    bits = rng.integers(0, np.iinfo(integer).max, 20_000, dtype=integer, endpoint=True).view(floating)
    lowest = -110.0 if dtype is torch.float32 else -750.0
    span = np.concatenate([rng.uniform(lowest, -lowest, 20_000), rng.uniform(-1, 1, 4_000), rng.normal(size=4_000)])
    z = np.concatenate([bits, span.astype(floating), np.array([0.0, 6.0, lowest], floating)])
    return torch.from_numpy(z[np.isfinite(z)].copy())


def ulps(got: Array, slope: Array, dh: Array, dtype: torch.dtype) -> Array:
    """|got − f′·dh| in units of the last place of f′·dh; infinity stands for the first number too large.

    Where f′ itself is below the smallest normal number of the precision worked in (float32 for 16 bits), its own last
    place counts, times dh. Where it is beyond the largest, nothing is asked.
    """
    digits, lowest, largest = FORMATS[dtype]
    inner_digits, inner_lowest, inner_largest = FORMATS[torch.float64 if dtype is torch.float64 else torch.float32]
    ceiling = Wide(2) ** int(np.frexp(largest)[1])
    exact = np.clip(slope * dh, -ceiling, ceiling)
    exponent = np.maximum(np.frexp(np.abs(exact))[1] - 1, lowest)
    unit = np.ldexp(Wide(1), exponent - digits + 1)
    tiny = np.abs(slope) < np.ldexp(Wide(1), inner_lowest)
    last = np.ldexp(np.abs(dh), inner_lowest - inner_digits + 1)
    unit = np.where(tiny & (slope != 0), np.maximum(unit, last), unit)
    return np.where(np.abs(slope) > inner_largest, 0, np.abs(np.clip(got, -ceiling, ceiling) - exact) / unit)


def gradient(name: str, z: torch.Tensor, number: float | None, dh: torch.Tensor, **given: Any) -> torch.Tensor:
    parameters = {} if number is None else {PARAMETER[name][0]: number}
    leaf = z.detach().requires_grad_()
    (dz,) = torch.autograd.grad(PUBLIC[name](leaf, **parameters, **given), leaf, dh)
    assert dz.dtype is z.dtype
    return dz


def worst(name: str, z: torch.Tensor, number: float | None, dh: torch.Tensor, **given: Any) -> tuple[float, str]:
    dz = gradient(name, z, number, dh, **given)
    # The parameter counts as the number that the kernels take: float32 for all but float64.
    parameter = Wide(0) if number is None else Wide(number if z.dtype is torch.float64 else np.float32(number))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        slope = EXACT[name](wide(z), parameter)
        errors = ulps(wide(dz), slope, wide(dh), z.dtype)
    at = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    shown = f"z = {z[at].item()!r}, dh = {dh[at].item()!r}: {dz[at].item()!r}, exact {(slope * wide(dh))[at]!r}"
    return float(errors[at]), shown


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "number"), CASES)
def test_within_two_ulp_of_the_exact_gradient(name: str, number: float | None, dtype: torch.dtype) -> None:
    z = inputs(dtype)
    rng = np.random.default_rng(1)
    drawn = torch.from_numpy(rng.normal(size=z.numel()) * 10.0 ** rng.integers(-3, 4, z.numel())).to(dtype)
    for dh in (torch.ones_like(z), torch.full_like(z, -0.7), drawn):
        error, shown = worst(name, z, number, dh)
        assert error <= 2, f"{error:.3g} ulp at {shown}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "number"), CASES)
def test_under_a_large_upstream_gradient(name: str, number: float | None, dtype: torch.dtype) -> None:
    """An upstream gradient as large as the dtype takes: what underflowed in f′ must not have been lost."""
    z = inputs(dtype)
    top = torch.full_like(z, {torch.float16: 6e4, torch.float64: 1e30}.get(dtype, 1e30))
    error, shown = worst(name, z, number, top)
    assert error <= 2, f"{error:.3g} ulp at {shown}"


def test_the_measure_sees_a_lost_tail() -> None:
    """ELU's gradient from its output, h + α, in bfloat16: what this file is here to catch."""
    z = torch.linspace(-10, 0, 1001, dtype=torch.bfloat16)
    dz = torch.expm1(z.float()).to(torch.bfloat16) + 1
    slope, one = np.exp(wide(z)), np.ones(z.numel(), Wide)
    assert ulps(wide(dz), slope, one, torch.bfloat16).max() > 50
    right = torch.from_numpy(slope.astype(ml_dtypes.bfloat16).view(np.int16)).view(torch.bfloat16)
    assert ulps(wide(right), slope, one, torch.bfloat16).max() <= 0.5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "number"), [case for case in CASES if case[0] in ("elu", "celu", "selu")])
def test_from_the_output_the_error_is_that_of_the_outputs_last_digit(
    name: str, number: float | None, dtype: torch.dtype
) -> None:
    """``save="output"``: f′ = h + α, so half a unit of the last place of h ≈ −α is lost, and no more."""
    z = inputs(dtype)
    dz = gradient(name, z, number, torch.ones_like(z), save="output")
    parameter = Wide(0) if number is None else Wide(number if dtype is torch.float64 else np.float32(number))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        slope = EXACT[name](wide(z), parameter)
    scale = {"elu": float(number or 1), "celu": 1.0, "selu": SELU_SCALE * SELU_ALPHA}[name]
    allowed = torch.finfo(dtype).eps * (max(scale, 0.5) + 2 * np.abs(slope))
    assert (np.abs(wide(dz) - slope) <= allowed).all()
