"""What is kept between the forward and the backward pass, as JAX's own tools and the compiled step show it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import print_saved_residuals

import rectifier.jax as rj
from benchmarks.jax_steps import make_step
from tests.jax_arrays.shared import bound

Z = jnp.asarray(np.random.default_rng(0).normal(size=(16, 40)).astype(np.float32))
BITS = "u8[16,5]"


def kept(f: Any, *arguments: Any) -> list[str]:
    """The lines of jax.ad_checkpoint.print_saved_residuals."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        print_saved_residuals(f, *arguments)
    return [line.split(" from /")[0].split(" of ")[0] for line in told.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("name", "given", "right"),
    [
        ("relu", {}, [BITS]),
        ("relu", {"at_zero": 1.0}, [BITS]),
        ("relu", {"at_zero": 0.5}, [BITS, BITS]),
        ("leaky_relu", {}, [BITS]),
        ("prelu", {}, [BITS]),
        ("abs", {}, [BITS, BITS]),
        ("relu6", {}, [BITS]),
        ("squared_relu", {}, ["f32[16,40] from the argument z"]),
        ("squared_relu", {"save": "output"}, ["f32[16,40]"]),
        ("elu", {}, ["f32[16,40] from the argument z"]),
        ("elu", {"save": "output"}, ["f32[16,40]"]),
        ("celu", {}, ["f32[16,40] from the argument z"]),
        ("selu", {}, ["f32[16,40] from the argument z"]),
        ("softplus", {}, ["f32[16,40]"]),
        ("softplus", {"beta": 2.0}, ["f32[16,40] from the argument z"]),
        ("softplus", {"save": "input"}, ["f32[16,40] from the argument z"]),
    ],
    ids=str,
)
def test_what_jax_says_is_kept(name: str, given: dict[str, Any], right: list[str]) -> None:
    f = bound(name, **given)

    def of(z: Any) -> Any:
        return f(z)

    def compiled(z: Any) -> Any:
        return jax.jit(f)(z)

    for way in (of, compiled):
        found = [line.replace("uint8", "u8").replace("float32", "f32") for line in kept(way, Z)]
        assert [line.replace(" output", "") for line in found] == right


def test_a_learned_slope_keeps_the_input_and_a_fixed_one_the_gate() -> None:
    slope = jnp.full(40, 0.25)
    _, backward = jax.vjp(lambda z, s: rj.prelu(z, negative_slope=s), Z, slope)
    assert sorted(leaf.nbytes for leaf in jax.tree.leaves(backward)) == [slope.nbytes, Z.nbytes]
    _, backward = jax.vjp(lambda z: rj.prelu(z, negative_slope=slope), Z)
    assert sorted(leaf.nbytes for leaf in jax.tree.leaves(backward)) == [Z.size // 8, slope.nbytes]


def test_a_last_axis_that_fills_no_byte_is_padded() -> None:
    _, backward = jax.vjp(rj.relu, Z[:, :3])
    assert [leaf.shape for leaf in jax.tree.leaves(backward)] == [(16, 1)]


def test_the_compiled_step_keeps_a_hidden_buffer_less_than_with_jax_nn() -> None:
    """XLA computes the boolean of jax.nn.relu from the input anew, and keeps input and output for it."""
    size = 64, 64, 256
    hidden = size[0] * size[2] * 4
    for ours, theirs in ((rj.relu, jax.nn.relu), (rj.softplus, jax.nn.softplus), (rj.elu, jax.nn.elu)):
        mine, its = (make_step(f, size)[0].memory_analysis().temp_size_in_bytes for f in (ours, theirs))
        assert mine <= its - 0.8 * hidden
