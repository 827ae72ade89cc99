"""The layers: subclasses of ``keras.layers``' where there is one, with its arguments; saved as "rectifier>…"."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np

from .._presets import Left, preset
from ..errors import RectifierTypeError, RectifierValueError
from ..frameworks.keras.backend import plain, tensor
from ..frameworks.keras.symbolic import check, own
from ..frameworks.saving import check_choice

__all__ = ["CELU", "ELU", "SELU", "Abs", "LeakyReLU", "PReLU", "ReLU", "ReLU6", "Softplus", "SquaredReLU"]

_SLOPE = Left(0.01)
_registered = keras.saving.register_keras_serializable("rectifier")


class _Rectifier(keras.layers.Layer):  # type: ignore[misc]
    """What the layers share: the function of their row, with the arguments that they hold under the same names."""

    rectifier_row: ClassVar[str]
    """The function's name in ``rectifier.family``."""
    _parameter: ClassVar[str | None] = None
    _saves: ClassVar[bool] = False

    def _set(self, value: Any = None, save: str | None = None) -> None:
        """The row's parameter and ``save``, checked now rather than at the first call."""
        layer, row = type(self).__name__, self.rectifier_row
        self.supports_masking = True
        if self._parameter is not None:
            if isinstance(value, keras.Variable):
                raise RectifierTypeError(
                    f"{layer}: `{self._parameter}` must be a number or an array of numbers; got a Variable. "
                    "Pass its values, or use PReLU, whose slope is learned."
                )
            check(layer, row, self._parameter, value)
            # A preset's default is a subclass of float, which nothing else shall see; Keras wraps lists.
            if isinstance(value, (float, list, tuple)):
                value = float(value) if isinstance(value, float) else np.asarray(value)
            setattr(self, self._parameter, value)
        if self._saves:
            check_choice(layer, row, save, learned=row == "prelu")
            self.save = save

    def call(self, inputs: Any) -> Any:
        given = {} if self._parameter is None else {self._parameter: getattr(self, self._parameter)}
        x = tensor(type(self).__name__, "inputs", inputs)
        return own(self.rectifier_row, x, given, self.save if self._saves else None)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What a saved model holds. Raises RectifierTypeError for a parameter that cannot be saved."""
        config: dict[str, Any] = super().get_config()
        if self._parameter is not None:
            config[self._parameter] = plain(type(self).__name__, self._parameter, getattr(self, self._parameter))
        return {**config, "save": self.save} if self._saves else config


@_registered
class ReLU(_Rectifier, keras.layers.ReLU):  # type: ignore[misc]
    """max(0, z), any shape. Takes the place of ``keras.layers.ReLU``.

    max_value, negative_slope, threshold: left at None, 0 and 0, Keras's defaults, and accepted for its sake alone:
        ``ReLU6`` and ``LeakyReLU`` are layers of their own
    at_zero: the derivative at z = 0, in [0, 1]; 0 is best where it matters (Bertoin et al. 2021, arXiv:2106.12915)
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for other values.

    >>> keras.ops.convert_to_numpy(ReLU()(keras.ops.array([-1.0, 2.0])))
    array([0., 2.], dtype=float32)
    """

    rectifier_row = "relu"
    _parameter = "at_zero"

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        *,
        at_zero: float = 0.0,
        **kwargs: Any,
    ) -> None:
        for name, value, left, cure in (
            ("max_value", max_value, None, f"Use rectifier.keras.ReLU6(ceiling={max_value})"),
            ("negative_slope", negative_slope, 0, f"Use rectifier.keras.LeakyReLU({negative_slope})"),
            ("threshold", threshold, 0, "Subtract it from the bias of the layer before"),
        ):
            if value != left:
                raise RectifierValueError(
                    f"ReLU: `{name}` must be left at {left}, as ReLU is max(0, z); got {value}. "
                    f"{cure}, or keras.layers.ReLU."
                )
        super().__init__(**kwargs)
        self._set(at_zero)


@_registered
class LeakyReLU(_Rectifier, keras.layers.LeakyReLU):  # type: ignore[misc]
    """z where z > 0, else negative_slope·z, any shape. Takes the place of ``keras.layers.LeakyReLU``.

    negative_slope: any finite number, or an array of them that broadcasts to the input from its last axis
    like: "torch", "tensorflow", "keras", "jax" or "onnx" in place of ``negative_slope``: the default of that framework
        (0.2 in TensorFlow, 0.3 in the Keras layer, else 0.01)
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierTypeError, RectifierValueError for a slope that is no finite number, and for a ``like`` that is
    unknown or given with a slope.

    >>> keras.ops.convert_to_numpy(LeakyReLU(0.5)(keras.ops.array([-1.0, 2.0])))
    array([-0.5,  2. ], dtype=float32)
    """

    rectifier_row = "leaky_relu"
    _parameter = "negative_slope"

    def __init__(self, negative_slope: Any = _SLOPE, *, like: str | None = None, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            raise RectifierTypeError(
                f"LeakyReLU: `alpha` must be passed as `negative_slope`, its name since Keras 3; got "
                f"alpha={kwargs['alpha']!r}. Write LeakyReLU({kwargs['alpha']!r})."
            )
        (negative_slope,) = preset("LeakyReLU", "leaky_relu", like, negative_slope=negative_slope)
        super().__init__(**kwargs)
        self._set(negative_slope)


@_registered
class PReLU(_Rectifier, keras.layers.PReLU):  # type: ignore[misc]
    """z where z > 0, else alpha·z with a learned alpha. Takes the place of ``keras.layers.PReLU``.

    alpha_initializer: where the slope starts, 0.25 as in He et al. 2015 where left out (``keras.layers.PReLU``: 0)
    alpha_regularizer, alpha_constraint: as in ``keras.layers.PReLU``
    shared_axes: axes of the input along which one slope is shared, such as [1, 2] for one a channel of
        (batch, height, width, channels); the batch axis always is. None: one slope for each element
    save: what the backward pass reads: "input" (the default) or, where no slope is 0 or below, "output", which the next
        layer keeps anyway
    kwargs: of every Keras layer, such as ``name`` and ``dtype``; the slope itself stays float32 under a mixed policy
    Raises RectifierValueError for a ``save`` that it cannot honour.
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    >>> keras.ops.convert_to_numpy(PReLU()(keras.ops.array([[-1.0, 2.0]]))).tolist()
    [[-0.25, 2.0]]
    """

    rectifier_row = "prelu"
    _saves = True

    def __init__(
        self,
        alpha_initializer: Any = None,
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        *,
        save: str | None = None,
        **kwargs: Any,
    ) -> None:
        start = keras.initializers.Constant(0.25) if alpha_initializer is None else alpha_initializer
        super().__init__(start, alpha_regularizer, alpha_constraint, shared_axes, **kwargs)
        self._set(save=save)

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        # Under a mixed policy Keras would round the slope to 16 bits at every step; the function needs no such thing.
        return super().add_weight(*args, **kwargs, autocast=False)

    def call(self, inputs: Any) -> Any:
        return own("prelu", tensor("PReLU", "inputs", inputs), {"negative_slope": self.alpha}, self.save)


@_registered
class Abs(_Rectifier):
    """|z|, any shape.

    kwargs: of every Keras layer, such as ``name`` and ``dtype``

    >>> keras.ops.convert_to_numpy(Abs()(keras.ops.array([-1.0, 2.0])))
    array([1., 2.], dtype=float32)
    """

    rectifier_row = "abs"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set()


@_registered
class ReLU6(_Rectifier):
    """min(max(0, z), ceiling), any shape. Keras's own is ``keras.layers.ReLU(max_value=6)``.

    ceiling: greater than 0
    like: "torch", "tensorflow", "keras" or "jax" in place of ``ceiling``: its default, 6 in all (ONNX has no ReLU6)
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for a ceiling that is not finite and greater than 0, and for a ``like`` that is unknown,
    has no default or comes with a ceiling.

    >>> keras.ops.convert_to_numpy(ReLU6()(keras.ops.array([-1.0, 2.0, 7.0])))
    array([0., 2., 6.], dtype=float32)
    """

    rectifier_row = "relu6"
    _parameter = "ceiling"

    def __init__(self, ceiling: float = Left(6.0), *, like: str | None = None, **kwargs: Any) -> None:
        (ceiling,) = preset("ReLU6", "relu6", like, ceiling=ceiling)
        super().__init__(**kwargs)
        self._set(ceiling)


@_registered
class SquaredReLU(_Rectifier):
    """max(0, z)², any shape.

    save: what the backward pass reads: "input" or "output", which the next layer keeps anyway; None for the backend's
        default
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for another ``save``.

    >>> keras.ops.convert_to_numpy(SquaredReLU()(keras.ops.array([-1.0, 3.0])))
    array([0., 9.], dtype=float32)
    """

    rectifier_row = "squared_relu"
    _saves = True

    def __init__(self, *, save: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set(save=save)


@_registered
class ELU(_Rectifier, keras.layers.ELU):  # type: ignore[misc]
    """z where z > 0, else alpha·(eᶻ − 1), any shape. Takes the place of ``keras.layers.ELU``.

    alpha: greater than 0
    save: what the backward pass reads: "input" (the default) or "output", which the next layer keeps anyway, but which
        loses the gradient's digits where it saturates (docs/pytorch.md)
    like: "torch", "tensorflow", "keras", "jax" or "onnx" in place of ``alpha``: its default, 1 in all
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for an alpha that is not finite and greater than 0, and for a ``like`` that is unknown,
    has no default or comes with an alpha; for a ``save`` that it cannot honour.

    >>> keras.ops.convert_to_numpy(ELU()(keras.ops.array([-1.0, 2.0]))).round(3)
    array([-0.632,  2.   ], dtype=float32)
    """

    rectifier_row = "elu"
    _parameter = "alpha"
    _saves = True

    def __init__(
        self, alpha: float = Left(1.0), *, save: str | None = None, like: str | None = None, **kwargs: Any
    ) -> None:
        (alpha,) = preset("ELU", "elu", like, alpha=alpha)
        super().__init__(**kwargs)
        self._set(alpha, save)


@_registered
class CELU(_Rectifier):
    """z where z > 0, else alpha·(e^(z/alpha) − 1), any shape.

    alpha: greater than 0
    save: what the backward pass reads: "input" (the default) or "output", which the next layer keeps anyway, but which
        loses the gradient's digits where it saturates (docs/pytorch.md)
    like: "torch", "keras", "jax" or "onnx" in place of ``alpha``: its default, 1 in all (TensorFlow has no CELU)
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for an alpha that is not finite and greater than 0, and for a ``like`` that is unknown,
    has no default or comes with an alpha; for a ``save`` that it cannot honour.

    >>> keras.ops.convert_to_numpy(CELU(2.0)(keras.ops.array([-1.0, 2.0]))).round(3)
    array([-0.787,  2.   ], dtype=float32)
    """

    rectifier_row = "celu"
    _parameter = "alpha"
    _saves = True

    def __init__(
        self, alpha: float = Left(1.0), *, save: str | None = None, like: str | None = None, **kwargs: Any
    ) -> None:
        (alpha,) = preset("CELU", "celu", like, alpha=alpha)
        super().__init__(**kwargs)
        self._set(alpha, save)


@_registered
class SELU(_Rectifier):
    """λ·(z where z > 0, else α(eᶻ − 1)), any shape.

    save: what the backward pass reads: "input" (the default) or "output", which the next layer keeps anyway, but which
        loses the gradient's digits where it saturates (docs/pytorch.md)
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for another ``save``.

    >>> keras.ops.convert_to_numpy(SELU()(keras.ops.array([-1.0, 2.0]))).round(3)
    array([-1.111,  2.101], dtype=float32)
    """

    rectifier_row = "selu"
    _saves = True

    def __init__(self, *, save: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set(save=save)


@_registered
class Softplus(_Rectifier):
    """log(1 + e^(beta·z))/beta, any shape; exact everywhere, so without a threshold.

    beta: greater than 0
    save: what the backward pass reads: "input" or "output", which the next layer keeps anyway; None for the backend's
        default
    like: "torch", "tensorflow", "keras", "jax" or "onnx" in place of ``beta``: its default, 1 in all
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierValueError for a beta that is not finite and greater than 0, and for a ``like`` that is unknown or
    comes with a beta; for a ``save`` that it cannot honour.

    >>> keras.ops.convert_to_numpy(Softplus()(keras.ops.array([0.0, 30.0]))).round(3)
    array([ 0.693, 30.   ], dtype=float32)
    """

    rectifier_row = "softplus"
    _parameter = "beta"
    _saves = True

    def __init__(
        self, beta: float = Left(1.0), *, save: str | None = None, like: str | None = None, **kwargs: Any
    ) -> None:
        (beta,) = preset("Softplus", "softplus", like, beta=beta)
        super().__init__(**kwargs)
        self._set(beta, save)
