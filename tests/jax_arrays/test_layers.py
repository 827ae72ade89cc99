"""PReLU for Flax NNX and for Equinox: trained, exchanged with the libraries' own, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx

import rectifier.jax as rj
from rectifier import RectifierTypeError, RectifierValueError

X = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32))
LAYERS = {"nnx": rj.nnx.PReLU, "equinox": rj.equinox.PReLU}
THEIRS = {"nnx": nnx.PReLU, "equinox": equinox.nn.PReLU}


@pytest.mark.parametrize("library", LAYERS)
def test_start_value_and_gradient(library: str) -> None:
    layer = LAYERS[library]()
    assert isinstance(layer, THEIRS[library])
    np.testing.assert_array_equal(layer(X), rj.prelu(X, negative_slope=0.25))
    gradient: Any = nnx.grad if library == "nnx" else equinox.filter_grad
    found = gradient(lambda layer: layer(X).sum())(layer).negative_slope
    np.testing.assert_allclose(found[...], np.minimum(X, 0).sum(), rtol=1e-6)
    np.testing.assert_allclose(layer(X), THEIRS[library](0.25)(X), rtol=1e-7)


def test_in_a_sequence_of_layers() -> None:
    key = jax.random.key(0)
    linear = equinox.nn.Linear(3, 3, key=key)
    expected = rj.prelu(linear(X[0]), negative_slope=0.25)
    np.testing.assert_array_equal(equinox.nn.Sequential([linear, rj.equinox.PReLU()])(X[0], key=key), expected)
    theirs = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
    expected = rj.prelu(theirs(X), negative_slope=0.25)
    np.testing.assert_array_equal(nnx.Sequential(theirs, rj.nnx.PReLU())(X), expected)


@pytest.mark.parametrize("library", LAYERS)
def test_a_slope_a_channel(library: str) -> None:
    slopes = jnp.array([0.1, 0.2, 0.3])
    for given in (slopes, np.asarray(slopes), slopes.tolist()):
        np.testing.assert_array_equal(LAYERS[library](given)(X), rj.prelu(X, negative_slope=slopes))


@pytest.mark.parametrize("library", LAYERS)
def test_the_result_has_the_dtype_of_the_input(library: str) -> None:
    assert LAYERS[library]()(X.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    if library == "nnx":
        assert LAYERS[library](dtype=jnp.bfloat16)(X).dtype == jnp.bfloat16
        assert LAYERS[library](param_dtype=jnp.bfloat16).negative_slope[...].dtype == jnp.bfloat16


def test_flax_trains_it_and_orbax_saves_it(tmp_path: Path) -> None:
    def network(seed: int) -> Any:
        keys = nnx.Rngs(seed)
        return nnx.Sequential(nnx.Linear(3, 8, rngs=keys), rj.nnx.PReLU(), nnx.Linear(8, 1, rngs=keys))

    model = network(0)
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> Any:
        loss, gradient = nnx.value_and_grad(lambda model: jnp.mean((model(X) - 1.0) ** 2))(model)
        optimizer.update(model, gradient)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
    assert float(model.layers[1].negative_slope[...]) != 0.25

    graph, state = nnx.split(model)
    keeper = orbax.checkpoint.StandardCheckpointer()
    keeper.save(tmp_path / "state", state)
    keeper.wait_until_finished()
    loaded = keeper.restore(tmp_path / "state", nnx.state(network(1)))
    keeper.close()
    np.testing.assert_array_equal(nnx.merge(graph, loaded)(X), model(X))
    theirs = nnx.PReLU()
    nnx.update(theirs, nnx.state(model.layers[1]))  # the same names: weights can be exchanged
    assert theirs.negative_slope[...] == model.layers[1].negative_slope[...]


def test_equinox_trains_it_and_saves_it(tmp_path: Path) -> None:
    layer = rj.equinox.PReLU(save="output")
    step = equinox.filter_jit(equinox.filter_grad(lambda layer: jnp.mean((layer(X) - 0.5 * X) ** 2)))
    for _ in range(30):
        layer = equinox.apply_updates(layer, jax.tree.map(lambda g: -0.5 * g, step(layer)))
    assert float(layer.negative_slope) == pytest.approx(0.5, abs=0.05)
    equinox.tree_serialise_leaves(tmp_path / "layer.eqx", layer)
    again = equinox.tree_deserialise_leaves(tmp_path / "layer.eqx", rj.equinox.PReLU(save="output"))
    assert again.negative_slope == layer.negative_slope and again.save == "output"


@pytest.mark.parametrize(("library", "argument"), [("nnx", "negative_slope_init"), ("equinox", "init_alpha")])
def test_refusals(library: str, argument: str) -> None:
    layer = LAYERS[library]
    for value, kind, rule in (
        (float("nan"), RectifierValueError, "must be finite; got nan"),
        (None, RectifierTypeError, "must be a number or an array of numbers; got None"),
        ("a", RectifierTypeError, "must be a number or an array of numbers; got 'a'"),
        ([[0.1], [0.2, 0.3]], RectifierTypeError, "must be a number or an array of numbers; got [[0.1], [0.2, 0.3]]"),
    ):
        with pytest.raises(kind) as refused:
            layer(value)
        assert str(refused.value) == f"PReLU: `{argument}` {rule}. Pass a number such as 0.01."
    with pytest.raises(RectifierValueError) as refused:
        layer(save="gate")
    assert str(refused.value) == (
        "PReLU: `save` must be 'input' or 'output', as the slope's gradient needs the values below 0; got 'gate'. "
        "Leave it out."
    )
