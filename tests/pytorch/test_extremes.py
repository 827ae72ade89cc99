"""Gradients where the numbers end (NaN, infinities, subnormals, signed zeros) and of every layout, also of stride 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier.frameworks.torch.ops import PUBLIC

Tensor = torch.Tensor
NAMES = sorted(PUBLIC)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
GATED: dict[str, tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "relu": ({}, F.relu),
    "leaky_relu": ({"negative_slope": 0.01}, F.leaky_relu),
    "relu6": ({}, F.relu6),
}


def given(name: str) -> dict[str, Any]:
    return {"negative_slope": 0.25} if name == "prelu" else {}


def specials(dtype: torch.dtype) -> Tensor:
    info = torch.finfo(dtype)
    least = info.smallest_normal * info.eps  # the smallest subnormal
    found = [0.0, least, info.smallest_normal, 1e-3, 1.0, 6.0, 6.0 + 8 * info.eps, 20.0, info.max, math.inf]
    return torch.tensor([*found, *(-x for x in found)], dtype=torch.float64).to(dtype)


def pairs(dtype: torch.dtype, nan: bool) -> tuple[Tensor, Tensor]:
    """Every special z with every special dh, in an order that puts each into bodies and tails of loops."""
    z = specials(dtype)
    dh = torch.cat([z, torch.tensor([math.nan], dtype=dtype)])
    if nan:
        z = torch.cat([z, torch.tensor([math.nan], dtype=dtype)])
    grid = torch.cartesian_prod(z, dh)
    order = torch.randperm(len(grid), generator=torch.Generator().manual_seed(0))
    return grid[order, 0].contiguous(), grid[order, 1].contiguous()


def same(got: Tensor, expected: Tensor) -> bool:
    """Bit for bit, but for the payloads of NaN."""
    number = ~expected.isnan()
    if not torch.equal(number, ~got.isnan()) or not torch.equal(got[number], expected[number]):
        return False
    return torch.equal(torch.signbit(got[number]), torch.signbit(expected[number]))


@pytest.mark.parametrize("repeat", [1, 200], ids=["few", "many"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GATED)
def test_gate_members_have_pytorchs_gradient_of_extremes(name: str, dtype: torch.dtype, repeat: int) -> None:
    z, dh = (t.repeat(repeat) for t in pairs(dtype, nan=False))
    parameters, theirs = GATED[name]
    mine, other = z.clone().requires_grad_(), z.clone().requires_grad_()
    for create_graph in (False, True):
        (dz,) = torch.autograd.grad(PUBLIC[name](mine, **parameters), mine, dh, create_graph=create_graph)
        (expected,) = torch.autograd.grad(theirs(other), other, dh)
        # A product with 0.01 is rounded twice by PyTorch in 16 bits.
        exact = name != "leaky_relu" or dtype.itemsize > 2
        if exact:
            assert same(dz.detach(), expected)
        else:
            torch.testing.assert_close(dz.detach(), expected, rtol=torch.finfo(dtype).eps, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("repeat", [1, 200], ids=["few", "many"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_at_the_extremes(name: str, dtype: torch.dtype, repeat: int) -> None:
    """A NaN in either shows, but where the gate is closed; an infinite gradient passes, a subnormal one stays."""
    z, dh = (t.repeat(repeat) for t in pairs(dtype, nan=True))
    leaf = z.clone().requires_grad_()
    (dz,) = torch.autograd.grad(PUBLIC[name](leaf, **given(name)), leaf, dh)
    opened = (z > 0) & ~((z >= 6) & (name == "relu6"))
    blocking = name in ("relu", "relu6", "squared_relu")
    if blocking:
        closed = ~opened & ~z.isnan()
        assert (dz[closed] == 0).all()  # 0·∞ and 0·NaN as well
    unit = name not in ("squared_relu", "selu", "softplus")
    if unit:
        assert same(dz[opened], dh[opened])
    elsewhere = opened | z.isnan() if blocking else torch.ones_like(opened)
    if name == "abs":
        elsewhere = z != 0
    assert dz[elsewhere & dh.isnan()].isnan().all()
    nan = z.isnan()
    # From a gate a NaN is open, from a value it is NaN: either way nothing is hidden.
    assert (dz[nan].isnan() | (dz[nan] == dh[nan])).all()
    finite = z.isfinite() & dh.isfinite() & ((2 * z).isfinite() | (name != "squared_relu"))  # 0 times an infinite f′
    assert not dz[finite].isnan().any()
    assert dz[(z > 0) & (z < 6) & dh.isinf()].isinf().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_position_in_the_array_does_not_matter(name: str, dtype: torch.dtype) -> None:
    z, dh = pairs(dtype, nan=True)
    shown = []
    for shift in (0, 1, 5, 17):
        leaf = torch.cat([torch.zeros(shift, dtype=dtype), z]).requires_grad_()
        upstream = torch.cat([torch.ones(shift, dtype=dtype), dh])
        (dz,) = torch.autograd.grad(PUBLIC[name](leaf, **given(name)), leaf, upstream)
        shown.append(dz[shift:])
    for one in shown[1:]:
        assert same(one, shown[0])


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    "sliced": lambda x: torch.stack([x, x], -1)[..., 1],
    "shifted": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "of a larger one": lambda x: F.pad(x, (1, 2, 1, 0))[:, :, 1:, 1:-2],
}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3, 120, 100)], ids=["few", "many"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_every_layout_with_a_gradient_of_every_layout(name: str, layout: str, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, dh = (torch.randn(shape, generator=generator) * 4 for _ in range(2))
    leaf = x.clone().requires_grad_()
    h = PUBLIC[name](leaf, **given(name))
    (expected,) = torch.autograd.grad(h, leaf, dh)
    z = LAYOUTS[layout](x).requires_grad_()
    assert torch.equal(z, x)
    for make in LAYOUTS.values():
        again = PUBLIC[name](z, **given(name))
        assert torch.equal(again, h)
        if z.is_contiguous(memory_format=torch.channels_last) or layout == "transposed":
            assert again.stride() == z.stride()
        (dz,) = torch.autograd.grad(again, z, make(dh))
        assert torch.equal(dz, expected)


@pytest.mark.parametrize("shape", [(), (1,), (3, 7), (300, 700)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_stride_zero(name: str, shape: tuple[int, ...]) -> None:
    z = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 4).requires_grad_()
    (expected,) = torch.autograd.grad(PUBLIC[name](z, **given(name)), z, torch.full(shape, 0.5))
    views = [torch.tensor(0.5).expand(shape)]
    if len(shape) == 2:
        views += [torch.full((shape[0], 1), 0.5).expand(shape), torch.full((1, shape[1]), 0.5).expand(shape)]
    for dh in views:
        (dz,) = torch.autograd.grad(PUBLIC[name](z, **given(name)), z, dh)
        assert torch.equal(dz, expected)
    (dz,) = torch.autograd.grad((0.5 * PUBLIC[name](z, **given(name)).sum()), z)
    assert torch.equal(dz, expected)


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), ()], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_and_one_number(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    for create_graph in (False, True):
        leaf = torch.ones(shape, dtype=dtype).requires_grad_()
        for inplace in (False, True):
            h = PUBLIC[name](leaf * 1, **given(name), inplace=inplace)
            (dz,) = torch.autograd.grad(h.sum(), leaf, create_graph=create_graph)
            assert (h.shape, h.dtype, dz.shape, dz.dtype) == (leaf.shape, dtype, leaf.shape, dtype)
        torch.func.vmap(lambda z: PUBLIC[name](z, **given(name)))(leaf.detach().unsqueeze(0))


def test_double_backward_under_a_gradient_of_stride_zero() -> None:
    for name in NAMES:
        for size in (6, 70_000):
            z = torch.linspace(-3, 5.9, size, dtype=torch.float64).requires_grad_()
            (first,) = torch.autograd.grad(PUBLIC[name](z, **given(name)).sum(), z, create_graph=True)
            (second,) = torch.autograd.grad((first * z.detach()).sum() + 0 * z.sum(), z)
            twin = z.detach().requires_grad_()
            one = torch.ones_like(twin)
            (again,) = torch.autograd.grad(PUBLIC[name](twin, **given(name)), twin, one, create_graph=True)
            (other,) = torch.autograd.grad((again * z.detach()).sum() + 0 * twin.sum(), twin)
            torch.testing.assert_close(second, other, rtol=1e-14, atol=0)


def test_gradient_of_a_gradient_by_the_upstream_one() -> None:
    """d(dz)/d(dh) is f′ again: what penalties on gradients differentiate."""
    for name in NAMES:
        for size in (7, 70_000):
            z = torch.linspace(-3, 5.9, size).requires_grad_()
            dh = torch.ones(size, requires_grad=True)
            (dz,) = torch.autograd.grad(PUBLIC[name](z, **given(name)), z, dh, create_graph=True)
            (ddh,) = torch.autograd.grad(dz.sum(), dh, retain_graph=True)
            (plain,) = torch.autograd.grad(PUBLIC[name](z, **given(name)).sum(), z)
            torch.testing.assert_close(ddh, plain, rtol=1e-6, atol=1e-12)
    assert rt.relu is PUBLIC["relu"]
