"""``prune``: fewer parameters, the same outputs, and the same parameters back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import Finding


def test_dead_units_go_and_outputs_stay(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    record, outputs, whole = rectifier.check(model, [x]), model(x), copy.deepcopy(model)
    objects = list(model.parameters())
    receipt = rectifier.prune(model, record, probe=x)
    assert (receipt.act, receipt.site, receipt.units) == ("prune", "1", (0,))
    assert (model[0].out_features, model[3].in_features, model[3].out_features) == (11, 11, 10)
    assert receipt.parameters_before - receipt.parameters_after == 16 + 1 + 10
    assert receipt.parameters_after == sum(p.numel() for p in model.parameters())
    assert receipt.output_change == (model(x) - outputs).abs().max().item()
    assert receipt.output_change < 1e-6
    assert torch.equal(model[0].weight, whole[0].weight[1:])
    assert torch.equal(model[3].weight, whole[3].weight[:, 1:])
    model(x).sum().backward()  # what is left can be trained
    receipt.undo()
    assert all(a is b for a, b in zip(model.parameters(), objects, strict=True))
    assert (model[0].out_features, model[3].in_features) == (12, 12)
    assert torch.equal(model(x), outputs)


def test_silent_units_only_on_request(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    record, outputs = rectifier.check(model, [x]), model(x)
    receipt = rectifier.prune(model, record, silent=True, probe=x)
    shut = {f.site: [] for f in record.of("dead", "silent")}
    for f in record.of("dead", "silent"):
        shut[f.site] += f.units
    assert model[0].out_features == 12 - len(shut["1"]) and model[3].out_features == 10 - len(shut["4"])
    assert torch.allclose(model(x), outputs, atol=1e-6)
    again = rectifier.check(model, [x])
    assert again.of("dead", "silent") == ()
    receipt.undo()
    assert torch.equal(model(x), outputs)


def test_calls_in_nested_modules_are_followed(functional: Any) -> None:
    model, x = functional.model, functional.inputs
    record, outputs = rectifier.check(model, [x]), model(x)
    receipt = rectifier.prune(model, record, silent=True, probe=x)
    assert receipt.output_change is not None and receipt.output_change < 1e-6
    cut = sum(len(f.units) for f in record.of("dead", "silent") if f.site == "block.relu#1")
    assert cut >= 2 and model.block.two.out_features == model.mid.in_features == 8 - cut
    assert torch.allclose(model(x), outputs, atol=1e-6)


def test_a_layer_keeps_one_unit() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].bias.fill_(-9.0)
    x = torch.rand(8, 2)
    receipt = rectifier.prune(model, rectifier.check(model, [x]), probe=x)
    assert model[0].out_features == 1 and receipt.units == (1, 2) and receipt.output_change == 0.0
    assert receipt.change == (
        "0 3 → 1 units (one is kept, so that the layer stays). Parameters are new objects: make a new optimizer"
    )


def test_nothing_to_cut(healthy: Any) -> None:
    receipt = rectifier.prune(healthy.model, rectifier.check(healthy.model, [healthy.inputs]))
    assert (receipt.units, receipt.change, receipt.output_change) == ((), "nothing to cut", None)
    assert receipt.parameters_before == receipt.parameters_after


def finding(site: str, *units: int, kind: Any = "dead") -> Finding:
    return Finding(kind, site, units, 8, "", "", "")


PLAIN = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
CHAIN = "must stand in a chain Linear → rectifier → Linear; got a place where"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rectifier.prune(PLAIN, [finding("1", 0, kind="silent")]),
            "prune: `findings` must be dead; got 'silent' at '1'. Pass silent=True to cut it all the same.",
        ),
        (
            lambda: rectifier.prune(PLAIN, [finding("1", 0, kind="rare")], silent=True),
            "prune: `findings` must be dead or silent; got 'rare' at '1'. Leave it out.",
        ),
        (
            lambda: rectifier.prune(
                nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3)), [finding("1", 0)]
            ),
            f"prune: '1' {CHAIN} 0 is a Conv2d. Leave this site out.",
        ),
        (
            lambda: rectifier.prune(
                nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), [finding("2", 0)]
            ),
            f"prune: '2' {CHAIN} 1 stands between. Leave this site out.",
        ),
        (
            lambda: rectifier.prune(nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(), nn.Linear(8, 2)), [finding("1", 0)]),
            f"prune: '1' {CHAIN} leaky_relu does not give 0 where it is shut. Leave this site out.",
        ),
        (
            lambda: rectifier.prune(nn.Sequential(nn.Linear(3, 8), nn.ReLU()), [finding("1", 0)]),
            "prune: '1' must stand between layers that can be followed (Linear or Conv, through batch normalisation, "
            "dropout, pooling and flattening); got a place where its units go into the model's output. "
            "Leave this site out.",
        ),
        (
            lambda: rectifier.prune([1], []),
            "prune: `model` must be a PyTorch model (torch.nn.Module); got list. "
            "Pass the model itself, not its weights or its class.",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text
