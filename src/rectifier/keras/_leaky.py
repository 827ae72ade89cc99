"""Leaky units: layers that remember, each unit for a time of its own that it learns."""

from __future__ import annotations

import math
from typing import Any

import keras

from .._family import family
from ..errors import RectifierTypeError, RectifierValueError
from ..frameworks.keras import ops

__all__ = ["LeakyAverage", "LeakyCell"]

_FUNCTIONS = tuple(name for name, row in family.items() if row.layer is not None and name != "prelu")
_registered = keras.saving.register_keras_serializable("rectifier")


class _Leaky(keras.layers.Layer):  # type: ignore[misc]
    """α of each unit, learned as its logit, which keeps it between 0 and 1."""

    def __init__(self, alpha: float, learn: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        layer = type(self).__name__
        if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
            raise RectifierTypeError(f"{layer}: `alpha` must be a number; got {alpha!r}. Pass a number such as 0.9.")
        if not 0.0 < alpha < 1.0:
            raise RectifierValueError(
                f"{layer}: `alpha` must lie between 0 and 1, where it can be learned; got {alpha}. "
                "Pass a number such as 0.9, or call rectifier.keras.leaky_average, which takes 0 and 1 too."
            )
        self._start, self.learn = float(alpha), learn

    def _add_logit(self, units: int) -> None:
        self.logit = self.add_weight(
            shape=(units,),
            initializer=keras.initializers.Constant(math.log(self._start) - math.log1p(-self._start)),
            trainable=self.learn,
            autocast=False,  # 16 bits hold no α near 1
            name="logit",
        )

    @property
    def alpha(self) -> Any:
        """α of each unit, shape (units,); known once the layer is built."""
        return keras.ops.sigmoid(self.logit)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self._start, "learn": self.learn}


@_registered
class LeakyAverage(_Leaky):
    """Each unit's running average over time, μ_t = α·μ_{t−1} + (1 − α)·v_t, with its own learned α.

    Input and output: (…, time, units). μ is 0 before the first step, or ``initial``, shape (…, units). Masks of time
    steps are not used.

    alpha: where α begins, between 0 and 1; about 1/(1 − α) steps are remembered
    learn: False keeps α as it is
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    Raises RectifierTypeError, RectifierValueError for other values.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure").

    >>> keras.ops.convert_to_numpy(LeakyAverage(alpha=0.5)(keras.ops.ones((3, 2))))[:, 0]
    array([0.5  , 0.75 , 0.875], dtype=float32)
    """

    def __init__(self, alpha: float = 0.9, *, learn: bool = True, **kwargs: Any) -> None:
        super().__init__(alpha, learn, **kwargs)

    def build(self, inputs_shape: Any, initial_shape: Any = None) -> None:
        if len(inputs_shape) < 2 or inputs_shape[-1] is None:
            raise RectifierValueError(
                f"LeakyAverage: `inputs` must have the shape (…, time, units), the units known; got "
                f"{tuple(inputs_shape)}. Move the axes with keras.ops.moveaxis."
            )
        self._add_logit(inputs_shape[-1])

    def call(self, inputs: Any, initial: Any = None) -> Any:
        return ops.leaky_average(inputs, self.alpha, axis=-2, initial=0.0 if initial is None else initial)

    def compute_output_shape(self, inputs_shape: Any, initial_shape: Any = None) -> Any:
        return inputs_shape


@_registered
class LeakyCell(_Leaky):
    """A recurrent cell of leaky units: h ← α·h + (1 − α)·f(W x + U h + b), with a learned α for each unit.

    For ``keras.layers.RNN``, which masks the steps that are padded. The gradient through k steps holds the factor α^k
    whatever f does, so units with α near 1 carry it far.

    units: how many
    nonlinearity: f, by its name in ``rectifier.family``
    alpha, learn: as in LeakyAverage
    kwargs: of every Keras layer, such as ``name`` and ``dtype``
    W and U begin uniform within ±1/√units, as in ``torch.nn.RNNCell``, b at 0.
    Raises RectifierTypeError, RectifierValueError for other values.
    Source: Jaeger et al. 2007, doi:10.1016/j.neunet.2007.04.016 (leaky-integrator units); Goodfellow, Bengio &
    Courville 2016, Deep Learning, section 10.9.2.

    >>> tuple(keras.layers.RNN(LeakyCell(4))(keras.ops.zeros((2, 5, 3))).shape)
    (2, 4)
    """

    def __init__(
        self, units: int, *, nonlinearity: str = "relu", alpha: float = 0.9, learn: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(alpha, learn, **kwargs)
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise RectifierValueError(
                f"LeakyCell: `units` must be a whole number, 1 or more; got {units!r}. Pass how many there are."
            )
        if nonlinearity not in _FUNCTIONS:
            raise RectifierValueError(
                f"LeakyCell: `nonlinearity` must be one of {', '.join(_FUNCTIONS)}; got {nonlinearity!r}. "
                "Pass one of these names."
            )
        self.units, self.nonlinearity = units, nonlinearity
        self.state_size = self.output_size = units

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """h before the first step: 0."""
        return [keras.ops.zeros((batch_size, self.units), dtype=self.compute_dtype)]

    def build(self, input_shape: Any) -> None:
        bound = 1 / math.sqrt(self.units)
        spread = keras.initializers.RandomUniform
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer=spread(-bound, bound), name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, self.units), initializer=spread(-bound, bound), name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self._add_logit(self.units)

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        """The new h, as the output and as the state. inputs: (batch, features); states: [h], h of (batch, units)."""
        (before,) = states if isinstance(states, (list, tuple)) else (states,)
        z = keras.ops.matmul(inputs, self.kernel) + keras.ops.matmul(before, self.recurrent_kernel) + self.bias
        value = getattr(ops, self.nonlinearity)(z)
        h = ops.leaky_average(value[..., None], self.alpha, initial=before)[..., 0]
        return h, [h]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "nonlinearity": self.nonlinearity}
