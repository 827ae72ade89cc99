"""Derivatives: forward and reverse, any order, at the kinks, of slopes; what NaN and infinite gradients come to."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rectifier.jax as rj
from rectifier._functions import FUNCTIONS
from tests.jax_arrays.shared import GATED, NAMES, OTHER, REQUIRED, bound, sample


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_reverse_give_the_derivative(name: str, other: bool) -> None:
    given = OTHER.get(name, {}) if other else REQUIRED.get(name, {})
    x = sample(jnp.float32)
    x = x[~jnp.isnan(x)]
    f = bound(name, **given)
    right = FUNCTIONS[name].derivative(np.asarray(x), **given)
    one = jnp.ones_like(x)
    ways = jax.jit(lambda x: (jax.vjp(f, x)[1](one)[0], jax.jvp(f, (x,), (one,))[1], jax.linearize(f, x)[1](one)))
    for slope in ways(x):
        np.testing.assert_allclose(slope, right, rtol=3e-7, atol=1e-37)


@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd], ids=lambda mode: mode.__name__)
@pytest.mark.parametrize(
    ("name", "save"),
    [(name, None) for name in NAMES] + [(name, "output") for name in NAMES[5:-1]] + [("softplus", "input")],
)
def test_second_and_third_order_in_both_modes(name: str, save: str | None, mode: Any) -> None:
    given = OTHER.get(name, {})
    first = mode(bound(name, **given, **({} if save is None else {"save": save})))
    z = np.array([-2.3, -0.7, 0.4, 1.9])
    found = jax.jit(jax.vmap(lambda z: (mode(first)(z), mode(mode(first))(z))))(z)

    def slope(z: Any) -> Any:
        return FUNCTIONS[name].derivative(z, **given)

    step = 1e-3
    second = (slope(z + step) - slope(z - step)) / (2 * step)
    third = (slope(z + step) - 2 * slope(z) + slope(z - step)) / step**2
    for got, right in zip(found, (second, third), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "softplus"])
def test_third_derivatives_are_as_near_as_the_first(name: str) -> None:
    def third(f: Any) -> Any:
        return jax.jit(jax.vmap(jax.grad(jax.jacfwd(jax.grad(f)))))

    x = jnp.array([-30.0, -20.0, -3.0, -0.5], jnp.float32)
    z = np.asarray(x, np.float64)
    s = 1 / (1 + np.exp(-z))
    factor = {"selu": 1.7580993408473766}.get(name, 1.0)
    right = s * (1 - s) * (1 - 2 * s) if name == "softplus" else factor * np.exp(z)
    np.testing.assert_allclose(third(bound(name))(x), right, rtol=2e-6)


def test_mixed_derivatives_in_z_and_slope() -> None:
    def f(z: Any, s: Any) -> Any:
        return rj.prelu(z, negative_slope=s)

    for z, right in ((-2.0, 1.0), (3.0, 0.0)):
        for slope in (0.3, 0.0):
            assert jax.grad(jax.grad(f), 1)(z, slope) == right
            assert jax.jacfwd(jax.grad(f, 1))(z, slope) == right
            assert jax.hessian(f, (0, 1))(z, slope)[0][1] == right


# Kinks, NaN, ∞ -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_zero", [0.0, 0.25, 1.0, np.array([0.5, 0.25])], ids=str)
def test_relu_at_zero(at_zero: Any) -> None:
    x = jnp.array([[-1.0, 0.0], [-0.0, 2.0]])
    slope = jax.grad(lambda z: rj.relu(z, at_zero=at_zero).sum())(x)
    there = np.broadcast_to(at_zero, 2)
    assert slope.tolist() == [[0.0, there[1]], [there[0], 1.0]]
    assert jax.jvp(lambda z: rj.relu(z, at_zero=at_zero), (x,), (jnp.ones_like(x),))[1].tolist() == slope.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_conventions_at_the_kinks(name: str) -> None:
    given = REQUIRED.get(name, {})
    for z in (0.0, -0.0, 6.0):
        right = FUNCTIONS[name].derivative(np.float32(z), **given)
        assert jax.grad(bound(name))(jnp.float32(z)) == pytest.approx(float(right), rel=2e-7)


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_let_through_by_a_gate_and_nan_otherwise(name: str) -> None:
    x = jnp.array([jnp.nan, 1.0])
    assert jnp.isnan(bound(name)(x)[0])
    (dz,) = jax.vjp(bound(name), x)[1](jnp.array([7.0, 7.0]))
    assert dz[0] == 7.0 if name in GATED else jnp.isnan(dz[0])


@pytest.mark.parametrize("name", ["relu", "relu6", "squared_relu", "abs", "leaky_relu"])
def test_a_slope_of_zero_stops_an_infinite_gradient(name: str) -> None:
    given = {"negative_slope": 0.0} if name == "leaky_relu" else {}
    x = jnp.array([-1.0, 0.0]) if name != "abs" else jnp.array([0.0, -0.0])
    (dz,) = jax.vjp(bound(name, **given), x)[1](jnp.array([jnp.inf, jnp.inf]))
    assert dz.tolist() == [0.0, 0.0]
    assert jax.grad(lambda z: jnp.sqrt(rj.relu(z)))(-1.0) == 0.0


# Slopes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [None, "input", "output"])
@pytest.mark.parametrize("shape", [(), (3,), (4, 1), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("name", ["prelu", "leaky_relu"])
def test_slopes_broadcast_and_have_gradients(name: str, shape: tuple[int, ...], save: str | None) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 3)).astype(np.float32))
    slope = jnp.asarray(rng.uniform(0.1, 0.9, shape).astype(np.float32))

    def f(x: Any, s: Any) -> Any:
        return jnp.sum(jnp.sin(getattr(rj, name)(x, negative_slope=s, save=save)))

    def plain(x: Any, s: Any) -> Any:
        return jnp.sum(jnp.sin(jnp.where(x > 0, x, s * x)))

    ours, plainly = jax.jit(lambda x, s: [jax.grad(way, (0, 1))(x, s) for way in (f, plain)])(x, slope)
    for got, right in zip(ours, plainly, strict=True):
        assert got.shape == right.shape
        np.testing.assert_allclose(got, right, rtol=2e-6)


def test_the_gradient_of_a_slope_is_summed_in_float32() -> None:
    x = -jnp.ones(4096, jnp.bfloat16)
    for dtype in (jnp.float32, jnp.bfloat16):
        ds = jax.grad(lambda s: rj.prelu(x, negative_slope=s).astype(jnp.float32).sum())(jnp.asarray(0.25, dtype))
        assert ds.dtype == dtype and ds == -4096


def test_both_parts_of_a_gate_see_the_slope_that_the_forward_pass_saw() -> None:
    x = jnp.array([-1.0, 1.0])
    assert jax.jacrev(lambda s: jax.grad(lambda z: rj.prelu(z, negative_slope=s).sum())(x))(0.5).tolist() == [1.0, 0.0]


def test_16_bit_gradients_are_formed_in_float32_and_rounded_once() -> None:
    z, dh = jnp.full(8, -11.0, jnp.float16), jnp.full(8, 4096.0, jnp.float16)
    (dz,) = jax.vjp(rj.elu, z)[1](dh)
    assert float(dz[0]) == np.float16(np.exp(-11.0) * 4096)  # e^−11 in float16 has 6 digits of its 11 left


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "softplus"])
def test_no_dtype_is_promoted_unasked(name: str, dtype: Any) -> None:
    with jax.numpy_dtype_promotion("strict"):
        h, back = jax.vjp(getattr(rj, name), jnp.array([-1.0, 7.0], dtype))
        (dz,) = back(h)
    assert h.dtype == dz.dtype == dtype
