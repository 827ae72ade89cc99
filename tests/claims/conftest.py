"""What the tests of claims share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rectifier.claims.lab.activations import ACTIVATIONS, Activation


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the function of one label under others."""

    def under(*labels: str, function: str) -> None:
        row = ACTIVATIONS[function]
        for label in labels:
            false = Activation(label, ACTIVATIONS[label].title, row.function, row.module)
            monkeypatch.setitem(ACTIVATIONS, label, false)

    return under
