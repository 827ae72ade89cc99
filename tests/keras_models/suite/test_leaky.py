"""Leaky units: the layer and the cell, beside the recurrence in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rectifier
import rectifier.keras as rk
from tests.keras_models.suite.shared import AT_ONCE, NAMES, array, derivative

V = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)


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
    v = np.random.default_rng(1).normal(size=(32, 4, 4)).astype(np.float32)
    target = rectifier.leaky_average(v, np.array([0.5, 0.7, 0.9, 0.95]), axis=1)
    model = keras.Sequential([keras.Input((4, 4)), rk.LeakyAverage(0.8)])
    model.compile(keras.optimizers.Adam(0.1), "mse", **AT_ONCE)
    for _ in range(120):
        model.train_on_batch(v, target)
    np.testing.assert_allclose(array(model.layers[0].alpha), [0.5, 0.7, 0.9, 0.95], atol=0.01)
    fixed = rk.LeakyAverage(0.8, learn=False)
    fixed.build((3, 4, 4))
    assert not fixed.trainable_weights and len(fixed.non_trainable_weights) == 1


def test_gradient_of_the_average() -> None:
    layer = rk.LeakyAverage(0.5)
    # Each step weighs 1 − α^(steps left): the last 1 − α, the one before 1 − α².
    left = np.arange(4, 0, -1)
    np.testing.assert_allclose(derivative(layer, V)[0, :, 0], 1 - 0.5**left, rtol=1e-5)


def test_the_cell_is_its_formula() -> None:
    cell = rk.LeakyCell(5, nonlinearity="softplus", alpha=0.7)
    layer = keras.layers.RNN(cell, return_sequences=True)
    got = array(layer(V))
    w, u, b, logit = (array(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias, cell.logit))
    alpha = 1 / (1 + np.exp(-logit))
    h = np.zeros((3, 5), np.float32)
    for step in range(V.shape[1]):
        h = alpha * h + (1 - alpha) * rectifier.softplus(V[:, step] @ w + h @ u + b)
        np.testing.assert_allclose(got[:, step], h, rtol=1e-4, atol=1e-5)
    assert (np.abs(w) <= 5**-0.5).all() and (b == 0).all()


def test_the_cell_learns_under_a_mask() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 4)), keras.layers.Masking(), keras.layers.RNN(rk.LeakyCell(8)), keras.layers.Dense(1)]
    )
    padded, target = V.copy(), V.sum((1, 2))[:, None]
    padded[:, 2:] = 0
    first, cell = array(model(padded)), model.layers[1].cell
    short = keras.layers.RNN(cell)(V[:, :2])
    np.testing.assert_allclose(first, array(model.layers[2](short)), rtol=1e-5)
    model.compile(keras.optimizers.Adam(0.05), "mse", **AT_ONCE)
    before = array(cell.logit).copy()
    for _ in range(40):
        model.train_on_batch(padded, target)
    errors = [float(np.mean((h - target) ** 2)) for h in (first, array(model(padded)))]
    assert errors[1] < 0.5 * errors[0]
    assert (array(cell.logit) != before).any()


def test_every_function_is_a_nonlinearity() -> None:
    for name in NAMES:
        if name != "prelu":
            rk.LeakyCell(2, nonlinearity=name)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_policies(policy: str) -> None:
    layer, cell = rk.LeakyAverage(0.99, dtype=policy), rk.LeakyCell(4, dtype=policy)
    h, _ = cell(V[:, 0], cell.get_initial_state(batch_size=3))
    for result in (layer(V), h):
        assert keras.backend.standardize_dtype(result.dtype) == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in (*layer.weights, *cell.weights)} == {"float32"}
