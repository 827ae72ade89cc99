"""Planted contraries: with a false function under a true label, the claims that must then fail do fail.

The true ones hold in the same breath, so that no claim fails for another reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rectifier
from rectifier.claims import claims
from rectifier.claims.lab.activations import ACTIVATIONS, Activation
from rectifier.claims.lab.claim import Verdict
from rectifier.claims.lab.engines import Engine
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.sweep import sweep, tell


def verdict(name: str, folder: Path, seeds: int = 3) -> Verdict:
    """Of a quick run with so many seeds, in this process."""
    claim = claims()[name]
    plan = claim.plan(quick=True, seeds=seeds)
    sweep({name: (claim, plan)}, Records(folder), Engine(1))
    return tell(claim, plan, Records(folder)).verdict


class Fifth:
    """A "ReLU" with derivative 0.2 where z > 0; the value is right."""

    def __call__(self, z: Any, **parameters: float) -> Any:
        return rectifier.relu(z, **parameters)

    def derivative(self, z: Any, **parameters: float) -> Any:
        return 0.2 * rectifier.relu.derivative(z, **parameters)


def fifth(**parameters: float) -> Any:
    """The same as a layer."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            h = torch.relu(z)
            return 0.2 * h + (0.8 * h).detach()

    return Layer()


def sigmoid(**parameters: float) -> Any:
    from torch import nn

    return nn.Sigmoid()


FALSE = {
    "true": ACTIVATIONS["relu"],
    "derivative 0.2": Activation("relu", "ReLU", Fifth(), fifth),
    "a sigmoid": Activation("relu", "ReLU", rectifier.sigmoid, sigmoid),
}

#: Claim → what its verdict is with each of them in ReLU's place.
EXPECTED = {
    "continuous-with-a-kink": ("holds", "does not hold", "does not hold"),
    # Its value alone is told about.
    "softplus-tends-to-relu": ("holds", "holds", "does not hold"),
    "losses-as-rectifiers": ("holds", "holds", "does not hold"),
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("place", range(len(FALSE)), ids=list(FALSE))
def test_planted(name: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "relu", list(FALSE.values())[place])
    assert verdict(name, tmp_path).answer == EXPECTED[name][place]


def test_absolute_value_by_another_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Off:
        def __call__(self, z: Any, negative_slope: float) -> Any:
            return rectifier.leaky_relu(z, negative_slope=negative_slope * (1 + 1e-7))

    row = Activation("leaky_relu", "Leaky ReLU", Off(), ACTIVATIONS["leaky_relu"].module)
    monkeypatch.setitem(ACTIVATIONS, "leaky_relu", row)
    assert verdict("absolute-value", tmp_path).answer == "does not hold"
