"""The functions of the family on TensorFlow tensors, differentiable; ``rectifier.tensorflow`` hands them out.

:func:`apply` is what ``rectifier.relu(array)`` and the others call.
"""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

from .dispatch import apply, call
from .leaky import leaky_average

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

#: How messages name an array of this framework, what makes a NumPy array of it, what differentiates, and why ``out`` is
#: refused.
ARRAY = "a TensorFlow tensor"
AS_NUMPY = "x.numpy()"
GRADIENT = "tf.GradientTape"
WITHOUT_OUT = (
    "they are NumPy's, and TensorFlow's tensors cannot be written to. "
    "Assign the result instead, or choose with tf.where."
)

Parameter: TypeAlias = "float | tf.Tensor"


def relu(x: tf.Tensor, /, *, at_zero: Parameter = 0.0, save: str | None = None) -> tf.Tensor:
    """ReLU: max(0, z).

    Derivative: 1 where z > 0, 0 where z < 0, ``at_zero`` at 0; NaN at NaN.

    x: a tensor of any shape, floating (integers stay integers, bool promotes to the default dtype).
    at_zero: the derivative returned at z = 0, in [0, 1]
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Nair & Hinton 2010 (ICML); Glorot, Bordes & Bengio 2011 (AISTATS).

    >>> relu(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([0., 0., 3.], dtype=float32)
    """
    return call("relu", x, at_zero, save)


def leaky_relu(x: tf.Tensor, /, *, negative_slope: Parameter = 0.01, save: str | None = None) -> tf.Tensor:
    """Leaky ReLU: z where z > 0, else s·z.

    Derivative: 1 where z > 0, else s; NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    negative_slope: s, any finite number, or a tensor that broadcasts with x; it gets a gradient where one is taken
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Maas, Hannun & Ng 2013 (ICML WDLASL).

    >>> leaky_relu(tf.constant([-2.0, 0.0, 3.0]), negative_slope=0.1).numpy()
    array([-0.2,  0. ,  3. ], dtype=float32)
    """
    return call("leaky_relu", x, negative_slope, save)


def prelu(x: tf.Tensor, /, *, negative_slope: Parameter, save: str | None = None) -> tf.Tensor:
    """PReLU: z where z > 0, else s·z, with s learned.

    Derivative: 1 where z > 0, else s; ∂/∂s = min(0, z); NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    negative_slope: s, a number or a tensor that broadcasts with x by the usual rule, from the last axis (only layers
        place a channel axis); it gets a gradient where one is taken
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    >>> prelu(tf.constant([-2.0, 0.0, 3.0]), negative_slope=tf.constant(0.25)).numpy()
    array([-0.5,  0. ,  3. ], dtype=float32)
    """
    return call("prelu", x, negative_slope, save)


def abs(x: tf.Tensor, /, *, save: str | None = None) -> tf.Tensor:
    """Absolute value: |z|.

    Derivative: ±1, 0 at 0; NaN at NaN.

    x: a tensor of any shape, floating (integers stay integers, bool promotes to the default dtype).
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: Jarrett, Kavukcuoglu, Ranzato & LeCun 2009 (ICCV).

    >>> abs(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([2., 0., 3.], dtype=float32)
    """
    return call("abs", x, None, save)


def relu6(x: tf.Tensor, /, *, ceiling: Parameter = 6.0, save: str | None = None) -> tf.Tensor:
    """ReLU6: min(max(0, z), c).

    Derivative: 1 where 0 < z < c, else 0, at both kinks as well; NaN at NaN.

    x: a tensor of any shape, floating (integers stay integers under a whole ceiling, bool promotes to the default
        dtype).
    ceiling: c, greater than 0
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Krizhevsky 2010; Howard et al. 2017, arXiv:1704.04861.

    >>> relu6(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([0., 0., 3.], dtype=float32)
    """
    return call("relu6", x, ceiling, save)


def squared_relu(x: tf.Tensor, /, *, save: str | None = None) -> tf.Tensor:
    """Squared ReLU: max(0, z)².

    Derivative: 2·max(0, z); NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: So et al. 2021, arXiv:2109.08668.

    >>> squared_relu(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([0., 0., 9.], dtype=float32)
    """
    return call("squared_relu", x, None, save)


def elu(x: tf.Tensor, /, *, alpha: Parameter = 1.0, save: str | None = None) -> tf.Tensor:
    """ELU: z where z > 0, else α(eᶻ − 1).

    Derivative: 1 where z > 0, else αeᶻ: α at 0; NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    alpha: α, greater than 0
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289.

    >>> elu(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([-0.86466473,  0.        ,  3.        ], dtype=float32)
    """
    return call("elu", x, alpha, save)


def celu(x: tf.Tensor, /, *, alpha: Parameter = 1.0, save: str | None = None) -> tf.Tensor:
    """CELU: z where z > 0, else α(e^(z/α) − 1).

    Derivative: 1 where z > 0, else e^(z/α): no kink; NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    alpha: α, greater than 0
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Barron 2017, arXiv:1704.07483.

    >>> celu(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([-0.86466473,  0.        ,  3.        ], dtype=float32)
    """
    return call("celu", x, alpha, save)


def selu(x: tf.Tensor, /, *, save: str | None = None) -> tf.Tensor:
    """SELU: λz where z > 0, else λα(eᶻ − 1), with λ = 1.0507009873554805, α = 1.6732632423543772.

    Derivative: λ where z > 0, else λαeᶻ: λα at 0; NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, arXiv:1706.02515.

    >>> selu(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([-1.5201665,  0.       ,  3.152103 ], dtype=float32)
    """
    return call("selu", x, None, save)


def softplus(x: tf.Tensor, /, *, beta: Parameter = 1.0, save: str | None = None) -> tf.Tensor:
    """Softplus: log(1 + e^(βz))/β, exact everywhere, so without a threshold.

    Derivative: 1/(1 + e^(−βz)); NaN at NaN.

    x: a tensor of any shape, floating (else it promotes to the default dtype).
    beta: β, greater than 0; softplus tends to ReLU as it grows
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Dugas, Bengio, Bélisle, Nadeau & Garcia 2001 (NeurIPS).

    >>> softplus(tf.constant([-2.0, 0.0, 3.0])).numpy()
    array([0.12692802, 0.6931472 , 3.0485873 ], dtype=float32)
    """
    return call("softplus", x, beta, save)
