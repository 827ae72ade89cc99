"""The layers: Keras's arguments, masks, specs, presets, and mixed policies."""

from __future__ import annotations

from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

import rectifier
import rectifier.keras as rk
from tests.keras_models.suite.shared import AT_ONCE, LAYERS, array, derivative

SHAPE = (4, 5, 3)
INPUT = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function(name: str) -> None:
    make, given = LAYERS[name]
    layer = make()
    assert layer.rectifier_row == name
    np.testing.assert_array_equal(array(layer(INPUT)), array(getattr(rk, name)(INPUT, **given)))
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(array(again(INPUT)), array(layer(INPUT)))


@pytest.mark.parametrize("name", LAYERS)
def test_a_symbolic_call_says_what_a_real_one_gives(name: str) -> None:
    layer = LAYERS[name][0]()
    layer.dtype_policy = "mixed_bfloat16"
    h = layer(INPUT)
    spec = layer(keras.KerasTensor((None, *SHAPE[1:])))
    assert spec.shape == (None, *SHAPE[1:])
    assert spec.dtype == keras.backend.standardize_dtype(h.dtype) == "bfloat16"
    assert layer.compute_output_shape(SHAPE) == SHAPE


@pytest.mark.parametrize("name", LAYERS)
def test_masks_pass(name: str) -> None:
    layer = LAYERS[name][0]()
    model = keras.Sequential([keras.layers.Masking(), layer, keras.layers.GlobalAveragePooling1D()])
    x = INPUT.copy()
    x[:, 2:] = 0
    np.testing.assert_allclose(array(model(x)), array(layer(x))[:, :2].mean(1), rtol=1e-5)


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "PReLU", "ELU"])
def test_layers_are_keras_own_where_there_is_one(name: str) -> None:
    assert issubclass(getattr(rk, name), getattr(keras.layers, name))


def test_the_derivative_at_zero() -> None:
    zeros = np.zeros(3, np.float32)
    for at_zero in (0.0, 0.5, 1.0):
        assert derivative(rk.ReLU(at_zero=at_zero), zeros).tolist() == [at_zero] * 3


@pytest.mark.parametrize("like", ["torch", "tensorflow", "keras", "jax", "onnx"])
def test_presets(like: str) -> None:
    assert rk.LeakyReLU(like=like).negative_slope == rectifier.family["leaky_relu"].presets[like]["negative_slope"]
    assert rk.ELU(like=like).alpha == rk.Softplus(like=like).beta == 1.0
    assert type(rk.ELU(like=like).alpha) is float


@pytest.mark.parametrize(("shared_axes", "shape"), [(None, (5, 3)), ([1], (1, 3)), (2, (5, 1)), ([1, 2], (1, 1))])
def test_prelu_shares_its_slope_as_keras_does(shared_axes: Any, shape: tuple[int, ...]) -> None:
    layer, theirs = rk.PReLU(shared_axes=shared_axes), keras.layers.PReLU("ones", shared_axes=shared_axes)
    layer.build(SHAPE)
    theirs.build(SHAPE)
    assert layer.alpha.shape == theirs.alpha.shape == shape
    assert (array(layer.alpha) == 0.25).all()
    slopes = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    layer.set_weights([slopes])
    np.testing.assert_array_equal(array(layer(INPUT)), rectifier.prelu(INPUT, negative_slope=slopes))


def test_prelu_learns_and_computes_with_all_digits_of_its_slope() -> None:
    model = keras.Sequential([keras.Input((6,)), rk.PReLU(dtype="mixed_bfloat16")])
    model.compile(keras.optimizers.SGD(2.0), "mse", **AT_ONCE)
    x = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    for _ in range(60):
        model.train_on_batch(x, np.where(x > 0, x, -0.5 * x))
    slopes = array(model.layers[0].alpha)
    np.testing.assert_allclose(slopes, -0.5, atol=0.05)
    short = x.astype(ml_dtypes.bfloat16)
    expected = rectifier.prelu(short, negative_slope=slopes)
    assert (rectifier.prelu(short, negative_slope=slopes.astype(ml_dtypes.bfloat16)) != expected).any()
    np.testing.assert_array_equal(array(model(x)).astype(ml_dtypes.bfloat16), expected)


def test_slopes_of_channels() -> None:
    slopes = [0.1, 0.2, 0.3]
    layer = rk.LeakyReLU(slopes)
    np.testing.assert_array_equal(array(layer(INPUT)), rectifier.leaky_relu(INPUT, negative_slope=np.array(slopes)))
    assert layer.get_config()["negative_slope"] == slopes
