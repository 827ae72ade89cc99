"""``watch``: training is the same bit for bit, deaths are timed, memory is bounded."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import Record
from rectifier.checkup.history import CAPACITY


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(96, 24),
        nn.ReLU(),
        nn.Linear(24, 4),
    )


def train(steps: int, *, watched: bool, every: int = 4, lr: float = 0.05, optimizer: bool = True) -> Any:
    torch.manual_seed(0)
    model = network()
    descent = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    given = descent if optimizer else None
    watching = rectifier.watch(model, given, every=every) if watched else contextlib.nullcontext()
    with watching as seen:
        for step in range(steps):
            x, y = torch.randn(16, 1, 4, 4), torch.randint(0, 4, (16,))
            descent.zero_grad()
            F.cross_entropy(model(x), y).backward()
            descent.step()
            if step % 5 == 4:  # a validation pass is not training
                model.eval()
                with torch.no_grad():
                    model(x)
                model.train()
    return model, descent, seen


@pytest.mark.parametrize("optimizer", [True, False])
def test_training_is_bit_identical(optimizer: bool) -> None:
    plain, plain_descent, _ = train(25, watched=False)
    noise = torch.rand(3)
    model, descent, watching = train(25, watched=True, optimizer=optimizer)
    assert torch.equal(noise, torch.rand(3))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    for (_, a), (_, b) in zip(plain_descent.state.items(), descent.state.items(), strict=True):
        assert torch.equal(a["momentum_buffer"], b["momentum_buffer"])
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert not descent._optimizer_step_post_hooks and not descent._optimizer_step_pre_hooks
    record = watching.record
    assert [s.step for s in record.snapshots] == [1, 4, 8, 12, 16, 20, 25]
    assert sum(s.sites[1].examples for s in record.snapshots) == 25 * 16
    assert all(s.layers[0].gradient_rms for s in record.snapshots)
    # .grad is there at an optimizer's step; without one, nobody knows when
    assert all((s.layers[0].weight_gradient_rms is not None) == optimizer for s in record.snapshots[:-1])
    assert Record.from_json(record.to_json()).to_json() == record.to_json()


def test_snapshot_against_plain_torch() -> None:
    torch.manual_seed(1)
    model, x = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)), torch.randn(8, 3)
    descent = torch.optim.SGD(model.parameters(), lr=0.5)
    old = model[0].weight.detach().clone()
    z = model[0](x)
    gradient = torch.autograd.grad(model(x).square().mean(), model[0].weight)[0].double()
    with rectifier.watch(model, descent, every=1) as watching:
        model(x).square().mean().backward()
        descent.step()
    site, layer = watching.record.last.sites[0], watching.record.last.layers[0]
    assert site.fired.tolist() == (z > 0).sum(dim=0).tolist()
    np.testing.assert_allclose(layer.update_ratio, ((model[0].weight - old).norm() / old.norm()).item(), rtol=1e-5)
    np.testing.assert_allclose(layer.weight_gradient_rms, gradient.square().mean().sqrt().item(), rtol=1e-5)


def test_deaths_are_timed_and_their_step_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(64, 6)
    with rectifier.watch(model, descent, every=1) as watching:
        for step in range(1, 13):
            descent.zero_grad()
            model(x).square().mean().backward()
            if step == 5:  # one step too large: unit 3 is thrown far below zero
                model[0].bias.grad[3] = 1e6
                model[0].weight.grad[3] += 1e3
            descent.step()
    (finding,) = (f for f in watching.record.of("dead", "silent") if 3 in f.units)
    assert finding.since == {3: 6}
    assert finding.measures["step"] == 6
    assert finding.cause.startswith(
        "too large a step: they last fired before step 6, when one step moved the weights of layer 0 by "
    )


def test_initialisation_is_told_from_the_first_snapshot() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[2] = -50.0
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, descent, every=2) as watching:
        for _ in range(6):
            descent.zero_grad()
            model(torch.randn(64, 6)).square().mean().backward()
            descent.step()
    (finding,) = watching.record.of("dead")
    assert (finding.units, finding.since) == ((2,), {2: 1})
    assert finding.cause.startswith(
        "initialisation: they never fired from the first snapshot (step 1) on; there bias -50, while its weights reach "
    )


def test_history_is_bounded_and_loses_no_count() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    descent = torch.optim.SGD(model.parameters(), lr=1e-3)
    fired = torch.zeros(3, dtype=torch.int64)
    with rectifier.watch(model, descent, every=1) as watching:
        for _ in range(3 * CAPACITY):
            x = torch.randn(4, 2)
            fired += (model[0](x) > 0).sum(dim=0)
            model(x).sum().backward()
            descent.step()
    record = watching.record
    assert len(record.snapshots) < CAPACITY
    assert watching.every == 4
    assert record.snapshots[0].step == 1 and record.last.step == 3 * CAPACITY
    assert sum(s.sites[0].examples for s in record.snapshots) == 4 * 3 * CAPACITY
    assert sum(s.sites[0].fired for s in record.snapshots).tolist() == fired.tolist()


def test_exception_in_the_block_goes_through_and_keeps_the_record() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with pytest.raises(ZeroDivisionError), rectifier.watch(model, every=10) as watching:
        for step in range(7):
            model(torch.ones(2, 2))
            if step == 4:
                raise ZeroDivisionError("user code")
    assert watching.record.stopped == "the watched block raised ZeroDivisionError after step 5: user code"
    assert sum(snapshot.sites[0].examples for snapshot in watching.record.snapshots) == 10
    assert all(not m._forward_hooks for m in model.modules())
    with rectifier.watch(model):  # and it can be watched again
        pass


def test_exception_inside_the_model_leaves_no_mode_on() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with rectifier.watch(model) as watching:
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            model(torch.ones(2, 5))
        model(torch.ones(2, 2))
    assert torch.overrides._get_current_function_mode() is None
    assert watching.record.last.sites[0].examples == 2


def test_check_inside_watch() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with rectifier.watch(model) as watching:
        model(torch.ones(2, 2))
        assert rectifier.check(model, [torch.ones(5, 2)]).last.sites[0].examples == 5
    assert watching.record.last.sites[0].examples == 2


def test_model_that_is_not_called_itself_is_told() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with rectifier.watch(model) as watching:
        model[1](model[0](torch.ones(2, 2)))
    assert watching.record.snapshots == () and watching.record.findings == ()
    assert watching.record.not_observed == (
        "the model: no forward pass in training mode was seen; call model(...) itself",
    )


def watch_twice() -> None:
    model = nn.Sequential(nn.ReLU())
    with rectifier.watch(model), rectifier.watch(model):
        pass


def watch_compiled_in_place() -> None:
    model = nn.ReLU()
    model.compile(backend="eager")
    rectifier.watch(model)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            watch_twice,
            "watch: `model` must not be watched already; got a Sequential that is. "
            "Leave the block of the first watch before the second.",
        ),
        (
            lambda: rectifier.watch(nn.ReLU(), every=0),
            "watch: `every` must be 'auto' or a whole number of steps, 1 or more; got 0. Pass a number such as 10.",
        ),
        (
            lambda: rectifier.watch(nn.ReLU(), 0.1),
            "watch: `optimizer` must be a torch.optim.Optimizer or None; got float. "
            "Pass the optimizer that steps this model.",
        ),
        (
            lambda: rectifier.watch("model"),
            "watch: `model` must be a PyTorch model (torch.nn.Module); got str. "
            "Pass the model itself, not its weights or its class.",
        ),
        (
            watch_compiled_in_place,
            "watch: `model` must run eagerly, module by module; got a compiled ReLU. "
            "Use torch.compile(model) in place of model.compile().",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text
