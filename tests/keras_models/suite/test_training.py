"""Trained on the digits from the same weights and batches: ours beside Keras's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rectifier.keras as rk
from benchmarks.frameworks_training import pairs, train
from tests.keras_models.suite.shared import BACKEND, array


@pytest.mark.parametrize("name", ["relu", "prelu"])
def test_what_is_exact_in_both_trains_to_the_bit(name: str) -> None:
    ours, theirs = (train(make, seeds=1, steps=60)[0] for make in pairs()[name])
    assert ours["losses"] == theirs["losses"]
    assert ours["accuracy"] == theirs["accuracy"] > 0.85


def test_elu_trains_as_well() -> None:
    ours, theirs = (train(make, seeds=1, steps=60)[0] for make in pairs()["elu"])
    # The last places differ, and grow.
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-4)
    assert abs(ours["accuracy"] - theirs["accuracy"]) < 0.02
    assert ours["accuracy"] > 0.9


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_policies(policy: str) -> None:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, activation=rk.elu, dtype=policy), rk.PReLU(dtype=policy), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((8,)), *layers])
    optimizer = keras.optimizers.SGD(0.05)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024)
    # On PyTorch compiling takes half a minute; on TensorFlow once is enough.
    compiled = {"torch": False, "jax": True, "tensorflow": policy == "mixed_bfloat16"}[BACKEND]
    model.compile(optimizer, "mse", jit_compile=compiled)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    first, last = [model.train_on_batch(x, np.abs(x[:, :1])) for _ in range(40)][::39]
    assert last < 0.8 * first
    assert np.isfinite(array(model.layers[1].alpha)).all()
