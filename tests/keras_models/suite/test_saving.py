"""A saved model finds its functions and layers again, in a process that has imported nothing else."""

from __future__ import annotations

import json
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
import json, sys
from pathlib import Path
import numpy as np
folder = Path(sys.argv[1])
x, h = np.load(folder / "x.npy"), np.load(folder / "h.npy")
if (folder / "exported").exists():
    import tensorflow as tf
    assert "rectifier" not in sys.modules
    exported = tf.saved_model.load(folder / "exported")
    np.testing.assert_allclose(exported.serve(x).numpy(), h, rtol=1e-5)
else:  # which Keras would load to read the file
    sys.modules["tensorflow"] = None
import rectifier.keras
import keras
model = keras.models.load_model(folder / "model.keras")
assert np.array_equal(keras.ops.convert_to_numpy(model(x)), h), "other values"
everything = keras.models.load_model(folder / "everything.keras")
print(json.dumps(everything.get_config(), sort_keys=True))
"""


def everything() -> Any:
    """A model that holds each layer, and each function as an activation and as a call."""
    inputs = h = keras.Input((4,))
    for name in NAMES:
        h = LAYERS[name][0]()(h)
        if name != "prelu":
            h = getattr(rk, name)(keras.layers.Dense(4, activation=getattr(rk, name))(h))
    h = rk.LeakyAverage(0.6)(keras.layers.Reshape((4, 1))(h))
    return keras.Model(inputs, keras.layers.RNN(rk.LeakyCell(3))(h))


def small() -> Any:
    inputs = keras.Input((4,))
    h = rk.PReLU()(keras.layers.Dense(4, activation=rk.elu)(inputs))
    h = rk.leaky_relu(h, negative_slope=np.array([0.1, 0.2, 0.3, 0.4]))
    return keras.Model(inputs, keras.layers.Dense(4, activation=rk.LeakyReLU(0.2))(h))


def test_a_fresh_process_loads_what_was_saved(tmp_path: Path) -> None:
    model, whole = small(), everything()
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "h.npy", array(model(X)))
    model.save(tmp_path / "model.keras")
    whole.save(tmp_path / "everything.keras")
    if BACKEND == "tensorflow":
        model.export(tmp_path / "exported", verbose=False)
    done = subprocess.run([sys.executable, "-c", FRESH, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == json.loads(json.dumps(whole.get_config()))


def test_weights_go_to_keras_own_layers_and_back(tmp_path: Path) -> None:
    def build(room: Any) -> Any:
        return keras.Sequential([keras.Input((4,)), room.PReLU("random_normal")])

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
