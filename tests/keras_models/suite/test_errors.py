"""Every message, word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import rectifier
import rectifier.keras as rk
from rectifier.errors import RectifierError, RectifierTypeError, RectifierValueError
from tests.keras_models.suite.shared import BACKEND

TITLE = {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow"}[BACKEND]
Z = np.zeros((2, 3), np.float32)


def symbolic(dtype: str = "float32") -> Any:
    return keras.KerasTensor((None, 3), dtype=dtype)


MESSAGES: list[tuple[Callable[[], Any], type[RectifierError], str]] = [
    (
        lambda: rk.ReLU(6.0),
        RectifierValueError,
        "ReLU: `max_value` must be left at None, as ReLU is max(0, z); got 6.0. "
        "Use rectifier.keras.ReLU6(ceiling=6.0), or keras.layers.ReLU.",
    ),
    (
        lambda: rk.ReLU(negative_slope=0.1),
        RectifierValueError,
        "ReLU: `negative_slope` must be left at 0, as ReLU is max(0, z); got 0.1. "
        "Use rectifier.keras.LeakyReLU(0.1), or keras.layers.ReLU.",
    ),
    (
        lambda: rk.ReLU(threshold=1.0),
        RectifierValueError,
        "ReLU: `threshold` must be left at 0, as ReLU is max(0, z); got 1.0. "
        "Subtract it from the bias of the layer before, or keras.layers.ReLU.",
    ),
    (
        lambda: rk.ReLU(at_zero=2.0),
        RectifierValueError,
        "ReLU: `at_zero` must lie in [0, 1]; got 2.0. Pass a number such as 0.5.",
    ),
    (
        lambda: rk.LeakyReLU(alpha=0.2),
        RectifierTypeError,
        "LeakyReLU: `alpha` must be passed as `negative_slope`, its name since Keras 3; got alpha=0.2. "
        "Write LeakyReLU(0.2).",
    ),
    (
        lambda: rk.LeakyReLU(float("nan")),
        RectifierValueError,
        "LeakyReLU: `negative_slope` must be finite; got nan. Pass a number such as 0.01.",
    ),
    (
        lambda: rk.LeakyReLU(keras.Variable(0.2)),
        RectifierTypeError,
        "LeakyReLU: `negative_slope` must be a number or an array of numbers; got a Variable. "
        "Pass its values, or use PReLU, whose slope is learned.",
    ),
    (
        lambda: rk.LeakyReLU(0.2, like="keras"),
        RectifierValueError,
        "LeakyReLU: `like` must be given without `negative_slope`, which it sets to 0.3; got both. "
        "Leave one of them out.",
    ),
    (
        lambda: rk.CELU(like="tensorflow"),
        RectifierValueError,
        "CELU: `like` must name a framework that has a default for this function; got 'tensorflow', which has none. "
        "Pass one of torch, keras, jax, onnx, or the parameters themselves.",
    ),
    (
        lambda: rk.ELU(save="gate"),
        RectifierValueError,
        "ELU: `save` must be 'input' or 'output', as its derivative takes more values than one bit tells; got 'gate'. "
        "Leave it out.",
    ),
    (
        lambda: rk.elu(None),
        RectifierTypeError,
        f"elu: `x` must be an array of {TITLE}, on which Keras runs, a NumPy array or a KerasTensor; got NoneType. "
        "Pass numbers.",
    ),
    (
        lambda: rk.elu(Z.astype(np.complex64)),
        RectifierTypeError,
        "elu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got complex64. "
        'Convert it with keras.ops.cast(x, "float32").',
    ),
    (
        lambda: rk.elu(symbolic("string")),
        RectifierTypeError,
        "elu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got string. "
        'Convert it with keras.ops.cast(x, "float32").',
    ),
    (
        lambda: rk.elu(symbolic(), alpha=-1.0),
        RectifierValueError,
        "elu: `alpha` must be finite and greater than 0; got -1.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rectifier.elu(symbolic(), beta=1.0),
        RectifierTypeError,
        "elu: `beta` is not a parameter of it; got beta=1.0. Its parameters: alpha.",
    ),
    (
        lambda: rk.prelu(symbolic(), negative_slope=None),
        RectifierTypeError,
        "prelu: `negative_slope` must be a number or an array of numbers; got None. Pass a number such as 0.01.",
    ),
    (
        lambda: rk.leaky_relu(Z, negative_slope=symbolic()),
        RectifierTypeError,
        "leaky_relu: `negative_slope` must be a number, an array or a Variable; got a KerasTensor. "
        "Pass numbers, or use the layer PReLU, whose slope is learned.",
    ),
    (
        lambda: rk.leaky_relu(symbolic(), negative_slope=[0.1, 0.2]),
        RectifierValueError,
        "leaky_relu: `negative_slope` must broadcast to x of shape (None, 3); got shape (2,). "
        "Give it one value for each entry of the last axis, or reshape it with keras.ops.expand_dims.",
    ),
    (
        lambda: rectifier.elu(symbolic(), out=Z),
        RectifierTypeError,
        "elu: `out` and `where` must be left out for a KerasTensor; they are NumPy's. Use what the call returns.",
    ),
    (
        lambda: rectifier.elu.derivative(symbolic()),
        RectifierTypeError,
        "elu.derivative: `x` must be a NumPy array; got a KerasTensor. "
        "Pass the values that the model computes, as a NumPy array, or differentiate with the backend's own autograd.",
    ),
    (
        lambda: rk.leaky_average(symbolic(), 0.5),
        RectifierTypeError,
        "leaky_average: `v` must hold values; got a KerasTensor. Use the layer rectifier.keras.LeakyAverage.",
    ),
    (
        lambda: rk.LeakyAverage(1.0),
        RectifierValueError,
        "LeakyAverage: `alpha` must lie between 0 and 1, where it can be learned; got 1.0. "
        "Pass a number such as 0.9, or call rectifier.keras.leaky_average, which takes 0 and 1 too.",
    ),
    (
        lambda: rk.LeakyAverage("0.9"),
        RectifierTypeError,
        "LeakyAverage: `alpha` must be a number; got '0.9'. Pass a number such as 0.9.",
    ),
    (
        lambda: rk.LeakyAverage().build((None, 4, None)),
        RectifierValueError,
        "LeakyAverage: `inputs` must have the shape (…, time, units), the units known; got (None, 4, None). "
        "Move the axes with keras.ops.moveaxis.",
    ),
    (
        lambda: rk.LeakyCell(0),
        RectifierValueError,
        "LeakyCell: `units` must be a whole number, 1 or more; got 0. Pass how many there are.",
    ),
    (
        lambda: rk.LeakyCell(2, nonlinearity="gelu"),
        RectifierValueError,
        "LeakyCell: `nonlinearity` must be one of relu, leaky_relu, abs, relu6, squared_relu, elu, celu, selu, "
        "softplus; got 'gelu'. Pass one of these names.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), MESSAGES, ids=[str(number) for number in range(len(MESSAGES))])
def test_messages(call: Callable[[], Any], kind: type[RectifierError], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.args == (message,)


def foreign() -> tuple[Any, str]:
    """An array of a framework that Keras does not run on here."""
    if BACKEND == "jax":
        import torch

        return torch.zeros(2, 3), "PyTorch"
    import jax

    return jax.numpy.zeros((2, 3)), "JAX"


def test_arrays_of_two_frameworks_are_not_mixed() -> None:
    array, other = foreign()
    with pytest.raises(RectifierTypeError) as caught:
        rk.elu(array)
    assert str(caught.value) == (
        f"elu: `x` must be an array of {TITLE}, on which Keras runs, a NumPy array or a KerasTensor; "
        f"got one of {other}. Convert it with numpy.asarray(x)."
    )
    for x in (Z, symbolic()):
        with pytest.raises(RectifierTypeError) as caught:
            rk.leaky_relu(x, negative_slope=array)
        assert str(caught.value) == (
            f"leaky_relu: `negative_slope` must be a number, a NumPy array or an array of {TITLE}, as x is; "
            f"got one of {other}. Convert one of them: a call cannot mix frameworks."
        )


def test_a_symbolic_slope_beside_values_is_refused() -> None:
    with pytest.raises(RectifierTypeError) as caught:
        rectifier.leaky_relu(keras.ops.zeros((2, 3)), negative_slope=symbolic())
    assert str(caught.value) == (
        f"leaky_relu: `negative_slope` must be a number, a NumPy array or an array of {TITLE}, as x is; "
        "got one of Keras. Convert one of them: a call cannot mix frameworks."
    )
