"""The functions on the backend's tensors, on Variables and on symbolic tensors, and as activations by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import rectifier
import rectifier.keras as rk
from tests.keras_models.suite.shared import BACKEND, NAMES, REQUIRED, X, array, derivative, ulp_apart


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_are_those_of_numpy(name: str) -> None:
    given = REQUIRED.get(name, {})
    f, exact = getattr(rk, name), getattr(rectifier, name)
    # PyTorch's tensors on the CPU get the bits of the native kernels.
    assert ulp_apart(array(f(X, **given)), exact(X, **given)) <= (0 if BACKEND == "torch" else 2)
    assert ulp_apart(derivative(lambda z: f(z, **given), X), exact.derivative(X, **given)) <= 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float64", "int32", "bool"])
@pytest.mark.parametrize("name", NAMES)
def test_a_symbolic_call_says_the_shape_and_dtype_of_the_real_one(name: str, dtype: str) -> None:
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has float64 where jax_enable_x64 is on")
    given = REQUIRED.get(name, {})
    symbolic = getattr(rectifier, name)(keras.KerasTensor((None, 3), dtype=dtype), **given)
    h = getattr(rk, name)(keras.ops.ones((2, 3), dtype=dtype), **given)
    assert symbolic.shape == (None, 3)
    assert symbolic.dtype == keras.backend.standardize_dtype(h.dtype)


@pytest.mark.parametrize(("ceiling", "dtype"), [(6, "int32"), (2.5, "float32"), ([1, 2, 3], "int32")])
def test_integers_stay_whole_under_a_whole_ceiling(ceiling: Any, dtype: str) -> None:
    symbolic = rk.relu6(keras.KerasTensor((2, 3), dtype="int32"), ceiling=ceiling)
    h = rk.relu6(keras.ops.full((2, 3), 9, dtype="int32"), ceiling=ceiling)
    assert symbolic.dtype == keras.backend.standardize_dtype(h.dtype) == dtype


@pytest.mark.parametrize("name", [name for name in NAMES if name != "prelu"])
def test_an_activation_by_its_name_and_as_itself(name: str) -> None:
    function = getattr(rk, name)
    by_name, itself = (keras.layers.Dense(3, activation=given) for given in (f"rectifier>{name}", function))
    assert by_name.activation is itself.activation is function
    config = itself.get_config()
    assert config["activation"]["config"] == f"rectifier>{name}"
    assert keras.layers.Dense.from_config(config).activation is function
    assert keras.activations.deserialize(keras.activations.serialize(function)) is function


def test_prelu_has_no_name_as_its_slope_must_be_given() -> None:
    with pytest.raises(ValueError, match="rectifier>prelu"):
        keras.layers.Dense(3, activation="rectifier>prelu")


def test_a_variable_is_a_tensor_of_its_backend() -> None:
    variable = keras.Variable(X)
    np.testing.assert_array_equal(array(rectifier.elu(variable)), array(rk.elu(X)))
    np.testing.assert_array_equal(array(rk.elu(variable)), array(rk.elu(X)))
    slope = keras.Variable(np.float32(0.5))
    np.testing.assert_array_equal(array(rk.prelu(X, negative_slope=slope)), rectifier.prelu(X, negative_slope=0.5))
    np.testing.assert_array_equal(array(rectifier.leaky_average(keras.Variable(X[:4]), 0.0)), X[:4])


def test_a_call_becomes_a_node_with_its_parameters() -> None:
    inputs = keras.Input((3,))
    slopes = np.array([0.1, 0.2, 0.3], np.float32)
    model = keras.Model(inputs, rk.squared_relu(rectifier.leaky_relu(inputs, negative_slope=slopes), save="input"))
    assert [layer.function for layer in model.operations[1:]] == ["leaky_relu", "squared_relu"]
    again = keras.Model.from_config(model.get_config())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(array(again(x)), array(model(x)))
    np.testing.assert_array_equal(
        array(model(x)), rectifier.squared_relu(rectifier.leaky_relu(x, negative_slope=slopes))
    )


def test_numbers_and_lists_are_taken_as_keras_takes_them() -> None:
    assert array(rk.relu(-2.0)) == 0
    assert array(rk.leaky_relu([-2.0, 3.0], negative_slope=0.5)).tolist() == [-1.0, 3.0]
    assert keras.backend.standardize_dtype(rk.elu([1, 2]).dtype) == "float32"
