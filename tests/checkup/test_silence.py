"""What it takes to call a unit silent: gradients against chance, enough examples, and what is said in place of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import Snapshot, Thresholds, judge
from rectifier.checkup.deaths import moments
from rectifier.checkup.pace import Pace
from rectifier.checkup.silence import short_of, too_soon

from .records_of import shots, site


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield


def read(*intervals: tuple[int, int]) -> list[Snapshot]:
    """Unit 0 had a gradient at the first so many steps of each interval (lives, steps); unit 1 at each."""
    made, step, steps = [], 0, []
    for lives, many in intervals:
        step += many
        lived = [step - many + lives if lives else 0, step]
        steps.append(step)
        made.append(
            site(
                [0, 50],
                examples=100,
                graded=many,
                lived=np.array(lived),
                lives=np.array([lives, many]),
                until=step,
                recent=step - many // 2,
            )
        )
    return shots(*made, steps=tuple(steps))


def soon(snapshots: list[Snapshot], unit: int = 0) -> bool:
    return too_soon(moments(snapshots, snapshots[-1].sites[0]), unit) is not None


@pytest.mark.parametrize(
    ("intervals", "too_early"),
    [
        ([(1, 20)], True),  # 1/20
        ([(1, 101)], False),  # below 1 %
        ([(6, 12)], True),  # 2⁻⁶
        ([(7, 14)], False),
        ([(20, 20), (0, 20)], False),
        ([(20, 20), (1, 20)], False),  # it died at the first step of an interval: the one before counts too
        ([(0, 20), (1, 20), (0, 20)], True),
        # (41/81)¹ for the rate of late, though at the rate of all the time it would be silent long ago
        ([(40, 40), (0, 40), (1, 1), (0, 40)], True),
        # of late it would be silent long ago, at the rate of all the time it is not
        ([(0, 900), (0, 10), (7, 20), (0, 20)], True),
        ([(0, 100)], False),  # never: not a question of being too soon
    ],
)
def test_quiet_steps_against_chance(intervals: list[tuple[int, int]], too_early: bool) -> None:
    assert soon(read(*intervals)) is too_early


def test_what_is_said_of_a_unit_that_is_quiet_for_too_short() -> None:
    snapshots = read((2, 10), (0, 4))
    (finding,) = (f for f in judge(snapshots, history=True) if 0 in f.units)
    assert finding.kind == "rare"
    assert finding.evidence == (
        "had a gradient at up to 2 of 2 steps until the last with one, and at 0 of up to 12 since: at such a rate that "
        "is no sign of silence yet"
    )
    assert finding.measures == {"most_steps": 2, "steps": 2, "silent_steps": 12}


def test_units_that_never_fired_need_enough_examples() -> None:
    def short(examples: int, graded: int | None = None, rare: float = 0.01, **changes: Any) -> Any:
        lived = None if graded is None else np.zeros(2, dtype=np.int64)
        made = site([0, 5], examples=examples, graded=graded, lived=lived, lives=lived, **changes)
        shot = Snapshot(10, (made,), (), looked=(10,))
        return short_of([shot], Thresholds(rare=rare))

    assert short(299) == {"act": {0: (299, 1)}}
    assert short(300) == {}
    assert short(299, rare=0.02) == {}
    assert short(1, rare=0.0) == {}
    assert short(100, graded=2) == {"act": {0: (200, 100)}}  # the step of the look and one more
    assert short(100, graded=3) == {}
    assert short(900, inputs=100) == {"act": {0: (100, 200)}}  # positions of one input are not independent
    assert short(10, nan=np.array([1, 0])) == {}
    assert short(10, rectifier="leaky_relu") == {} == short(10, rectifier="sigmoid") == short(10, rectifier="gelu")
    assert short_of([], Thresholds()) == {}
    few = site([0, 5], examples=100)
    kinds = {f.kind for f in judge(shots(few), history=True, short={"act": {0: (100, 200)}}) if 0 in f.units}
    assert kinds == set()


class Behind(nn.Module):
    """The site's layer cannot be followed, so that there are no gradients of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x) + 0.1))


def train(model: nn.Module, watching: Any, many: int, rows: int = 32, optimizer: Any = None) -> Any:
    with watching:
        for _ in range(many):
            optimizer.zero_grad()
            model(torch.randn(rows, 6)).square().mean().backward()
            optimizer.step()
    return watching.record


def test_too_few_examples_are_told_in_place_of_silence() -> None:
    model = Behind()
    with torch.no_grad():
        model.a.weight[3:5], model.a.bias[3:5] = 0.4, -4.5  # within reach of the range, and of no example
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch = rectifier.watch(model, optimizer, every=2, gates="sampled")
    record = train(model, watch, 6, optimizer=optimizer)
    assert record.of("silent") == ()
    assert record.not_observed == (
        "relu#0: 2 of its units fired at none of 128 examples; 172 more are needed to tell them from units that fire "
        "at 0.01 of the examples (rare); gates='every' counts all",
    )
    watch = rectifier.watch(model, optimizer, every=2, gates="sampled")
    record = train(model, watch, 6, rows=75, optimizer=optimizer)
    assert [f.units for f in record.of("silent")] == [(3, 4)] and record.not_observed == ()
    watch = rectifier.watch(model, optimizer, every=6, gates="every")
    record = train(model, watch, 6, optimizer=optimizer)  # all that there was has been counted
    assert [f.units for f in record.of("silent")] == [(3, 4)] and record.not_observed == ()


def test_a_gradient_at_the_kink_refutes_the_unit_and_not_its_site() -> None:
    class Clamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x).clamp_min(0))  # passes a gradient at z = 0

    model = Clamped()
    with torch.no_grad():
        model.a.weight[2], model.a.bias[2] = 0.0, 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    record = train(model, rectifier.watch(model, optimizer, every=4, gates="sampled"), 12, optimizer=optimizer)
    last = record.last.sites[0]
    assert model.a.bias.grad is not None and model.a.bias.grad[2] != 0
    assert last.lived is not None and last.lives is not None
    assert (last.graded, last.lived.tolist()[:4], last.lives.tolist()[:4]) == (4, [12, 12, 0, 12], [4, 4, 0, 4])
    (dead,) = record.of("dead", "silent")
    assert dead.units == (2,) and record.not_observed == ()


@pytest.mark.parametrize("cell", [True, False])
def test_recurrent_units_have_gradients_too(cell: bool) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNNCell(6, 8, nonlinearity="relu") if cell else None
            self.rnn = None if cell else nn.RNN(6, 8, 2, nonlinearity="relu", batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.zeros(len(x), 8)
            if self.rnn is not None:
                return self.rnn(x[:, None].expand(-1, 3, -1))[0][:, -1]
            for _ in range(12):  # a loop: one site
                h = self.cell(x, h)  # type: ignore[misc]
            return h

    model = Recurrent()
    bias = model.cell.bias_ih if cell else model.rnn.bias_ih_l1  # type: ignore[union-attr]
    with torch.no_grad():
        bias[5] = -100.0
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    record = train(model, rectifier.watch(model, optimizer, every=20, gates="sampled"), 20, optimizer=optimizer)
    last = record.last.sites[0]
    assert last.graded == 19 and last.lives is not None
    assert (last.lives[5], last.lives.max()) == (0, 19)
    assert [f.units for f in record.of("silent")] == [(5,)]  # 2 looks of 32 examples, and 18 steps without a gradient


def test_a_suspicion_borrows_one_look_while_the_early_ones_are_paid_back() -> None:
    pace = Pace(None, 0.02)
    for step in (1, 5, 25):
        pace.plain(1e-3, 0.0)
        pace.looked(step, 3e-3)
    assert pace.next > 100
    assert pace.hasten(57) and pace.next == 58
    pace.looked(58, 3e-3)
    assert not pace.hasten(250)  # not before that is paid back
    pace.looked(290, 3e-3)
    assert pace.hasten(900)  # within one look of what 900 steps allow
    pace.looked(901, 3e-3)
    assert pace.hasten(950)  # it was paid back: another may be borrowed
    pace.looked(951, 3e-3)
    assert not pace.hasten(990)


def test_a_module_that_is_taken_out_keeps_what_was_seen_of_it() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=10) as watching:
        for step in range(1, 31):
            optimizer.zero_grad()
            model(torch.randn(32, 6)).square().mean().backward()
            optimizer.step()
            if step == 14:
                del model[3], model[2]  # what was 4 is 2 now
    assert [[s.site for s in shot.sites] for shot in watching.record.snapshots] == [["1", "3"]] * 3 + [["1"]]
    assert [s.examples for s in watching.record.snapshots[2].sites] == [320, 128]
    told = "replaced or taken out while it was observed; not seen from then to the next look"
    assert watching.record.not_observed == tuple(f"{name}: {told}" for name in ("2", "3", "4"))


def test_a_replaced_module_is_told_and_watched_again() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with rectifier.watch(model, optimizer, every=10) as watching:
        for step in range(1, 41):
            optimizer.zero_grad()
            model(torch.randn(32, 6)).square().mean().backward()
            optimizer.step()
            if step == 14:
                model[1] = nn.ReLU()
            if step == 35:
                model[3] = nn.ReLU()
    told = "replaced or taken out while it was observed; not seen from then to the next look"
    assert watching.record.not_observed == (f"1: {told}", f"3: {told}")
    examples = [[site.examples for site in shot.sites] for shot in watching.record.snapshots]
    # gates of every step: those of the first site from 15 to 19 are missing, of the second from 36 to 39
    assert examples == [[32, 32], [288, 288], [160, 320], [320, 320], [320, 320 - 4 * 32]]
