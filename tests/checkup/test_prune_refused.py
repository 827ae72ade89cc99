"""What ``prune`` refuses, word by word, and leaves as it was."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import Certificate

from .pruned_models import dead, kill, mlp

X = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
STAYS = "prune: `findings` must name units that can be cut; got units [1] of "
MADE = "prune: `model` must be made of layers with weights of their own; got "
SAME = "prune: `model` must compute the same for every input; got "


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(torch.tanh(self.a(x)))))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x)))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.a(x))
        return self.b(h if h.sum() > 0 else -h)


class Drawing(Branching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x)) + torch.rand(()))


class Sized(Branching):
    """Its answer depends on how many units there are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.a(x))
        return self.b(h / h.shape[1])


class Raising(Branching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("lost")


def normed(weight: Callable[..., Any]) -> nn.Module:
    model = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older of the two is deprecated
        weight(model[0])
    return model


def hooked(register: Callable[[nn.Module], Any]) -> nn.Module:
    model = mlp()
    register(model[0])
    return model


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})


def scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(mlp())


def scripted_part() -> nn.Module:
    model = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model[0] = torch.jit.script(model[0])
    return model


@pytest.mark.parametrize(
    ("model", "site", "text"),
    [
        (
            lambda: normed(torch.nn.utils.parametrizations.weight_norm),
            "1",
            f"{STAYS}'1', where linear in 0 computes with a tensor that is computed from others, by a parametrization "
            "or by code. Leave them out.",
        ),
        (
            lambda: normed(torch.nn.utils.weight_norm),
            "1",
            f"{STAYS}'1', where linear in 0 computes with a tensor that is computed from others, by a parametrization "
            "or by code. Leave them out.",
        ),
        (
            lambda: hooked(lambda layer: layer.register_forward_hook(lambda *_: None)),
            "1",
            f"{STAYS}'1', where layer 0 has hooks. Leave them out.",
        ),
        (
            lambda: hooked(lambda layer: layer.weight.register_hook(lambda gradient: gradient)),
            "1",
            f"{STAYS}'1', where 0.weight has hooks. Leave them out.",
        ),
        (lambda: kill(Twice(), a=[1]), "relu#0", f"{STAYS}'relu#0', where a is called several times. Leave them out."),
        (
            lambda: kill(Tied(), a=[1]),
            "relu#0",
            f"{STAYS}'relu#0', where a.weight and b.weight are one tensor. Leave them out.",
        ),
        (
            lambda: torch.compile(mlp(), backend="eager"),
            "1",
            f"{MADE}a compiled OptimizedModule. Pass the model that was compiled, and compile it again.",
        ),
        (scripted, "1", f"{MADE}a scripted RecursiveScriptModule. Pass the model before torch.jit."),
        (scripted_part, "1", f"{MADE}'0', which is scripted. Put the part that it was made of there."),
        (quantized, "1", f"{MADE}'0', which is quantized. Prune before it is quantized."),
        (
            lambda: nn.DataParallel(mlp()),
            "1",
            f"{MADE}a DataParallel. Pass its `module`, before it is spread over devices.",
        ),
        (
            lambda: kill(Branching(), a=[1]),
            "relu#0",
            f"{SAME}Branching, which asks for the values of a tensor (bool) in test_prune_refused.py, line 52. Act on "
            "a part of it that has no data-dependent control flow.",
        ),
        (
            lambda: kill(Drawing(), a=[1]),
            "relu#0",
            f"{SAME}Drawing, whose forward pass draws random numbers in evaluation mode. Act on a part of it that "
            "draws none.",
        ),
    ],
)
def test_models_that_cannot_be_cut(model: Callable[[], nn.Module], site: str, text: str) -> None:
    torch.manual_seed(0)
    made = model()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(made, [dead(site, 1, total=8 if site == "1" else 3)], probe=X)
    assert str(caught.value) == text


def test_a_model_that_counts_its_units_is_put_back() -> None:
    torch.manual_seed(0)
    model = kill(Sized(), a=[1])
    before, objects = model(X), list(model.parameters())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [dead("relu#0", 1, total=3)], probe=X)
    moved = (model.b(F.relu(model.a(X)) / 2) - before).abs().max().item()
    assert str(caught.value) == (
        "prune: `model` must be one that can be followed; got Sized, which after the cut gives outputs that are off "
        f"by {moved:.4g}. It was put back as it was. Leave out the sites where sizes are written into the code."
    )
    assert torch.equal(model(X), before) and all(a is b for a, b in zip(model.parameters(), objects, strict=True))


def test_a_model_that_raises_without_values() -> None:
    class Looking(Branching):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(F.relu(self.a(torch.linalg.qr(x)[0])))

    model = kill(Looking(), a=[1]).train()
    receipt = rectifier.prune(model, [dead("relu#0", 1, total=3)], probe=X)  # an unknown call holds nothing behind it
    assert receipt.units == (1,) and model.training

    with pytest.raises(KeyError):
        rectifier.prune(Raising(), [dead("relu#0", 1, total=3)], probe=X)


def test_no_probe_and_no_shape() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    kill(model, _0=[1])
    record = rectifier.check(model, [torch.rand(2, 1, 8, 8)], box=None)
    receipt = rectifier.prune(copy.deepcopy(model), record)  # the certificate tells the shape
    assert receipt.units == (1,) and receipt.output_change is receipt.flops is receipt.seconds is None
    assert receipt.evidence.endswith("what is left is the rounding of shorter sums.")
    read = rectifier.checkup.Record.from_json(record.to_json())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, read)
    assert str(caught.value) == (
        "prune: `probe` must be given where the first layer does not tell the shape of the inputs; got None. "
        "Pass a batch of inputs."
    )


# Certificates


def certified() -> tuple[nn.Module, Certificate]:
    model = mlp()
    certificate = rectifier.check(model, [X]).certificate
    assert certificate is not None
    return model, certificate


def test_a_certificate_is_checked_and_cut() -> None:
    model, certificate = certified()
    before = model(X)
    receipt = rectifier.prune(model, certificate)
    assert {(1, 1), (3, 2), (3, 5)} <= {(int(s), u) for s, units in certificate.units.items() for u in units}
    assert len(receipt.units) == sum(len(units) for units in certificate.units.values())
    assert receipt.proved and receipt.evidence.startswith(
        "Proved: each unit that was cut gives 0 (for every input within its own range, all of them within ["
    )
    assert torch.allclose(model(X), before, atol=1e-6)


def test_a_certificate_of_other_weights() -> None:
    model, certificate = certified()
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, certificate)
    assert str(caught.value) == (
        "prune: `findings` must be a certificate that holds for these weights; got one that is refused: '0.weight' is "
        "another tensor than the one it was made for. Make another with: rectifier check TARGET --certificate FILE"
    )


def test_a_forged_certificate() -> None:
    model, certificate = certified()
    forged = Certificate({"1": (0,)}, certificate.document.replace('"units": [1', '"units": [0', 1))
    with pytest.raises(rectifier.RectifierValueError, match="the bounds of 1 do not shut each unit that it names"):
        rectifier.prune(model, forged)


def norm_model() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3)).eval()
    kill(model, _1=[3])
    return model


IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_proofs_hold_in_the_mode_they_were_made_for() -> None:
    model = norm_model()
    record = rectifier.check(model, [IMAGES])
    model.train()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record)
    assert str(caught.value) == (
        "prune: `findings` must hold in the mode that the model is in; got proofs with batch normalisation in "
        "evaluation mode, and a model in training mode. Call model.eval() first."
    )
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record.certificate)
    assert str(caught.value) == (
        "prune: `findings` must hold in the mode that the model is in; got a certificate with batch normalisation in "
        "evaluation mode, and '1' in training mode. Call model.eval() first."
    )
    assert 3 in rectifier.prune(model.eval(), record.certificate).units


def test_proofs_of_a_training_are_none_in_evaluation() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[1].weight[2], model[1].bias[2] = 0.01, -5.0
    with rectifier.watch(model) as watching:
        for _ in range(3):
            model(torch.randn(16, 3)).sum().backward()
    record = watching.record
    assert record.of("dead")[0].units == (2,) and record.certificate is not None
    model.eval()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record)
    assert str(caught.value) == (
        "prune: `findings` must hold in the mode that the model is in; got proofs for training mode, and a model in "
        "evaluation mode. Check the model in the mode that it is used in."
    )
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record.certificate)
    assert str(caught.value) == (
        "prune: `findings` must hold in the mode that the model is in; got a certificate for training mode, and '1' in "
        "evaluation mode. Make one of the model in evaluation mode."
    )
    assert rectifier.prune(model.train(), record).units == (2,)


def test_running_statistics_that_moved() -> None:
    model = norm_model()
    record = rectifier.check(model, [IMAGES])
    with torch.no_grad():
        model[1].running_var += 1
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, record)
    assert str(caught.value) == (
        "prune: `findings` must be a record of the model as it is; got one where '1.running_var' was another tensor. "
        "Run rectifier.check again."
    )


def test_an_optimizer_whose_state_is_no_row_of_its_parameter() -> None:
    model = mlp()
    optimizer = torch.optim.Adafactor(model.parameters())
    model(X).sum().backward()
    optimizer.step()
    before, objects = model(X), list(model.parameters())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [dead("1", 1)], probe=X, optimizer=optimizer)
    assert str(caught.value) == (
        "prune: `optimizer` must keep state of the shape of its parameter, (8, 3); got 'row_var' of shape (8, 1) in "
        "Adafactor. Leave `optimizer` out and make a new one afterwards."
    )
    assert torch.equal(model(X), before) and all(a is b for a, b in zip(model.parameters(), objects, strict=True))


def test_an_optimizer_of_another_model_is_refused() -> None:
    """It would be told to have the smaller parameters, and have none of them."""
    model = mlp()
    before, objects = model(X), list(model.parameters())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [dead("1", 1)], probe=X, optimizer=torch.optim.SGD(mlp().parameters(), lr=0.1))
    assert str(caught.value) == (
        "prune: `optimizer` must step parameters of the model; got SGD with none of them. Make it from "
        "model.parameters(), or leave it out and make a new one afterwards."
    )
    assert torch.equal(model(X), before) and all(a is b for a, b in zip(model.parameters(), objects, strict=True))


def test_undo_where_a_layer_was_replaced_is_refused() -> None:
    """The rest would be put back round a layer that stays small, and the model would not run."""
    model = mlp()
    receipt = rectifier.prune(model, [dead("1", 1)], probe=X)
    model[0] = nn.Linear(3, model[0].out_features)
    before = model(X)
    with pytest.raises(rectifier.RectifierValueError, match="undo: the model must be as the act at '1' left it"):
        receipt.undo()
    assert torch.equal(model(X), before)
