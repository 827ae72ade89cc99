"""Times a training step in TensorFlow, Dense-f-Dense with SGD, with our f beside TensorFlow's own: graph and compiled.

Run with ``python -m benchmarks.tensorflow_steps [--only NAMES] [--rounds N] [--size BATCH,WIDTH,HIDDEN] [--json FILE]
[--write]``; how it is timed: see steps.py. ``--write`` puts the table into docs/frameworks.md. A row is named by f and
by how the step was made: "graph" by ``tf.function``, "XLA" by ``tf.function(jit_compile=True)``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

import rectifier.tensorflow as rtf
from benchmarks import steps

MARKS = "<!-- tensorflow steps: written by benchmarks/tensorflow_steps.py -->", "<!-- end of tensorflow steps -->"
Activation = Callable[[Any], Any]


def _leaky(z: Any) -> Any:
    return tf.nn.leaky_relu(z, 0.01)


def _squared(z: Any) -> Any:
    return tf.square(tf.nn.relu(z))


def _celu(z: Any) -> Any:
    return tf.where(z > 0, z, tf.math.expm1(z))


#: name: (ours, TensorFlow's own as its users write it, how that is shown)
PAIRS: dict[str, tuple[Activation, Activation, str]] = {
    "relu": (rtf.relu, tf.nn.relu, "tf.nn.relu"),
    "leaky_relu": (rtf.leaky_relu, _leaky, "tf.nn.leaky_relu(z, 0.01)"),
    "abs": (rtf.abs, tf.abs, "tf.abs"),
    "relu6": (rtf.relu6, tf.nn.relu6, "tf.nn.relu6"),
    "squared_relu": (rtf.squared_relu, _squared, "tf.square(tf.nn.relu(z))"),
    "elu": (rtf.elu, tf.nn.elu, "tf.nn.elu"),
    "celu": (rtf.celu, _celu, "tf.where(z > 0, z, tf.math.expm1(z))"),
    "selu": (rtf.selu, tf.nn.selu, "tf.nn.selu"),
    "softplus": (rtf.softplus, tf.nn.softplus, "tf.nn.softplus"),
}


def make_step(f: Activation, size: steps.Size, xla: bool) -> Callable[[], Any]:
    batch, width, hidden = size
    random = tf.random.Generator.from_seed(0)
    x, y = random.normal((batch, width)), random.normal((batch, width))
    weights = [
        tf.Variable(random.normal((width, hidden)) * (2 / width) ** 0.5),
        tf.Variable(tf.zeros(hidden)),
        tf.Variable(random.normal((hidden, width)) * (1 / hidden) ** 0.5),
    ]

    @tf.function(jit_compile=xla or None, autograph=False)  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((f(x @ weights[0] + weights[1]) @ weights[2] - y) ** 2)
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.01 * gradient)
        return loss

    return lambda: step().numpy()


def measure(name: str, size: steps.Size, rounds: int) -> dict[str, Any]:
    function, _, way = name.partition(", ")
    ours, theirs, shown = PAIRS[function]
    made = {which: make_step(theirs, size, way == "XLA") for which in ("theirs", "again")}
    return {
        "name": name,
        "peer": shown,
        **steps.take_turns(made | {"ours": make_step(ours, size, way == "XLA")}, rounds),
    }


def main() -> None:
    names = [f"{name}, {way}" for way in ("graph", "XLA") for name in PAIRS]
    how = f"TensorFlow {tf.__version__}, {'GPU' if tf.config.list_physical_devices('GPU') else 'CPU'}"
    steps.run(__doc__.partition("\n")[0], MARKS, names, measure, how)


if __name__ == "__main__":
    main()
