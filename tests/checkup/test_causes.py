"""Causes told of real training and real data: what killed a unit, and what came in with the data."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import Record


def train(step: float, *, steps: int, every: int) -> Record:
    """A small network on a smooth target."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=step)
    with rectifier.watch(model, optimizer, every=every) as watching:
        for _ in range(steps):
            x = torch.rand(64, 10)
            optimizer.zero_grad()
            (model(x) - x.sin().sum(dim=1, keepdim=True)).square().mean().backward()
            optimizer.step()
    return watching.record


def named(record: Record) -> dict[str, int]:
    """Cause → silent units."""
    found: dict[str, int] = {}
    for finding in record.of("dead", "silent"):
        name = finding.cause.partition(":")[0]
        found[name] = found.get(name, 0) + len(finding.units)
    return found


@pytest.mark.parametrize("every", [5, 20])
def test_deaths_by_large_steps_are_named_so(every: int) -> None:
    causes = named(train(0.1, steps=120, every=every))
    steps = causes.pop("too large a step", 0)
    assert steps >= 20
    # born silent is no death; of the others at most one in ten may be read from how the weights stand
    causes.pop("initialisation", None)
    assert sum(causes.values()) <= 0.1 * steps


@pytest.mark.parametrize("every", [5, 50])
def test_healthy_training_is_not_blamed(every: int) -> None:
    assert "too large a step" not in named(train(0.001, steps=200, every=every))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinity_in_the_data(value: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.randn(640, 4)
    clean = rectifier.check(model, [x])
    x[7, 2] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = rectifier.check(model, [x])
    assert [f for f in record.findings if f.units] == [f for f in clean.findings if f.units] == []
    (finding,) = record.findings
    assert finding.kind == "exploding_activation"
    assert finding.cause == "the model's input holds infinite values (1 seen at layer 0)"


def test_nan_in_one_example_does_not_hide_a_silent_unit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        model[0].bias[3] = -50.0
    x = torch.randn(640, 4)
    x[7, 2] = math.nan
    record = rectifier.check(model, [x])
    (finding,) = record.of("dead", "silent")
    assert finding.units == (3,) and finding.evidence.startswith("fired at 0 of 639 examples that are not NaN; ")


def test_running_statistics_of_other_data() -> None:
    """Trained on one scale, asked on another: in evaluation the channel is shut, its own batch would open it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    for _ in range(60):
        model(torch.randn(64, 4))
    x = torch.randn(500, 4)
    with torch.no_grad():
        model[1].running_mean[2] += 30.0
    record = rectifier.check(model, [x])
    (finding,) = record.of("dead", "silent")
    assert finding.units == (2,)
    assert finding.cause.startswith("running statistics that do not match the data: normalised by them, values lie ")
    assert finding.proof is not None and finding.proof.endswith(", with batch normalisation in evaluation mode")
    model.train()
    assert (model[:3](x)[:, 2] > 0).any()
