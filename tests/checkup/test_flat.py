"""Flat parts: the counts of plain PyTorch, the definition at its edge, and verdicts that are no faults."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
import rectifier.torch as rt
from rectifier.checkup import FAULTS, Record, Thresholds, documents
from rectifier.checkup.flat import FLAT, levels
from rectifier.frameworks.torch.observer.flat import identify_flat_call
from rectifier.reporters.words import ORDER, TITLES

FUNCTIONS: dict[str, tuple[Any, nn.Module]] = {
    "relu6": (F.relu6, nn.ReLU6()),
    "tanh": (torch.tanh, nn.Tanh()),
    "sigmoid": (torch.sigmoid, nn.Sigmoid()),
    "hardtanh": (F.hardtanh, nn.Hardtanh()),
    "hardsigmoid": (F.hardsigmoid, nn.Hardsigmoid()),
    "hardswish": (F.hardswish, nn.Hardswish()),
    "gelu": (F.gelu, nn.GELU()),
    "silu": (F.silu, nn.SiLU()),
    "mish": (F.mish, nn.Mish()),
}


@pytest.mark.parametrize("name", FLAT)
def test_where_a_function_is_flat_is_what_the_definition_says(name: str) -> None:
    assert FUNCTIONS.keys() == FLAT.keys()
    function = FUNCTIONS[name][0]
    z = torch.linspace(-9, 9, 18001, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(function(z).sum(), z)
    low, high = levels(name, {})
    if FLAT[name].kind == "saturated":
        said = slope.abs() <= 0.01 * slope.abs().max()
        if name == "relu6":
            said &= z.detach() > 0  # its lower part is the gate's
    else:
        gate = function(z.detach()) / z.detach()
        said = (gate <= 0.01) & (z.detach() < 0)
    told = torch.zeros_like(said)
    if low is not None:
        told |= z.detach() <= low
    if high is not None:
        told |= z.detach() >= high
    edges = {low, high} - {None}
    away = torch.stack([(z.detach() - edge).abs() > 2e-3 for edge in edges]).all(dim=0)
    assert torch.equal(said[away], told[away])
    assert told.any() and not told.all()


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("how", ["module", "call"])
def test_counts_against_plain_torch(name: str, how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    function, module = FUNCTIONS[name]

    class Called(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return function(z)

    if how == "call" and name in ("tanh", "sigmoid"):
        pytest.skip("as calls they are too common to be taken for activations")
    z = 6 * torch.randn(400, 5)
    z[:, 3] = -30.0
    record = rectifier.check(module if how == "module" else Called(), [z[:150], z[150:]])
    (site,) = record.last.sites
    low, high = levels(name, {})
    assert site.rectifier == name
    assert site.fired.tolist() == (z > 0).sum(dim=0).tolist()
    assert (None if site.flat_low is None else site.flat_low.tolist()) == (
        None if low is None else (z <= low).sum(dim=0).tolist()
    )
    assert (None if site.flat_high is None else site.flat_high.tolist()) == (
        None if high is None else (z >= high).sum(dim=0).tolist()
    )
    np.testing.assert_allclose(site.sum_h, function(z).double().sum(dim=0), rtol=1e-4, atol=1e-3)
    if name != "relu6":
        (finding,) = record.findings
        assert (finding.kind, finding.units, finding.fault) == (FLAT[name].kind, (3,), False)
        assert finding.measures == {"share": 1.0, "threshold": 0.95, "examples": 400.0}
    assert Record.from_json(record.to_json()).to_json() == record.to_json()
    page = tmp_path / "report.html"
    rectifier.report(record, html=page)
    assert page.exists()


def test_the_upper_end_of_relu6_and_bounds_given() -> None:
    z = torch.tensor([[7.0, 1.0, 3.0], [9.0, 2.0, 5.0]])
    record = rectifier.check(nn.ReLU6(), [z])
    (finding,) = record.of("saturated")
    assert finding.units == (0,)
    assert finding.evidence == (
        "z ≥ 6, where its derivative is at most 1 % of its largest, at 1 or more of 2 examples (0.95, saturated)"
    )
    assert rectifier.check(rt.ReLU6(ceiling=3.0), [z]).of("saturated")[0].units == (0, 2)
    wide = rectifier.check(nn.Hardtanh(-8.0, 8.0), [z]).last.sites[0]
    assert wide.flat_high is not None and wide.flat_high.tolist() == [1, 0, 0]
    assert identify_flat_call(F.hardtanh, (z, -2.0), {"max_val": 2.0}) == (
        "hardtanh",
        {"min_val": -2.0, "max_val": 2.0},
    )
    assert identify_flat_call([], (), {}) is None


def test_less_than_the_share_is_no_finding() -> None:
    z = torch.zeros(100, 2)
    z[:95, 0], z[:94, 1] = 9.0, 9.0
    (finding,) = rectifier.check(nn.Tanh(), [z]).of("saturated")
    assert finding.units == (0,)
    (finding,) = rectifier.check(nn.Tanh(), [z], limits=Thresholds(saturated=0.94)).of("saturated")
    assert (finding.units, finding.measures["threshold"]) == ((0, 1), 0.94)


def test_counts_of_merged_snapshots_are_summed_and_older_records_read() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.ReLU())
    with torch.no_grad():
        model[0].bias[1] = 9.0
    x = torch.randn(8, 3)
    with rectifier.watch(model, every=1) as watching:
        for _ in range(300):
            model(x)
    record = watching.record
    assert len(record.snapshots) < 300
    sites = [snapshot.sites[0] for snapshot in record.snapshots]
    assert sum(site.examples for site in sites) == 300 * 8
    looked = [site.examples if site.looked is None else site.looked for site in sites]
    assert [int(site.flat_high[1]) for site in sites] == looked  # type: ignore[index]
    assert sum(looked) < 300 * 8  # once the history was full, not all were looked at; the verdict knows of it
    assert record.of("saturated")[0].measures["share"] == 1.0
    old = record.to_json().replace("flat_low", "unknown_low")
    with pytest.raises(rectifier.RectifierValueError):
        Record.from_json(old)
    (site, *_) = record.last.sites
    plain = dataclasses.asdict(site)
    del plain["flat_low"], plain["flat_high"]
    again = documents._site(documents.plain(plain))
    assert again.flat_low is None and again.flat_high is None


def test_no_fault_and_known_to_the_reports() -> None:
    assert not {"saturated", "nearly_silent"} & FAULTS
    assert {"saturated", "nearly_silent"} <= TITLES.keys() == ORDER.keys()
