"""Every refusal, by its whole text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

import rectifier
import rectifier.jax as rj
import rectifier.tensorflow as rtf
import rectifier.torch as rt
from rectifier import RectifierTypeError, RectifierValueError

X = tf.constant([-1.0, 2.0])
N = np.array([-1.0, 2.0])
DENSE = "`x` must be a dense TensorFlow tensor"
OTHER = "Pass tf.convert_to_tensor(x), or call rectifier.relu on an array of another kind."
HOLDS = "`x` must hold float16, bfloat16, float32, float64, integers or bool"
MIXED = "Convert one of them: a call cannot mix frameworks."


def traced(function: Callable[[Any], Any], value: Any) -> Any:
    return tf.function(function, autograph=False)(tf.constant(value))


TYPES: list[tuple[Callable[[], Any], str]] = [
    (lambda: rtf.relu([1.0, 2.0]), f"relu: {DENSE}; got list. {OTHER}"),
    (lambda: rtf.relu(torch.ones(2)), f"relu: {DENSE}; got Tensor. {OTHER}"),
    (lambda: rtf.relu(tf.float32), f"relu: {DENSE}; got DType. {OTHER}"),
    (
        lambda: rectifier.relu(tf.ragged.constant([[1.0], [2.0, 3.0]])),
        f"relu: {DENSE}; got RaggedTensor. Pass tf.ragged.map_flat_values(rectifier.relu, x).",
    ),
    (
        lambda: rectifier.elu(tf.sparse.from_dense([1.0, 0.0])),
        f"elu: {DENSE}; got SparseTensor. Pass tf.sparse.to_dense(x).",
    ),
    (
        lambda: rectifier.leaky_average(tf.ragged.constant([[1.0], [2.0, 3.0]]), 0.5),
        "leaky_average: `v` must be a dense TensorFlow tensor; got RaggedTensor. Pass v.to_tensor().",
    ),
    (
        lambda: rtf.relu(tf.constant(1j)),
        f"relu: {HOLDS}; got complex128. Apply it to tf.math.real(x) and tf.math.imag(x), or to tf.abs(x).",
    ),
    (lambda: rtf.elu(tf.constant("a")), f"elu: {HOLDS}; got string. Convert it with tf.cast(x, tf.float32)."),
    (
        lambda: rtf.elu(np.ones(2, np.longdouble)),
        f"elu: {HOLDS}; got {np.dtype(np.longdouble)}. Convert it with tf.cast(x, tf.float32).",
    ),
    (
        lambda: traced(lambda a: rtf.relu(X, at_zero=a), 0.5),
        "relu: `at_zero` must be known while tracing, as it decides what is kept for the backward pass; got a traced "
        "float32 tensor. Pass a Python number.",
    ),
    (
        lambda: traced(lambda c: rtf.relu6(tf.range(3), ceiling=c), 2),
        "relu6: `ceiling` must be known while tracing, as it decides whether integers stay integers; got a traced "
        "int32 tensor. Pass a Python number.",
    ),
    (
        lambda: rtf.leaky_relu(X, negative_slope=tf.constant([True, False])),
        "leaky_relu: `negative_slope` must be a number or an array of numbers; got a tensor of bool. Pass a number "
        "such as 0.01.",
    ),
    (
        lambda: rtf.elu(X, alpha="a"),
        "elu: `alpha` must be a number or an array of numbers; got 'a'. Pass a number such as 1.0.",
    ),
    (
        lambda: rtf.prelu(X, negative_slope=None),
        "prelu: `negative_slope` must be given; got none. Pass a number such as 0.01, or an array of them.",
    ),
    (lambda: rtf.elu(X, save=1), "elu: `save` must be one of 'gate', 'input', 'output'; got 1. Leave it out."),
    (
        lambda: rectifier.relu(X, out=np.empty(2)),
        "relu: `out` and `where` must be left out for a TensorFlow tensor; they are NumPy's, and TensorFlow's tensors "
        "cannot be written to. Assign the result instead, or choose with tf.where.",
    ),
    (
        lambda: rectifier.relu(X, slope=0.1),
        "relu: `slope` is not a parameter of it; got slope=0.1. It has no parameters.",
    ),
    (
        lambda: rectifier.sigmoid(X),
        "sigmoid: `x` must be a NumPy array, as this function is here to compare with; got a TensorFlow tensor. Call "
        "the framework's own, or pass x.numpy().",
    ),
    (
        lambda: rectifier.elu.inverse(X),
        "elu.inverse: `x` must be a NumPy array; got a TensorFlow tensor. Pass x.numpy(), or differentiate with "
        "tf.GradientTape.",
    ),
    # Arrays of two frameworks in one call.
    (
        lambda: rectifier.prelu(np.ones(2), negative_slope=tf.Variable(0.5)),
        f"prelu: `negative_slope` must be a number or an array of NumPy, as x is; got one of TensorFlow. {MIXED}",
    ),
    (
        lambda: rtf.leaky_relu(X, negative_slope=torch.ones(2)),
        "leaky_relu: `negative_slope` must be a number, a NumPy array or an array of TensorFlow, as x is; got one of "
        f"PyTorch. {MIXED}",
    ),
    (
        lambda: rtf.prelu(X, negative_slope=jnp.ones(2)),
        "prelu: `negative_slope` must be a number, a NumPy array or an array of TensorFlow, as x is; got one of JAX. "
        + MIXED,
    ),
    (
        lambda: rt.prelu(torch.ones(2), negative_slope=X),
        f"prelu: `negative_slope` must be a number, a NumPy array or an array of PyTorch, as x is; got one of "
        f"TensorFlow. {MIXED}",
    ),
    (
        lambda: rj.prelu(jnp.ones(2), negative_slope=X),
        f"prelu: `negative_slope` must be a number, a NumPy array or an array of JAX, as x is; got one of TensorFlow. "
        f"{MIXED}",
    ),
    (
        lambda: rtf.leaky_average(X, jnp.float32(0.5)),
        "leaky_average: `alpha` must be a number, a NumPy array or an array of TensorFlow, as x is; got one of JAX. "
        + MIXED,
    ),
    (
        lambda: rtf.leaky_average(tf.range(3), 0.5),
        "leaky_average: `v` must hold float16, bfloat16, float32 or float64; got int32. Convert it with tf.cast(v, "
        "tf.float32).",
    ),
    (
        lambda: rectifier.leaky_average(X, 0.5, out=N),
        "leaky_average: `out` must be left out for a TensorFlow tensor; got ndarray. Use what the call returns.",
    ),
]

VALUES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: rtf.elu(X, alpha=-1.0),
        "elu: `alpha` must be finite and greater than 0; got -1.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rtf.leaky_relu(X, negative_slope=tf.constant([0.5, np.inf])),
        "leaky_relu: `negative_slope` must be finite; got inf. Pass a number such as 0.01.",
    ),
    (
        lambda: rtf.leaky_relu(X, negative_slope=tf.ones(3)),
        "leaky_relu: `negative_slope` must broadcast with x of shape (2,); got shape (3,). Give it one value for each "
        "entry of the last axis, or reshape it with tf.expand_dims.",
    ),
    (
        lambda: rtf.relu(X, save="input"),
        "relu: `save` must be 'gate', which tells the whole derivative in a bit a value; got 'input'. Leave it out.",
    ),
    (
        lambda: rtf.prelu(X, negative_slope=tf.constant([-1.0, 1.0]), save="output"),
        "prelu: `save` must be 'input' where a slope is not above 0, as the output does not tell the input there; got "
        "'output' and a slope of -1. Leave it out.",
    ),
    (
        lambda: rtf.leaky_average(X, 1.5),
        "leaky_average: `alpha` must lie in [0, 1]; got 1.5. Pass a number such as 0.9.",
    ),
    (
        lambda: rtf.leaky_average(tf.ones((2, 3)), tf.fill(3, 0.5)),
        "leaky_average: `alpha` must broadcast with v without its axis of time, (2,); got shape (3,). Give it one "
        "value a series, or a single number.",
    ),
    (
        lambda: tf.function(
            lambda v: rtf.leaky_average(v, 0.5), input_signature=[tf.TensorSpec(None)], autograph=False
        )(X),
        "leaky_average: `v` must have a known number of axes; got a traced tensor of unknown rank. Say it with "
        "tf.ensure_shape(v, [None, None]).",
    ),
]


@pytest.mark.parametrize(("call", "message"), TYPES, ids=[message[:60] for _, message in TYPES])
def test_refused_types(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierTypeError) as refused:
        call()
    assert refused.value.args == (message,)


@pytest.mark.parametrize(("call", "message"), VALUES, ids=[message[:60] for _, message in VALUES])
def test_refused_values(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierValueError) as refused:
        call()
    assert refused.value.args == (message,)


def test_a_refusal_keeps_its_type_where_autograph_adds_the_place() -> None:
    with pytest.raises(RectifierValueError, match=r"in user code:[\s\S]*elu: `alpha` must be finite"):
        tf.function(refused)(X)


def refused(x: Any) -> Any:
    return rtf.elu(x, alpha=-1.0)


def test_what_is_fixed_has_no_gradient() -> None:
    alpha = tf.Variable(1.5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rtf.elu(X, alpha=alpha))
    assert tape.gradient(loss, alpha) is None


def test_a_learned_slope_that_has_diverged_shows_as_nan() -> None:
    assert np.isnan(rtf.prelu(X, negative_slope=tf.constant(np.nan))[0])


def test_tensorflow_that_is_not_installed_is_named_with_its_extra() -> None:
    code = """
import sys
sys.modules["tensorflow"] = None
try:
    import rectifier.tensorflow
except ModuleNotFoundError as error:
    print(error)
"""
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
        cwd=Path(__file__).parents[2],
    ).stdout
    assert printed == (
        "rectifier.tensorflow: `tensorflow` must be installed; it was not found. "
        'Run: pip install "rectifier[tensorflow]"\n'
    )
