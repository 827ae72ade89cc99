"""Values and derivatives against the reference, under jit; dtypes, shapes, integers, weak types, parameters."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rectifier
import rectifier.jax as rj
from benchmarks.accuracy import NAMES as JUDGED
from benchmarks.accuracy import judge, plan
from benchmarks.jax_accuracy import compiled
from rectifier._functions import FUNCTIONS
from rectifier.frameworks.jax.operations import FORMULAS
from tests.jax_arrays.shared import NAMES, OTHER, REQUIRED, bound, sample

ULP = 2.0  # the bar of compiled frameworks
#: What needs a compilation of some tenths of a second for each; the rest are one operation.
CURVED = ("elu", "celu", "selu", "softplus")


@pytest.mark.parametrize("case", plan(30_000, JUDGED, ("float32",)), ids=lambda case: case.label)
def test_float32_is_within_two_ulp(case: Any) -> None:
    found = judge(case, compiled)
    assert found["judged"] > 25_000
    assert found["worst"] <= ULP, found


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["value", "derivative"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "prelu"])
def test_every_pattern_of_16_bits_is_within_two_ulp(name: str, kind: str, dtype: str) -> None:
    case = next(case for case in plan(1, (name,), (dtype,)) if case.kind == kind and case.default)
    found = judge(case, compiled)
    assert found["judged"] > 63_000
    assert found["worst"] <= (0.501 if kind == "value" else ULP), found


@pytest.mark.parametrize("name", CURVED)
def test_float64_is_within_two_ulp(name: str) -> None:
    with jax.enable_x64(True):
        for case in plan(10_000, (name,), ("float64",)):
            found = judge(case, compiled)
            assert found["judged"] > 8_000
            assert found["worst"] <= ULP, found


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_derivatives_do_not_cancel_in_the_tail(name: str) -> None:
    z = jnp.float32(-20.0)
    factor = 1.7580993408473766 if name == "selu" else 1.0
    for kept in (None, "input"):
        assert float(jax.grad(bound(name, save=kept))(z)) == pytest.approx(factor * math.exp(-20.0), rel=2e-7)
    # What is asked for by name: from the output, which is −α there.
    assert float(jax.grad(bound(name, save="output"))(z)) != pytest.approx(factor * math.exp(-20.0), rel=1e-2)


def test_tails_of_softplus() -> None:
    z = jnp.array([-87.0, -40.0, 20.0, 25.0, 100.0], jnp.float32)
    right = np.logaddexp(0.0, np.asarray(z, np.float64))
    np.testing.assert_allclose(rj.softplus(z), right, rtol=2e-7)
    slope = jax.vmap(jax.grad(rj.softplus))(z)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-np.asarray(z, np.float64))), rtol=2e-7)


def test_what_a_rounding_has_lost_survives_the_compiler() -> None:
    """XLA simplifies (x + c) − c, and LLVM contracts; both would leave nothing of the second number."""
    y = -np.random.default_rng(0).uniform(0.4, 30.0, 4096).astype(np.float32)
    k, whole, lost = (np.asarray(part, np.float64) for part in jax.jit(FORMULAS.exp)(y))
    right = np.exp(y.astype(np.float64)) * 2.0**-k
    assert np.abs(whole + lost - right).max() < 0.5 * np.abs(whole - right).max()


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("name", NAMES)
def test_near_numpy_with_the_same_signs_and_nans(name: str, dtype: Any, other: bool) -> None:
    given = OTHER.get(name, {}) if other else REQUIRED.get(name, {})
    x = sample(dtype)
    with np.errstate(all="ignore"):
        right = FUNCTIONS[name](np.asarray(x), **given)
    for got in (bound(name, **given)(x), jax.jit(bound(name, **given))(x), FUNCTIONS[name](x, **given)):
        assert isinstance(got, jax.Array) and got.dtype == x.dtype and not got.weak_type
        wide = np.asarray(got).astype(np.float64)
        np.testing.assert_allclose(wide, right.astype(np.float64), rtol=1.5 * float(jnp.finfo(dtype).eps), atol=1e-37)
        number = ~np.isnan(wide)
        assert np.array_equal(np.signbit(wide)[number], np.signbit(right.astype(np.float64))[number])


def test_what_xla_does_to_subnormal_numbers_is_as_the_docs_say() -> None:
    """On the CPU; should it change, docs/frameworks.md has to."""
    x = jnp.array([1e-40, -1e-40], jnp.float32)
    assert np.asarray(jax.jit(lambda z: 1.5 * rj.elu(z))(x)).tolist() == [0.0, 0.0]
    assert np.asarray(jax.vmap(jax.grad(rj.relu))(x)).tolist() == [0.0, 0.0]
    assert float(rj.softplus(jnp.float32(-90.0))) == 0.0


@pytest.mark.parametrize("shape", [(), (0, 3), (3,), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    h, dz = jax.jit(lambda x: (bound(name)(x), jax.vjp(bound(name), x)[1](jnp.ones_like(x))[0]))(x)
    assert h.shape == dz.shape == shape
    right = FUNCTIONS[name].derivative(np.asarray(x), **REQUIRED.get(name, {}))
    np.testing.assert_allclose(dz, right, rtol=3e-7)


# Integers, bool, weak types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
@pytest.mark.parametrize("name", ["relu", "abs", "relu6"])
def test_integers_stay_integers(name: str, dtype: str) -> None:
    values = [0, 1, 5, 6, 7, 100] + ([-1, -6, -100, -128] if dtype[0] == "i" else [])
    x = jnp.array(values, dtype)
    h = getattr(rj, name)(x)
    assert h.dtype == x.dtype
    assert np.array_equal(h, FUNCTIONS[name](np.asarray(x)))


def test_whole_ceilings_of_integers() -> None:
    x = jnp.array([-3, 5, 127], jnp.int8)
    for ceiling, right in (
        (4, [0, 4, 4]),
        (4.0, [0, 4, 4]),
        (300, [0, 5, 127]),
        (1e300, [0, 5, 127]),
        (2**80, [0, 5, 127]),
    ):
        h = rj.relu6(x, ceiling=ceiling)
        assert h.dtype == jnp.int8 and h.tolist() == right
    assert rj.relu6(x, ceiling=np.array([4.0, 2.0, 3.0])).tolist() == [0, 2, 3]
    assert rj.relu6(x, ceiling=jnp.array([4, 2, 3])).tolist() == [0, 2, 3]
    half = rj.relu6(x, ceiling=2.5)
    assert half.dtype == jnp.float32 and half.tolist() == [0.0, 2.5, 2.5]
    with jax.enable_x64(True):
        far = jnp.array([2**53 + 1, -(2**53) - 1])
        assert rj.relu(far).tolist() == [2**53 + 1, 0]
        assert rj.relu6(far, ceiling=2**53 - 1).tolist() == [2**53 - 1, 0]


def test_what_cannot_stay_integer_promotes_as_exp_does() -> None:
    for x64 in (False, True):
        with jax.enable_x64(x64):
            for dtype in ("int8", "int32", "uint16", "bool"):
                x = jnp.array([0, 1], dtype)
                for function in (rj.elu, rj.softplus, rj.squared_relu, rj.leaky_relu):
                    assert function(x).dtype == jnp.exp(x).dtype
                assert rj.relu(jnp.array([True])).dtype == jnp.exp(jnp.array([True])).dtype


@pytest.mark.parametrize("name", NAMES)
def test_weak_types_are_respected(name: str) -> None:
    f = bound(name)
    for h in (f(2.0), f(jnp.asarray(2.0)), jax.jit(f)(2.0), f(jax.jit(lambda: 2.0)())):
        assert h.weak_type and h.dtype == jnp.float32
        assert (h * jnp.ones(1, jnp.bfloat16)).dtype == jnp.bfloat16
    assert jax.grad(f)(2.0).weak_type
    assert not f(jnp.float32(2.0)).weak_type
    with jax.enable_x64(True):
        assert f(2.0).dtype == jnp.float64 and f(2.0).weak_type
        assert f(jnp.float32(2.0)).dtype == jnp.float32


# Parameters --------------------------------------------------------------------------------------------------------


def test_parameters_may_be_arrays_of_jax_and_numpy() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    for name, parameter in (
        ("leaky_relu", "negative_slope"),
        ("elu", "alpha"),
        ("celu", "alpha"),
        ("softplus", "beta"),
    ):
        values = [0.1, 0.5, 2.0]
        f = getattr(rj, name)
        right = jnp.stack([f(x[:, i], **{parameter: value}) for i, value in enumerate(values)], 1)
        for given in (np.array(values), jnp.array(values), values):
            np.testing.assert_allclose(f(x, **{parameter: given}), right, rtol=3e-7)
        np.testing.assert_allclose(jax.jit(f)(x, **{parameter: jnp.array(values)}), right, rtol=3e-7)
        np.testing.assert_allclose(f(x, **{parameter: jnp.float32(0.5)}), f(x, **{parameter: 0.5}), rtol=3e-7)
        grown = f(x[:1], **{parameter: jnp.full((5, 1), 0.5)})
        assert grown.shape == (5, 3)
    np.testing.assert_array_equal(rj.relu6(x, ceiling=jnp.array(0.5)), rj.relu6(x, ceiling=0.5))


def test_the_result_has_the_dtype_of_x_whatever_the_parameter_has() -> None:
    x = jnp.ones(3, jnp.bfloat16)
    for slope in (np.float64(0.3), np.full(3, 0.3), jnp.full(3, 0.3), jnp.full(3, 0.3, jnp.float16)):
        assert rj.leaky_relu(x, negative_slope=slope).dtype == jnp.bfloat16


@pytest.mark.parametrize("slope", [0.0, np.zeros(2), jnp.array(0.0), jnp.array([0.0, 1.0])], ids=str)
def test_slope_zero_at_minus_infinity_is_zero(slope: Any) -> None:
    h = rj.leaky_relu(jnp.array([-jnp.inf, 1.0]), negative_slope=slope)
    assert h[0] == 0 and jnp.signbit(h[0])


def test_numpy_arrays_go_to_numpy_and_jax_arrays_to_jax() -> None:
    x = np.array([-1.0, 2.0], np.float32)
    assert type(rectifier.relu(x)) is np.ndarray
    assert isinstance(rectifier.relu(jnp.asarray(x)), jax.Array)
    assert isinstance(rj.relu(x), jax.Array)  # asked for by name
    mixed = rectifier.leaky_relu(jnp.asarray(x), negative_slope=np.array([0.5, 0.1], np.float32))
    assert isinstance(mixed, jax.Array) and mixed.tolist() == [-0.5, 2.0]
    # Beside an x of NumPy the gradient of a slope of JAX would be lost.
    with pytest.raises(rectifier.RectifierTypeError, match="got one of JAX"):
        rectifier.leaky_relu(x, negative_slope=jnp.float32(0.5))
