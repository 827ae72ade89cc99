"""torch.func: derivatives of every order and direction, batches along any axis, whole models as functions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

import rectifier.torch as rt
from rectifier.frameworks.torch.ops import PUBLIC

NAMES = sorted(PUBLIC)
LAYERS = ["ReLU", "LeakyReLU", "PReLU", "Abs", "ReLU6", "SquaredReLU", "ELU", "CELU", "SELU", "Softplus"]
Tensor = torch.Tensor
# Forward derivatives warn about a use of torch.jit of their own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def call(name: str) -> Callable[[Tensor], Tensor]:
    given: dict[str, Any] = {"negative_slope": 0.25} if name == "prelu" else {}
    return lambda z: PUBLIC[name](z, **given)


def derivatives(name: str, z: Tensor) -> tuple[Tensor, Tensor]:
    """f′ and f″ by autograd as it is used every day."""
    z = z.detach().requires_grad_()
    (first,) = torch.autograd.grad(call(name)(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum() + 0 * z.sum(), z)
    return first.detach(), second


@pytest.fixture
def z() -> Tensor:
    # 13 a row: a gate of them ends inside a byte.
    return torch.linspace(-9, 9, 39, dtype=torch.float64).reshape(3, 13) + 0.01


@pytest.mark.parametrize("name", NAMES)
def test_jacobians_and_hessian(name: str, z: Tensor) -> None:
    row = z[1]
    first, second = derivatives(name, row)
    for way in (jacrev, jacfwd):
        torch.testing.assert_close(way(call(name))(row), torch.diag(first), **CLOSE)
    torch.testing.assert_close(hessian(lambda z: call(name)(z).sum())(row), torch.diag(second), **CLOSE)
    torch.testing.assert_close(jacrev(jacrev(call(name)))(row[:3]).shape, torch.Size([3, 3, 3]))
    vectorized = torch.autograd.functional.jacobian(call(name), row, vectorize=True)
    torch.testing.assert_close(vectorized, torch.diag(first), **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_products_with_jacobians(name: str, z: Tensor) -> None:
    first, second = derivatives(name, z)
    direction = torch.linspace(-1, 1, 39, dtype=torch.float64).reshape(3, 13)
    _, back = vjp(call(name), z)
    torch.testing.assert_close(back(direction)[0], first * direction, **CLOSE)
    # Hessian times vector, forward over reverse.
    _, product = jvp(grad(lambda z: call(name)(z).sum()), (z,), (direction,))
    torch.testing.assert_close(product, second * direction, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_batches_along_any_axis(name: str, z: Tensor) -> None:
    x = torch.stack([z, 0.5 * z, -z, z + 1, z - 1])  # 5 × 3 × 13
    expected = call(name)(x)
    first, _ = derivatives(name, x)
    slope = grad(lambda z: call(name)(z).sum())
    for axis in (0, 1, 2, -1):
        for out in (0, 2, -2):
            got = vmap(call(name), axis, out)(x)
            torch.testing.assert_close(got, expected.movedim(axis, out), **CLOSE)
            torch.testing.assert_close(vmap(slope, axis, out)(x), first.movedim(axis, out), **CLOSE)
    torch.testing.assert_close(vmap(vmap(slope), in_dims=1, out_dims=1)(x), first, **CLOSE)
    torch.testing.assert_close(vmap(slope, chunk_size=2)(x), first, **CLOSE)


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)], ids=str)
def test_batches_of_slopes(axes: tuple[int | None, int | None], z: Tensor) -> None:
    slopes = torch.linspace(-0.5, 0.5, 39, dtype=torch.float64).reshape(3, 13)
    x, s = z if axes[0] == 0 else z[0], slopes if axes[1] == 0 else slopes[0]

    def loss(x: Tensor, s: Tensor) -> Tensor:
        return rt.prelu(x, negative_slope=s).square().sum()

    got = vmap(grad(loss, (0, 1)), axes)(x, s)
    rows = [
        torch.autograd.functional.jacobian(loss, (x[i] if axes[0] == 0 else x, s[i] if axes[1] == 0 else s))
        for i in range(3)
    ]
    for one, other in zip(got, zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(one, torch.stack(other), **CLOSE)


def network(layer: str, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    make = getattr(rt, layer)
    return nn.Sequential(nn.Linear(6, 13), make(), nn.Linear(13, 7), make(), nn.Linear(7, 1)).double()


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_per_example_and_ensembles(layer: str) -> None:
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    models = [network(layer, seed) for seed in range(3)]

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(models[0], parameters, (row.unsqueeze(0),)).square().sum()

    parameters = {name: p.detach() for name, p in models[0].named_parameters()}
    each = vmap(grad(loss), (None, 0))(parameters, x)
    for index in range(5):
        models[0].zero_grad()
        models[0](x[index : index + 1]).square().sum().backward()
        for name, p in models[0].named_parameters():
            torch.testing.assert_close(each[name][index], p.grad, **CLOSE)

    stacked, buffers = stack_module_state(models)  # type: ignore[arg-type]
    skeleton = copy.deepcopy(models[0]).to("meta")
    together = vmap(lambda p, b, x: functional_call(skeleton, (p, b), (x,)), (0, 0, None))(stacked, buffers, x)
    torch.testing.assert_close(together, torch.stack([model(x) for model in models]), **CLOSE)
    together.square().sum().backward()
    for index, model in enumerate(models):
        model.zero_grad()
        model(x).square().sum().backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(stacked[name].grad[index], p.grad, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_an_outer_transform_sees_through_an_inner_backward(name: str, z: Tensor) -> None:
    """Gradients of a gradient step, as in meta-learning."""

    def adapted(w: Tensor) -> Tensor:
        step = grad(lambda w: call(name)(z * w).square().mean())(w)
        return call(name)(z * (w - 0.1 * step)).square().mean()

    w = torch.tensor(0.7, dtype=torch.float64)
    h = 1e-6
    numeric = (adapted(w + h) - adapted(w - h)) / (2 * h)
    torch.testing.assert_close(grad(adapted)(w), numeric, rtol=1e-6, atol=1e-8)
