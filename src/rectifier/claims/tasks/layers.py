"""Activations by label, as the tasks put them into their networks."""

from __future__ import annotations

import re

import torch
from torch import nn

import rectifier

from ...errors import RectifierValueError
from ...frameworks.torch.sites import identify
from ..lab.activations import ACTIVATIONS

__all__ = ["gain", "layer", "own"]

_LABEL = re.compile(r"(\w+)(?:\((\w+)=([-+.\w]+)\))?")


def layer(label: str) -> nn.Module:
    """A fresh layer of this label: a name of ``ACTIVATIONS``, alone or with one parameter.

    >>> layer("leaky_relu(negative_slope=0.2)")
    LeakyReLU(negative_slope=0.2)

    Raises RectifierValueError for another label, and what the layer raises for a value that it cannot use.
    """
    name, parameters = _read(label)
    try:
        return ACTIVATIONS[name].module(**parameters)
    except TypeError as error:
        raise RectifierValueError(
            f"claims: `activation` must have a parameter that its layer takes; got {label!r} ({error}). "
            "Write it as in 'leaky_relu(negative_slope=0.2)'."
        ) from error


def own(layer: nn.Module) -> nn.Module:
    """PyTorch's own layer, with its defaults, in place of one of the library that stands for it; another as it is."""
    for kind in type(layer).__mro__:
        if kind.__module__ == "torch.nn.modules.activation":
            theirs: nn.Module = kind()
            return theirs
    return layer


def gain(label: str) -> float:
    """The gain of the layer that this label makes; of the label itself where the library does not know the layer."""
    site = identify(layer(label))
    if site is None:
        return ACTIVATIONS[_read(label)[0]].gain()
    name, parameters = site
    numbers = {parameter: float(torch.as_tensor(value).detach()) for parameter, value in parameters.items()}
    return rectifier.gain(name, **numbers)


def _read(label: str) -> tuple[str, dict[str, float]]:
    found = _LABEL.fullmatch(label) if isinstance(label, str) else None
    if found is None or found[1] not in ACTIVATIONS:
        raise RectifierValueError(
            f"claims: `activation` must be one of {', '.join(ACTIVATIONS)}; got {label!r}. "
            "Pass a name such as 'relu', or with one parameter 'leaky_relu(negative_slope=0.2)'."
        )
    name, parameter, value = found.groups()
    try:
        return name, {} if parameter is None else {parameter: float(value)}
    except ValueError:
        raise RectifierValueError(
            f"claims: `activation` must have a number as its parameter; got {label!r}. "
            "Write it as in 'leaky_relu(negative_slope=0.2)'."
        ) from None
