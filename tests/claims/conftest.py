"""What the tests of claims share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rectifier.claims import claims
from rectifier.claims.lab.activations import ACTIVATIONS, Activation


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """Claims take names from what they share as they are imported: before a test puts something else there."""
    claims()


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the function of one label under others."""

    def under(*labels: str, function: str) -> None:
        row = ACTIVATIONS[function]
        for label in labels:
            false = Activation(label, ACTIVATIONS[label].title, row.function, row.module)
            monkeypatch.setitem(ACTIVATIONS, label, false)

    return under
