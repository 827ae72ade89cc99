"""Under every transform: jit, vmap, checkpoint, scan, cond, shard_map and shardings, on one device and on several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rectifier.jax as rj
from tests.jax_arrays.shared import bound

X = jnp.linspace(-3.0, 7.0, 48).reshape(6, 8)


def gradient(f: Any) -> Any:
    return jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(f(x)))))(X)


@pytest.mark.parametrize("name", ["relu", "abs", "prelu", "elu", "softplus"])
def test_jit_vmap_checkpoint_scan_and_cond_change_nothing(name: str) -> None:
    f = bound(name)
    value, slope = f(X), gradient(f)

    def scanned(x: Any) -> Any:
        return jax.lax.scan(lambda carry, row: (carry, f(row)), 0.0, x)[1]

    def chosen(x: Any) -> Any:
        return jax.lax.cond(x.sum() > -1e9, f, jnp.zeros_like, x)

    policies = jax.checkpoint_policies
    ways = {
        "jit": jax.jit(f),
        "vmap": jax.vmap(f),
        "vmap of columns": jax.vmap(jax.vmap(f), 1, 1),
        "checkpoint": jax.checkpoint(f),
        "checkpoint, dots": jax.checkpoint(f, policy=policies.dots_saveable),
        "checkpoint, everything": jax.checkpoint(f, policy=policies.everything_saveable),
        "scan": scanned,
        "cond": chosen,
    }
    for way, g in ways.items():
        # Not to the bit: LLVM contracts differently in each loop.
        np.testing.assert_allclose(g(X), value, rtol=3e-7, err_msg=way)
        np.testing.assert_allclose(gradient(g), slope, rtol=1e-6, atol=3e-7, err_msg=way)


def test_vmap_over_slopes() -> None:
    slopes = jnp.array([0.1, 0.2, 0.3])
    each = jax.vmap(lambda s: jax.grad(lambda s: rj.prelu(X, negative_slope=s).sum())(s))(slopes)
    np.testing.assert_allclose(each, np.full(3, np.minimum(np.asarray(X), 0).sum()), rtol=1e-6)
    alphas = jax.vmap(lambda a: rj.elu(X, alpha=a))(slopes)
    np.testing.assert_allclose(alphas[1], rj.elu(X, alpha=0.2), rtol=3e-7)


def test_a_parameter_may_be_traced_beside_what_is_differentiated() -> None:
    @jax.jit
    def step(w: Any, alpha: Any, slope: Any) -> Any:
        return jax.grad(lambda w: rj.elu(w * X, alpha=alpha).sum() + rj.leaky_relu(w * X, negative_slope=slope).sum())(
            w
        )

    right = jax.grad(lambda w: rj.elu(w * X, alpha=0.5).sum() + rj.leaky_relu(w * X, negative_slope=0.1).sum())(1.0)
    np.testing.assert_allclose(step(1.0, 0.5, 0.1), right, rtol=1e-6)


def test_hessians_forward_over_reverse_and_the_other_way() -> None:
    def loss(x: Any) -> Any:
        return jnp.sum(rj.elu(x) * rj.softplus(x) * rj.relu(x - 0.5))

    x = X[2]
    both = jax.jit(lambda x: (jax.jacfwd(jax.jacrev(loss))(x), jax.jacrev(jax.jacfwd(loss))(x), jax.hessian(loss)(x)))(
        x
    )
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(both[0], both[2], rtol=1e-5, atol=1e-5)


def test_exported_functions_run() -> None:
    exported = jax.export.export(jax.jit(jax.vmap(jax.grad(rj.softplus))))(jax.ShapeDtypeStruct((8,), jnp.float32))
    again = jax.export.deserialize(exported.serialize())
    np.testing.assert_allclose(again.call(X[0]), jax.vmap(jax.grad(rj.softplus))(X[0]), rtol=1e-6)


SEVERAL = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import rectifier.jax as rj

assert jax.device_count() == 4
shapes = {AxisType.Auto: (8, 64), AxisType.Explicit: (8, 20)}  # parts of whole bytes, and not
for kind, shape in shapes.items():
    mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
    x = np.linspace(-4.0, 8.0, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    with jax.set_mesh(mesh):
        for f in (rj.relu, rj.abs, rj.relu6, rj.elu, rj.softplus, rj.squared_relu):
            alone = jax.jit(lambda x: jax.vjp(f, x)[1](x)[0])
            for spec in (P("d"), P(None, "d")):
                there = jax.device_put(x, NamedSharding(mesh, spec))
                compiled = alone.lower(there).compile()
                got = compiled(there)
                assert got.sharding.is_equivalent_to(there.sharding, 2), (f, spec, got.sharding)
                assert not any(word in compiled.as_text() for word in ("all-gather", "all-reduce", "permute")), f
                np.testing.assert_allclose(got, alone(jnp.asarray(x)), rtol=1e-6)

mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
x = jnp.linspace(-4.0, 8.0, 64).reshape(16, 4)
slopes = jnp.array([0.1, 0.2, 0.3, 0.4])
part = jax.shard_map(lambda x, s: jax.lax.psum(jnp.sum(rj.prelu(rj.elu(x), negative_slope=s) ** 2), "d"),
                     mesh=mesh, in_specs=(P("d"), P()), out_specs=P())
whole = lambda x, s: jnp.sum(rj.prelu(rj.elu(x), negative_slope=s) ** 2)
for got, right in zip(jax.jit(jax.grad(part, (0, 1)))(x, slopes), jax.grad(whole, (0, 1))(x, slopes), strict=True):
    np.testing.assert_allclose(got, right, rtol=1e-6)
inner = jax.shard_map(jax.grad(lambda x: rj.relu(x).sum()), mesh=mesh, in_specs=P("d"), out_specs=P("d"))
np.testing.assert_array_equal(inner(x), x > 0)
"""


def test_several_devices() -> None:
    """A process of its own: how many devices there are is decided when JAX starts."""
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEVERAL],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
