"""``lean``: the same functions with the same parameters, and what is kept for backward is what is reported."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import rectifier
import rectifier.torch as rt

#: PyTorch's layer, ours in its place.
TWINS = [
    (nn.ReLU(), rt.ReLU()),
    (nn.ReLU(inplace=True), rt.ReLU(inplace=True)),
    (nn.Threshold(0, 0), rt.ReLU()),
    (nn.LeakyReLU(0.2, inplace=True), rt.LeakyReLU(0.2, inplace=True)),
    (nn.PReLU(6, init=0.1), rt.PReLU(6, init=0.1)),
    (nn.ReLU6(), rt.ReLU6()),
    (nn.Hardtanh(0.0, 4.0), rt.ReLU6(ceiling=4.0)),
    (nn.ELU(0.5), rt.ELU(0.5)),
    (nn.CELU(2.0), rt.CELU(2.0)),
    (nn.SELU(), rt.SELU()),
    (nn.Softplus(2.0), rt.Softplus(2.0)),
    (nn.Softplus(threshold=30), rt.Softplus()),
]


@pytest.mark.parametrize(("theirs", "ours"), TWINS, ids=lambda layer: repr(layer))
def test_twins_give_the_same_values_and_gradients(theirs: nn.Module, ours: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), copy.deepcopy(theirs), nn.Linear(6, 2)).double()
    x = torch.randn(50, 5, dtype=torch.float64)
    weights = list(model.parameters())
    outputs = model(x)
    gradients = torch.autograd.grad(outputs.square().sum(), weights)
    receipt = rt.lean(model, x)
    assert type(model[1]) is type(ours) and repr(model[1]) == repr(ours)
    assert all(a is b for a, b in zip(model.parameters(), weights, strict=True)) and receipt.parameters == ()
    torch.testing.assert_close(model(x), outputs, rtol=1e-12, atol=1e-14)
    for new, old in zip(torch.autograd.grad(model(x).square().sum(), weights), gradients, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-12, atol=1e-14)
    assert receipt.output_change == (model(x) - outputs).abs().max().item()
    assert rt.lean(model).changed == ()  # lean already
    receipt.undo()
    assert type(model[1]) is type(theirs)
    assert torch.equal(model(x), outputs)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(64, 256), nn.BatchNorm1d(256), nn.Linear(256, 256)
        self.act, self.drop = nn.LeakyReLU(), nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.b(F.relu6(self.drop(self.norm(self.a(x)))))).clamp_min(0).sum()


def kept(model: nn.Module, x: torch.Tensor) -> int:
    """Counted here once more, by addresses of storages that stay alive."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    held: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
        outputs = model(x)
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
    del outputs
    return sum(size for address, size in sizes.items() if address not in own)


def test_bytes_are_those_that_autograd_keeps_and_no_trace_is_left() -> None:
    torch.manual_seed(0)
    model, x = Mixed(), torch.randn(128, 64)
    model.drop.eval()
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    before = kept(copy.deepcopy(model), x)
    receipt = rt.lean(model, x)
    assert {change.site for change in receipt.changed} == {"act", "relu6#0", "relu#0"}
    assert receipt.bytes_before == before
    assert receipt.bytes_after == kept(copy.deepcopy(model), x)
    assert receipt.bytes_saved == before - receipt.bytes_after >= 0
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items() if name in state)
    assert model.training and not model.drop.training and receipt.output_change == 0
    share = receipt.bytes_saved / before
    assert str(receipt).splitlines()[-1] == (
        f"kept for backward: {before:,} → {receipt.bytes_after:,} bytes ({share:.1%} saved)"
    )


def test_what_has_no_twin_stays_and_is_told() -> None:
    class Own(nn.ReLU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input) + 1

    model = nn.Sequential(nn.Softplus(threshold=3), nn.RReLU(), Own(), nn.ELU(-1.0), nn.Sigmoid(), nn.GELU(), nn.ReLU())
    receipt = rt.lean(model)
    assert [str(change) for change in receipt.changed] == ["6: nn.ReLU() → rt.ReLU()"]
    assert [str(missed) for missed in receipt.missed] == [
        "0: not changed, Softplus with threshold 3 is another function than softplus; there is no twin",
        "1: not changed, RReLU draws its slopes at random; there is no twin",
        "2: not changed, a Own has a forward of its own; there is no twin",
        "3: not changed, its parameter is refused: ELU: `alpha` must be finite and greater than 0; got -1.0. "
        "Pass a number such as 1.0.",
    ]
    assert receipt.bytes_before is None and receipt.bytes_saved is None and receipt.output_change is None


def test_in_place_the_exponential_ones_stay() -> None:
    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ELU(inplace=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.selu_(self.b(self.act(self.a(x))))

    model, x = Calls(), torch.randn(5, 4)
    receipt = rt.lean(model, x)
    assert [str(missed) for missed in receipt.missed] == [
        "act: not changed, ELU in place keeps its output alone, at the price of digits; its twin would keep more",
        "selu#0: not changed, SELU in place keeps its output alone, at the price of digits; its twin would keep more",
    ]
    twin = nn.Sequential(model.a, rt.ELU(inplace=True), model.b, rt.SELU(inplace=True))
    assert kept(twin, x) > kept(model, x) == receipt.bytes_after  # as long as that is so


def test_the_fused_path_of_a_transformer_stays_where_the_function_does() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        outputs = model(x)
        rt.lean(model)
        assert torch.equal(model(x), outputs)
    assert isinstance(model.activation, rt.ReLU) and model.activation_relu_or_gelu == 1


def test_shared_layers_stay_shared() -> None:
    shared = nn.PReLU()
    model = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared)
    rt.lean(model)
    assert model[1] is model[3] and model[1].weight is shared.weight and isinstance(model[1], rt.PReLU)


def test_an_example_that_cannot_be_run_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        rt.lean(model, torch.zeros(1, 3))
    assert type(model[1]) is nn.ReLU


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rt.lean(nn.Sequential(nn.Linear(2, 2), nn.GELU())),
            "lean: `model` must have a rectifier that can be reached; got Sequential without one. "
            "Pass the whole model.",
        ),
        (
            lambda: rt.lean(nn.Sequential(nn.ReLU()), [1.0]),
            "lean: `example` must be a tensor, or a tuple or dict of them; got list. "
            "Convert arrays with torch.as_tensor.",
        ),
        (lambda: rt.lean(3), "lean: `model` must be a torch.nn.Module; got int. Pass the whole model."),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text


def test_a_relu_before_a_linear_is_said_to_keep_more() -> None:
    """PyTorch's keeps the output, which the Linear keeps anyway; ours a bit a value beside it."""
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))
    receipt = rt.lean(model, torch.ones(32, 4))
    assert receipt.bytes_saved == -(32 * 64 // 8)
    assert str(receipt).endswith("kept for backward: 8,704 → 8,960 bytes (2.9% more)")
