"""The layers: subclasses of ``torch.nn``'s where there is one, with its arguments, defaults and ``state_dict``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from .._family import family
from .._presets import Left, LeftInt, preset
from ..errors import RectifierValueError
from ..frameworks.numpy import parameter_value
from ..frameworks.torch.dispatch import call
from ..frameworks.torch.saving import check_choice

__all__ = [
    "CELU",
    "ELU",
    "SELU",
    "Abs",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Softplus",
    "SquaredReLU",
]

Tensor = torch.Tensor


def _checked(layer: str, row: str, name: str, value: Any) -> None:
    """Refuse a parameter when the layer is made, not when it is first called."""
    parameter_value(layer, family[row].parameter(name), value, np.dtype(np.float32))


class ReLU(nn.ReLU):
    """max(0, z), any shape. Takes the place of ``torch.nn.ReLU``.

    inplace: write the result into the input
    at_zero: the derivative at z = 0, in [0, 1]; 0 is best where it matters (Bertoin et al. 2021, arXiv:2106.12915)
    Raises RectifierValueError for an ``at_zero`` outside [0, 1].

    >>> ReLU()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    at_zero: float = 0.0

    def __init__(self, inplace: bool = False, *, at_zero: float = 0.0) -> None:
        _checked("ReLU", "relu", "at_zero", at_zero)
        super().__init__(inplace)
        self.at_zero = at_zero

    def forward(self, input: Tensor) -> Tensor:
        return call("relu", input, self.at_zero, self.inplace, None)

    def extra_repr(self) -> str:
        return _joined(f"at_zero={self.at_zero}" if self.at_zero else "", super().extra_repr())


class LeakyReLU(nn.LeakyReLU):
    """z where z > 0, else negative_slope·z, any shape. Takes the place of ``torch.nn.LeakyReLU``.

    negative_slope: any finite number
    inplace: write the result into the input
    like: "torch", "tensorflow", "keras", "jax" or "onnx" in place of ``negative_slope``: the default of that framework
        (0.2 in TensorFlow, 0.3 in the Keras layer, else 0.01)
    Raises RectifierValueError for a slope that is not finite, and for a ``like`` that is unknown or given with a slope.

    >>> LeakyReLU(0.1)(torch.tensor([-1.0, 2.0]))
    tensor([-0.1000,  2.0000])
    """

    def __init__(self, negative_slope: float = Left(1e-2), inplace: bool = False, *, like: str | None = None) -> None:
        (negative_slope,) = preset("LeakyReLU", "leaky_relu", like, negative_slope=negative_slope)
        _checked("LeakyReLU", "leaky_relu", "negative_slope", negative_slope)
        super().__init__(negative_slope, inplace)

    def forward(self, input: Tensor) -> Tensor:
        return call("leaky_relu", input, self.negative_slope, self.inplace, None)


class PReLU(nn.PReLU):
    """z where z > 0, else weight·z with a learned weight. Takes the place of ``torch.nn.PReLU``.

    num_parameters: 1, or one for each channel (axis 1 of the input)
    init: where the weight starts
    save: what the backward pass reads: "input" (the default) or, where no weight is 0 or below, "output", which the
        next layer keeps anyway
    like: "torch", "jax" (Flax: one slope from 0.01) or "keras" (from 0, with ``num_parameters`` to be given; Keras has
        a slope for each element of the input, which for (batch, features) is one a channel; for maps, ours is Keras's
        with ``shared_axes`` over the positions), in place of ``init`` and ``num_parameters``
    Raises RectifierValueError for an input with another number of channels, and for a ``like`` that is unknown, has no
    default or comes with what it sets; for a ``save`` that it cannot honour.

    >>> PReLU()(torch.tensor([-1.0, 2.0])).tolist()
    [-0.25, 2.0]
    """

    save: str | None = None

    def __init__(
        self,
        num_parameters: int = LeftInt(1),
        init: float = Left(0.25),
        device: Any = None,
        dtype: Any = None,
        *,
        save: str | None = None,
        like: str | None = None,
    ) -> None:
        num_parameters, init = preset("PReLU", "prelu", like, num_parameters=num_parameters, init=init)
        check_choice("PReLU", "prelu", save, learned=True)
        super().__init__(num_parameters, init, device, dtype)
        self.save = save

    def extra_repr(self) -> str:
        return _joined(super().extra_repr(), _shown(self.save))

    def forward(self, input: Tensor) -> Tensor:
        return call("prelu", input, along_channels(self.weight, input, self.num_parameters), False, self.save)


def along_channels(weight: Tensor, input: Tensor, channels: int) -> Tensor:
    """PReLU's weight, shaped so that it broadcasts along axis 1 of the input. One node in a graph of torch.fx."""
    if not torch.compiler.is_compiling() and has_torch_function((weight, input)):
        return handle_torch_function(along_channels, (weight, input), weight, input, channels)
    if channels == 1:
        return weight.reshape(())
    traced = not torch.compiler.is_compiling() and torch._C._is_tracing()  # then a look at a size would be frozen
    if not traced and (input.ndim < 2 or input.shape[1] != channels):
        raise RectifierValueError(
            f"PReLU: `num_parameters` must be 1 or the number of channels (axis 1) of the input; got "
            f"{channels} for an input of shape {tuple(input.shape)}. "
            "Make the layer with the channels of its input."
        )
    return weight.reshape(-1, *[1] * (input.ndim - 2)) if input.ndim > 2 else weight


class Abs(nn.Module):
    """|z|, any shape.

    inplace: write the result into the input

    >>> Abs()(torch.tensor([-1.0, 2.0]))
    tensor([1., 2.])
    """

    rectifier_row: ClassVar[str] = "abs"

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return call("abs", input, 0.0, self.inplace, None)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU6(nn.ReLU6):
    """min(max(0, z), ceiling), any shape. Takes the place of ``torch.nn.ReLU6``.

    inplace: write the result into the input
    ceiling: greater than 0
    like: "torch", "tensorflow", "keras" or "jax" in place of ``ceiling``: its default, 6 in all (ONNX has no ReLU6)
    Raises RectifierValueError for a ceiling that is not finite and greater than 0, and for a ``like`` that is unknown,
    has no default or comes with a ceiling.

    >>> ReLU6()(torch.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """

    def __init__(self, inplace: bool = False, *, ceiling: float = Left(6.0), like: str | None = None) -> None:
        (ceiling,) = preset("ReLU6", "relu6", like, ceiling=ceiling)
        _checked("ReLU6", "relu6", "ceiling", ceiling)
        super().__init__(inplace)
        self.max_val = float(ceiling)

    def forward(self, input: Tensor) -> Tensor:
        return call("relu6", input, self.max_val, self.inplace, None)

    def extra_repr(self) -> str:
        return _joined(f"ceiling={self.max_val}" if self.max_val != 6 else "", super().extra_repr())


class SquaredReLU(nn.Module):
    """max(0, z)², any shape.

    inplace: write the result into the input
    save: what the backward pass reads: "output", which the next layer keeps anyway and which is the default while no
        square underflows, or "input"
    Raises RectifierValueError for another ``save``.

    >>> SquaredReLU()(torch.tensor([-1.0, 3.0]))
    tensor([0., 9.])
    """

    rectifier_row: ClassVar[str] = "squared_relu"
    save: str | None = None

    def __init__(self, inplace: bool = False, *, save: str | None = None) -> None:
        check_choice("SquaredReLU", "squared_relu", save, learned=False)
        super().__init__()
        self.inplace = inplace
        self.save = save

    def forward(self, input: Tensor) -> Tensor:
        return call("squared_relu", input, 0.0, self.inplace, self.save)

    def extra_repr(self) -> str:
        return _joined("inplace=True" if self.inplace else "", _shown(self.save))


class ELU(nn.ELU):
    """z where z > 0, else alpha·(eᶻ − 1), any shape. Takes the place of ``torch.nn.ELU``.

    alpha: greater than 0
    inplace: write the result into the input
    save: what the backward pass reads: "input" (the default) or "output", which the next layer keeps anyway, but which
        loses the gradient's digits where it saturates (docs/pytorch.md)
    like: "torch", "tensorflow", "keras", "jax" or "onnx" in place of ``alpha``: its default, 1 in all
    Raises RectifierValueError for an alpha that is not finite and greater than 0, and for a ``like`` that is unknown,
    has no default or comes with an alpha; for a ``save`` that it cannot honour.

    >>> ELU()(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    save: str | None = None

    def __init__(
        self, alpha: float = Left(1.0), inplace: bool = False, *, save: str | None = None, like: str | None = None
    ) -> None:
        (alpha,) = preset("ELU", "elu", like, alpha=alpha)
        _checked("ELU", "elu", "alpha", alpha)
        check_choice("ELU", "elu", save, learned=False)
        super().__init__(alpha, inplace)
        self.save = save

    def extra_repr(self) -> str:
        return _joined(super().extra_repr(), _shown(self.save))

    def forward(self, input: Tensor) -> Tensor:
        return call("elu", input, self.alpha, self.inplace, self.save)


class CELU(nn.CELU):
    """z where z > 0, else alpha·(e^(z/alpha) − 1), any shape. Takes the place of ``torch.nn.CELU``.

    alpha: greater than 0
    inplace: write the result into the input
    save: what the backward pass reads: "input" (the default) or "output", which the next layer keeps anyway, but which
        loses the gradient's digits where it saturates (docs/pytorch.md)
    like: "torch", "keras", "jax" or "onnx" in place of ``alpha``: its default, 1 in all (TensorFlow has no CELU)
    Raises RectifierValueError for an alpha that is not finite and greater than 0, and for a ``like`` that is unknown,
    has no default or comes with an alpha; for a ``save`` that it cannot honour.

    >>> CELU(2.0)(torch.tensor([-1.0, 2.0]))
    tensor([-0.7869,  2.0000])
    """

    save: str | None = None

    def __init__(
        self, alpha: float = Left(1.0), inplace: bool = False, *, save: str | None = None, like: str | None = None
    ) -> None:
        (alpha,) = preset("CELU", "celu", like, alpha=alpha)
        _checked("CELU", "celu", "alpha", alpha)
        check_choice("CELU", "celu", save, learned=False)
        super().__init__(alpha, inplace)
        self.save = save

    def extra_repr(self) -> str:
        return _joined(super().extra_repr(), _shown(self.save))

    def forward(self, input: Tensor) -> Tensor:
        return call("celu", input, self.alpha, self.inplace, self.save)


class SELU(nn.SELU):
    """λ·(z where z > 0, else α(eᶻ − 1)), any shape. Takes the place of ``torch.nn.SELU``.

    inplace: write the result into the input
    save: what the backward pass reads: "input" (the default) or "output", which the next layer keeps anyway, but which
        loses the gradient's digits where it saturates (docs/pytorch.md)
    Raises RectifierValueError for another ``save``.

    >>> SELU()(torch.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """

    save: str | None = None

    def __init__(self, inplace: bool = False, *, save: str | None = None) -> None:
        check_choice("SELU", "selu", save, learned=False)
        super().__init__(inplace)
        self.save = save

    def extra_repr(self) -> str:
        return _joined(super().extra_repr(), _shown(self.save))

    def forward(self, input: Tensor) -> Tensor:
        return call("selu", input, 0.0, self.inplace, self.save)


class Softplus(nn.Softplus):
    """log(1 + e^(beta·z))/beta, any shape. Takes the place of ``torch.nn.Softplus``.

    beta: greater than 0
    threshold: 20, PyTorch's default, and accepted for its sake alone: the formula is exact everywhere, so there is
        nothing to switch over to the identity for
    save: what the backward pass reads: "output", which the next layer keeps anyway and which is the default while no
        result underflows, or "input"
    like: "torch", "tensorflow", "keras", "jax" or "onnx" in place of ``beta``: its default, 1 in all
    Raises RectifierValueError for another threshold, a beta that is not finite and greater than 0, and a ``like`` that
    is unknown or comes with a beta; for a ``save`` that it cannot
    honour.

    >>> Softplus()(torch.tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])
    """

    save: str | None = None

    def __init__(
        self, beta: float = Left(1.0), threshold: float = 20.0, *, save: str | None = None, like: str | None = None
    ) -> None:
        (beta,) = preset("Softplus", "softplus", like, beta=beta)
        _checked("Softplus", "softplus", "beta", beta)
        check_choice("Softplus", "softplus", save, learned=False)
        if threshold != 20:
            raise RectifierValueError(
                f"Softplus: `threshold` must be left at 20; got {threshold}. This softplus is exact everywhere and "
                "never switches to the identity, so a threshold would do nothing."
            )
        super().__init__(beta, threshold)
        self.save = save

    def extra_repr(self) -> str:
        return _joined(super().extra_repr(), _shown(self.save))

    def forward(self, input: Tensor) -> Tensor:
        return call("softplus", input, self.beta, False, self.save)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _shown(save: str | None) -> str:
    return "" if save is None else f"save={save!r}"
