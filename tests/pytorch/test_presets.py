"""``like=``: the defaults of other frameworks, held against those frameworks where they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

import rectifier
import rectifier.torch as rt
from rectifier._family import FRAMEWORKS

FAMILY = rectifier.family
LAYERS = ["LeakyReLU", "PReLU", "ReLU6", "ELU", "CELU", "Softplus"]
ROWS = {row.layer: row for row in FAMILY.values() if row.presets}

#: Each prints row → the arguments of our layer that amount to the framework's defaults, or None where it has none; and
#: what its functions make of −2 and 3, where a number can be had without more than the framework.
ASK = {
    "tensorflow": """
import inspect, json, tensorflow as tf
slope = inspect.signature(tf.nn.leaky_relu).parameters["alpha"].default
x = tf.constant([-2.0, 3.0, 9.0])
values = {name: getattr(tf.nn, name)(x).numpy().tolist() for name in ("leaky_relu", "elu", "softplus", "relu6")}
missing = [name for name in ("prelu", "celu") if not hasattr(tf.nn, name)]
print(json.dumps([{"leaky_relu": {"negative_slope": slope}}, values, missing]))
""",
    "keras": """
import json, keras, numpy as np
x = np.array([[-2.0, 3.0, 9.0]], np.float32)
prelu = keras.layers.PReLU()
layers = {"leaky_relu": keras.layers.LeakyReLU(), "elu": keras.layers.ELU(), "prelu": prelu}
layers |= {name: keras.layers.Activation(name) for name in ("softplus", "relu6", "celu")}
values = {name: keras.ops.convert_to_numpy(layer(x))[0].tolist() for name, layer in layers.items()}
start = keras.ops.convert_to_numpy(prelu.alpha)
presets = {"leaky_relu": {"negative_slope": layers["leaky_relu"].negative_slope}}
presets["prelu"] = {"num_parameters": None if start.shape == (3,) else 1, "init": float(np.abs(start).max())}
print(json.dumps([presets, values, []]))
""",
    "jax": """
import inspect, json, jax, jax.numpy as jnp
def default(name, argument):
    return inspect.signature(getattr(jax.nn, name)).parameters[argument].default
x = jnp.array([-2.0, 3.0, 9.0])
values = {name: getattr(jax.nn, name)(x).tolist() for name in ("leaky_relu", "elu", "celu", "softplus", "relu6")}
presets = {"leaky_relu": {"negative_slope": default("leaky_relu", "negative_slope")}}
presets |= {name: {"alpha": default(name, "alpha")} for name in ("elu", "celu")}
print(json.dumps([presets, values, []]))
""",
    "flax": """
import json, flax.linen as nn, jax
slope = nn.PReLU().init(jax.random.key(0), jax.numpy.ones((2, 3)))["params"]["negative_slope"]
print(json.dumps([{"prelu": {"num_parameters": int(slope.size), "init": float(slope.sum())}}, {}, []]))
""",
    "onnx": """
import json, onnx
def default(name):
    return onnx.defs.get_schema(name).attributes["alpha"].default_value.f
presets = {"leaky_relu": {"negative_slope": default("LeakyRelu")}}
presets |= {"elu": {"alpha": default("Elu")}, "celu": {"alpha": default("Celu")}}
slope_is_input = "slope" in [value.name for value in onnx.defs.get_schema("PRelu").inputs]
missing = ["prelu"] * slope_is_input + ["relu6"] * (not onnx.defs.has("Relu6"))
print(json.dumps([presets, {}, missing]))
""",
}


@pytest.mark.parametrize("framework", ASK)
def test_presets_are_those_of_the_framework(framework: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"try:\n import {framework}\nexcept ImportError: raise SystemExit(77)\n{ASK[framework]}",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "numpy", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode == 77:
        pytest.skip(f"{framework} is not installed")
    assert done.returncode == 0, done.stderr
    presets, values, missing = json.loads(done.stdout.splitlines()[-1])
    name = {"flax": "jax"}.get(framework, framework)
    for row, arguments in presets.items():
        ours = FAMILY[row].presets[name]
        assert arguments.keys() == ours.keys()
        assert all(
            b == pytest.approx(a, rel=1e-7) if a is not None else b is None
            for a, b in zip(ours.values(), arguments.values(), strict=True)
        )
    for row, given in values.items():
        layer = getattr(rt, FAMILY[row].layer)(**({"num_parameters": 3} if row == "prelu" else {}), like=name)
        torch.testing.assert_close(
            layer(torch.tensor([[-2.0, 3.0, 9.0]]))[0], torch.tensor(given), rtol=1e-5, atol=1e-6
        )
    assert all(name not in FAMILY[row].presets for row in missing)


@pytest.mark.parametrize("layer", LAYERS)
def test_pytorchs_preset_is_what_pytorch_has(layer: str) -> None:
    ours, theirs = getattr(rt, layer)(like="torch"), getattr(nn, layer)()
    assert repr(ours) == repr(theirs) == repr(getattr(rt, layer)())
    x = torch.tensor([-2.0, 3.0, 9.0])
    torch.testing.assert_close(ours(x), theirs(x))


def test_presets_say_nothing_twice() -> None:
    assert set(ROWS) == set(LAYERS)
    for row in ROWS.values():
        assert set(row.presets) <= set(FRAMEWORKS)
        for preset in row.presets.values():
            names = set(preset)
            assert names == {p.name for p in row.parameters if p.of == "value"} or row.name == "prelu"


def test_the_values() -> None:
    slopes = {name: rt.LeakyReLU(like=name).negative_slope for name in FRAMEWORKS}
    assert slopes == {"torch": 0.01, "tensorflow": 0.2, "keras": 0.3, "jax": 0.01, "onnx": 0.01}
    assert type(rt.LeakyReLU().negative_slope) is float and type(rt.PReLU().num_parameters) is int
    assert rt.LeakyReLU(inplace=True, like="keras").inplace
    assert rt.PReLU(like="jax").weight.tolist() == [pytest.approx(0.01)]
    assert rt.PReLU(4, like="keras", dtype=torch.float64).weight.tolist() == [0.0] * 4
    assert rt.ReLU6(like="jax").max_val == 6 and rt.CELU(like="onnx").alpha == 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rt.LeakyReLU(0.01, like="keras"),
            "LeakyReLU: `like` must be given without `negative_slope`, which it sets to 0.3; got both. "
            "Leave one of them out.",
        ),
        (
            lambda: rt.ELU(like="mxnet"),
            "ELU: `like` must be one of torch, tensorflow, keras, jax, onnx; got 'mxnet'. "
            "Pass for instance like='keras'.",
        ),
        (
            lambda: rt.CELU(like="tensorflow"),
            "CELU: `like` must name a framework that has a default for this function; got 'tensorflow', which has "
            "none. Pass one of torch, keras, jax, onnx, or the parameters themselves.",
        ),
        (
            lambda: rt.PReLU(3, like="onnx"),
            "PReLU: `like` must name a framework that has a default for this function; got 'onnx', which has none. "
            "Pass one of torch, keras, jax, or the parameters themselves.",
        ),
        (
            lambda: rt.PReLU(like="keras"),
            "PReLU: `like` must be given together with `num_parameters`, which keras takes from the shape of its "
            "input; got none. Pass num_parameters too.",
        ),
        (
            lambda: rt.PReLU(1, like="jax"),
            "PReLU: `like` must be given without `num_parameters`, which it sets to 1; got both. "
            "Leave one of them out.",
        ),
        (
            lambda: rt.Softplus(beta=1.0, like="jax"),
            "Softplus: `like` must be given without `beta`, which it sets to 1; got both. Leave one of them out.",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        call()
    assert str(caught.value) == text
