"""Judges the TensorFlow functions, in graphs and compiled, by the reference that the NumPy kernels are held to.

Run with ``python -m benchmarks.tensorflow_accuracy [--sample N] [--only NAMES] [--dtype NAMES] [--json FILE]
[--write]``. Values, and derivatives as ``tf.GradientTape`` gives them for an upstream gradient of 1, under
``tf.function`` and under ``tf.function(jit_compile=True)``: see accuracy.py. ``--write`` puts the tables into
docs/frameworks.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

from benchmarks import accuracy
from rectifier import tensorflow as rtf
from rectifier.verify.plan import Case

MARKS = (
    "<!-- tensorflow accuracy: written by benchmarks/tensorflow_accuracy.py -->",
    "<!-- end of tensorflow accuracy -->",
)


def compiling(xla: bool) -> accuracy.Compile:
    def compiled(case: Case, given: Mapping[str, float]) -> accuracy.Call:
        function = getattr(rtf, case.function)

        def value(x: Any) -> Any:
            return function(x, **given)

        def derivative(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                h = value(x)
            return tape.gradient(h, x)

        graph = tf.function(
            value if case.kind == "value" else derivative,
            input_signature=[tf.TensorSpec([None], case.dtype)],
            jit_compile=xla or None,
        )
        return lambda x: graph(tf.constant(x)).numpy()

    return compiled


def main() -> None:
    device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    accuracy.run(
        __doc__.partition("\n")[0],
        MARKS,
        {
            f"TensorFlow {tf.__version__}, {device}, tf.function": compiling(False),
            f"TensorFlow {tf.__version__}, {device}, jit_compile=True": compiling(True),
        },
    )


if __name__ == "__main__":
    main()
