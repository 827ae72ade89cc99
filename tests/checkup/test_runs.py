"""What surrounds a forward pass: checkpointing, accumulation, mixed precision, other tools' hooks, bad values."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import rectifier

from .looking import Plain, fired, only

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.block, self.call, self.reentrant = nn.Linear(4, 4), Plain(), Plain(), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.block, self.first(x), use_reentrant=self.reentrant)
        return checkpoint(self.call, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_again_is_not_counted_again(reentrant: bool) -> None:
    model, x = Checkpointed(reentrant), torch.randn(6, 4)
    z = model.block.a(model.first(x))
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, descent, every=1) as watching:
        model(x).sum().backward()
        descent.step()
    first, second = watching.record.last.sites
    assert (first.examples, second.examples) == (6, 6)
    assert first.fired.tolist() == fired(z)


def test_a_block_computed_again_inside_the_forward_pass_is_not_counted_again() -> None:
    class Penalised(nn.Module):
        """Takes a gradient of its own inputs in the forward pass."""

        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))

        def forward(self, x: Tensor) -> Tensor:
            y = checkpoint(self.block, x, use_reentrant=False)
            return torch.autograd.grad(y.sum(), x, create_graph=True)[0]

    site = only(Penalised(), (torch.randn(6, 4), None), loss=lambda out, _: out.sum())
    assert site.examples == 6


def test_accumulated_gradients_count_every_part() -> None:
    model, x = Plain(), torch.randn(4, 5, 4)
    z = model.a(x)
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, descent, every=1) as watching:
        for part in x:
            model(part).sum().backward()
        descent.step()
    (snapshot,) = watching.record.snapshots
    assert (snapshot.sites[0].examples, snapshot.sites[0].fired.tolist()) == (20, fired(z))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype: torch.dtype) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Plain()

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype):
                return self.net(x)

    model, x = Mixed(), torch.randn(3000, 4)
    site = only(model, (x, None), loss=lambda out, _: out.float().sum())
    with torch.autocast("cpu", dtype):
        z = model.net.a(x)
    assert z.dtype == dtype
    assert (site.examples, site.fired.tolist()) == (3000, fired(z))  # more than 16-bit sums could count
    assert site.layer == "net.a"


def test_evaluation_without_gradients_and_in_inference_mode() -> None:
    model, x = Plain(), torch.randn(9, 4)
    with torch.no_grad():
        assert only(model, x).fired.tolist() == fired(model.a(x))
    with torch.inference_mode():
        assert only(model, x).fired.tolist() == fired(model.a(x))


# Bad input


def test_hooks_of_other_tools_stay_and_are_counted_as_they_act() -> None:
    model, x, calls = Plain(), torch.randn(9, 4), []
    model.a.register_forward_hook(lambda m, args, z: calls.append(1) or z + 10)
    site = only(model, x)
    assert (site.fired.tolist(), site.layer) == ([9] * 6, None)  # the hook's z, which is no W·x + b any more
    assert len(calls) == 1 and len(model.a._forward_hooks) == 1


def test_shared_weights_and_shared_layers() -> None:
    one, two = nn.Linear(4, 4), nn.Linear(4, 4)
    two.weight = one.weight
    sites = rectifier.check(nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), one, nn.ReLU()), [torch.randn(5, 4)])
    assert [(s.site, s.layer) for s in sites.last.sites] == [("1", "0"), ("3", "2"), ("5", "0")]


def test_watching_a_model_without_a_rectifier_says_so() -> None:
    model = nn.Linear(4, 2)
    with rectifier.watch(model) as watching:
        model(torch.ones(3, 4))
    assert watching.record.not_observed == ("the model: no rectifier was seen in it",)


def test_nan_and_infinities_are_counted() -> None:
    x = torch.ones(8, 4)
    x[0, 0], x[1, 0], x[2, 0] = torch.nan, torch.inf, -torch.inf
    record = rectifier.check(nn.Sequential(nn.Hardswish(), nn.ReLU6(), nn.ReLU()), [x])
    site = record.last.sites[0]
    assert site.infinite is not None and site.flat_low is not None
    assert (int(site.nan[0]), int(site.infinite[0]), int(site.fired[0]), int(site.flat_low[0])) == (1, 2, 6, 1)
    assert record.of("nan")
