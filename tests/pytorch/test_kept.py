"""What autograd keeps, counted by saved-tensor hooks; in-place changes of outputs that were kept and that were not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier.frameworks.torch.ops import PUBLIC

Tensor = torch.Tensor
Make = Callable[[], nn.Module]
EXAMPLES, HIDDEN = 300, 4096
#: Layer → buffers kept where a Linear follows, and where nothing does that keeps the output.
BARS: dict[str, tuple[Make, float, float]] = {
    "ReLU": (rt.ReLU, 1.07, 0.04),
    "LeakyReLU": (rt.LeakyReLU, 1.07, 0.04),
    "LeakyReLU(-0.5)": (lambda: rt.LeakyReLU(-0.5), 1.07, 0.04),
    "ReLU6": (rt.ReLU6, 1.07, 0.04),
    "Abs": (rt.Abs, 1.07, 0.07),
    "SquaredReLU": (rt.SquaredReLU, 1.07, 1.0),
    "Softplus": (rt.Softplus, 1.07, 1.0),
    "ELU": (rt.ELU, 2.0, 1.0),
    "CELU": (rt.CELU, 2.0, 1.0),
    "SELU": (rt.SELU, 2.0, 1.0),
    "PReLU": (rt.PReLU, 2.0, 1.0),
}


def kept(model: Callable[..., Tensor], *inputs: Tensor) -> float:
    """Hidden-size buffers held after the forward pass; parameters and inputs left out, a storage counted once."""
    held: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(*inputs)
    parameters = model.parameters() if isinstance(model, nn.Module) else []
    left_out = {tensor.untyped_storage().data_ptr() for tensor in (*inputs, *parameters)}
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
    assert out.requires_grad
    return sum(size for address, size in sizes.items() if address not in left_out) / (EXAMPLES * HIDDEN * 4)


class Block(nn.Module):
    def __init__(self, make: Make, then: str) -> None:
        super().__init__()
        self.first, self.f, self.then = nn.Linear(8, HIDDEN), make(), then
        self.second = nn.Linear(HIDDEN, 4).requires_grad_(then == "Linear")

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        h = self.f(self.first(x))
        match self.then:
            case "add":
                return h + residual
            case "add in place":
                h += residual
                return h
            case "pool":
                return F.adaptive_avg_pool1d(h, 1)
        return self.second(h)


@pytest.mark.parametrize("then", ["Linear", "frozen Linear", "add", "pool"])
@pytest.mark.parametrize("layer", BARS)
def test_buffers_kept(layer: str, then: str) -> None:
    make, before_linear, alone = BARS[layer]
    bar = before_linear if then == "Linear" else alone
    found = kept(Block(make, then), torch.randn(EXAMPLES, 8), torch.randn(EXAMPLES, HIDDEN))
    assert found <= bar
    theirs = {"LeakyReLU": nn.LeakyReLU, "ReLU6": nn.ReLU6}.get(layer)
    if theirs:  # the count sees a whole tensor where there is one
        assert kept(Block(theirs, then), torch.randn(EXAMPLES, 8), torch.randn(EXAMPLES, HIDDEN)) >= alone + 0.9


def test_nothing_is_kept_without_a_gradient() -> None:
    z = torch.randn(EXAMPLES, HIDDEN)
    held: list[Tensor] = []
    with saved_tensors_hooks(lambda t: held.append(t), lambda t: t):
        for name, function in PUBLIC.items():
            function(z, **({"negative_slope": 0.25} if name == "prelu" else {}))
            with torch.no_grad():
                function(z.detach().requires_grad_(), **({"negative_slope": 0.25} if name == "prelu" else {}))
    assert not held


# In-place changes ----------------------------------------------------------------------------------------------------

SIZES = [0, 1, 7, 8, 9, 63, 1000, 2**14, 2**16 - 1, 2**16, 2**16 + 1, 2**20 - 1, 2**20, 2**20 + 1, 2**21 + 5]
GATED: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "relu": (rt.relu, {}),
    "relu at_zero": (rt.relu, {"at_zero": 0.5}),
    "leaky_relu": (rt.leaky_relu, {}),
    "leaky_relu, slope 0": (rt.leaky_relu, {"negative_slope": 0.0}),
    "leaky_relu, slope −1": (rt.leaky_relu, {"negative_slope": -1.0}),
    "prelu": (rt.prelu, {"negative_slope": 0.25}),
    "relu6": (rt.relu6, {}),
    "abs": (rt.abs, {}),
}
OTHERS = {name: (PUBLIC[name], {}) for name in ("squared_relu", "elu", "celu", "selu", "softplus")}
Change = Callable[[Tensor], Any]
CHANGES: dict[str, Change] = {
    "h += residual": lambda h: h.add_(1.5),
    "h *= 0": lambda h: h.mul_(0.0),
    "fill": lambda h: h.fill_(-7.0),
    "part": lambda h: h[: len(h) // 2].neg_(),
    "dropout": lambda h: F.dropout(h, 0.5, inplace=True),
    "relu": lambda h: torch.relu_(h),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", GATED)
def test_output_of_a_gate_member_may_be_changed_in_place(case: str, size: int) -> None:
    function, given = GATED[case]
    z = torch.linspace(-8, 8, size).requires_grad_() if size else torch.empty(0, requires_grad=True)
    dh = torch.linspace(-1, 1, size) if size else torch.empty(0)
    (expected,) = torch.autograd.grad(function(z, **given), z, dh)
    h = function(z, **given)
    h += 1.5
    (dz,) = torch.autograd.grad(h, z, dh)
    assert torch.equal(dz, expected)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", GATED)
def test_any_change_in_place(case: str, change: str) -> None:
    function, given = GATED[case]
    for size in (100, 2**17):
        z = torch.randn(size, generator=torch.Generator().manual_seed(0)).requires_grad_()
        results = []
        for clone in (True, False):
            torch.manual_seed(0)
            h = function(z, **given)
            h = h.clone() if clone else h
            CHANGES[change](h)
            results.append(torch.autograd.grad(h.square().sum(), z)[0])
        assert torch.equal(*results)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", OTHERS)
def test_output_of_the_others_is_refused_or_right(case: str, size: int) -> None:
    """Never a wrong gradient: an output that was kept, and is changed, is noticed."""
    function, given = OTHERS[case]
    z = torch.linspace(-8, 8, size).requires_grad_() if size else torch.empty(0, requires_grad=True)
    (expected,) = torch.autograd.grad(function(z, **given).sum(), z)
    h = function(z, **given)
    h += 1.5
    try:
        (dz,) = torch.autograd.grad(h.sum(), z)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
    else:
        assert torch.equal(dz, expected)


@pytest.mark.parametrize("size", [5, 2**17])
def test_a_kept_input_that_is_changed_is_noticed(size: int) -> None:
    for name in ("elu", "celu", "selu"):
        z = torch.linspace(-3, 3, size).requires_grad_() * 1.0
        h = PUBLIC[name](z)
        z += 1.0
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            h.sum().backward()


@pytest.mark.parametrize("size", [5, 2**17])
@pytest.mark.parametrize("case", [case for case in GATED if case != "prelu"])
def test_an_input_that_a_gate_member_did_not_keep_may_be_changed(case: str, size: int) -> None:
    function, given = GATED[case]
    leaf = torch.linspace(-3, 3, size).requires_grad_()
    (expected,) = torch.autograd.grad(function(leaf, **given).sum(), leaf)
    z = leaf * 1.0
    h = function(z, **given)
    try:
        with torch.no_grad():
            z.fill_(math.nan)
        (dz,) = torch.autograd.grad(h.sum(), leaf)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)  # few values: PyTorch's operator keeps its input
        assert size == 5
    else:
        assert torch.equal(dz, expected)
