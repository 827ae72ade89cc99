"""The one table of activations that experiments take theirs from, by label.

A test puts a false one here, such as a "ReLU" with derivative 0.2, and looks whether the claims that must then fail do.

>>> from rectifier.claims.lab.activations import ACTIVATIONS
>>> ACTIVATIONS["relu"].function([-1.0, 2.0])
array([0., 2.])
>>> ACTIVATIONS["leaky_relu"].module(negative_slope=0.1)
LeakyReLU(negative_slope=0.1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rectifier

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ACTIVATIONS", "Activation"]


@dataclass(frozen=True)
class Activation:
    """One activation in NumPy and in PyTorch."""

    label: str
    """Its name in configurations."""
    title: str
    """Its name in sentences and figures."""
    function: Any
    """On arrays: ``function(z, **parameters)`` and ``function.derivative(z, **parameters)``."""
    module: Callable[..., nn.Module]
    """A new layer: ``module(**parameters)``."""

    def gain(self, **parameters: float) -> float:
        """Factor of the initial weights that keeps the scale of activations: 1/√E[f(z)²] for z ~ N(0, 1)."""
        return 1.0 if self.label == "identity" else float(rectifier.gain(self.label, **parameters))


class _Identity:
    """f(z) = z: a network without a non-linearity."""

    def __call__(self, z: Any) -> Any:
        return z

    def derivative(self, z: Any) -> Any:
        return z * 0 + 1


def _ours(name: str) -> Callable[..., nn.Module]:
    def make(**parameters: Any) -> nn.Module:
        import rectifier.torch as rt

        layer: nn.Module = getattr(rt, name)(**parameters)
        return layer

    return make


def _theirs(name: str) -> Callable[..., nn.Module]:
    def make() -> nn.Module:
        from torch import nn

        layer: nn.Module = getattr(nn, name)()
        return layer

    return make


def _threshold() -> nn.Module:
    import torch
    from torch import nn

    class Threshold(nn.Module):
        """1 where z > 0, else 0; its derivative is 0, so it passes no gradient (and yet has one: 0)."""

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return (z > 0).to(z.dtype) + 0.0 * torch.nan_to_num(z)

    return Threshold()


_ROWS = (
    Activation("relu", "ReLU", rectifier.relu, _ours("ReLU")),
    Activation("leaky_relu", "Leaky ReLU", rectifier.leaky_relu, _ours("LeakyReLU")),
    # As a layer it learns its slope, from 0.25 on.
    Activation("prelu", "PReLU", rectifier.prelu, _ours("PReLU")),
    Activation("abs", "|z|", rectifier.abs, _ours("Abs")),
    Activation("relu6", "ReLU6", rectifier.relu6, _ours("ReLU6")),
    Activation("squared_relu", "squared ReLU", rectifier.squared_relu, _ours("SquaredReLU")),
    Activation("elu", "ELU", rectifier.elu, _ours("ELU")),
    Activation("celu", "CELU", rectifier.celu, _ours("CELU")),
    Activation("selu", "SELU", rectifier.selu, _ours("SELU")),
    Activation("softplus", "softplus", rectifier.softplus, _ours("Softplus")),
    Activation("sigmoid", "sigmoid", rectifier.sigmoid, _theirs("Sigmoid")),
    Activation("tanh", "tanh", rectifier.tanh, _theirs("Tanh")),
    Activation("threshold", "threshold", rectifier.threshold, _threshold),
    Activation("identity", "no activation", _Identity(), _theirs("Identity")),
)

#: Label → activation.
ACTIVATIONS: dict[str, Activation] = {row.label: row for row in _ROWS}
