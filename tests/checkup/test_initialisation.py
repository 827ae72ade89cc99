"""The gain of each layer at the first look of a real training, and SELU's conditions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import rectifier
import rectifier.torch as rt
from rectifier.checkup import Finding, Record
from rectifier.checkup.initialisation import gains


def train(model: nn.Module, *, steps: int = 3, lr: float = 1e-4, shift: float = 0.0) -> Record:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with rectifier.watch(model, optimizer, every=1) as watching:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(64, 32) + shift).square().mean().backward()
            optimizer.step()
    return watching.record


def chain(depth: int, gain: float, act: Callable[[], nn.Module] = nn.ReLU, between: type | None = None) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(32, 32)
        nn.init.normal_(linear.weight, std=gain / 32**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, *([between(32)] if between else []), act()]
    return nn.Sequential(*layers, nn.Linear(32, 3))


def found(record: Record) -> tuple[Finding, ...]:
    return record.of("initialisation")


@pytest.mark.parametrize(("gain", "told"), [(0.5, "small"), (4.0, "large")])
def test_a_wrong_gain_is_found_from_the_first_look_and_measured(gain: float, told: str) -> None:
    (finding,) = found(train(chain(8, gain)))
    assert (finding.severity, finding.cause_kind, finding.site) == ("ill", "initialisation", "0")
    assert finding.cause == f"initialisation: weights too {told} for the rectifiers behind them"
    measured = [value for name, value in finding.measures.items() if name.startswith("gain ")]
    # named are the layers beyond the factor that the depth allows each
    assert len(measured) >= 7 and all(0.8 * gain < value < 1.3 * gain for value in measured)
    assert "(needs 1.41)" in finding.evidence and "0.422 and 2.37 at each" in finding.evidence


@pytest.mark.parametrize("act", [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.PReLU])
def test_the_gain_of_the_rectifier_is_sound_at_depth(act: Callable[[], nn.Module]) -> None:
    model = chain(20, 1.0, act)
    rt.init_(model, generator=torch.Generator().manual_seed(0))
    record = train(model)
    assert found(record) == () and not any(finding.ill for finding in record.findings)
    for measured, needed in gains(record.snapshots[0]).values():
        assert measured == pytest.approx(needed, rel=0.35)


def test_a_normalised_chain_may_start_at_any_gain() -> None:
    record = train(chain(8, 0.1, between=nn.BatchNorm1d))
    assert found(record) == () and gains(record.snapshots[0]) == {}


class Residual(nn.Module):
    """Blocks whose last layer starts at 0 (Zhang et al. 2019, Fixup), so that each is the identity at first."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(8))
        for block in self.blocks:
            nn.init.zeros_(block[2].weight)
            nn.init.zeros_(block[2].bias)
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def test_residual_branches_that_start_at_zero_are_sound() -> None:
    torch.manual_seed(0)
    record = train(Residual(), steps=8)
    assert found(record) == ()
    assert [f for f in record.findings if f.ill and f.kind not in ("dead", "silent", "vanishing_gradient")] == []


def test_what_training_has_mended_is_a_note() -> None:
    torch.manual_seed(0)
    model = chain(8, 0.5)
    with rectifier.watch(model, every=1) as watching:
        for _ in range(2):
            model(torch.randn(64, 32))
        with torch.no_grad():
            for layer in model[:-1:2]:
                layer.weight *= 2**0.5 / 0.5
        for _ in range(2):
            model(torch.randn(64, 32))
    (finding,) = found(watching.record)
    assert finding.severity == "note" and finding.severity_reason.startswith("training has mended it: ")


def selu(dropout: Callable[[float], nn.Module] | None, *, lecun: bool = True) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(32, 32), nn.SELU(), *([dropout(0.1)] if dropout else [])]
    torch.manual_seed(0)
    model = nn.Sequential(*layers, nn.Linear(32, 3))
    if lecun:
        rt.init_(model, generator=torch.Generator().manual_seed(0))
    return model


def test_selu_under_its_conditions_has_no_finding() -> None:
    torch.manual_seed(1)
    assert train(selu(nn.AlphaDropout)).of("selu") == ()
    assert train(selu(None)).of("selu") == ()


def test_each_condition_of_selu_is_checked() -> None:
    torch.manual_seed(1)
    (finding,) = train(selu(nn.Dropout)).of("selu")
    assert finding.severity == "warning" and not finding.ill
    assert finding.evidence.startswith(
        "outputs of 1 go through dropout, which moves their mean and variance: use Alpha"
    )
    (finding,) = train(selu(nn.AlphaDropout, lecun=False)).of("selu")
    assert finding.cause_kind == "initialisation"
    assert finding.evidence.startswith("weights of layer 0 start at 0.56/√fan_in, not 1/√fan_in (LeCun); ")
    (finding,) = train(selu(None), shift=3.0).of("selu")
    assert finding.cause_kind == "input" and finding.evidence.startswith("inputs of layer 0 have mean 3")


def test_one_look_checks_what_one_look_can_tell() -> None:
    model = selu(nn.Dropout, lecun=False)
    (finding,) = rectifier.check(model, [torch.randn(64, 32)]).of("selu")
    assert "fan_in" not in finding.evidence and "dropout" in finding.evidence


def test_the_formats_are_recorded() -> None:
    model = chain(3, 1.4).to(torch.bfloat16)
    record = rectifier.check(model, [torch.randn(8, 32, dtype=torch.bfloat16)])
    assert {(layer.format, layer.weight_format) for layer in record.last.layers} == {("bfloat16", "bfloat16")}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        record = rectifier.check(chain(3, 1.4), [torch.randn(8, 32)])
    assert {(layer.format, layer.weight_format) for layer in record.last.layers} == {("bfloat16", "float32")}
