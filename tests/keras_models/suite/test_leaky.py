"""Leaky units: the layer and the cell, beside the recurrence in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rectifier
import rectifier.keras as rk
from tests.keras_models.suite.shared import NAMES, array, derivative

V = np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32)


def test_the_average_is_the_recurrence() -> None:
    layer = rk.LeakyAverage(0.8)
    h = array(layer(V))
    np.testing.assert_allclose(array(layer.alpha), [0.8] * 4, rtol=1e-6)
    expected = rectifier.leaky_average(V, array(layer.alpha), axis=1)
    np.testing.assert_allclose(h, expected, rtol=1e-5, atol=1e-6)
    start = np.ones((3, 4), np.float32)
    expected = rectifier.leaky_average(V, array(layer.alpha), axis=1, initial=start)
    np.testing.assert_allclose(array(layer(V, initial=start)), expected, rtol=1e-5, atol=1e-6)
    assert layer(keras.KerasTensor((None, None, 4))).shape == (None, None, 4)


def test_alpha_is_learned_unless_it_shall_not_be() -> None:
    v = np.random.default_rng(1).normal(size=(32, 8, 4)).astype(np.float32)
    target = rectifier.leaky_average(v, np.array([0.5, 0.7, 0.9, 0.95]), axis=1)
    model = keras.Sequential([keras.Input((8, 4)), rk.LeakyAverage(0.8)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(v, target, epochs=120, batch_size=32, verbose=0)
    np.testing.assert_allclose(array(model.layers[0].alpha), [0.5, 0.7, 0.9, 0.95], atol=0.01)
    fixed = rk.LeakyAverage(0.8, learn=False)
    fixed.build((3, 8, 4))
    assert not fixed.trainable_weights and len(fixed.non_trainable_weights) == 1


def test_gradient_of_the_average() -> None:
    layer = rk.LeakyAverage(0.5)
    # Each step weighs 1 − α^(steps left): the last 1 − α, the one before 1 − α².
    left = np.arange(8, 0, -1)
    np.testing.assert_allclose(derivative(layer, V)[0, :, 0], 1 - 0.5**left, rtol=1e-5)


@pytest.mark.parametrize("name", ["relu", "softplus"])
def test_the_cell_is_its_formula(name: str) -> None:
    cell = rk.LeakyCell(5, nonlinearity=name, alpha=0.7)
    layer = keras.layers.RNN(cell, return_sequences=True)
    got = array(layer(V))
    w, u, b, logit = (array(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias, cell.logit))
    alpha = 1 / (1 + np.exp(-logit))
    h = np.zeros((3, 5), np.float32)
    for step in range(V.shape[1]):
        h = alpha * h + (1 - alpha) * getattr(rectifier, name)(V[:, step] @ w + h @ u + b)
        np.testing.assert_allclose(got[:, step], h, rtol=1e-4, atol=1e-5)
    assert (np.abs(w) <= 5**-0.5).all() and (b == 0).all()


def test_the_cell_learns_under_a_mask() -> None:
    model = keras.Sequential(
        [keras.Input((8, 4)), keras.layers.Masking(), keras.layers.RNN(rk.LeakyCell(8)), keras.layers.Dense(1)]
    )
    padded = V.copy()
    padded[:, 5:] = 0
    np.testing.assert_allclose(array(model(padded)), array(model(V[:, :5])), rtol=1e-5)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    before = array(model.layers[1].cell.logit).copy()
    history = model.fit(padded, V.sum((1, 2))[:, None], epochs=25, batch_size=3, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    assert (array(model.layers[1].cell.logit) != before).any()


def test_every_function_is_a_nonlinearity() -> None:
    for name in NAMES:
        if name != "prelu":
            rk.LeakyCell(2, nonlinearity=name)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_policies(policy: str) -> None:
    for layer in (rk.LeakyAverage(0.99, dtype=policy), keras.layers.RNN(rk.LeakyCell(4, dtype=policy), dtype=policy)):
        assert keras.backend.standardize_dtype(layer(V).dtype) == policy.removeprefix("mixed_")
        assert {weight.dtype for weight in layer.weights} == {"float32"}
