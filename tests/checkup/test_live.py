"""``watch`` between its looks: gradients prove life at every step, gates are counted packed, the budget is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
import rectifier.torch as rt
from rectifier.checkup import Record
from rectifier.checkup._watch import Watching
from rectifier.checkup.pace import Pace
from rectifier.frameworks.torch.observer.popcount import Popcount


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield


def mlp(bias: bool = True, relu: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8, bias=bias), relu(), nn.Linear(8, 5, bias=bias), relu(), nn.Linear(5, 2))


def steps(model: nn.Module, optimizer: Any, many: int, each: Callable[[int], None] = lambda step: None) -> None:
    """Train so many steps on random data; ``each`` is called between backward and step."""
    for step in range(1, many + 1):
        optimizer.zero_grad()
        model(torch.randn(32, 6)).square().mean().backward()
        each(step)
        optimizer.step()


def kill(model: nn.Sequential, unit: int) -> None:
    with torch.no_grad():
        model[0].bias[unit] = -1e6


def count_into(layer: nn.Module, fired: torch.Tensor) -> None:
    """Count with plain PyTorch which of a layer's outputs are above 0."""

    def hook(module: nn.Module, args: Any, z: torch.Tensor) -> None:
        fired.add_((z > 0).movedim(1, 0).flatten(1).sum(dim=1))

    layer.register_forward_hook(hook)


def test_a_suspicion_that_no_look_came_after_is_told() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with rectifier.watch(model, optimizer, every=20, gates="sampled") as watching:
        steps(model, optimizer, 35, lambda step: kill(model, 3) if step == 22 else None)
    assert watching.record.not_observed == (
        "1: no gradient in the last 13 steps or more for 1 of its units that had fired; no look came after that to "
        "tell whether they still do",
    )
    with rectifier.watch(model, optimizer, every=20, gates="sampled") as watching:
        steps(model, optimizer, 40)
    assert not any("no gradient in the last" in line for line in watching.record.not_observed)  # a look has told


# The budget


def test_looks_are_as_far_apart_as_the_budget_asks() -> None:
    pace = Pace(None, 0.02)
    step, looks, spent = 0, [], 0.0
    while step < 20_000:
        for _ in range(3):
            pace.plain(1.002e-3, 2e-6)
        step = pace.next
        looks.append(step)
        cost = 8e-3 if step == 1 else 3e-3  # the first is slow
        spent += cost
        pace.looked(step, 1e-3 + cost)
    assert looks[:3] == [1, 11, 55]
    assert spent + 2e-6 * step == pytest.approx(0.5 * 0.02 * 1e-3 * step, rel=0.02)
    assert pace.interval == pytest.approx(375, rel=0.02)  # 3 ms, of which a step may take 10 µs − 2 µs


def test_a_pause_in_a_looked_at_step_is_no_cost() -> None:
    pace = Pace(None, 0.02)
    for seconds in (4e-3, 10.0, 4e-3):
        pace.plain(1e-3, 0.0)
        pace.looked(pace.next, seconds)
    assert pace.interval < 1000


def test_steps_that_take_long_beside_a_look_are_looked_at_every_tenth() -> None:
    pace = Pace(None, 0.02)
    for _ in range(4):
        pace.plain(1.0, 0.0)
        pace.looked(pace.next, 1.001)
    assert pace.interval == 10


def test_default_looks_at_few_steps_and_says_which() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    hooks: list[int] = []
    with rectifier.watch(model, optimizer) as watching:
        steps(model, optimizer, 60, lambda step: hooks.append(sum(len(m._forward_hooks) for m in model.modules())))
    looked = [step for snapshot in watching.record.snapshots for step in snapshot.looked]
    assert looked[:2] == [1, 5] and 2 <= len(looked) <= 8
    assert [step for step, count in enumerate(hooks, 1) if count] == looked
    assert [site.examples for site in watching.record.last.sites] == [32, 32]
    assert Record.from_json(watching.record.to_json()).to_json() == watching.record.to_json()


@pytest.mark.parametrize("arguments", [{}, {"gates": "every"}, {"every": 3, "gates": "sampled"}, {"budget": 0.5}])
@pytest.mark.parametrize("given", [True, False])
def test_training_is_bit_identical(arguments: dict[str, Any], given: bool) -> None:
    def train(watched: bool) -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        watching = rectifier.watch(model, optimizer if given else None, **arguments)
        with watching if watched else contextlib.nullcontext():
            for _ in range(40):
                optimizer.zero_grad()
                F.cross_entropy(model(torch.randn(8, 1, 6, 6)), torch.randint(3, (8,))).backward()
                optimizer.step()
        return model, optimizer

    (plain, before), (model, optimizer) = train(False), train(True)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    for a, b in zip(before.state.values(), optimizer.state.values(), strict=True):
        assert torch.equal(a["exp_avg_sq"], b["exp_avg_sq"])
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert not optimizer._optimizer_step_post_hooks and not optimizer._optimizer_step_pre_hooks


# Gradients


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("none", [False, True])
def test_gradients_tell_the_last_step_of_each_unit(norm: bool, bias: bool, none: bool) -> None:
    """Also of β, of rows of weights, and where gradients are set to zero in place, so that their memory stays."""
    layers = [nn.Linear(6, 8, bias=bias), *([nn.BatchNorm1d(8)] if norm else []), nn.ReLU(), nn.Linear(8, 2)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    last = torch.zeros(8, dtype=torch.int64)
    mask = torch.ones(8)
    model[-1].register_forward_pre_hook(lambda module, args: (args[0] * mask,))
    with rectifier.watch(model, optimizer, every=400, gates="sampled") as watching:
        for step in range(1, 301):
            mask[:] = (torch.arange(8) * 40 > step - 2).float()  # unit k acts on the loss until step 40·k + 1
            optimizer.zero_grad(set_to_none=none)
            model(torch.randn(32, 6)).square().mean().backward()
            optimizer.step()
            last[mask > 0] = step
    site = watching.record.last.sites[0]
    assert site.lived is not None and site.graded is not None
    assert site.graded == 300
    assert site.lived.tolist() == last.tolist()
    assert all("no look came after" in line for line in watching.record.not_observed)


def test_a_death_between_looks_is_dated_by_gradients() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=50, gates="sampled") as watching:
        steps(model, optimizer, 150, lambda step: kill(model, 3) if step == 67 else None)
    (finding,) = watching.record.of("dead", "silent")
    assert (finding.site, finding.units, finding.since) == ("1", (3,), {3: 68})
    assert "; no gradient at any of 50 steps; " in finding.evidence


@pytest.mark.parametrize(("death", "end"), [(200, 510), (300, 900)])
def test_a_death_long_before_the_last_look_or_the_end_is_told(death: int, end: int) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=500, gates="sampled") as watching:
        steps(model, optimizer, end, lambda step: kill(model, 3) if step == death else None)
    (finding,) = watching.record.of("dead", "silent")
    assert (finding.units, finding.since) == ((3,), {3: death + 1})
    assert f"; no gradient after step {death}; " in finding.evidence


def test_a_suspicion_brings_the_look_that_confirms_it() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def act(step: int) -> None:
        if step == 30:  # no look is due for long, and the budget has room for one
            watching._pace.next = watching._wake = 10**6
            watching._pace._spent = 0.0
        if step == 300:
            kill(model, 3)

    with rectifier.watch(model, optimizer) as watching:
        steps(model, optimizer, 700, act)
    looked = [step for snapshot in watching.record.snapshots for step in snapshot.looked if step > 30]
    assert 300 + 10 <= looked[0] <= 300 + 10 + 32 + 1
    (finding,) = watching.record.of("dead", "silent")
    assert (finding.units, finding.since) == ((3,), {3: 301})


def test_a_unit_that_fires_between_looks_is_not_called_silent() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with torch.no_grad():
        model[0].weight[2] = torch.tensor([100.0, 0, 0, 0, 0, 0])
        model[0].bias[2] = 0.0
        model[2].weight[:, 2] = 1.0
        model[2].bias[:] = 5.0
    x = torch.randn(32, 6)
    x[:, 0] = -1.0
    with rectifier.watch(model, optimizer, every=20, gates="sampled") as watching:
        for step in range(1, 41):
            optimizer.zero_grad()
            model(x * (-1 if step == 33 else 1)).square().mean().backward()
            optimizer.step()
    site = watching.record.last.sites[0]
    assert (site.fired[2], site.lived[2], site.graded) == (0, 33, 20)
    assert not any(2 in finding.units for finding in watching.record.of("silent", "dead") if finding.site == "1")


@pytest.mark.parametrize("how", ["penalty", "never zeroed", "second path"])
def test_gradients_that_prove_nothing_are_refuted_by_a_look(how: str) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    kill(model, 3) if how != "never zeroed" else None
    other = model[0]
    with rectifier.watch(model, optimizer, every=10, gates="sampled") as watching:
        for step in range(1, 41):
            if how != "never zeroed":
                optimizer.zero_grad()
            elif step == 5:
                kill(model, 3)
            x = torch.randn(32, 6)
            loss = model(x).square().mean()
            if how == "penalty":
                loss = loss + 1e-9 * model[0].bias.square().sum()
            elif how == "second path":
                loss = loss + 1e-9 * other(x).sum()
            loss.backward()
            optimizer.step()
    record = watching.record
    assert all(snapshot.sites[0].lived is None for snapshot in record.snapshots)
    assert record.not_observed[0].startswith("1: a unit had a gradient though its gates were all shut")
    assert "its gradients were not taken as evidence" in record.not_observed[0]
    assert any(3 in finding.units for finding in record.of("silent", "dead"))  # the look alone tells


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_no_number_proves_nothing(value: float) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    kill(model, 3)

    def spoil(step: int) -> None:
        assert model[0].bias.grad is not None
        model[0].bias.grad[3] = value

    def mend(*_: Any) -> None:
        kill(model, 3)

    optimizer.register_step_post_hook(mend)  # before the forward pass to come
    with rectifier.watch(model, optimizer, every=5, gates="sampled") as watching:
        steps(model, optimizer, 11, spoil)
    site = watching.record.last.sites[0]
    assert site.lived is not None and (site.lived[3], site.lived.max()) == (0, 11)


def test_a_branch_without_gradients() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu_a, self.relu_b = nn.Linear(6, 4), nn.Linear(6, 3), nn.ReLU(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.relu_a(self.a(x)), self.relu_b(self.b(x))

    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=10, gates="sampled") as watching:
        for step in range(1, 21):
            optimizer.zero_grad()
            first, second = model(torch.randn(32, 6))
            (first.sum() + second.sum() if step == 15 else first.sum()).backward()
            optimizer.step()
    a, b = watching.record.last.sites
    assert (a.graded, b.graded) == (10, 1)
    assert a.lived is not None and b.lived is not None
    assert (a.lived.tolist(), b.lived.tolist()) == ([20] * 4, [15] * 3)


def test_several_backward_passes_a_step() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=5) as watching:
        for _ in range(10):
            optimizer.zero_grad()
            for _ in range(4):
                (model(torch.randn(8, 6)).square().mean() / 4).backward()
            optimizer.step()
    record = watching.record
    assert [snapshot.step for snapshot in record.snapshots] == [1, 5, 10]
    assert sum(snapshot.sites[0].examples for snapshot in record.snapshots) == 320
    assert [snapshot.sites[0].looked for snapshot in record.snapshots] == [None, 32, 32]
    assert watching.step == 10


def test_a_step_with_a_closure() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(torch.randn(32, 6)).square().mean()
        loss.backward()
        return loss

    with rectifier.watch(model, optimizer, every=4) as watching:
        for _ in range(8):
            optimizer.step(closure)
    assert [snapshot.sites[0].examples for snapshot in watching.record.snapshots] == [32, 96, 128]
    assert watching.record.last.sites[0].lived is not None and watching.record.last.sites[0].lived.max() == 8


def test_half_precision_and_a_scaler_that_skips_a_step() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with rectifier.watch(model, optimizer, every=4) as watching:
        for step in range(12):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(torch.randn(32, 6)).float().square().mean()
            scaler.scale(loss * (torch.inf if step == 6 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert watching.step == 11  # the one with infinite gradients was none
    record = watching.record
    assert sum(snapshot.sites[0].examples for snapshot in record.snapshots) == 12 * 32
    assert record.last.sites[0].lived is not None and record.last.sites[0].lived.max() == 11
    assert record.of("nan") == ()


def test_what_runs_without_gradients_is_no_training() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=2) as watching:
        for _ in range(6):
            with torch.no_grad():  # such as a rollout, or statistics of a normalisation
                model(torch.randn(100, 6))
            steps(model, optimizer, 1)
    assert sum(snapshot.sites[0].examples for snapshot in watching.record.snapshots) == 6 * 32


# Gates of every step


@pytest.mark.parametrize("relu", [nn.ReLU, lambda: nn.ReLU(inplace=True), rt.ReLU, nn.LeakyReLU, lambda: rt.ReLU6()])
def test_every_gate_is_counted(relu: Callable[[], nn.Module]) -> None:
    model = mlp(relu=relu)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    fired = [torch.zeros(8, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)]
    count_into(model[0], fired[0])
    count_into(model[2], fired[1])
    with rectifier.watch(model, optimizer, every=30) as watching:
        steps(model, optimizer, 75)
    sites = [[snapshot.sites[i] for snapshot in watching.record.snapshots] for i in range(2)]
    assert [sum(site.fired for site in of).tolist() for of in sites] == [total.tolist() for total in fired]
    assert [sum(site.examples for site in of) for of in sites] == [75 * 32, 75 * 32]
    assert sum(site.looked or site.examples for site in sites[0]) == 3 * 32


def test_maps_and_batches_of_other_sizes_are_counted() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, 1, 5, 5))
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    fired = torch.zeros(3, dtype=torch.int64)
    count_into(model[0], fired)
    with rectifier.watch(model, optimizer, every=20) as watching:
        for step in range(40):
            optimizer.zero_grad()
            x = torch.randn(1 + step % 5, 1, 5, 5)
            model(x.to(memory_format=torch.channels_last) if step % 2 else x).sum().backward()
            optimizer.step()
    assert sum(s.sites[0].fired for s in watching.record.snapshots).tolist() == fired.tolist()
    assert sum(s.sites[0].inputs or 0 for s in watching.record.snapshots) == 40 * 3


def test_calls_are_seen_at_every_step_where_gates_are_to_be_counted() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(F.relu(self.a(x)))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=7) as watching:
        steps(model, optimizer, 20)
    assert sum(s.sites[0].examples for s in watching.record.snapshots) == 20 * 32
    assert [s.looked for s in watching.record.snapshots] == [(1,), (7,), (14,)]  # the others were counted alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_packed_counts(dtype: torch.dtype) -> None:
    """Shapes with and without whole bytes, longer than a call takes; a NaN is refused, and nothing of it is held."""
    popcount = Popcount()
    for shape, axis in [((40, 7), 1), ((3, 5, 7), 2), ((64, 3, 50, 31), 1), ((9,), 0), ((70_001, 1), 1)]:
        fired, wanted = np.zeros(shape[axis], np.int64), torch.zeros(shape[axis], dtype=torch.int64)
        for turn in range(20):
            z = torch.randn(shape).to(dtype)
            z.view(-1)[turn % 9] = (0.0, -0.0, torch.inf, -torch.inf)[turn % 4]
            if turn in (4, 17):
                z.view(-1)[-1 if turn == 4 else 0] = torch.nan
                assert not popcount.hold(z, axis, fired)
                continue
            assert popcount.hold(z, axis, fired)
            wanted += (z > 0).movedim(axis, 0).reshape(shape[axis], -1).sum(dim=1)
        popcount.count(fired)
        assert fired.tolist() == wanted.tolist(), (shape, axis)
    fired, wanted = np.zeros(8, np.int64), torch.zeros(8, dtype=torch.int64)
    for rows in (4, 4, 6, 4, 6, 6):  # what is held is counted before it is laid out anew
        z = torch.randn(rows, 8).to(dtype)
        assert popcount.hold(z, 1, fired)
        wanted += (z > 0).sum(dim=0)
    popcount.count(fired)
    assert fired.tolist() == wanted.tolist()
    assert not popcount.hold(torch.randn(4, 4).T, 1, np.zeros(4, np.int64))


def test_nan_between_looks_is_counted_and_is_no_firing() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    with rectifier.watch(model, every=8) as watching:
        for step in range(8):
            x = torch.randn(10, 6)
            x[0, 0] = torch.nan if step == 3 else 0.0
            model(x)
    site = watching.record.last.sites[0]
    assert [s.sites[0].nan.tolist() for s in watching.record.snapshots][-1] == [1, 1, 1, 1]
    assert site.examples == 70 and np.all(site.fired <= 69)


# Use


def test_start_and_stop_are_the_block() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    watching = rectifier.watch(model, optimizer, every=2).start()
    assert isinstance(watching, Watching)
    steps(model, optimizer, 4)
    watching.stop()
    watching.stop()
    steps(model, optimizer, 4)
    assert (watching.step, [s.step for s in watching.record.snapshots]) == (4, [1, 2, 4])
    with watching:  # and on
        steps(model, optimizer, 2)
    assert (watching.step, watching.record.last.step) == (6, 6)


def test_stop_with_what_ended_the_training() -> None:
    model = mlp()
    watching = rectifier.watch(model).start()
    model(torch.randn(4, 6))
    watching.stop(KeyboardInterrupt("by hand"))
    assert watching.record.stopped == "the watched block raised KeyboardInterrupt after step 1: by hand"
    assert watching.record.last.looked == (1,)


def test_hooks_of_other_tools_stay_in_their_order() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    seen: list[str] = []
    model[1].register_forward_hook(lambda *_: seen.append("a"))
    model[1].register_forward_hook(lambda *_: seen.append("b"))
    optimizer.register_step_post_hook(lambda *_: seen.append("c"))
    with rectifier.watch(model, optimizer, every=2, gates="every"):
        steps(model, optimizer, 5)
    steps(model, optimizer, 1)
    assert seen == ["a", "b", "c"] * 6
    assert len(model[1]._forward_hooks) == 2 and len(optimizer._optimizer_step_post_hooks) == 1


def test_an_exception_between_looks_leaves_nothing_behind() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def fail(step: int) -> None:
        if step == 8:
            raise ZeroDivisionError("user code")

    with pytest.raises(ZeroDivisionError), rectifier.watch(model, optimizer, gates="every") as watching:
        steps(model, optimizer, 10, fail)
    assert watching.record.stopped == "the watched block raised ZeroDivisionError after step 7: user code"
    assert sum(s.sites[0].examples for s in watching.record.snapshots) == 8 * 32
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert not optimizer._optimizer_step_post_hooks and not optimizer._optimizer_step_pre_hooks


def test_an_optimizer_of_a_part_is_told() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model[4].parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=2) as watching:
        steps(model, optimizer, 4)
    assert watching.record.not_observed == (
        "the optimizer does not step 0.weight, 0.bias, 2.weight and 1 more: their gradients were not read",
    )
    assert watching.record.last.sites[0].lived is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"gates": "all"},
            "watch: `gates` must be 'sampled' or 'every'; got 'all'. Pass 'every' to count those of every step.",
        ),
        (
            {"budget": 2},
            "watch: `budget` must be a share of the time of a step, above 0 and at most 1; got 2. 2 % is written 0.02.",
        ),
        (
            {"budget": 0.02, "every": 5},
            "watch: `budget` must be left out where `every` is a number; got 0.02 and every=5. "
            "Pass every='auto' to look as often as it allows.",
        ),
        (
            {"optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)},
            "watch: `optimizer` must step parameters of the model; got SGD with none of them. "
            "Make it from model.parameters().",
        ),
    ],
)
def test_errors(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.watch(mlp(), **arguments)
    assert str(caught.value) == text
