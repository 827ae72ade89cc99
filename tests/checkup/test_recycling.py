"""``recycling``: dormant units get a new start every so many steps, none twice in a row, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import rectifier


def net(dead: tuple[int, ...] = (1, 5)) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2))
    with torch.no_grad():
        model[0].bias[list(dead)] = -50.0
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 3) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(32, 6, generator=generator)
        optimizer.zero_grad()
        model(x).sub(1).square().mean().backward()
        optimizer.step()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def test_silent_units_are_recycled_and_the_outputs_stay() -> None:
    model = net()
    optimizer = adam(model)
    with rectifier.recycling(model, optimizer, every=10, seed=0) as recycling:
        train(model, optimizer, 25)
    assert [turn.step for turn in recycling.turns] == [10, 20] and recycling.step == 25
    (first,) = recycling.turns[0].receipts
    assert (first.site, first.units, first.output_change) == ("1", (1, 5), 0.0)
    assert recycling.receipts[0] is first
    x = torch.randn(999, 6)
    assert not rectifier.check(model, [x]).of("dead", "silent")


def test_it_ends_with_the_block_and_leaves_no_hook() -> None:
    model = net()
    optimizer = adam(model)
    recycling = rectifier.recycling(model, optimizer, every=5, window=5, seed=0)
    with pytest.raises(KeyError), recycling:
        train(model, optimizer, 7)
        raise KeyError
    train(model, optimizer, 20)
    assert recycling.step == 7 and len(recycling.turns) == 1
    assert not optimizer._optimizer_step_post_hooks
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    recycling.stop()


def test_where_nothing_is_dormant_the_training_is_bit_for_bit_what_it_is() -> None:
    plain, recycled = net(()), net(())
    one, two = adam(plain), adam(recycled)
    train(plain, one, 24)
    state = torch.get_rng_state()
    with rectifier.recycling(recycled, two, every=6, window=6) as recycling:
        train(recycled, two, 24)
    assert len(recycling.turns) == 4 and recycling.receipts == ()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), recycled.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_the_same_seed_gives_the_same_weights_and_a_watch_sees_it() -> None:
    models = []
    for watched in (False, True):
        model = net()
        optimizer = adam(model)
        with rectifier.recycling(model, optimizer, every=8, seed=5):
            if watched:
                with rectifier.watch(model, optimizer, every=4) as watch:
                    train(model, optimizer, 16)
            else:
                train(model, optimizer, 16)
        models.append(model)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    fired = [snapshot.sites[0].fired[1] > 0 for snapshot in watch.record.snapshots]
    assert not fired[0] and fired[-1]


def test_no_unit_is_recycled_twice_in_a_row() -> None:
    """These die again at once: a hook puts their bias back after every step."""
    model = net()
    optimizer = adam(model)

    def kill(*_: Any) -> None:
        with torch.no_grad():
            model[0].bias[[1, 5]] = -50.0

    with rectifier.recycling(model, optimizer, every=4, window=2, seed=0) as recycling:
        optimizer.register_step_post_hook(kill)
        train(model, optimizer, 20)
    turns = [[r.units for r in turn.receipts if r.site == "1"] for turn in recycling.turns]
    assert turns == [[(1, 5)], [], [(1, 5)], [], [(1, 5)]]
    assert [turn.resting for turn in recycling.turns[:4]] == [0, 2, 0, 2]


def test_the_threshold_is_that_of_the_paper() -> None:
    """mean |h| of a unit ÷ mean of that over the layer ≤ τ; what such a unit gave goes into the next bias."""
    model = net(())
    with torch.no_grad():
        model[0].weight[3] *= 0.01
        model[0].bias[3] = 0.001
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
    h = model[:2](x).abs().mean(dim=0)
    dormant = tuple((h / h.mean() <= 0.05).nonzero().flatten().tolist())
    assert dormant == (3,)
    before = model[2].bias.detach().double() + model[2].weight[:, 3].detach().double() * h[3].double()
    with rectifier.recycling(model, optimizer, every=1, tau=0.05, seed=0) as recycling:
        train(model, optimizer, 1)
    (receipt,) = [receipt for receipt in recycling.receipts if receipt.site == "1"]
    assert receipt.units == dormant and receipt.output_change is not None and receipt.output_change > 0
    own = [unit for r in recycling.receipts if r.site == "3" for unit in r.units]
    stay = [unit for unit in range(12) if unit not in own]
    torch.testing.assert_close(model[2].bias.detach().double()[stay], before[stay], rtol=1e-5, atol=1e-6)


def test_a_receipt_may_be_undone_until_the_next_step() -> None:
    model = net()
    optimizer = adam(model)
    with rectifier.recycling(model, optimizer, every=6, seed=0) as recycling:
        train(model, optimizer, 6)
        before = copy.deepcopy(model.state_dict())
        recycling.receipts[0].undo()
        assert model[0].bias[1] < -40 and not torch.equal(before["0.weight"], model[0].weight)
        train(model, optimizer, 12)
    assert recycling.turns[2].receipts
    train(model, optimizer, 1)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        recycling.turns[2].receipts[-1].undo()
    assert str(caught.value).startswith("undo: the model must be as the act at ")


class Keywords(nn.Module):
    """A place that cannot be followed, and an input that comes by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.side = net(), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor, *, more: torch.Tensor) -> torch.Tensor:
        return self.body(x) + torch.relu(self.side(more))


def test_places_that_cannot_be_followed_are_told_and_inputs_come_as_they_do() -> None:
    model = Keywords()
    with torch.no_grad():
        model.side.bias[0] = -50.0
    optimizer = adam(model)
    with rectifier.recycling(model, optimizer, every=2, seed=0) as recycling:
        for _ in range(2):
            x = torch.randn(16, 6)
            optimizer.zero_grad()
            model(x, more=x).square().mean().backward()
            optimizer.step()
    (turn,) = recycling.turns
    first = turn.receipts[0]
    assert (first.site, first.units, first.output_change) == ("body.1", (1, 5), 0.0)
    assert len(turn.skipped) == 1 and turn.skipped[0].startswith("'relu#0' must stand between layers")


def test_normalisation_in_training_mode() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
    with torch.no_grad():
        model[1].bias[2] = -50.0
    optimizer = adam(model)
    with rectifier.recycling(model, optimizer, every=3, seed=0) as recycling:
        train(model, optimizer, 9)
    assert recycling.turns[0].receipts[0].units == (2,) and model.training
    assert model[1].bias[2] > -1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": 0}, "`every` must be a whole number of steps, at least 1; got 0. Pass for instance 100."),
        ({"every": 1.5}, "`every` must be a whole number of steps, at least 1; got 1.5. Pass for instance 100."),
        (
            {"every": 4, "window": 5},
            "`window` must be a whole number of steps, at least 1 and at most every=4; got 5. Pass for instance 100.",
        ),
        ({"tau": 1.0}, "`tau` must be a number from 0 to below 1; got 1.0. Pass 0.0 for units that give 0 alone."),
        ({"tau": "a"}, "`tau` must be a number from 0 to below 1; got 'a'. Pass 0.0 for units that give 0 alone."),
        ({"seed": -1}, "`seed` must be a whole number from 0 to 2**63 − 1, or None; got -1. Pass a number such as 0."),
        (
            {"optimizer": None},
            "`optimizer` must be the torch.optim.Optimizer that steps the model; got None. Pass it.",
        ),
        (
            {"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters())},
            "`optimizer` must step parameters of the model; got SGD with none of them. Make it from "
            "model.parameters().",
        ),
        (
            {"starts": 3},
            '`starts` must map keys of the optimizer\'s state to numbers or "mean"; got 3. Pass for instance '
            '{"exp_avg": 0.0}.',
        ),
    ],
)
def test_errors(options: dict[str, Any], text: str) -> None:
    model = net()
    with pytest.raises(rectifier.RectifierError) as caught:
        rectifier.recycling(model, **{"optimizer": adam(model), **options})
    assert str(caught.value) == f"recycling: {text}"


def test_optimizers_that_cannot_be_told_row_from_row_are_refused_at_the_start() -> None:
    model = net()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.recycling(model, torch.optim.LBFGS(model.parameters()))
    assert str(caught.value) == (
        "recycling: `optimizer` must keep a state of each parameter; got LBFGS, whose history mixes all of them. Train "
        "with another, or call rectifier.heal and make a new one."
    )
    with pytest.raises(rectifier.RectifierTypeError) as caught:
        rectifier.recycling(3, None)
    assert str(caught.value) == (
        "recycling: `model` must be a PyTorch model (torch.nn.Module); got int. Pass the model itself, not its weights "
        "or its class."
    )
