"""Proofs through a recurrent layer with a ReLU: from the box and a state of zeros, one step in time after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import proved
from rectifier.checkup.proofs.network import Network
from rectifier.checkup.proofs.proof import upper_bound
from rectifier.frameworks.torch.tracing.bounds import traced


class Series(nn.Module):
    """Unit 2 is shut at every step: its weights are not positive, nor is what it reads negative."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.rnn = nn.RNN(5, 8, nonlinearity="relu", **{"batch_first": True, **given})
        self.head = nn.LazyLinear(2)
        with torch.no_grad():
            for end in ("", "_reverse")[: 1 + self.rnn.bidirectional]:
                last = f"_l{self.rnn.num_layers - 1}{end}"
                for kind in ("weight_ih", "weight_hh"):
                    weight = getattr(self.rnn, kind + last)
                    weight[2] = -weight[2].abs()
                if self.rnn.bias:
                    getattr(self.rnn, f"bias_ih{last}")[2] = -0.1
                    getattr(self.rnn, f"bias_hh{last}")[2] = 0.05

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def series(**given: Any) -> Series:
    torch.manual_seed(0)
    model = Series(**given)
    model(torch.rand(4, 10, 5))
    return model.eval()


SHAPES: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({}, (2,)),
    ({"bidirectional": True}, (2, 10)),
    ({"num_layers": 2}, (2,)),
    ({"num_layers": 2, "bidirectional": True, "dropout": 0.3}, (2, 10)),
]


@pytest.mark.parametrize(("given", "shut"), SHAPES)
def test_units_that_are_shut_at_every_step(given: dict[str, Any], shut: tuple[int, ...]) -> None:
    model = series(**given)
    record = rectifier.check(model, [torch.rand(200, 10, 5)], box=(0.0, 1.0))
    dead = {unit for finding in record.of("dead") for unit in finding.units}
    assert set(shut) <= dead
    (site,) = proved(model, record)
    assert (
        site.site == "rnn" and set(site.units) == dead and f"rnn.weight_ih_l{model.rnn.num_layers - 1}" in site.tensors
    )


@pytest.mark.parametrize("given", [given for given, _ in SHAPES] + [{"bias": False}])
def test_no_series_of_the_box_leaves_the_bounds(given: dict[str, Any]) -> None:
    model = series(**given)
    found = traced(model, (6, 5), {"rnn": 1}, training=False, rows=1, roundoff=0.0)
    assert isinstance(found, Network), found
    _, high = upper_bound(found, (np.full((6, 5), -1.0), np.ones((6, 5))))["rnn"]
    with torch.no_grad():
        x = torch.where(torch.rand(3000, 6, 5) < 0.5, -1.0, 1.0)
        seen = model.rnn(x)[0].amax(dim=(0, 1)).double().numpy()
    assert (seen <= high).all() and (high < 60 * np.maximum(seen, 0.1)).all()


def test_what_is_not_followed() -> None:
    class Given(Series):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x, x.new_ones(1, x.shape[0], 8))[0][:, -1])

    torch.manual_seed(0)
    given = Given()
    given(torch.rand(4, 10, 5))
    dropped = series(num_layers=2, dropout=0.3).train()
    for model, length in ((given, 10), (series(), 300), (dropped, 10)):
        found = traced(model, (length, 5), {"rnn": 1}, training=model.training, rows=1, roundoff=0.0)
        assert isinstance(found, Network) and not found.sites, found
