"""Folding: two Linear layers become one where the rectifier between them does nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier

X = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))


def opened(*extra: nn.Module, hidden: int = 16) -> nn.Sequential:
    """A dead unit in front, so that there is a certificate with its box; then a site whose units are all open."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, hidden), *(extra or (nn.ReLU(),)), nn.Linear(hidden, 3)
    ).eval()
    with torch.no_grad():
        model[0].bias[1] = -50.0
        model[2].bias += 5.0
    return model


def test_an_open_site_is_folded_and_that_is_proved() -> None:
    model = opened()
    record, before = rectifier.check(model, [X], box=(0.0, 1.0)), model(X)
    objects, modules, names = list(model.parameters()), list(model), list(model.state_dict())
    receipt = rectifier.prune(model, record, probe=X, fold=True)
    assert receipt.site == "1, 3" and isinstance(model[2], nn.Identity) and isinstance(model[3], nn.Identity)
    left = model[0].out_features
    assert (model[4].in_features, model[4].out_features) == (left, 3) and left < 8
    assert receipt.change.endswith("; layers 2 and 4 made one. Parameters are new objects: make a new optimizer")
    assert (
        receipt.proved
        and "Proved: each unit of 3 is open (for every input within [0, 1], as given)" in receipt.evidence
    )
    assert (
        torch.allclose(model(X), before, atol=1e-5) and receipt.output_change == (model(X) - before).abs().max().item()
    )
    assert receipt.parameters_after == 5 * left + 3 * left + 3
    receipt.undo()
    assert all(a is b for a, b in zip(model.parameters(), objects, strict=True))
    assert all(a is b for a, b in zip(model, modules, strict=True)) and list(model.state_dict()) == names
    assert torch.equal(model(X), before)


def test_what_was_only_seen_open_is_said_to_be() -> None:
    model = opened()
    with torch.no_grad():
        model[0].bias[1] = 0.0  # nothing is dead, so there is no certificate
        model[0].weight.abs_()
        model[0].bias.abs_()
    record = rectifier.check(model, [X])
    assert not record.of("dead")
    receipt = rectifier.prune(model, record, probe=X, fold=True)
    assert receipt.proved is False and receipt.evidence == (
        "Not proved: units of 1, 3 were only seen open, and the outputs change where one would have shut. "
        f"Measured on the probe: max |Δ output| = {receipt.output_change:.4g}."
    )


def test_the_optimizer_goes_on_with_what_is_left() -> None:
    model = opened()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    model(X).sum().backward()
    optimizer.step()
    objects, state = list(optimizer.param_groups[0]["params"]), {p: s for p, s in optimizer.state.items()}
    record = rectifier.check(model, [X], box=(0.0, 1.0))
    receipt = rectifier.prune(model, record, probe=X, fold=True, optimizer=optimizer)
    assert set(optimizer.param_groups[0]["params"]) == set(model.parameters())
    assert set(optimizer.state) == {model[0].weight, model[0].bias}  # a product has no moments
    model(X).sum().backward()
    receipt.undo()
    assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], objects, strict=True))
    assert set(optimizer.state) == set(state) and all(optimizer.state[p] is s for p, s in state.items())


class Called(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x)))


def called() -> nn.Module:
    model = Called().eval()
    with torch.no_grad():
        model.a.bias += 5.0
    return model


@pytest.mark.parametrize("layer", ["a", "b"])
def test_a_bias_of_two_layers_is_not_folded(layer: str) -> None:
    """The optimizer would lose it, or the two would no longer be one."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)
            self.c = nn.Linear(4, getattr(self, layer).out_features)
            with torch.no_grad():
                self.a.bias += 5.0
            self.c.bias = getattr(self, layer).bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.act(self.a(x))) + self.c(x).sum(dim=1, keepdim=True)

    model = Model().eval()
    receipt = rectifier.prune(model, rectifier.check(model, [X], box=(0.0, 1.0)), probe=X, fold=True)
    assert receipt.change == "nothing to cut" and model.a.out_features == 16
    assert any(f"{layer} shares its bias with c" in line for line in receipt.skipped)


class Pooled(nn.Module):
    """Its second rectifier is open for images that are small, or dark."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)
        self.a, self.act, self.b = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[2, 0, 0, 0] = 1.0
            self.conv.bias.copy_(torch.tensor([0.0, -9.0, 0.0, 0.0]))
            self.a.weight.zero_()
            self.a.weight[:, 2] = -1.0
            self.a.bias.fill_(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.act(self.a(self.pool(F.relu(self.conv(x))).flatten(1))))


@pytest.mark.parametrize("sizes", [(8,), (8, 6)])
def test_bounds_of_one_window_prove_nothing_of_whole_maps(sizes: tuple[int, ...]) -> None:
    """With maps of several sizes a certificate is about windows of the first layer."""
    model = Pooled().eval()
    batches = [0.01 * torch.rand(4, 1, size, size) for size in sizes]
    record = rectifier.check(model, batches, box=(0.0, 1.0))
    receipt = rectifier.prune(model, record, probe=batches[0], fold=True)
    assert receipt.change.startswith("layer conv: 4 → 1 units; layers a and b made one")
    assert receipt.proved is False and "Not proved: units of act were only seen open" in receipt.evidence


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (called, "'relu#0' was not folded: it is a call in the code, or one of several, which cannot be taken out"),
        (lambda: opened(nn.ReLU(), nn.Dropout()), "'3' was not folded: something stands between it and the layers"),
        (lambda: opened(nn.ReLU6()), "'3' was not folded: relu6 is no identity where it is open"),
        (lambda: opened(hidden=1), "'3' was not folded: one layer would have as many weights as both"),
    ],
)
def test_what_is_not_folded_is_told(make: Any, line: str) -> None:
    model = make()
    record = rectifier.check(model, [X])
    receipt = rectifier.prune(model, record, probe=X, fold=True)
    assert line in receipt.skipped


def test_folding_takes_a_record() -> None:
    with pytest.raises(rectifier.RectifierTypeError) as caught:
        rectifier.prune(opened(), [], fold=True)
    assert str(caught.value) == (
        "prune: `fold` must be left out without a record; got fold=True with list. Pass what rectifier.check returned."
    )


def test_undo_after_training_on_is_refused() -> None:
    model = opened()
    receipt = rectifier.prune(model, rectifier.check(model, [X], box=(0.0, 1.0)), fold=True)
    with torch.no_grad():
        model[4].bias += 1
    with pytest.raises(rectifier.RectifierValueError) as caught:
        receipt.undo()
    assert str(caught.value) == (
        "undo: the model must be as the act at '1, 3' left it; got parameters that changed since. Keep the act, or go "
        "on from a copy of the model made before it."
    )
