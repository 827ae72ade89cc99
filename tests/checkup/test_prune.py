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
    assert (receipt.act, receipt.site, receipt.units) == ("prune", "1, 4", (0, 0))
    assert (model[0].out_features, model[3].in_features, model[3].out_features) == (11, 11, 9)
    assert receipt.parameters_before - receipt.parameters_after == (16 + 1 + 10) + (11 + 1 + 3)
    assert receipt.parameters_after == sum(p.numel() for p in model.parameters())
    assert receipt.output_change == (model(x) - outputs).abs().max().item()
    assert receipt.output_change < 1e-6
    assert torch.equal(model[0].weight, whole[0].weight[1:])
    assert torch.equal(model[3].weight, whole[3].weight[1:, 1:])
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
        "layer 0: 3 → 1 units (one is kept, so that the layer stays). Parameters are new objects: make a new optimizer"
    )


def test_nothing_to_cut(healthy: Any) -> None:
    receipt = rectifier.prune(healthy.model, rectifier.check(healthy.model, [healthy.inputs]))
    assert (receipt.units, receipt.change, receipt.output_change) == ((), "nothing to cut", None)
    assert receipt.parameters_before == receipt.parameters_after


def test_a_record_cuts_once(mlp: Any) -> None:
    """The units it names are other ones afterwards."""
    model, x = mlp.model.eval(), mlp.inputs
    record = rectifier.check(model, [x])
    rectifier.prune(model, record, probe=x)
    cut = copy.deepcopy(model)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record, probe=x)
    assert str(caught.value) == (
        "prune: `findings` must be a record of the model as it is; got one where the weights of layer '0' were others, "
        "in 12 of 12 units. Run rectifier.check again."
    )
    again = rectifier.check(cut, [x], name="of the smaller model")
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [finding("1", 0, total=12)], probe=x)
    assert str(caught.value) == (
        "prune: `findings` must be about this model; got 12 units at '1', which has 11. Check the model as it is now."
    )
    assert torch.equal(cut(x), model(x)) and again.of("dead") == ()


def test_a_proof_holds_for_the_weights_it_was_made_of(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    record = rectifier.check(model, [x])
    with torch.no_grad():
        model[0].bias[0] += 1e-3
    with pytest.raises(rectifier.RectifierValueError, match="the weights of layer '0' were others, in 1 of 12 units"):
        rectifier.prune(model, record)


def test_what_fires_on_the_probe_is_not_cut(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    record = rectifier.check(model, [x])
    far = x + 100 * model[0].weight[1]  # unit 1 was silent on x
    assert (model[0](far)[:, 1] > 0).any()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [finding("1", 0, 1, total=12)], probe=far)
    assert str(caught.value) == (
        "prune: `findings` must name units that do not fire; got units [1] of '1', which fire on the probe. "
        "Leave them out."
    )
    named = {unit for f in record.of("dead", "silent") if f.site == "1" for unit in f.units}
    fires = {unit for unit in named if (model[0](far)[:, unit] > 0).any()}
    receipt = rectifier.prune(model, record, silent=True, probe=far)
    assert model[0].out_features == 12 - len(named - fires)
    assert f"got units {sorted(fires)} of '1', which fire on the probe" in receipt.skipped[0]


def test_only_seen_silent_is_said(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    with torch.no_grad():
        model[0].bias[0] = 0.0
        model[3].bias[0] = 0.0
    record = rectifier.check(model, [x])
    silent = sum(len(f.units) for f in record.of("silent"))
    assert silent and not record.of("dead")
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record)
    assert str(caught.value) == (
        f"prune: `findings` must hold units that are proved dead; got a record with none, and {silent} that are only "
        "seen silent. Pass silent=True to cut those: the outputs change where one would have fired."
    )


def test_of_a_record_the_rest_is_cut_and_what_was_not_is_told() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 2)
    ).eval()
    with torch.no_grad():
        model[0].bias[0] = model[4].bias[1] = -50.0
    x = torch.rand(32, 1, 4, 4)
    record, outputs = rectifier.check(model, [x]), model(x)
    receipt = rectifier.prune(model, record, silent=True, probe=x)
    assert receipt.site == "5" and 1 in receipt.units and model[4].out_features == 6 - len(receipt.units)
    assert receipt.skipped == (
        "`findings` must name units that can be cut; got units [0, 3] of '1', where layer_norm in 3 reads all of them "
        "together. Leave them out.",
    )
    assert torch.allclose(model(x), outputs, atol=1e-6)
    only_conv = rectifier.check(model, [x])
    with pytest.raises(rectifier.RectifierValueError, match="layer_norm in 3 reads all of them together"):
        rectifier.prune(model, only_conv, silent=True)


def test_undo_after_training_is_refused(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    receipt = rectifier.prune(model, rectifier.check(model, [x]), probe=x)
    with torch.no_grad():
        model[3].bias += 1
    trained = copy.deepcopy(model)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        receipt.undo()
    assert str(caught.value) == (
        "undo: the model must be as the act at '1, 4' left it; got parameters that changed since. Keep the act, or go "
        "on from a copy of the model made before it."
    )
    assert torch.equal(model(x), trained(x))


def finding(site: str, *units: int, kind: Any = "dead", total: int = 8) -> Finding:
    return Finding(kind, site, units, total, "", "", "")


PLAIN = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
STAYS = "prune: `findings` must name units that can be cut; got units [0] of"


def leaky() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(), nn.Linear(8, 2))


def shut(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model.get_submodule("0").bias[0] = -50.0
    return model


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
            lambda: rectifier.prune(PLAIN, [finding("1", 0)]),
            "prune: `probe` must be given with findings that come without their record; got None, so nothing shows "
            "that they still hold. Pass a batch of inputs, or the record itself.",
        ),
        (
            lambda: rectifier.prune(shut(leaky()), [finding("1", 0)], probe=torch.rand(4, 3)),
            f"{STAYS} '1', where leaky_relu does not give 0 where it is shut. Leave them out.",
        ),
        (
            lambda: rectifier.prune(shut(PLAIN[:2]), [finding("1", 0)], probe=torch.rand(4, 3)),
            f"{STAYS} '1', where they are part of the model's output. Leave them out.",
        ),
        (
            lambda: rectifier.prune(PLAIN, [finding("7", 0)], probe=torch.rand(4, 3)),
            "prune: `findings` must name sites of this model; got '7'. Its sites are 1.",
        ),
        (
            lambda: rectifier.prune(PLAIN, [finding("1", 9)], probe=torch.rand(4, 3)),
            "prune: `findings` must name units of this model; got units [9] of '1', which has 8. "
            "Check the model as it is now.",
        ),
        (
            lambda: rectifier.prune(PLAIN, [], optimizer="adam"),
            "prune: `optimizer` must be a torch.optim.Optimizer or None; got str. "
            "Pass the optimizer that steps this model.",
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
