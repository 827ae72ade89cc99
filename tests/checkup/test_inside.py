"""Compiled models: checked eagerly, watched inside their graph without a break, and left as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import rectifier
from rectifier.checkup import Record

Tensor = torch.Tensor
# Dynamo looks at .grad of what a compiled part is given, and uses what PyTorch will drop.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore::DeprecationWarning")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Network(nn.Module):
    """A module in place, a call, an expression, a function with flat parts; units planted silent."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.one, self.two, self.last = Block(), nn.Linear(24, 8), nn.Linear(8, 8), nn.GELU()
        with torch.no_grad():
            self.block.norm.bias[2] = -60.0
            self.one.bias[5] = -60.0

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(self.block(x).flatten(1)))
        z = self.two(x)
        return self.last(z * (z > 0))


def train(backend: str | None, steps: int = 6) -> tuple[Record, nn.Module, int]:
    torch.manual_seed(0)
    model, compiled, graphs = Network(), None, 0

    def counting(graph: Any, inputs: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return torch._dynamo.lookup_backend(backend)(graph, inputs)

    torch._dynamo.reset()
    if backend is not None:
        compiled = torch.compile(model, backend=counting, fullgraph=True)
    descent = torch.optim.SGD(model.parameters(), lr=0.05)
    runs: Any = model if compiled is None else compiled
    with rectifier.watch(runs, descent, every=3) as watching:
        for step in range(steps):
            x = torch.randn(8 if step < 4 else 5, 1, 4, 4)  # compiled again, for any size
            descent.zero_grad()
            runs(x).square().sum().backward()
            descent.step()
    return watching.record, model, graphs


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_is_watched_as_the_eager_one(backend: str) -> None:
    (record, model, graphs), (eager, plain, _) = train(backend), train(None)
    assert 1 <= graphs <= 2 and record.not_observed == ()
    assert (record.model, [s.step for s in record.snapshots]) == ("Network", [s.step for s in eager.snapshots])
    for mine, theirs in zip(record.snapshots, eager.snapshots, strict=True):
        for a, b in zip(mine.sites, theirs.sites, strict=True):
            for name in ("site", "rectifier", "layer", "examples", "inputs", "units"):
                assert getattr(a, name) == getattr(b, name)
            for name in ("fired", "nan", "infinite", "min_z", "max_z", "flat_low", "bias", "scale"):
                assert np.array_equal(getattr(a, name), getattr(b, name)), (a.site, name)
            np.testing.assert_allclose(a.sum_h, b.sum_h, rtol=1e-6, atol=1e-5)
            np.testing.assert_allclose(a.rms_h, b.rms_h, rtol=1e-6)
    silent = {(f.site, unit) for f in record.of("dead", "silent") for unit in f.units}
    assert {("block.act", 2), ("relu#0", 5)} <= silent
    for (name, value), other in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_afterwards_the_compiled_model_is_what_it_was() -> None:
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    torch.manual_seed(0)
    torch._dynamo.reset()
    model = torch.compile(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), backend=backend, fullgraph=True)
    x = torch.randn(5, 3)
    before, forward = model(x), model.forward
    with rectifier.watch(model) as watching:
        during = model(x)
        model.eval()
        model(x)  # no training, so the graph of before
        model.train()
    assert model.forward is forward and torch.equal(model(x), before) and torch.equal(during, before)
    assert [any("rectifier" in str(n.target) for n in g.graph.nodes) for g in graphs].count(True) == 1
    assert watching.record.last.sites[0].examples == 5


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)), nn.ReLU()
    )


@pytest.mark.parametrize("how", ["part", "part in place", "whole", "whole in place"])
def test_one_look_runs_compiled_parts_eagerly(how: str) -> None:
    x = torch.randn(9, 4)
    plain = rectifier.check(net(), [x])
    model: Any = net()
    if how == "part":
        model[2] = torch.compile(model[2], backend="eager", fullgraph=True)
    elif how == "part in place":
        model[2].compile(backend="eager", fullgraph=True)
    elif how == "whole":
        model = torch.compile(model, backend="eager", fullgraph=True)
    else:
        model.compile(backend="eager", fullgraph=True)
    record = rectifier.check(model, [x])
    # A part that is compiled cannot be traced, so that less may be proved of it.
    assert replace(record, findings=(), box="").to_json() == replace(plain, findings=(), box="").to_json()


def test_a_compiled_part_of_a_watched_model() -> None:
    x, model = torch.randn(9, 4), net()
    plain = rectifier.check(model, [x])
    model[2] = torch.compile(model[2], backend="eager", fullgraph=True)
    with rectifier.watch(model) as watching:
        model(x)
    record = watching.record
    assert [(s.site, s.fired.tolist()) for s in record.last.sites] == [
        (s.site, s.fired.tolist()) for s in plain.last.sites
    ]
    # nothing but that 9 examples tell little
    assert all("examples; 291 more are needed" in line for line in record.not_observed)


def test_what_is_compiled_in_place_is_told_and_never_zero() -> None:
    model = net()
    model[2].compile(backend="eager", fullgraph=True)
    with rectifier.watch(model) as watching:
        model(torch.randn(9, 4))
    record = watching.record
    assert [s.site for s in record.last.sites] == ["1", "3"]
    assert record.not_observed[0] == "2: compiled, its inside cannot be seen"
    assert all("examples; 291 more are needed" in line for line in record.not_observed[1:])  # 9 tell little


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, F.relu(self.first(x)), use_reentrant=False)


def test_a_checkpointed_part_of_a_graph_is_told() -> None:
    torch._dynamo.reset()
    model = torch.compile(Checkpointed(), backend="eager", fullgraph=True)
    with rectifier.watch(model) as watching:
        model(torch.randn(500, 4)).sum().backward()
    record = watching.record
    assert [(s.site, s.examples) for s in record.last.sites] == [("relu#0", 500)]
    assert record.not_observed == (
        "the model: a part of its compiled graph is computed again or chosen as it runs (checkpoint, cond); "
        "not observed",
    )


def test_a_backend_that_cannot_take_the_counting_runs_the_model_all_the_same() -> None:
    def strict(graph: Any, inputs: Any) -> Any:
        if any("rectifier" in node.name for node in graph.graph.nodes):
            raise ValueError("unknown operator")
        return graph

    torch._dynamo.reset()
    model = torch.compile(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), backend=strict)
    with rectifier.watch(model) as watching:
        assert model(torch.randn(5, 3)).shape == (5, 4)
    assert watching.record.snapshots == ()
    assert watching.record.not_observed == (
        "Sequential: compiled, its inside cannot be seen (ValueError: unknown operator)",
    )
