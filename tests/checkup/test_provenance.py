"""What the observer believes of a tensor's past: units on the right axis, and no proof from values changed since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier


class Net(nn.Module):
    """Parts by name, and a forward pass given as a function of them."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.pass_ = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pass_(self, x)


def shut(features: int = 4) -> nn.Linear:
    """A layer whose units are 0·x − 1: proved dead by any bound, if a rectifier reads just that."""
    layer = nn.Linear(features, 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(-1.0)
    return layer


def iadd(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    z += s.b(x)
    return F.relu(z)


def add_(s: Any, x: torch.Tensor) -> torch.Tensor:
    return F.relu(s.a(x).add_(s.b(x)))


def out(s: Any, x: torch.Tensor) -> torch.Tensor:
    z, y = s.a(x), s.b(x)
    torch.add(z, y, out=z)
    return F.relu(z)


def setitem(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    z[:, 0] = s.b(x)[:, 0]
    return F.relu(z)


def through_a_view(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    z.view(-1).add_(s.b(x).view(-1))
    return F.relu(z)


def the_base_of_a_view(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    view = z.view(-1, 4)
    z.add_(s.b(x))
    return F.relu(view)


def through_data(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    z.data.add_(s.b(x))
    return F.relu(z)


def through_numpy(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    memory = z.detach().numpy()
    memory += s.b(x).detach().numpy()
    return F.relu(z)


def set_data(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    z.data = z.detach() + s.b(x).detach()
    return F.relu(z)


def in_inference_mode(s: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        z = s.a(x)
        z += s.b(x)
        return F.relu(z)


def after_normalisation(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.n(s.a(x))
    z += s.b(x)
    return F.relu(z)


def rescued(s: Any, x: torch.Tensor) -> torch.Tensor:
    z = s.a(x)
    return F.relu(z + s.b(x))


@pytest.mark.parametrize(
    "change",
    [
        iadd,
        add_,
        out,
        setitem,
        through_a_view,
        the_base_of_a_view,
        through_data,
        through_numpy,
        set_data,
        in_inference_mode,
        after_normalisation,
        rescued,
    ],
)
@pytest.mark.parametrize("box", [None, (-3.0, 3.0)])
def test_no_death_is_proved_from_values_changed_since(change: Any, box: Any) -> None:
    torch.manual_seed(0)
    wide = nn.Linear(4, 4)
    with torch.no_grad():
        wide.weight.fill_(10.0)
    # c keeps a layer that acts on the input and can be followed, so that a box can be given
    parts = {"a": shut(), "b": wide, "n": nn.BatchNorm1d(4), "c": nn.Linear(4, 4)}
    model = Net(lambda s, x: F.relu(s.c(x)).sum() + change(s, x), **parts).eval()
    # none fires on what is seen, so a wrong proof would be told; over the range of what is seen each may
    record = rectifier.check(model, [(2 * torch.eye(4) - 1).repeat(4, 1)], box=box)
    assert "relu#1" in {site.site for site in record.last.sites}
    told = [finding for finding in record.of("dead") if finding.site == "relu#1"]
    assert told == []
    site = record.last.sites[1]
    assert (site.units, site.layer, site.bias, site.weight_norm) == (4, None, None, None)


def test_the_same_without_the_change_is_proved() -> None:
    record = rectifier.check(Net(lambda s, x: F.relu(s.a(x)), a=shut()), [torch.randn(16, 4)])
    assert [(finding.kind, finding.units) for finding in record.findings] == [("dead", (0, 1, 2, 3))]


@pytest.mark.parametrize(
    "parts",
    [
        (nn.Flatten(), nn.Dropout(), nn.Dropout(inplace=True)),  # of what is flat, and not training: the input itself
        (nn.Unflatten(1, (2, 2)), nn.Flatten()),
        (nn.Identity(), nn.AlphaDropout()),
    ],
)
def test_what_leaves_the_input_as_it_is_does_not_end_a_proof(parts: Any) -> None:
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.bias.fill_(-9.0)
    for after in ([], [nn.Dropout(inplace=True)], [nn.BatchNorm1d(4)]):
        model = nn.Sequential(*parts, layer, *after, nn.ReLU())
        record = rectifier.check(model, [torch.rand(16, 4)], box=(-1.0, 1.0))
        assert [(finding.kind, finding.units) for finding in record.findings] == [("dead", (0, 1, 2, 3))]
        assert record.findings[0].proof is not None


def test_dropout_that_runs_may_leave_the_box() -> None:
    class Always(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.other = nn.Linear(2, 1), nn.Linear(2, 1)
            nn.init.ones_(self.a.weight)
            nn.init.constant_(self.a.bias, -3.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.relu(self.other(x))
            return F.relu(self.a(F.dropout(x, 0.5, training=True))) + y  # up to 2 + 2 − 3

    record = rectifier.check(Always(), [-torch.rand(8, 2)], box=(-1.0, 1.0))
    assert [finding for finding in record.of("dead") if finding.site == "relu#1"] == []


def test_input_changed_in_place_is_not_the_input_of_the_box() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-3.0)

    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(s.other(x))
        x.mul_(-10)
        return F.relu(s.a(x)) + y

    x = torch.rand(8, 2)
    kept = x.clone()
    record = rectifier.check(Net(forward, a=layer, other=nn.Linear(2, 1)), [x], box=(-1.0, 1.0))
    assert [finding for finding in record.of("dead") if finding.site == "relu#1"] == []
    assert torch.equal(x, kept)


class Shifted(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 10.0


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, -self.weight, -self.bias)


@pytest.mark.parametrize("kind", ["subclass", "functional", "hook", "patched"])
def test_a_layer_that_computes_something_else_proves_nothing(kind: str) -> None:
    layer = {"subclass": Shifted, "functional": Doubled}.get(kind, nn.Linear)(4, 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(-1.0)
    if kind == "hook":
        layer.register_forward_hook(lambda module, args, output: output + 10.0)
    if kind == "patched":
        layer.forward = lambda x: F.linear(x, -layer.weight, -layer.bias)
    record = rectifier.check(nn.Sequential(layer, nn.ReLU()), [torch.randn(16, 4)])
    assert record.of("dead") == ()
    assert record.last.sites[0].units == 4
    assert record.last.sites[0].layer is None


def test_a_site_fed_by_two_layers_belongs_to_neither() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.turn = shut(), nn.Linear(4, 4), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.turn += 1
            return F.relu((self.a if self.turn == 1 else self.b)(x))

    record = rectifier.check(Two(), [torch.randn(8, 4), -torch.rand(8, 4)])
    site = record.last.sites[0]
    assert (site.layer, site.bias, site.examples) == (None, None, 16)


# Units


def residual(s: Any, x: torch.Tensor) -> torch.Tensor:
    h = s.first(x)
    return torch.relu(s.conv(h) + h)


def permuted(s: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(s.conv(x.transpose(1, 2)).permute(0, 2, 1) * 2)


def attended(s: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(torch.einsum("nlc,cd->nld", x, s.weight.weight))


def seq(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts)


@pytest.mark.parametrize(
    ("model", "shape", "units", "examples", "layer"),
    [
        (lambda: seq(nn.Conv1d(4, 6, 1), nn.GroupNorm(2, 6), nn.ReLU()), (5, 4, 9), 6, 45, None),
        (lambda: seq(nn.Conv1d(4, 6, 1), nn.InstanceNorm1d(6), nn.ReLU()), (5, 4, 9), 6, 45, None),
        (lambda: seq(nn.Linear(4, 32), nn.LayerNorm(32), nn.ReLU()), (3, 7, 7, 4), 32, 147, None),
        (lambda: seq(nn.Linear(4, 32), nn.RMSNorm(32), nn.Dropout(), nn.ReLU()), (3, 7, 7, 4), 32, 147, None),
        (lambda: Net(residual, first=nn.Conv1d(4, 6, 1), conv=nn.Conv1d(6, 6, 1)), (5, 4, 9), 6, 45, None),
        (lambda: Net(permuted, conv=nn.Conv1d(4, 6, 1)), (5, 9, 4), 6, 45, None),
        (lambda: seq(nn.Linear(4, 6), nn.Flatten(0, 1), nn.ReLU()), (5, 9, 4), 6, 45, "0"),
        (lambda: seq(nn.Conv2d(4, 6, 1), nn.Flatten(2), nn.ReLU()), (5, 4, 3, 2), 6, 30, "0"),
        (lambda: Net(lambda s, x: F.relu(s.a(x).transpose(1, 2)), a=nn.Linear(4, 6)), (5, 9, 4), 6, 45, "a"),
        (lambda: Net(lambda s, x: F.relu(s.a(x).mT), a=nn.Linear(4, 6)), (5, 9, 4), 6, 45, "a"),
        (lambda: Net(lambda s, x: F.relu(torch.cat([s.a(x), x], 1)), a=nn.Conv1d(4, 6, 1)), (5, 4, 9), 10, 45, None),
        (lambda: Net(lambda s, x: F.relu(s.a(x).chunk(2, 1)[0]), a=nn.Conv1d(4, 6, 1)), (5, 4, 9), 3, 45, None),
        (lambda: Net(lambda s, x: F.relu(s.a(x)[:, :2]), a=nn.Conv1d(4, 6, 1)), (5, 4, 9), 2, 45, None),
        (lambda: Net(lambda s, x: F.relu(1 - s.a(x) / 2 + x), a=nn.Conv1d(4, 4, 1)), (5, 4, 9), 4, 45, None),
        (lambda: Net(lambda s, x: F.relu(s.a(x).mean(1)), a=nn.Linear(4, 6)), (5, 9, 3, 4), 6, 15, None),
    ],
)
def test_units_are_followed(model: Any, shape: Any, units: int, examples: int, layer: str | None) -> None:
    record = rectifier.check(model(), [torch.randn(shape)])
    site = record.last.sites[0]
    assert (site.units, site.examples, site.layer, site.inputs) == (units, examples, layer, _rows(site, shape))
    assert record.not_observed == ()


def _rows(site: Any, shape: Any) -> int:
    return site.examples if site.layer == "0" and shape == (5, 9, 4) else shape[0]


def test_a_guess_is_told() -> None:
    model = Net(attended, weight=nn.Linear(6, 4))
    assert rectifier.check(model, [torch.randn(5, 9, 4)]).not_observed == (
        "the unit axis of relu#0 was guessed: axis 2 of a 3-D tensor",
    )
    assert rectifier.check(nn.Sequential(nn.ReLU()), [torch.randn(5, 3, 4, 4)]).not_observed == (
        "the unit axis of 0 was guessed: axis 1 of a 4-D tensor",
    )


def test_a_normalisation_over_another_axis_is_no_part_of_a_proof() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-9.0, 9.0, 9.0, 9.0]))
        model[1].bias.copy_(torch.tensor([0.0, -20.0, 10.0, 10.0]))
    site = rectifier.check(model, [torch.randn(5, 4, 4)]).last.sites[0]
    assert (site.units, site.layer) == (4, None)


# Rectifiers spelled otherwise


SPELLINGS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda z: torch.maximum(z, torch.tensor(0.0)),
    lambda z: torch.maximum(torch.zeros_like(z), z),
    lambda z: torch.max(z, torch.zeros(())),
    lambda z: z.max(torch.zeros_like(z)),
    lambda z: torch.fmax(z, z.new_zeros(4)),
    lambda z: z * (z > 0),
    lambda z: (z > 0).to(z.dtype) * z,
    lambda z: z.gt(0).float().mul(z),
    lambda z: torch.where(z > 0, z, 0),
    lambda z: torch.where(z <= 0, torch.zeros(()), z),
    lambda z: z.where(z > 0, torch.tensor(0.0)),
    lambda z: z.masked_fill(z < 0, 0.0),
    lambda z: z.clamp(min=torch.tensor(0.0)),
    lambda z: torch.ops.aten.relu(z),
    lambda z: torch.ops.aten.relu.default(z),
    lambda z: torch.ops.aten.clamp_min(z, 0),
]


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_rectifiers_spelled_otherwise_are_seen(number: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 3)
    model = Net(lambda s, x: SPELLINGS[number](s.a(x)).square(), a=nn.Linear(3, 4))
    record = rectifier.check(model, [(x, None)], lambda outputs, _: outputs.sum())
    (site,) = record.last.sites
    assert (site.site, site.rectifier, site.layer) == ("relu#0", "relu", "a")
    assert site.fired.tolist() == (model.a(x) > 0).sum(dim=0).tolist()
    assert record.not_observed == ()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda z: torch.maximum(z, 0.1 * z), "maximum"),
        (lambda z: torch.where(z > 0, z, 0.1 * z), "where"),
        (lambda z: z * (z < 0), "mul"),
        (lambda z: z.masked_fill(z < 0, -1.0), "masked_fill"),
    ],
)
def test_what_may_be_a_rectifier_is_told(call: Any, name: str) -> None:
    record = rectifier.check(Net(lambda s, x: F.relu(s.b(call(s.a(x)))), a=nn.Linear(3, 4), b=nn.Linear(4, 2)),
                             [torch.randn(5, 3)])  # fmt: skip
    assert record.not_observed == (
        f"Net: calls {name}, which may be a rectifier by another name; its gates were not observed",
    )


def test_a_mask_of_something_else_is_none() -> None:
    model = Net(lambda s, x: F.relu(s.a(x * (x.sum(1, keepdim=True) > 0))), a=nn.Linear(3, 4))
    record = rectifier.check(model, [torch.randn(5, 3)])
    assert (len(record.last.sites), record.not_observed) == (1, ())


# Infinities


def test_infinities_are_counted_apart() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.zero_()
    x = torch.tensor([[3.0, 1.0], [4.0, torch.nan], [-1.0, 2.0]])
    record = rectifier.check(nn.Sequential(nn.ReLU()), [x.masked_fill(torch.isnan(x), torch.inf)])
    site = record.last.sites[0]
    assert site.infinite.tolist() == [0, 1] and site.nan.tolist() == [0, 0]
    assert site.sum_h.tolist() == [7.0, 3.0] == site.sum_abs_h.tolist()
    assert site.rms_h == pytest.approx(((9 + 16 + 1 + 4) / 5) ** 0.5)
    assert (site.inputs, site.examples) == (3, 3)
    layer = rectifier.check(model, [torch.tensor([[torch.inf, 1.0], [-torch.inf, 3.0]])]).last.layers[0]
    assert (layer.input_infinite, layer.input_mean) == (2, 2.0)
    again = rectifier.checkup.Record.from_json(record.to_json())
    assert again.last.sites[0].infinite.tolist() == [0, 1]
