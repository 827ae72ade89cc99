"""From a PyTorch model to its network: what is traced is what runs, and what is not known is unbounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup.proofs.network import Network
from rectifier.checkup.proofs.proof import upper_bound
from rectifier.frameworks.torch.tracing.bounds import traced


class Net(nn.Module):
    """Two linear layers; a function of the test's decides what happens in between."""

    def __init__(self, between: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.between = nn.Linear(4, 4), nn.Linear(4, 4), between
        self.drop, self.bn = nn.Dropout(0.5), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.two(self.between(self, F.relu(self.one(x)))))


def view_add(s: Any, z: torch.Tensor) -> torch.Tensor:
    z.view(-1).add_(100.0)
    return z


def base_add(s: Any, z: torch.Tensor) -> torch.Tensor:
    part = z[:, :4]
    z += 100.0
    return part


def split_add(s: Any, z: torch.Tensor) -> torch.Tensor:
    first, _ = z.chunk(2, dim=1)
    first += 100.0
    return z


def detached(s: Any, z: torch.Tensor) -> torch.Tensor:
    z.detach().mul_(-100.0)
    return z


def permuted(s: Any, z: torch.Tensor) -> torch.Tensor:
    z.unsqueeze(1).permute(0, 2, 1).fill_(50.0)
    return z


def out_of(s: Any, z: torch.Tensor) -> torch.Tensor:
    torch.add(z, 100.0, out=z)
    return z


def flag(s: Any, z: torch.Tensor) -> torch.Tensor:
    F.threshold(z, 1.0, 70.0, True)
    return z


def unknown_call(s: Any, z: torch.Tensor) -> torch.Tensor:
    return torch.cumsum(z, dim=1) * 30


def over_rows(s: Any, z: torch.Tensor) -> torch.Tensor:
    return (z * 3).sum(dim=0, keepdim=True).expand(z.shape[0], 4)


def rows_mixed(s: Any, z: torch.Tensor) -> torch.Tensor:
    return z.t().reshape(-1, 4).cumsum(0)


def in_place_then_reuse(s: Any, z: torch.Tensor) -> torch.Tensor:
    y = z - 5
    return F.relu(y, inplace=True) + y * 40


def dropout_flag(s: Any, z: torch.Tensor) -> torch.Tensor:
    return z + F.dropout(z, 0.5, True, False) * 20


def alpha(s: Any, z: torch.Tensor) -> torch.Tensor:
    return torch.add(z, z, alpha=40)


def power(s: Any, z: torch.Tensor) -> torch.Tensor:
    z **= 3
    return z


@pytest.mark.parametrize(
    "between",
    [
        view_add,
        base_add,
        split_add,
        detached,
        permuted,
        out_of,
        flag,
        unknown_call,
        over_rows,
        rows_mixed,
        in_place_then_reuse,
        dropout_flag,
        alpha,
        power,
    ],
)
def test_whatever_happens_in_between_is_covered(between: Any) -> None:
    torch.manual_seed(0)
    model = Net(between).eval()
    with torch.no_grad():
        model.two.weight.abs_()
        model.one.bias += 2
    found = traced(model, (4,), {f"relu#{n}": 0 for n in range(3)}, training=False, rows=64, roundoff=0.0)
    assert isinstance(found, Network), found
    _, high = upper_bound(found, (np.zeros(4), np.ones(4)))[found.sites[-1].name]
    seen: list[torch.Tensor] = []
    model.two.register_forward_hook(lambda module, args, z: seen.append(z))
    with torch.no_grad():
        model(torch.rand(64, 4))
    assert (seen[0].amax(0).double().numpy() <= high).all()


def silent(forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> Any:
    """A model whose site ``relu#1`` would be proved dead if its layer read what it seems to."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.turn = nn.Linear(4, 4), nn.Linear(4, 4), 0
            with torch.no_grad():
                self.a.bias.fill_(1.0)
                self.b.bias.fill_(-20.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(self, x)

    torch.manual_seed(0)
    return Model()


def plain(s: Any, x: torch.Tensor) -> torch.Tensor:
    return F.relu(s.b(F.relu(s.a(x))))


def alternating(s: Any, x: torch.Tensor) -> torch.Tensor:
    s.turn += 1
    h = F.relu(s.a(x))
    return F.relu(s.b(h if s.turn % 2 else 3 * h))


def sets_data(s: Any, x: torch.Tensor) -> torch.Tensor:
    h = F.relu(s.a(x))
    h.data = h * 3
    return F.relu(s.b(h))


def control_flow(s: Any, x: torch.Tensor) -> torch.Tensor:
    h = F.relu(s.a(x))
    return F.relu(s.b(h if h.sum() > 0 else 3 * h))


def told(model: Any) -> tuple[set[str], str]:
    record = rectifier.check(model, [torch.rand(32, 4)] * 3)
    return {finding.site for finding in record.of("dead")}, str(record.box)


def test_what_is_not_the_same_each_time_proves_nothing() -> None:
    assert told(silent(plain))[0] == {"relu#1"}
    dead, box = told(silent(alternating))
    assert dead == set()
    assert box.endswith("layers behind the first are not bounded: its forward pass is not the same each time")
    dead, box = told(silent(sets_data))
    assert dead == set() and box.endswith("not bounded: RectifierValueError: `data` is set on a tensor")
    dead, box = told(silent(control_flow))
    assert dead == set() and "symbolically traced variables cannot be used as inputs to control flow" in box


def test_a_layer_that_was_not_the_one_seen_proves_nothing() -> None:
    def changing(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.turn += 1
        h = F.relu(s.a(x))
        return F.relu(s.b(h) if s.turn > 2 else s.a(h) - 21)

    model = silent(changing)
    with torch.no_grad():
        model.b.weight.mul_(3)  # wide bounds, so that what was seen lies within them
    assert told(model)[0] == set()


def test_hooks_of_others_prove_nothing() -> None:
    for name in ("a", ""):
        model = silent(plain)
        model.get_submodule(name).register_forward_hook(lambda module, args, output: output * 1.0)
        dead, box = told(model)
        assert dead == set()
        assert box.endswith(f"a hook on {name or 'the model'} may change what it computes") or box == "None"


def test_a_network_that_what_was_seen_contradicts_proves_nothing() -> None:
    """A forward pass that knows when it is traced, as no check of the trace alone can tell."""

    def two_faced(s: Any, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(s.a(x))
        return F.relu(s.b(h if isinstance(x, torch.fx.Proxy) else h - 50))

    with torch.no_grad():
        model = silent(two_faced)
        model.b.weight.abs_()
    assert told(model)[0] == set()


def test_tracing_leaves_the_model_alone() -> None:
    def writes(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.turn += 1
        with torch.no_grad():
            s.a.weight.data.mul_(0.5)
        torch.rand(3)
        return plain(s, x)

    model = silent(writes).train()
    before, state, turns = model.a.weight.clone(), torch.get_rng_state(), model.turn
    found = traced(model, (4,), {}, training=True, rows=4, roundoff=0.0)
    assert found == "its forward pass draws random numbers of its own"
    assert torch.equal(before, model.a.weight) and torch.equal(state, torch.get_rng_state())
    assert model.turn == turns and model.training


def test_a_step_says_which_tensor_it_reads() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.PReLU(4), nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())).eval()
    found = traced(model, (3,), {}, training=False, rows=1, roundoff=0.0)
    assert isinstance(found, Network)
    names = [(step.op, step.layer, sorted(array.name for array in step.arrays.values())) for step in found.steps]
    norm = ["2.0.bias", "2.0.running_mean", "2.0.running_var", "2.0.weight"]
    assert names == [
        ("input", "the input", []),
        ("linear", "0", ["0.bias", "0.weight"]),
        ("rectifier", "1", ["1.weight"]),
        ("scale", "2.0", norm),
        ("rectifier", "2.1", []),
    ]
    for step in found.steps:
        for array in step.arrays.values():
            assert np.array_equal(array.values, model.state_dict()[array.name].numpy())
