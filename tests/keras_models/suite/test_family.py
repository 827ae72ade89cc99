"""Every row has its function and its layer for Keras, with the signature that the backend's own function has."""

from __future__ import annotations

import inspect

import pytest

import rectifier
import rectifier.keras as rk
from rectifier.frameworks.keras.backend import OWN
from tests.keras_models.suite.shared import LAYERS, NAMES


def parameters(function: object) -> dict[str, tuple[object, object]]:
    """Names, kinds and defaults. PyTorch's functions alone can work in place."""
    found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {p.name: (p.kind, p.default) for p in found if p.name != "inplace"}


@pytest.mark.parametrize("name", [*NAMES, "leaky_average"])
def test_signatures_are_those_of_the_backend(name: str) -> None:
    assert parameters(getattr(rk, name)) == parameters(getattr(OWN, name))
    assert getattr(rk, name).__doc__.partition("\n")[0] == getattr(OWN, name).__doc__.partition("\n")[0]


def test_every_row_has_its_layer() -> None:
    assert set(LAYERS) == set(NAMES)
    for name in NAMES:
        layer = type(LAYERS[name][0]())
        assert layer.__name__ == rectifier.family[name].layer
        assert layer.rectifier_row == name
