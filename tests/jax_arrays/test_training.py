"""Trained on the digits from the same seeds: ours beside JAX's own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

import rectifier.jax as rj

STEPS = 120


def train(f: Any, seed: int) -> tuple[np.ndarray[Any, Any], float]:
    """Losses, and the accuracy on the fifth that is held out."""
    data = load_digits()
    x, y = (data.data / 16).astype(np.float32), data.target
    order = np.random.default_rng(seed).permutation(len(x))
    held, used = order[: len(x) // 5], order[len(x) // 5 :]
    keys = jax.random.split(jax.random.key(seed), 3)
    sizes = (64, 64, 64, 10)
    weights = [
        (jax.random.normal(key, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b))
        for key, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]

    def network(weights: Any, x: Any) -> Any:
        for w, b in weights[:-1]:
            x = f(x @ w + b)
        return x @ weights[-1][0] + weights[-1][1]

    @jax.jit
    def step(weights: Any, x: Any, y: Any) -> Any:
        def loss(weights: Any) -> Any:
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(network(weights, x)), y[:, None], 1))

        value, gradient = jax.value_and_grad(loss)(weights)
        return value, jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradient)

    losses = []
    for number in range(STEPS):
        batch = np.random.default_rng([seed, number]).choice(used, 128)
        value, weights = step(weights, x[batch], y[batch])
        losses.append(value)
    right = np.argmax(network(weights, x[held]), 1) == y[held]
    return np.asarray(losses), float(right.mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_relu_trains_to_the_bit_as_jax_nn_does(seed: int) -> None:
    losses, accuracy = train(rj.relu, seed)
    theirs, their_accuracy = train(jax.nn.relu, seed)
    assert losses.tobytes() == theirs.tobytes()
    assert accuracy == their_accuracy > 0.9


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "selu", "softplus"])
def test_the_others_train_as_well(name: str) -> None:
    losses, accuracy = train(getattr(rj, name), 0)
    theirs, their_accuracy = train(getattr(jax.nn, name), 0)
    # The last places differ, and grow.
    np.testing.assert_allclose(losses[:5], theirs[:5], rtol=1e-4)
    np.testing.assert_allclose(losses, theirs, rtol=0.05)
    assert abs(accuracy - their_accuracy) < 0.02
    assert accuracy > 0.85
