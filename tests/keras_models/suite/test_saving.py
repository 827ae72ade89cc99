"""A saved model finds its functions and layers again, in a process that has imported nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import rectifier.keras as rk
from rectifier.errors import RectifierTypeError
from tests.keras_models.suite.shared import BACKEND, LAYERS, NAMES, array

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
FRESH = """
import sys
from pathlib import Path
import numpy as np
folder = Path(sys.argv[1])
x, h = np.load(folder / "x.npy"), np.load(folder / "h.npy")
if (folder / "exported").exists():
    import tensorflow as tf
    assert "rectifier" not in sys.modules
    assert np.array_equal(tf.saved_model.load(folder / "exported").serve(x).numpy(), h)
import rectifier.keras
import keras
model = keras.models.load_model(folder / "model.keras")
assert np.array_equal(model.predict(x, verbose=0), h), "other values"
print(sorted({type(layer).__module__.partition(".")[0] for layer in model.operations}))
"""


def everything() -> Any:
    """A model that holds each layer and each function as a call and as an activation."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    h = inputs
    for name in NAMES:
        if name != "prelu":
            h = keras.layers.Dense(4, activation=getattr(rk, name))(h)
            h = getattr(rk, name)(h)
        h = LAYERS[name][0]()(h)
        h = keras.layers.LayerNormalization()(h)
    h = keras.layers.Dense(4, activation=rk.LeakyReLU(0.2))(h)
    h = rk.leaky_relu(h, negative_slope=np.array([0.1, 0.2, 0.3, 0.4]))
    h = keras.layers.Reshape((4, 1))(h)
    h = rk.LeakyAverage(0.6)(h)
    return keras.Model(inputs, keras.layers.RNN(rk.LeakyCell(3))(h))


def test_a_fresh_process_loads_what_was_saved(tmp_path: Path) -> None:
    model = everything()
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "h.npy", model.predict(X, verbose=0))
    model.save(tmp_path / "model.keras")
    if BACKEND == "tensorflow":
        model.export(tmp_path / "exported", verbose=False)
    done = subprocess.run([sys.executable, "-c", FRESH, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "['keras', 'rectifier']\n"


def test_weights_go_to_keras_own_layers_and_back(tmp_path: Path) -> None:
    def build(room: Any) -> Any:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), room.PReLU(), keras.layers.Dense(1)])

    ours, theirs = build(rk), build(keras.layers)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(array(theirs(X)), array(ours(X)), rtol=1e-5, atol=1e-6)


def test_a_slope_that_cannot_be_saved_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, rk.leaky_relu(inputs, negative_slope=keras.Variable(0.2)))
    with pytest.raises(RectifierTypeError) as caught:
        model.save(tmp_path / "never.keras")
    assert str(caught.value) == (
        "leaky_relu: `negative_slope` must be a number or an array of numbers to be saved; got Variable. "
        "Pass its values, or use PReLU, whose slope is learned and saved."
    )


def test_a_slope_that_is_a_tensor_is_saved_as_its_values() -> None:
    layer = rk.LeakyReLU(keras.ops.convert_to_tensor([0.5, 0.25]))
    assert layer.get_config()["negative_slope"] == [0.5, 0.25]
    again = rk.LeakyReLU.from_config(layer.get_config())
    assert array(again(np.full((1, 2), -4, np.float32))).tolist() == [[-2.0, -1.0]]
