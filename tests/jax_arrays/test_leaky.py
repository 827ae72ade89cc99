"""The leaky average on JAX arrays."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rectifier
import rectifier.jax as rj
from rectifier import RectifierTypeError, RectifierValueError


def given(shape=(3, 50, 4), dtype=np.float32):
    generator = np.random.default_rng(0)
    return generator.normal(size=shape).astype(dtype), generator.uniform(size=shape[-1]).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_it_is_numpys_within_the_rounding_of_float32(dtype, axis):
    v, alpha = given(dtype=jnp.dtype(dtype))
    wanted = rectifier.leaky_average(v, alpha, axis=axis, initial=0.5)
    for call in (rj.leaky_average, jax.jit(rj.leaky_average, static_argnames="axis")):
        got = call(jnp.asarray(v), alpha, axis=axis, initial=0.5)
        assert got.dtype == v.dtype and got.shape == v.shape
        eps = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(
            np.asarray(got, np.float64), np.asarray(wanted, np.float64), rtol=eps, atol=4 * 2**-23
        )


def test_gradients_are_those_of_the_definition():
    v, alpha = map(jnp.asarray, given((2, 7, 3)))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=v.shape), jnp.float32)

    def by_steps(v, alpha, initial):
        mu, out = jnp.broadcast_to(initial, v[:, 0].shape), []
        for t in range(v.shape[1]):
            mu = alpha * mu + (1 - alpha) * v[:, t]
            out.append(mu)
        return jnp.sum(jnp.stack(out, 1) * weights)

    def by_scan(v, alpha, initial):
        return jnp.sum(rectifier.leaky_average(v, alpha, axis=1, initial=initial) * weights)

    for transform in (
        lambda f: jax.grad(f, (0, 1, 2)),
        lambda f: jax.jacfwd(f, (0, 1, 2)),
        lambda f: jax.hessian(f, 1),
    ):
        wanted, got = (jax.jit(transform(f))(v, alpha, jnp.float32(0.3)) for f in (by_steps, by_scan))
        for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)


def test_series_in_a_batch_are_those_alone():
    v, alpha = map(jnp.asarray, given((5, 20)))
    together = jax.vmap(lambda one: rj.leaky_average(one, alpha[0]))(v)
    np.testing.assert_allclose(together, rj.leaky_average(v, alpha[0]), rtol=1e-6, atol=1e-7)
    assert rj.leaky_average(jnp.zeros((2, 0)), 0.5).shape == (2, 0)


def test_the_signature_is_numpys_without_out():
    mine = [str(p).partition(":")[0] for p in inspect.signature(rj.leaky_average).parameters.values()]
    theirs = [str(p).partition(":")[0] for p in inspect.signature(rectifier.leaky_average).parameters.values()]
    assert mine == [name for name in theirs if name != "out"]


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        (
            (jnp.ones(2, int), 0.5),
            {},
            RectifierTypeError,
            "leaky_average: `v` must hold float16, bfloat16, float32 or float64; got int32. "
            "Convert it with v.astype(jax.numpy.float32).",
        ),
        (
            (jnp.ones(2), 1.5),
            {},
            RectifierValueError,
            "leaky_average: `alpha` must lie in [0, 1]; got 1.5. Pass a number such as 0.9.",
        ),
        (
            (jnp.ones((2, 3)), jnp.full(3, 0.5)),
            {},
            RectifierValueError,
            "leaky_average: `alpha` must broadcast with v without its axis of time, (2,); got shape (3,). "
            "Give it one value a series, or a single number.",
        ),
        (
            (jnp.ones(2), 0.5),
            {"out": np.ones(2)},
            RectifierTypeError,
            "leaky_average: `out` must be left out for a JAX array; got ndarray. Use what the call returns.",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, keywords, error, message):
    with pytest.raises(error) as caught:
        rectifier.leaky_average(*arguments, **keywords)
    assert str(caught.value) == message
