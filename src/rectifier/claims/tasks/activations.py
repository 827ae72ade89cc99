"""The one table of what a label of the laboratory trains with."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

import rectifier.torch as rt

from ...errors import RectifierValueError

__all__ = ["LAYERS", "layer"]

#: label → what makes the layer. Every task takes its activations from here and nowhere else, so that a test which puts
#: a falsely labelled layer in its place deceives all of them alike.
LAYERS: dict[str, Callable[..., nn.Module]] = {
    "relu": rt.ReLU,
    "leaky_relu": rt.LeakyReLU,
    "prelu": rt.PReLU,
    "abs": rt.Abs,
    "relu6": rt.ReLU6,
    "squared_relu": rt.SquaredReLU,
    "elu": rt.ELU,
    "celu": rt.CELU,
    "selu": rt.SELU,
    "softplus": rt.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}

_LABEL = re.compile(r"(\w+)(?:\((\w+)=([-+.\w]+)\))?")


def layer(label: str) -> nn.Module:
    """A fresh layer of this label: a name of the table, alone or with one parameter.

    Raises RectifierValueError for a label that is none; what the layer says of its parameter goes through.

    >>> layer("leaky_relu(negative_slope=0.2)")
    LeakyReLU(negative_slope=0.2)
    """
    found = _LABEL.fullmatch(label) if isinstance(label, str) else None
    if found is None or found[1] not in LAYERS:
        raise RectifierValueError(
            f"claims: `activation` must be one of {', '.join(LAYERS)}; got {label!r}. "
            "Pass a name such as 'relu', or with one parameter 'leaky_relu(negative_slope=0.2)'."
        )
    name, parameter, value = found.groups()
    if parameter is None:
        return LAYERS[name]()
    try:
        return LAYERS[name](**{parameter: float(value)})
    except (TypeError, ValueError) as error:
        raise RectifierValueError(
            f"claims: `activation` must have a parameter that its layer takes; got {label!r} ({error}). "
            "Write it as in 'leaky_relu(negative_slope=0.2)'."
        ) from error
