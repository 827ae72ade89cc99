"""The leaky average on tensors, and the layers built on it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import rectifier
import rectifier.torch as rt
from rectifier import RectifierTypeError, RectifierValueError


def by_steps(v, alpha, axis, initial=0.0):
    """The definition, in PyTorch's operators."""
    mu, out = torch.as_tensor(initial, dtype=v.dtype), []
    for value in v.unbind(axis):
        mu = alpha * mu + (1 - alpha) * value
        out.append(mu)
    return torch.stack(out, axis)


def inputs(dtype, shape=(3, 40, 5), axis=1):
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    units = shape[-1] if axis % len(shape) != len(shape) - 1 else shape[-2]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    alpha = torch.rand(units, generator=generator, dtype=torch.float64).to(wide)
    return v.requires_grad_(), alpha.requires_grad_(), torch.randn((), generator=generator, dtype=wide).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "axis"), [((3, 40, 5), 1), ((3, 40, 70), 1), ((4, 6, 50), -1), ((50, 3, 2), 0)])
def test_value_and_gradients_are_those_of_the_definition(dtype, shape, axis):
    v, alpha, initial = inputs(dtype, shape, axis)
    mu = rt.leaky_average(v, alpha, axis=axis, initial=initial)
    if dtype != torch.bfloat16:
        plain = rectifier.leaky_average(
            v.detach().numpy(), alpha.detach().numpy(), axis=axis, initial=initial.detach().numpy()
        )
        np.testing.assert_array_equal(mu.detach().numpy(), plain)
    dmu = torch.randn_like(mu)
    got = torch.autograd.grad(mu, (v, alpha, initial), dmu)
    exact = [one.detach().double().requires_grad_() for one in (v, alpha, initial)]
    wanted = torch.autograd.grad(by_steps(exact[0], exact[1], axis, exact[2]), exact, dmu.double())
    for mine, theirs, like in zip(got, wanted, (v, alpha, initial), strict=True):
        assert mine.dtype == like.dtype and mine.shape == like.shape
        torch.testing.assert_close(
            mine.double(), theirs, rtol=2 * torch.finfo(like.dtype).eps, atol=2 * torch.finfo(like.dtype).tiny + 1e-6
        )


def test_gradients_of_every_order():
    v, alpha, initial = inputs(torch.float64, (2, 6, 3))
    function = lambda v, alpha, initial: rt.leaky_average(v, alpha, axis=1, initial=initial)  # noqa: E731
    assert torch.autograd.gradcheck(function, (v, alpha, initial))
    assert torch.autograd.gradgradcheck(function, (v, alpha, initial))


def test_only_the_input_is_kept():
    v, alpha, _ = inputs(torch.float32, (8, 100, 16))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        rt.leaky_average(v, alpha, axis=1)
    assert sum(one.numel() for one in kept) <= v.numel() + alpha.numel() + 1
    assert any(one.data_ptr() == v.data_ptr() for one in kept)


@pytest.mark.parametrize("steps", [1, 2, 3, 64, 65])
def test_composed_of_operators_it_is_the_same(steps):
    v, alpha, initial = inputs(torch.float64, (4, steps, 3))
    wanted = rt.leaky_average(v, alpha, axis=1, initial=initial)
    mapped = torch.func.vmap(lambda one: rt.leaky_average(one, alpha, axis=0, initial=initial))(v)
    torch.testing.assert_close(mapped, wanted, rtol=1e-13, atol=1e-15)
    jacobian = torch.func.jacrev(lambda alpha: rt.leaky_average(v, alpha, axis=1).sum())(alpha)
    (direct,) = torch.autograd.grad(rt.leaky_average(v, alpha, axis=1).sum(), alpha)
    torch.testing.assert_close(jacobian, direct, rtol=1e-11, atol=1e-13)


def test_composed_it_is_summed_in_float32_and_rounded_once():
    v = torch.randn(500, generator=torch.Generator().manual_seed(0)).bfloat16()
    composed = torch.func.vmap(lambda one: rt.leaky_average(one, 0.99))(v[None])[0]
    native = rt.leaky_average(v, 0.99)
    # Both are within half a unit in the last place of bfloat16 of the same number, give or take float32's digits.
    assert ((composed != native).float().mean() < 0.01) and composed.dtype == torch.bfloat16


def test_it_compiles_without_a_break():
    v, alpha, _ = inputs(torch.float32, (2, 20, 3))
    torch._dynamo.reset()
    compiled = torch.compile(lambda v, alpha: rt.leaky_average(v, alpha, axis=1), backend="aot_eager", fullgraph=True)
    mu = compiled(v, alpha)
    torch.testing.assert_close(mu, rt.leaky_average(v, alpha, axis=1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(mu.sum(), alpha)[0],
        torch.autograd.grad(rt.leaky_average(v, alpha, axis=1).sum(), alpha)[0],
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_unit_learns_how_long_to_remember():
    torch.manual_seed(0)
    v = torch.randn(16, 200, 2)
    target = rectifier.leaky_average(v, torch.tensor([0.5, 0.95]), axis=1)
    layer = rt.LeakyAverage(2, alpha=0.8)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (layer(v) - target).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(layer.alpha.detach(), torch.tensor([0.5, 0.95]), atol=0.01, rtol=0)


def test_layers_take_numpy_numbers():
    layer = rt.LeakyAverage(np.int64(3), np.float32(0.5))
    assert layer.alpha.tolist() == [0.5] * 3


def test_layers_keep_their_alpha_and_can_be_saved():
    layer = rt.LeakyAverage(3, alpha=0.7)
    torch.testing.assert_close(layer.alpha, torch.full((3,), 0.7))
    fixed = rt.LeakyAverage(3, alpha=0.2, learn=False)
    assert not list(fixed.parameters())
    other = rt.LeakyAverage(3)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other.alpha, layer.alpha)
    assert repr(copy.deepcopy(fixed)) == "LeakyAverage(3, learn=False)"


def test_the_cell_is_its_formula_and_carries_gradient_far():
    torch.manual_seed(0)
    cell = rt.LeakyCell(3, 4, alpha=0.99)
    x, h = torch.randn(5, 3), torch.randn(5, 4)
    value = torch.relu(cell.input(x) + cell.recurrent(h))
    torch.testing.assert_close(cell(x, h), cell.alpha * h + (1 - cell.alpha) * value)
    start = torch.zeros(5, 4, requires_grad=True)
    h = start
    for _ in range(100):
        h = cell(torch.randn(5, 3), h)
    (gradient,) = torch.autograd.grad(h.sum(), start)
    # 0.99¹⁰⁰ = 0.37 through the leak alone; a plain ReLU cell of these weights has lost it long before.
    assert gradient.abs().mean() > 0.2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: rt.leaky_average(torch.ones(2, dtype=torch.int64), 0.5),
            RectifierTypeError,
            "leaky_average: `v` must hold float16, bfloat16, float32 or float64; got torch.int64. "
            "Convert it with v.float().",
        ),
        (
            lambda: rt.leaky_average(torch.ones(2), torch.tensor(2.0)),
            RectifierValueError,
            "leaky_average: `alpha` must lie in [0, 1]; got 2.0. Pass a number such as 0.9.",
        ),
        (
            lambda: rt.leaky_average(torch.ones(2, 3), torch.full((3,), 0.5)),
            RectifierValueError,
            "leaky_average: `alpha` must broadcast with v without its axis of time, (2,); got shape (3,). "
            "Give it one value a series, or a single number.",
        ),
        (
            lambda: rectifier.leaky_average(torch.ones(2), 0.5, out=torch.ones(2)),
            RectifierTypeError,
            "leaky_average: `out` must be left out for a Tensor; got Tensor. Use what the call returns.",
        ),
        (
            lambda: rt.LeakyAverage(3, alpha=1.0),
            RectifierValueError,
            "LeakyAverage: `alpha` must lie between 0 and 1, where it can be learned; got 1.0. "
            "Pass a number such as 0.9, or call rectifier.torch.leaky_average, which takes 0 and 1 too.",
        ),
        (
            lambda: rt.LeakyAverage(3, alpha=1 - 1e-9),
            RectifierValueError,
            "LeakyAverage: `alpha` must lie between 0 and 1 in torch.float32 too, where it can be learned; got "
            "0.999999999. Pass a number such as 0.999.",
        ),
        (
            lambda: rt.LeakyAverage(2)([[1.0, 2.0]]),
            RectifierTypeError,
            "LeakyAverage: `input` must be a torch.Tensor; got list. Pass torch.as_tensor(input).",
        ),
        (
            lambda: rt.LeakyAverage(0),
            RectifierValueError,
            "LeakyAverage: the number of units must be a whole number, 1 or more; got 0. Pass how many there are.",
        ),
        (
            lambda: rt.LeakyAverage(3)(torch.ones(4, 2)),
            RectifierValueError,
            "LeakyAverage: `input` must have the shape (…, time, 3); got (4, 2). Move the axes with input.movedim.",
        ),
        (
            lambda: rt.LeakyCell(2, 3, nonlinearity="sine"),
            RectifierValueError,
            "LeakyCell: `nonlinearity` must be one of relu, leaky_relu, abs, relu6, squared_relu, elu, celu, selu, "
            "softplus; got 'sine'. Pass one of these names.",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
