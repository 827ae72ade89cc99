"""What a model does with its weights and values beside its layers, which ``prune`` must not change, probe or none."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier

from .pruned_models import dead, depthwise, kill, settle

X = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
STAYS = "prune: `findings` must name units that can be cut; got units [1, 4] of 'relu#0', where "


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(F.relu(self.a(x)))


class Decayed(Net):
    """Its outputs tell how large its weights are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.a(x))
        return self.b(h) + 0.1 * self.a.weight.norm()


class Centred(Net):
    """What it computes of the weights stands before the layer that has them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = self.a.bias.mean()
        return self.b(F.relu(self.a(x))) - level


@dataclass
class Features:
    hidden: torch.Tensor
    scores: torch.Tensor


class Told(Net):
    def forward(self, x: torch.Tensor) -> Features:
        h = F.relu(self.a(x))
        return Features(h, self.b(h))


class Loose(Net):
    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        h = F.relu(self.a(x))
        return SimpleNamespace(scores=self.b(h), kept={"hidden": [h]})


class Averaged(Net):
    """A size in the code that no tensor tells of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x))) / self.a.out_features


def record(model: nn.Module) -> Any:
    return rectifier.check(model, [X], box=(0.0, 1.0))


@pytest.mark.parametrize("probe", [None, X])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Decayed, "norm reads its weights as well"),
        (Centred, "mean reads its weights as well"),
        (Told, "they are part of the model's output"),
        (Loose, "they are part of the model's output"),
    ],
)
def test_what_is_read_elsewhere_stays(make: Any, why: str, probe: Any) -> None:
    model = kill(make().eval(), a=[1, 4])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record(model), probe=probe)
    assert why in str(caught.value) and str(caught.value).startswith("prune: `findings` must name units that can be")
    assert model.a.out_features == 8
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_whole_refusal() -> None:
    model = kill(Decayed().eval(), a=[1, 4])
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [dead("relu#0", 1, 4)], probe=X)
    assert str(caught.value) == f"{STAYS}norm reads its weights as well. Leave them out."


@pytest.mark.parametrize("probe", [None, X])
def test_a_size_in_the_code_is_found_without_a_probe_too(probe: Any) -> None:
    model = kill(Averaged().eval(), a=[1, 4])
    outputs = model(X)
    with pytest.raises(rectifier.RectifierValueError, match="which after the cut gives outputs that are off by"):
        rectifier.prune(model, record(model), probe=probe)
    assert model.a.out_features == 8 and torch.equal(model(X), outputs)


class Boxed(Net):
    """Dead in its box alone: the second layer, too, and what is asked of it cannot all go."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(2, 2)
        with torch.no_grad():
            self.b.bias.fill_(-100.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


def test_units_that_fire_outside_the_box_are_cut_without_a_probe() -> None:
    model = Boxed().eval()
    with torch.no_grad():
        model.a.weight[1] = 1.0
        model.a.bias[1] = -0.5
    x = -X
    outputs = model(x)
    found = rectifier.check(model, [x], box=(-1.0, 0.0))
    receipt = rectifier.prune(model, found)
    assert receipt.proved and 1 in found.of("dead")[0].units and model.a.out_features < 8
    assert model.b.out_features == 1  # one is kept, so that the layer stays
    torch.testing.assert_close(model(x), outputs)
    receipt.undo()
    assert torch.equal(model(x), outputs)


def test_units_that_go_with_others_are_counted() -> None:
    """All of the second rectifier are dead; of the first one, unit 1 is, which stays, and those go that are alive."""
    torch.manual_seed(0)
    model = kill(settle(depthwise()), _1=[1], _4=list(range(8)))
    x = torch.rand(4, 3, 6, 6, dtype=torch.float64)
    outputs = model(x)
    receipt = rectifier.prune(model, rectifier.check(model, [x], box=(0.0, 1.0)))
    assert receipt.proved and (model[0].out_channels, model[3].groups) == (1, 1)
    torch.testing.assert_close(model(x), outputs)


class Named(Net):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(scores=self.b(self.act(self.a(x))))


def test_the_change_of_outputs_in_an_object_is_measured() -> None:
    model = kill(Named().eval(), a=[1])
    before = model(X).scores.double()
    (receipt,) = rectifier.heal(model, [dead("act", 1)], how="swap", with_="abs", probe=X)
    assert receipt.output_change == (model(X).scores.double() - before).abs().max().item() > 1.0


class Particular(Net):
    """Raises for what it is not made for, which one can be asked without a look at any value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._assert_async((~(x < 2.0)).any())
        return self.b(F.relu(self.a(x)))


def test_a_model_that_takes_no_made_up_numbers_needs_a_probe() -> None:
    plain, model = kill(Net().eval(), a=[1, 4]), kill(Particular().eval(), a=[1, 4])
    certificate = record(plain).certificate
    assert certificate is not None
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, certificate)
    assert str(caught.value) == (
        "prune: `probe` must be given where the model does not take numbers that were made up; got None, and "
        "Particular raises RuntimeError: Expected Tensor with single nonzero value, but got zero. Pass a batch of "
        "inputs."
    )
    assert model.a.out_features == 8
