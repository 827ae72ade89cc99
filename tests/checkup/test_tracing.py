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


def test_a_tensor_made_on_the_way_is_the_same_each_time_or_proves_nothing() -> None:
    def growing(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.turn += 1
        return F.relu(s.b(F.relu(s.a(x)) * torch.full((1, 4), float(s.turn))))

    def same(s: Any, x: torch.Tensor) -> torch.Tensor:
        return F.relu(s.b(F.relu(s.a(x)) * torch.full((1, 4), 2.0)))

    assert told(silent(same))[0] == {"relu#1"}
    dead, box = told(silent(growing))
    assert dead == set() and box.endswith("not bounded: its forward pass is not the same each time")


def test_a_layer_that_was_not_the_one_seen_proves_nothing() -> None:
    """What was seen lies within the bounds of the other layer, so that they do not tell."""

    def changing(s: Any, x: torch.Tensor) -> torch.Tensor:
        s.turn += 1
        h = F.relu(s.a(x))
        return F.relu(s.b(h) if s.turn > 3 else s.c(h))

    model = silent(changing)
    model.c = nn.Linear(4, 4)
    with torch.no_grad():
        model.a.weight.copy_(torch.eye(4))
        model.b.weight.fill_(2.4)
        model.c.weight.mul_(0.01)
        model.c.bias.fill_(-2.5)
    assert told(model)[0] == set()
    model.turn = 9
    assert told(model)[0] == {"relu#1"}


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


def add_to_view(s: Any, h: torch.Tensor) -> torch.Tensor:
    part = h[:, :2]
    part += 1.0
    return h


def add_to_all(s: Any, h: torch.Tensor) -> torch.Tensor:
    h.view(-1).add_(1.0)
    return h


def fill_view(s: Any, h: torch.Tensor) -> torch.Tensor:
    h.t()[0].fill_(3.0)
    return h


def set_part(s: Any, h: torch.Tensor) -> torch.Tensor:
    h.view(-1, 4)[:, 0] = 3.0
    return h


class Changing(nn.Module):
    def __init__(self, change: Any) -> None:
        super().__init__()
        self.one, self.two, self.change = nn.Linear(4, 4), nn.Linear(4, 2), change
        with torch.no_grad():
            self.one.bias[1] = -50.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.change(self, F.relu(self.one(x))))


@pytest.mark.parametrize(
    ("act", "change"),
    [
        *(("heal", each) for each in (add_to_view, add_to_all, fill_view, set_part)),
        *(("prune", each) for each in (add_to_view, fill_view, set_part)),
    ],
)
def test_no_act_where_a_view_is_changed_in_place(act: str, change: Any) -> None:
    """Unit 1 is shut, and yet the next layer reads more than 0 of it, or of others that share its memory."""

    torch.manual_seed(0)
    model = Changing(change)
    x = torch.rand(64, 4)
    record = rectifier.check(model, [x], box=(0.0, 1.0))
    before = model(x)
    why = "in place|its units go into|could not|torch.fx can follow|splits them up|written into them one by one"
    with pytest.raises(rectifier.RectifierValueError, match=why):
        getattr(rectifier, act)(model, record)
    assert torch.equal(model(x), before)


def test_what_is_added_to_a_view_of_all_is_a_constant_behind_a_dead_unit() -> None:
    torch.manual_seed(0)
    model = Changing(add_to_all).eval()
    x = torch.rand(64, 4)
    before = model(x)
    receipt = rectifier.prune(model, rectifier.check(model, [x], box=(0.0, 1.0)))
    assert 1 in receipt.units and model.two.in_features == 4 - len(receipt.units)
    torch.testing.assert_close(model(x), before)


def test_what_is_changed_in_place_on_the_way_is_no_hindrance() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.drop = nn.Linear(4, 6), nn.Linear(6, 2), nn.Dropout(0.5, inplace=True)
            with torch.no_grad():
                self.one.bias[1] = -50.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.two(self.drop(F.relu(self.one(x), inplace=True)))
            y += 1.0
            return y

    torch.manual_seed(0)
    model = Model().eval()
    x = torch.rand(64, 4)
    before = model(x)
    rectifier.prune(model, rectifier.check(model, [x]))
    assert model.one.out_features < 6 and torch.allclose(model(x), before, atol=1e-6)


def test_the_rectifier_behind_a_layer_is_found_past_a_change_in_place() -> None:
    from rectifier.frameworks.torch.tracing.follow import followers

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.one(x)
            z += x
            return F.leaky_relu(self.two(F.relu(z)), 0.3)

    found = followers(Model())
    assert found.untraced is None
    assert {name: site[0] for name, site in found.rectifier.items()} == {"one": "relu", "two": "leaky_relu"}
