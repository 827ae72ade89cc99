"""Gates of every step without a look: of calls, in whatever module, and those that layers of ours have kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import rectifier
import rectifier.torch as rt
from rectifier.frameworks.torch.observer import counting
from rectifier.frameworks.torch.observer.popcount import Popcount


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.act(self.layer(x)) - 0.2)


class Mixed(nn.Module):
    """Calls before, inside and after modules; modules between calls; ours and PyTorch's; in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.blocks, self.ours = nn.Sequential(Inner(), Inner()), rt.ReLU()
        self.more = False
        self.z: dict[str, list[torch.Tensor]] = {}

    def keep(self, name: str, z: torch.Tensor) -> torch.Tensor:
        self.z.setdefault(name, []).append((z.detach() > 0).sum(dim=0))
        return z

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.keep("relu#0", self.a(x)))
        x = self.blocks(x)
        x = self.ours(self.keep("ours", x - 0.1))
        x = rt.leaky_relu(self.keep("leaky_relu#0", self.b(x)))
        if self.more:
            x = F.relu(self.keep("relu#2", x - 0.05))
        return self.c(F.relu_(self.keep("relu#1", x - 0.3)))


def train(model: nn.Module, many: int, each: Callable[[int], None] = lambda step: None, **given: Any) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with rectifier.watch(model, optimizer, **given) as watching:
        for step in range(1, many + 1):
            each(step)
            optimizer.zero_grad()
            model(torch.randn(40, 6)).square().mean().backward()
            optimizer.step()
    return watching.record


def totals(record: Any) -> dict[str, tuple[int, list[int]]]:
    """site → (examples, how often each unit fired) over all snapshots."""
    names = [site.site for site in record.last.sites]
    of = {name: [s for shot in record.snapshots for s in shot.sites if s.site == name] for name in names}
    return {name: (sum(s.examples for s in sites), sum(s.fired for s in sites).tolist()) for name, sites in of.items()}


def test_calls_and_modules_are_counted_at_every_step_and_looked_at_seldom() -> None:
    model = Mixed()
    record = train(model, 50, every=25)
    assert [shot.looked for shot in record.snapshots] == [(1,), (25,), (50,)]
    found = totals(record)
    for name in ("relu#0", "ours", "leaky_relu#0", "relu#1"):
        assert found[name] == (50 * 40, sum(model.z[name]).tolist())
    inner = [f"blocks.{i}.{name}" for i in range(2) for name in ("act", "relu#0")]
    assert set(found) == {"relu#0", "ours", "leaky_relu#0", "relu#1", *inner}
    assert all(found[name][0] == 50 * 40 for name in inner)
    assert all(site.looked == 40 for site in record.last.sites)
    # as looks at every step count them
    torch.manual_seed(0)
    assert totals(train(Mixed(), 50, every=1)) == found


def test_a_call_that_was_none_of_the_sites_brings_looks() -> None:
    model = Mixed()
    record = train(model, 60, lambda step: setattr(model, "more", step > 30), every=50)
    assert [shot.looked for shot in record.snapshots][1] == (50,)
    found = totals(record)
    assert found["relu#2"][0] == (60 - 31) * 40  # in the step that told of it, it could not be counted


def test_calls_inside_pytorch_s_own_layers() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(6, 8), nn.Unflatten(0, (10, 4)), layer, nn.Linear(8, 1))
    record = train(model, 20, every=10)
    assert [shot.looked for shot in record.snapshots] == [(1,), (10,), (20,)]
    assert totals(record)["2.relu#0"][0] == 20 * 40


@pytest.mark.parametrize("how", ["given", "modes", "raises"])
def test_training_and_modes_are_as_they_were(how: str) -> None:
    def run(watched: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = Mixed()
        optimizer = torch.optim.Adam(model.parameters())
        watching = rectifier.watch(model, optimizer, every=9).start() if watched else None
        for step in range(20):
            optimizer.zero_grad()
            if how == "raises" and step == 5:
                with pytest.raises(RuntimeError):
                    model(torch.randn(40, 7))
            model(torch.randn(40, 6)).square().mean().backward()
            assert torch._C._len_torch_function_stack() == 0
            optimizer.step()
        if watching is not None:
            watching.stop()
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
        return [p.detach().clone() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(run(False), run(True), strict=True))


# What our layers have kept


@pytest.fixture
def _kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each gate of a small layer, which otherwise would be packed, was taken over."""
    monkeypatch.setattr(counting, "_LARGE", 0)
    told: list[bool] = []
    keep = Popcount.keep

    def spied(*given: Any) -> bool:
        told.append(keep(*given))
        return told[-1]

    monkeypatch.setattr(Popcount, "keep", spied)
    yield told


def ours(**given: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), rt.ReLU(**given), nn.Linear(16, 2))


def counted(model: nn.Module) -> Any:
    """Counts by hand of what the first layer gives: fired and NaN."""
    sums = [torch.zeros(16, dtype=torch.int64) for _ in range(2)]

    def hook(module: Any, args: Any, z: torch.Tensor) -> None:
        sums[0] += (z > 0).sum(dim=0)
        sums[1] += torch.isnan(z).sum(dim=0)

    next(model.children()).register_forward_hook(hook)
    return sums


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_gate_that_was_kept_is_counted(dtype: torch.dtype, _kept: list[bool]) -> None:
    model = ours().to(dtype)
    fired, _ = counted(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with rectifier.watch(model, optimizer, every=25) as watching:
        for step in range(50):
            optimizer.zero_grad()
            model(torch.randn(40 + step % 3, 6, dtype=dtype)).square().mean().backward()
            optimizer.step()
    assert len(_kept) == 47 and all(_kept)
    assert totals(watching.record)["1"] == (sum(40 + step % 3 for step in range(50)), fired.tolist())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_nan_that_is_masked_away_behind_the_layer_is_no_firing(value: float, _kept: list[bool]) -> None:
    """Its gradients are all finite, and the kept gate says open: the sum of the outputs tells."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(6, 16), rt.ReLU(), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.nan_to_num(self.a(x), nan=0.0, posinf=0.0, neginf=0.0)
            gone = x[:, 0].isnan() | x[:, 0].isinf()
            z = torch.where(gone[:, None], torch.full_like(z, value), z)
            self.fired = (z > 0).sum(dim=0)
            return self.b(torch.where(gone[:, None], torch.zeros_like(z), self.act(z)))

    model, fired = Masked(), torch.zeros(16, dtype=torch.int64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with rectifier.watch(model, optimizer, every=30) as watching:
        for step in range(30):
            optimizer.zero_grad()
            x = torch.randn(40, 6)
            if step in (7, 8, 20):
                x[step, 0] = value
            model(x).square().mean().backward()
            fired += model.fired
            optimizer.step()
    assert [place for place, taken in enumerate(_kept) if not taken] == [6, 7, 19]
    site = watching.record.last.sites[0]
    assert site.nan.tolist() == [3 * (value != value)] * 16
    assert totals(watching.record)["act"] == (30 * 40, fired.tolist())


@pytest.mark.parametrize("how", ["in place", "hooks", "checkpoint"])
def test_where_what_was_kept_is_not_to_be_had_gates_are_packed(how: str, _kept: list[bool]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(6, 16), rt.ReLU(inplace=how == "in place"), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            return self.b(checkpoint(self.act, x, use_reentrant=False) if how == "checkpoint" else self.act(x))

    model = Net()
    fired, _ = counted(model)
    unpacked = [0]

    def unpack(value: Any) -> Any:
        unpacked[0] += 1
        return value

    def run() -> Any:
        if how != "hooks":
            return train(model, 20, every=10)
        with torch.autograd.graph.saved_tensors_hooks(lambda value: value, unpack):
            return train(model, 20, every=10)

    record = run()
    assert not any(_kept) and (how == "in place") == (not _kept)
    assert totals(record)["act"] == (20 * 40, fired.tolist())
    of_one_step = unpacked[0] / 20
    assert of_one_step == int(of_one_step)  # no step unpacks more than another
