"""Derivatives: against finite differences, to the second order; conventions at kinks and NaN; what reaches a slope."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier._functions import FUNCTIONS
from rectifier.frameworks.torch import composed
from rectifier.frameworks.torch.autograd import RectifyTransformed
from rectifier.frameworks.torch.compiled import RectifyComposed
from rectifier.frameworks.torch.ops import PUBLIC
from rectifier.frameworks.torch.saving import policy

NAMES = sorted(PUBLIC)
REQUIRED: dict[str, dict[str, Any]] = {"prelu": {"negative_slope": 0.25}}
NUMBER = {"leaky_relu": 0.01, "prelu": 0.25, "relu6": 6.0, "elu": 1.0, "celu": 1.0, "softplus": 1.0}
# Away from the kinks, on every piece, and far out.
POINTS = [-30.0, -3.0, -0.4, 0.3, 2.5, 8.0, 40.0]

Way = Callable[[torch.Tensor], torch.Tensor]


def ways(name: str) -> dict[str, Way]:
    """The function as it is called, and as it is on devices that the kernels do not reach, and under transforms."""
    parameter = NUMBER.get(name, 0.0)
    save = policy(name, parameter, None)
    return {
        "native": lambda z: PUBLIC[name](z, **REQUIRED.get(name, {})),
        "composed": lambda z: RectifyComposed.apply(z, parameter, name, save),  # type: ignore[no-any-return, no-untyped-call]
        "transformed": lambda z: RectifyTransformed.apply(z, parameter, name),  # type: ignore[no-any-return, no-untyped-call]
    }


@pytest.mark.parametrize("way", ["native", "composed", "transformed"])
@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivative_against_finite_differences(name: str, way: str) -> None:
    z = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    function = ways(name)[way]
    assert torch.autograd.gradcheck(function, (z,))
    assert torch.autograd.gradgradcheck(function, (z,))


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative_through_inplace(name: str) -> None:
    z = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    given = REQUIRED.get(name, {})
    for changed in (given, {"negative_slope": -0.5}) if name == "leaky_relu" else (given,):
        call = lambda z, g=changed: PUBLIC[name](z * 1.0, **g, inplace=True).square()  # noqa: E731
        assert torch.autograd.gradcheck(call, (z,))
        assert torch.autograd.gradgradcheck(call, (z,))
    in_place, plain = (
        torch.autograd.functional.hessian(lambda z, i=i: (PUBLIC[name](z * 1.0, **given, inplace=i) ** 2).sum(), z)
        for i in (True, False)
    )
    assert torch.equal(in_place, plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_in_16_bits_is_rounded_once(name: str, dtype: torch.dtype) -> None:
    z = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)  # every value
    z = z[z.isfinite()]
    derivative = torch.from_numpy(FUNCTIONS[name].derivative(z.double().numpy(), **REQUIRED.get(name, {})))
    for top in (1.0, 0.7, 65000.0):
        dh = torch.full_like(z, top)
        product = derivative * dh.double()
        exact = product.to(dtype)
        for create_graph in (False, True):
            leaf = z.clone().requires_grad_()
            (dz,) = torch.autograd.grad(
                PUBLIC[name](leaf, **REQUIRED.get(name, {})), leaf, dh, create_graph=create_graph
            )
            # Rounded once, but for ties that float32 cannot tell apart; float32 ends near 1e−37 and 3e38.
            near = (dz.view(torch.int16).int() - exact.view(torch.int16).int()).abs() <= 1
            assert (near | (product.abs() < 1e-36) | (derivative.abs() > 3e38)).all()


def test_gradient_in_16_bits_that_neither_factor_shows() -> None:
    z = torch.tensor([-19.0], dtype=torch.float16, requires_grad=True)
    rt.elu(z).backward(torch.tensor([65000.0], dtype=torch.float16))
    assert z.grad is not None
    assert z.grad.item() == pytest.approx(math.exp(-19) * 64992, rel=1e-3)


@pytest.mark.parametrize("name", ["leaky_relu", "prelu"])
def test_slope_is_differentiated_to_the_second_order(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(4, 3, generator=generator, dtype=torch.float64) * 3).requires_grad_()
    for shape in ((), (1,), (3,), (4, 1), (4, 3), (2, 1, 3)):
        slope = torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()
        call = lambda z, s: PUBLIC[name](z, negative_slope=s)  # noqa: E731
        assert torch.autograd.gradcheck(call, (z, slope))
        assert torch.autograd.gradgradcheck(call, (z, slope))


def test_slope_gradient_has_the_bits_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(64, 8, generator=generator)
    dh = torch.randn(64, 8, generator=generator)
    ours, theirs = (torch.full((8,), 0.25, requires_grad=True) for _ in range(2))
    rt.prelu(z, negative_slope=ours).backward(dh)
    F.prelu(z, theirs).backward(dh)
    assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_a_sum_has_the_bits_of_numpys_derivative(name: str, dtype: torch.dtype) -> None:
    z = torch.linspace(-25, 25, 1001).to(dtype).requires_grad_()
    PUBLIC[name](z, **REQUIRED.get(name, {})).sum().backward()
    assert z.grad is not None
    assert z.grad.dtype == dtype
    wide = dtype is torch.bfloat16  # exact in float32, where NumPy can compare
    derivative = FUNCTIONS[name].derivative(_array(z.detach()), **REQUIRED.get(name, {}))
    expected = derivative.astype(np.float32) if wide else derivative
    got = (z.grad.float() if wide else z.grad).numpy()
    if name == "softplus":  # from the output, which has been rounded
        assert np.allclose(got, expected, rtol=2 * torch.finfo(dtype).eps, atol=0)
    else:
        assert np.array_equal(got, expected)


def _array(x: torch.Tensor) -> Any:
    import ml_dtypes

    return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if x.dtype is torch.bfloat16 else x.numpy()


KINKS = [
    ("relu", {}, 0.0, 0.0),
    ("relu", {"at_zero": 0.5}, 0.0, 0.5),
    ("relu", {"at_zero": 1.0}, -0.0, 1.0),
    ("leaky_relu", {"negative_slope": 0.2}, 0.0, 0.2),
    ("prelu", {"negative_slope": 0.3}, 0.0, 0.3),
    ("abs", {}, 0.0, 0.0),
    ("relu6", {}, 0.0, 0.0),
    ("relu6", {}, 6.0, 0.0),
    ("relu6", {"ceiling": 2.0}, 2.0, 0.0),
    ("squared_relu", {}, 0.0, 0.0),
    ("elu", {"alpha": 2.0}, 0.0, 2.0),
    ("celu", {"alpha": 2.0}, 0.0, 1.0),
    ("selu", {}, 0.0, 1.0507009873554805 * 1.6732632423543772),
    ("softplus", {"beta": 2.0}, 0.0, 0.5),
]


@pytest.mark.parametrize("mode", ["native", "native, inplace", "create_graph", "func.grad"])
@pytest.mark.parametrize(("name", "given", "at", "expected"), KINKS)
def test_derivative_at_a_kink(name: str, given: dict[str, float], at: float, expected: float, mode: str) -> None:
    z = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    if mode == "func.grad":
        derivative = torch.func.grad(lambda z: PUBLIC[name](z, **given).sum())(z.detach())
    else:
        h = PUBLIC[name](z * 1.0, **given, inplace="inplace" in mode)
        (derivative,) = torch.autograd.grad(h.sum(), z, create_graph=mode == "create_graph")
    assert derivative.item() == expected


GATED = {"relu", "leaky_relu", "prelu", "abs", "relu6"}


@pytest.mark.parametrize("mode", ["native", "native, inplace", "create_graph", "func.grad"])
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_let_through_by_a_gate_and_gives_nan_from_a_value(name: str, mode: str) -> None:
    z = torch.full((37,), math.nan, requires_grad=True)
    given = REQUIRED.get(name, {})
    if mode == "func.grad":
        derivative = torch.func.grad(lambda z: PUBLIC[name](z, **given).sum())(z.detach())
    else:
        h = PUBLIC[name](z * 1.0, **given, inplace="inplace" in mode)
        assert h.isnan().all()
        (derivative,) = torch.autograd.grad(h.sum(), z, create_graph=mode == "create_graph")
    assert (derivative == 1 if name in GATED and mode != "func.grad" else derivative.isnan()).all()


@pytest.mark.parametrize("way", ["native", "composed"])
@pytest.mark.parametrize("name", ["relu", "relu6", "squared_relu"])
def test_closed_gate_stops_an_infinite_gradient(name: str, way: str) -> None:
    z = torch.tensor([-1.0, -2.0, 4.0], requires_grad=True)
    ways(name)[way](z).sqrt().sum().backward()  # √h has gradient ∞ at h = 0
    assert z.grad is not None
    assert z.grad[:2].tolist() == [0.0, 0.0]
    assert torch.isfinite(z.grad[2])


def test_second_derivative_does_not_vanish_in_the_tails() -> None:
    z = torch.tensor([-40.0, 0.0, 25.0, 40.0], requires_grad=True)
    (first,) = torch.autograd.grad(rt.softplus(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    exact = torch.tensor([-40.0, 0.0, 25.0, 40.0], dtype=torch.float64)
    exact = torch.exp(-exact.abs()) / (1 + torch.exp(-exact.abs())) ** 2
    assert torch.allclose(second.double(), exact, rtol=1e-6, atol=0)


def test_saturated_units_keep_their_gradient() -> None:
    z = torch.tensor([-20.0, -60.0], requires_grad=True)
    for function in (rt.elu, rt.celu, rt.selu):
        for way in (function, torch.func.vmap(function)):
            (dz,) = torch.autograd.grad(way(z).sum(), z)
            assert (dz > 0).all()


def test_only_what_is_asked_for_is_differentiated() -> None:
    z = torch.randn(5, generator=torch.Generator().manual_seed(0))
    slope = torch.tensor(0.25, requires_grad=True)
    rt.prelu(z, negative_slope=slope).sum().backward()
    assert slope.grad is not None
    assert torch.isclose(slope.grad, z.clamp(max=0).sum())
    assert not rt.relu(z).requires_grad
    with torch.no_grad():
        assert not rt.prelu(z, negative_slope=slope).requires_grad


def test_gradients_batched_by_vmap() -> None:
    z = torch.linspace(-2, 2, 5, requires_grad=True)
    (rows,) = torch.autograd.grad(rt.elu(z), z, torch.eye(5), is_grads_batched=True)
    assert torch.allclose(rows, torch.diag(composed.derivative("elu", z.detach(), 1.0).float()))
