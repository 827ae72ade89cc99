"""``heal(how="rescale")``: the gain of each layer is what its rectifier needs, measured or computed, and comes back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import Finding, Record


def deep(scale: float, act: Any = nn.ReLU, depth: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, 0.0, scale / 8)
        nn.init.normal_(linear.bias, 0.0, 1e-12)
        layers += [linear, act()]
    return nn.Sequential(*layers, nn.Linear(64, 4))


def measured(model: nn.Sequential, x: torch.Tensor) -> list[float]:
    """RMS(z) ÷ RMS(x) of each layer that feeds a rectifier, by hand."""
    found = []
    with torch.no_grad():
        for layer in model[:-1]:
            out = layer(x)
            if isinstance(layer, nn.Linear):
                found.append(float(out.double().square().mean().sqrt() / x.double().square().mean().sqrt()))
            x = out
    return found


@pytest.mark.parametrize(
    ("act", "row", "numbers"),
    [
        (nn.ReLU, "relu", {}),
        (lambda: nn.LeakyReLU(0.2), "leaky_relu", {"negative_slope": 0.2}),
        (nn.ELU, "elu", {}),
        (nn.PReLU, "prelu", {"negative_slope": 0.25}),
    ],
)
@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_measured_gains_become_those_of_the_rectifier(act: Any, row: str, numbers: Any, scale: float) -> None:
    model, x = deep(scale, act), torch.randn(512, 64)
    record = rectifier.check(model, [x])
    assert {f.kind for f in record.findings} & {"initialisation", "vanishing_activation", "exploding_activation"}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    outputs = model(x)
    receipts = rectifier.heal(model, record, how="rescale", probe=x)
    assert len(receipts) == 8
    needed = rectifier.gain(row, **numbers)
    assert measured(model, x) == pytest.approx([needed] * 8, rel=0.011)
    after = rectifier.check(model, [x])
    assert not after.of("initialisation", "vanishing_activation", "exploding_activation")
    largest = max(receipt.output_change for receipt in receipts if receipt.output_change is not None)
    assert largest > 0 and not torch.equal(model(x), outputs)
    assert torch.equal(model[-1].weight, before[f"{len(model) - 1}.weight"])  # it feeds no rectifier
    for receipt in reversed(receipts):
        receipt.undo()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_without_a_probe_the_weights_tell() -> None:
    model, x = deep(0.2), torch.randn(512, 64)
    receipts = rectifier.heal(model, rectifier.check(model, [x]), how="rescale")
    for layer in model[:-1]:
        if isinstance(layer, nn.Linear):
            rms = float(layer.weight.detach().double().square().mean().sqrt())
            assert rms * 8 == pytest.approx(math.sqrt(2), rel=1e-5)
    assert receipts[0].output_change is None and receipts[0].site == "0" and receipts[0].units == ()
    assert receipts[0].change.startswith("weights and bias of layer 0 × 7.")
    assert "gain of its weights 0." in receipts[0].change and receipts[0].change.endswith("→ 1.414")


def test_the_state_of_the_optimizer_starts_anew_with_the_layer() -> None:
    model, x = deep(0.2), torch.randn(64, 64)
    optimizer = torch.optim.Adam(model.parameters())
    model(x).square().mean().backward()
    optimizer.step()
    receipts = rectifier.heal(model, [finding()], optimizer, how="rescale", probe=x)
    state = optimizer.state[model[0].weight]
    assert not state["exp_avg"].any() and not state["exp_avg_sq"].any() and state["step"] == 0
    assert optimizer.state[model[-1].weight]["exp_avg"].any()
    assert receipts[0].change.endswith("; 6 states of the optimizer reset")
    for receipt in reversed(receipts):
        receipt.undo()
    assert optimizer.state[model[0].weight]["step"] == 1


def test_a_convolution_and_a_layer_before_a_normalisation() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)
    ).eval()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    x = torch.randn(16, 2, 6, 6)
    (receipt,) = rectifier.heal(model, [finding()], how="rescale", probe=x)
    assert receipt.site == "0"  # what stands before a normalisation has its scale taken away


def finding(kind: Any = "initialisation") -> Finding:
    return Finding(kind, "0", (), 0, "", "", "")


def test_nothing_to_do() -> None:
    model = deep(1.0)
    assert rectifier.heal(model, Record("Sequential", "check", ()), how="rescale") == ()
    rectifier.heal(model, [finding()], how="rescale")
    assert rectifier.heal(model, [finding()], how="rescale") == ()  # they are right by now


def test_what_no_factor_repairs_is_told() -> None:
    model, x = deep(1.5, depth=3), torch.randn(64, 64)
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.zero_()
    model.spare = nn.Linear(64, 64)
    model.spare.weight = model[4].weight
    model.spare.forward = lambda x: x  # type: ignore[method-assign]
    receipts = rectifier.heal(model[:6], [finding()], how="rescale", probe=x)
    assert [receipt.site for receipt in receipts] == ["0"]
    assert receipts[0].skipped == ("layer 2 was left as it is: its gain is 0, which no factor repairs.",)


def tied() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def old() -> tuple[nn.Sequential, Record]:
    model = deep(0.2)
    record = rectifier.check(model, [torch.randn(8, 64)])
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    return model, record


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rectifier.heal(deep(1.0), [finding("silent")], how="rescale"),
            "heal: `findings` must be about a scale with how=\"rescale\"; got 'silent' at '0'. Pass the record, or "
            'how="recycle".',
        ),
        (
            lambda: rectifier.heal(nn.Sequential(nn.Linear(3, 3)), [finding()], how="rescale"),
            "heal: `model` must have a layer whose scale can be repaired; got no Linear or Conv layer that feeds a "
            "rectifier without a normalisation between. Use normalisation, or initialise it by hand.",
        ),
        (
            lambda: rectifier.heal(tied(), [finding()], how="rescale"),
            "heal: `model` must have a layer whose scale can be repaired; got layer 0 was left as it is: it shares its "
            "weight with 2. Use normalisation, or initialise it by hand.",
        ),
        (
            lambda: rectifier.heal(*old(), how="rescale"),
            "heal: `findings` must be a record of the model as it is; got one where the weights of layer '0' were "
            "others, in 64 of 64 units. Run rectifier.check again.",
        ),
        (
            lambda: rectifier.heal(deep(0.2), [finding()], torch.optim.SGD(deep(1.0).parameters()), how="rescale"),
            "heal: `optimizer` must step the parameters that are given a new start; got SGD without the one of layer "
            "0. Make it from model.parameters().",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text
