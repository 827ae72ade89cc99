"""The exponentials of compiled graphs, in float32 alone: their digits over the whole range, beside the kernels'.

The operators give the same bits whether a graph is compiled or not, so nothing is compiled here.
"""

from __future__ import annotations

import pytest
import torch

from rectifier.frameworks.torch import single
from rectifier.frameworks.torch.ops import PUBLIC


def every_size() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.logspace(-44.8, 38.5, 40_000, dtype=torch.float64).float()
    near = [torch.rand(40_000, generator=generator) * reach for reach in (1.0, 20.0, 104.0)]
    special = torch.tensor([0.0, 1e-45, torch.finfo(torch.float32).max, torch.inf, torch.nan])
    return torch.cat([sign * part for part in (sizes, *near, special) for sign in (1, -1)])


def ulps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    assert torch.equal(torch.isnan(a), torch.isnan(b))
    integer = torch.int32 if a.dtype.itemsize == 4 else torch.int16
    ordered = [x[~torch.isnan(x)].view(integer).long() for x in (a, b)]
    ordered = [torch.where(i < 0, torch.iinfo(integer).min - i, i) for i in ordered]
    return (ordered[0] - ordered[1]).abs()


@pytest.mark.parametrize("name", single.VALUE)
def test_values_are_within_one_ulp(name: str) -> None:
    z = every_size()
    h = single.VALUE[name](z)
    assert int(ulps(h, PUBLIC[name](z)).max()) <= 1
    assert torch.signbit(h[z == 0]).tolist() == torch.signbit(PUBLIC[name](z[z == 0])).tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", single.VALUE)
def test_every_value_of_16_bits(name: str, dtype: torch.dtype) -> None:
    z = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    assert int(ulps(single.VALUE[name](z.float()).to(dtype), PUBLIC[name](z)).max()) <= 1


@pytest.mark.parametrize("scale", [1.0, 1e12, 1e-12])
@pytest.mark.parametrize("name", single.GRADIENT)
def test_gradients_are_within_two_ulp_in_the_far_tail_too(name: str, scale: float) -> None:
    z = every_size().requires_grad_()
    dh = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)) * scale
    (want,) = torch.autograd.grad(PUBLIC[name](z), z, dh)
    assert int(ulps(single.GRADIENT[name](z.detach(), dh), want).max()) <= 2


def test_gradient_of_softplus_from_a_normal_output_is_within_two_ulp() -> None:
    z = every_size()
    z = z[~(z < -87)].requires_grad_()
    h = PUBLIC["softplus"](z)
    dh = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    (want,) = torch.autograd.grad(h, z, dh)
    assert int(ulps(single.GRADIENT_FROM_OUTPUT["softplus"](h.detach(), dh), want).max()) <= 2


def test_constant_says_to_the_compiler_what_its_own_decorator_does() -> None:
    def ours() -> int:
        return 1

    def theirs() -> int:
        return 1

    torch.compiler.assume_constant_result(theirs)
    assert vars(single.constant(ours)) == vars(theirs) != {}
