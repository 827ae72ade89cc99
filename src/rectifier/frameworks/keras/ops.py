"""The functions of the family on Keras's tensors, for each of its backends; ``rectifier.keras`` hands them out.

A tensor of the backend goes to that framework's operations, a symbolic one becomes a node of the functional model.
:func:`apply` is what ``rectifier.relu(keras_tensor)`` and the others call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from ..._family import family
from ...errors import RectifierTypeError
from ..numpy import given_parameter
from .backend import tensor
from .leaky import leaky_average
from .symbolic import Rectify, own

__all__ = [
    "ARRAY",
    "AS_NUMPY",
    "GRADIENT",
    "WITHOUT_OUT",
    "abs",
    "apply",
    "celu",
    "elu",
    "leaky_average",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "softplus",
    "squared_relu",
]

#: How messages name a symbolic tensor, what there is in NumPy, what differentiates, and why ``out`` is refused.
ARRAY = "a KerasTensor"
AS_NUMPY = "the values that the model computes, as a NumPy array"
GRADIENT = "the backend's own autograd"
WITHOUT_OUT = "they are NumPy's. Use what the call returns."

Parameter: TypeAlias = Any


def apply(name: str, x: Any, **parameters: Any) -> Any:
    """f(x) for the row ``name``, as ``rectifier.relu(keras_tensor)`` calls it: parameters by the row's own names.

    Raises RectifierTypeError, RectifierValueError for an x or a parameter that cannot be used.
    """
    return call(name, x, given_parameter(name, parameters), None)


def call(name: str, x: Any, value: Any, save: str | None) -> Any:
    """f(x) for the row ``name``, differentiable.

    x: a tensor or Variable of the backend, a KerasTensor, a NumPy array, numbers. value: the row's parameter, a number
    or an array that broadcasts with x; None for a row without. save: what the backward pass is to read; None for the
    function's default.
    Returns a tensor of x's dtype (integers promote as ``keras.ops.exp`` does, but relu, abs and relu6 with a whole
    ceiling keep them). Raises RectifierTypeError, RectifierValueError for an argument that cannot be used.
    """
    row = family[name]
    given = {row.parameters[0].name: value} if row.parameters else {}
    if isinstance(value, keras.KerasTensor):
        raise RectifierTypeError(
            f"{name}: `{next(iter(given))}` must be a number, an array or a Variable; got a KerasTensor. "
            "Pass numbers, or use the layer PReLU, whose slope is learned."
        )
    if isinstance(x, keras.KerasTensor):
        return Rectify(name, given, save=save).symbolic_call(x)
    return own(name, tensor(name, "x", x), given, save)


def relu(x: Any, /, *, at_zero: Parameter = 0.0, save: str | None = None) -> Any:
    """ReLU: max(0, z).

    Derivative: 1 where z > 0, 0 where z < 0, ``at_zero`` at 0; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (integers
        stay integers, bool promotes to Keras's floatx).
    at_zero: the derivative returned at z = 0, in [0, 1]
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Nair & Hinton 2010 (ICML); Glorot, Bordes & Bengio 2011 (AISTATS).

    >>> keras.ops.convert_to_numpy(relu([-2.0, 0.0, 3.0])).round(3)
    array([0., 0., 3.], dtype=float32)
    """
    return call("relu", x, at_zero, save)


def leaky_relu(x: Any, /, *, negative_slope: Parameter = 0.01, save: str | None = None) -> Any:
    """Leaky ReLU: z where z > 0, else s·z.

    Derivative: 1 where z > 0, else s; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    negative_slope: s, any finite number, or an array that broadcasts with x; it gets a gradient where one is taken
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Maas, Hannun & Ng 2013 (ICML WDLASL).

    >>> keras.ops.convert_to_numpy(leaky_relu([-2.0, 0.0, 3.0], negative_slope=0.1)).round(3)
    array([-0.2,  0. ,  3. ], dtype=float32)
    """
    return call("leaky_relu", x, negative_slope, save)


def prelu(x: Any, /, *, negative_slope: Parameter, save: str | None = None) -> Any:
    """PReLU: z where z > 0, else s·z, with s learned.

    Derivative: 1 where z > 0, else s; ∂/∂s = min(0, z); NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    negative_slope: s, a number or an array that broadcasts with x by the usual rule, from the last axis (only layers
        place a channel axis); it gets a gradient where one is taken
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    >>> keras.ops.convert_to_numpy(prelu([-2.0, 0.0, 3.0], negative_slope=0.25)).round(3)
    array([-0.5,  0. ,  3. ], dtype=float32)
    """
    return call("prelu", x, negative_slope, save)


def abs(x: Any, /, *, save: str | None = None) -> Any:
    """Absolute value: |z|.

    Derivative: ±1, 0 at 0; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (integers
        stay integers, bool promotes to Keras's floatx).
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: Jarrett, Kavukcuoglu, Ranzato & LeCun 2009 (ICCV).

    >>> keras.ops.convert_to_numpy(abs([-2.0, 0.0, 3.0])).round(3)
    array([2., 0., 3.], dtype=float32)
    """
    return call("abs", x, None, save)


def relu6(x: Any, /, *, ceiling: Parameter = 6.0, save: str | None = None) -> Any:
    """ReLU6: min(max(0, z), c).

    Derivative: 1 where 0 < z < c, else 0, at both kinks as well; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (integers
        stay integers under a whole ceiling, bool promotes to Keras's floatx).
    ceiling: c, greater than 0
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Krizhevsky 2010; Howard et al. 2017, arXiv:1704.04861.

    >>> keras.ops.convert_to_numpy(relu6([-2.0, 0.0, 3.0])).round(3)
    array([0., 0., 3.], dtype=float32)
    """
    return call("relu6", x, ceiling, save)


def squared_relu(x: Any, /, *, save: str | None = None) -> Any:
    """Squared ReLU: max(0, z)².

    Derivative: 2·max(0, z); NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: So et al. 2021, arXiv:2109.08668.

    >>> keras.ops.convert_to_numpy(squared_relu([-2.0, 0.0, 3.0])).round(3)
    array([0., 0., 9.], dtype=float32)
    """
    return call("squared_relu", x, None, save)


def elu(x: Any, /, *, alpha: Parameter = 1.0, save: str | None = None) -> Any:
    """ELU: z where z > 0, else α(eᶻ − 1).

    Derivative: 1 where z > 0, else αeᶻ: α at 0; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    alpha: α, greater than 0
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289.

    >>> keras.ops.convert_to_numpy(elu([-2.0, 0.0, 3.0])).round(3)
    array([-0.865,  0.   ,  3.   ], dtype=float32)
    """
    return call("elu", x, alpha, save)


def celu(x: Any, /, *, alpha: Parameter = 1.0, save: str | None = None) -> Any:
    """CELU: z where z > 0, else α(e^(z/α) − 1).

    Derivative: 1 where z > 0, else e^(z/α): no kink; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    alpha: α, greater than 0
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Barron 2017, arXiv:1704.07483.

    >>> keras.ops.convert_to_numpy(celu([-2.0, 0.0, 3.0])).round(3)
    array([-0.865,  0.   ,  3.   ], dtype=float32)
    """
    return call("celu", x, alpha, save)


def selu(x: Any, /, *, save: str | None = None) -> Any:
    """SELU: λz where z > 0, else λα(eᶻ − 1), with λ = 1.0507009873554805, α = 1.6732632423543772.

    Derivative: λ where z > 0, else λαeᶻ: λα at 0; NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, arXiv:1706.02515.

    >>> keras.ops.convert_to_numpy(selu([-2.0, 0.0, 3.0])).round(3)
    array([-1.52 ,  0.   ,  3.152], dtype=float32)
    """
    return call("selu", x, None, save)


def softplus(x: Any, /, *, beta: Parameter = 1.0, save: str | None = None) -> Any:
    """Softplus: log(1 + e^(βz))/β, exact everywhere, so without a threshold.

    Derivative: 1/(1 + e^(−βz)); NaN at NaN.

    x: a tensor of the backend, a KerasTensor or a NumPy array, of any shape; floating (else it
        promotes to Keras's floatx).
    beta: β, greater than 0; softplus tends to ReLU as it grows
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Dugas, Bengio, Bélisle, Nadeau & Garcia 2001 (NeurIPS).

    >>> keras.ops.convert_to_numpy(softplus([-2.0, 0.0, 3.0])).round(3)
    array([0.127, 0.693, 3.049], dtype=float32)
    """
    return call("softplus", x, beta, save)


#: Registered as "rectifier>relu" …, by which a saved model refers to them.
_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    relu,
    leaky_relu,
    prelu,
    abs,
    relu6,
    squared_relu,
    elu,
    celu,
    selu,
    softplus,
)
for _function in _FUNCTIONS:
    keras.saving.register_keras_serializable("rectifier")(_function)

# Keras has no public way to give an activation a name: its table is asked for where ``activation=`` is a string.
# Without the table (another release of Keras) the functions themselves are still taken, saved and loaded.
try:
    from keras.src.activations import ALL_OBJECTS_DICT as _named
except ImportError:
    _named = {}
# PReLU's slope must be given, which a name cannot.
_named.update({f"rectifier>{_function.__name__}": _function for _function in _FUNCTIONS if _function is not prelu})
