"""What an optimizer holds of recycled rows and columns: what a new one would, compared with a hand-made one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)

import rectifier
from rectifier.checkup import Finding

UNIT, OTHERS = 1, [0, 2, 3, 4, 5, 6, 7]
ADAM = {"exp_avg": 0.0, "exp_avg_sq": "mean"}
#: Optimizer, its options, and by hand what a new one holds of a row. "weights" stands for the row itself, "mean" for
#: the mean of the rows that stay.
CASES: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (SGD, {"lr": 0.01, "momentum": 0.9}, {"momentum_buffer": 0.0}),
    (SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True, "fused": True}, {"momentum_buffer": 0.0}),
    (Adam, {"lr": 0.01, "amsgrad": True}, {**ADAM, "max_exp_avg_sq": 0.0}),
    (Adam, {"lr": 0.01, "foreach": True}, ADAM),
    (Adam, {"lr": torch.tensor(0.01)}, ADAM),
    (AdamW, {"lr": 0.01, "fused": True}, ADAM),
    (AdamW, {"lr": 0.01, "amsgrad": True}, {**ADAM, "max_exp_avg_sq": 0.0}),
    (NAdam, {"lr": 0.01}, ADAM),
    (RAdam, {"lr": 0.01}, ADAM),
    (Adamax, {"lr": 0.01}, {"exp_avg": 0.0, "exp_inf": 0.0}),
    (RMSprop, {"lr": 0.01}, {"square_avg": 0.0}),
    (
        RMSprop,
        {"lr": 0.001, "momentum": 0.5, "centered": True},
        {"square_avg": 0.0, "momentum_buffer": 0.0, "grad_avg": 0.0},
    ),
    (Adagrad, {"lr": 0.01}, {"sum": 0.0}),
    (Adagrad, {"lr": 0.01, "initial_accumulator_value": 0.25}, {"sum": 0.25}),
    (Adadelta, {}, {"square_avg": 0.0, "acc_delta": 0.0}),
    (Rprop, {"lr": 0.002}, {"prev": 0.0, "step_size": 0.002}),
    (ASGD, {"lr": 0.01}, {"ax": "weights"}),
]
IDS = [f"{case[0].__name__}-{'-'.join(case[1])}" for case in CASES]


def net() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(32, 4)
    return model, x


def step(model: nn.Module, optimizer: Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(x).sub(1).square().mean().backward()
    optimizer.step()


def trained(kind: Any, options: dict[str, Any]) -> tuple[nn.Sequential, Optimizer, torch.Tensor]:
    """Three steps, after which unit 1 dies: what is kept of it is not 0."""
    model, x = net()
    optimizer = kind(model.parameters(), **options)
    for _ in range(3):
        step(model, optimizer, x)
    with torch.no_grad():
        model[0].bias[UNIT] = -50.0
    return model, optimizer, x


def recycle(model: nn.Module, optimizer: Any, x: torch.Tensor, **options: Any) -> rectifier.checkup.Receipt:
    found = Finding("silent", "1", (UNIT,), 8, "", "", "")
    (receipt,) = rectifier.heal(model, [found], optimizer, probe=x, seed=0, **options)
    assert receipt.output_change == 0.0 and receipt.units == (UNIT,)
    return receipt


def by_hand(start: Any, row: torch.Tensor, stays: torch.Tensor) -> torch.Tensor:
    """What the state of a row is to be; stays: that of the rows that stay."""
    if start == "weights":
        return row.detach().clone()
    return torch.full_like(row.detach(), stays.double().mean().item() if start == "mean" else start)


def slices(model: nn.Sequential) -> list[tuple[torch.Tensor, Any, Any]]:
    """Parameter, index of what starts anew, index of what stays."""
    columns = (slice(None), UNIT), (slice(None), OTHERS)
    return [(model[0].weight, UNIT, OTHERS), (model[0].bias, UNIT, OTHERS), (model[2].weight, *columns)]


@pytest.mark.parametrize(("kind", "options", "new"), CASES, ids=IDS)
def test_rows_and_columns_are_as_new_and_the_rest_stays(kind: Any, options: Any, new: dict[str, Any]) -> None:
    model, optimizer, x = trained(kind, options)
    before = copy.deepcopy(optimizer.state_dict()["state"])
    receipt = recycle(model, optimizer, x)
    for parameter, anew, stays in slices(model):
        place = next(n for n, other in enumerate(model.parameters()) if other is parameter)
        state = optimizer.state[parameter]
        kept = {key for key, value in state.items() if isinstance(value, torch.Tensor) and value.ndim}
        assert kept == set(new)
        for key, start in new.items():
            want = by_hand(start, parameter[anew], before[place][key][stays])
            assert torch.equal(state[key][anew], want), key
            assert torch.equal(state[key][stays], before[place][key][stays]), key
        for key in state.keys() - kept:  # counters of steps are shared with the rows that stay
            assert torch.equal(torch.as_tensor(state[key]), torch.as_tensor(before[place][key])), key
    bias = next(n for n, other in enumerate(model.parameters()) if other is model[2].bias)
    for key, value in before[bias].items():  # not asked for
        assert torch.equal(torch.as_tensor(optimizer.state[model[2].bias][key]), torch.as_tensor(value))
    receipt.undo()
    after = optimizer.state_dict()["state"]
    assert all(
        torch.equal(torch.as_tensor(after[n][key]), torch.as_tensor(value))
        for n, state in before.items()
        for key, value in state.items()
    )


@pytest.mark.parametrize(("kind", "options", "new"), CASES, ids=IDS)
def test_training_goes_on_as_with_a_hand_made_one(kind: Any, options: Any, new: dict[str, Any]) -> None:
    """The row, as a parameter of its own with a state written by hand, goes the same way, bit for bit."""
    model, optimizer, x = trained(kind, options)
    recycle(model, optimizer, x)
    rows = [nn.Parameter(parameter.detach()[anew].clone()) for parameter, anew, _ in slices(model)]
    alone = kind(rows, **options)
    for row, (parameter, _, stays) in zip(rows, slices(model), strict=True):
        state = {key: copy.deepcopy(value) for key, value in optimizer.state[parameter].items() if key not in new}
        for key, start in new.items():
            state[key] = by_hand(start, row, optimizer.state[parameter][key][stays])
        alone.state[row].update(state)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).sub(1).square().mean().backward()
        for row, (parameter, anew, _) in zip(rows, slices(model), strict=True):
            assert parameter.grad is not None
            row.grad = parameter.grad[anew].clone()
        optimizer.step()
        alone.step()
        for row, (parameter, anew, _) in zip(rows, slices(model), strict=True):
            torch.testing.assert_close(parameter.detach()[anew], row.detach(), rtol=1e-6, atol=1e-7)
    assert torch.isfinite(model[0].weight).all()


def test_factored_state_is_reset_where_it_belongs_to_the_row() -> None:
    """Adafactor keeps a factor a row and a factor a column: what all rows share stays."""
    model, optimizer, x = trained(Adafactor, {"lr": 0.01})
    old = copy.deepcopy(optimizer.state)
    shared = {id(p): {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}
    recycle(model, optimizer, x)
    first, second = optimizer.state[model[0].weight], optimizer.state[model[2].weight]
    assert old and not first["row_var"][UNIT].any() and first["row_var"][OTHERS].all()
    assert torch.equal(first["col_var"], shared[id(model[0].weight)]["col_var"])
    assert not second["col_var"][:, UNIT].any() and second["col_var"][:, OTHERS].all()
    assert torch.equal(second["row_var"], shared[id(model[2].weight)]["row_var"])
    assert optimizer.state[model[0].bias]["variance"][UNIT] == 0
    step(model, optimizer, x)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_factored_state_of_a_convolution() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(12, 2))
    x = torch.randn(16, 2, 6, 6)
    optimizer = Adafactor(model.parameters(), lr=0.01)
    step(model, optimizer, x)
    with torch.no_grad():
        model[0].bias[UNIT] = -50.0
    (receipt,) = rectifier.heal(model, [Finding("silent", "1", (UNIT,), 4, "", "", "")], optimizer, probe=x, seed=0)
    assert receipt.output_change == 0.0
    state = optimizer.state[model[0].weight]
    assert state["row_var"].shape == (4, 2, 3, 1) and state["col_var"].shape == (4, 2, 1, 3)
    assert not state["row_var"][UNIT].any() and not state["col_var"][UNIT].any()
    assert state["row_var"][0].any() and state["col_var"][0].any()
    assert not optimizer.state[model[2].weight]["row_var"][:, UNIT].any()


def test_several_optimizers_each_with_its_parameters() -> None:
    """Muon takes matrices alone, so that another steps the biases."""
    model, x = net()
    muon = Muon([model[0].weight, model[2].weight], lr=0.01)
    sgd = SGD([model[0].bias, model[2].bias], lr=0.01, momentum=0.9)
    for _ in range(2):
        step(model, muon, x)
        sgd.step()
    with torch.no_grad():
        model[0].bias[UNIT] = -50.0
    with pytest.raises(rectifier.RectifierValueError) as caught:
        recycle(model, muon, x)
    assert str(caught.value) == (
        "heal: `optimizer` must step the parameters that are given a new start; got Muon without the one of layer 0. "
        "Make it from model.parameters()."
    )
    recycle(model, (muon, sgd), x)
    assert not muon.state[model[0].weight]["momentum_buffer"][UNIT].any()
    assert muon.state[model[0].weight]["momentum_buffer"][OTHERS].any()
    assert not muon.state[model[2].weight]["momentum_buffer"][:, UNIT].any()
    assert sgd.state[model[0].bias]["momentum_buffer"][UNIT] == 0
    step(model, muon, x)
    assert torch.isfinite(model[0].weight).all()


def test_counters_start_anew_with_the_whole_of_a_parameter() -> None:
    model, x = net()
    optimizer = NAdam(model.parameters(), lr=0.01)
    step(model, optimizer, x)
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    everything = Finding("silent", "1", tuple(range(8)), 8, "", "", "")
    (receipt,) = rectifier.heal(model, [everything], optimizer, probe=x, seed=0)
    for parameter in (model[0].weight, model[0].bias, model[2].weight):
        assert optimizer.state[parameter]["step"] == 0 and optimizer.state[parameter]["mu_product"] == 1
    assert optimizer.state[model[2].bias]["step"] == 1
    receipt.undo()
    assert optimizer.state[model[0].weight]["step"] == 1


def test_first_steps_of_adam_are_no_longer_than_the_step_size() -> None:
    """A second moment of 0 under a count of many steps would make them up to 6.6 times as long."""
    longest = {}
    for starts in (None, {"exp_avg_sq": 0.0}):
        model, x = net()
        optimizer = Adam(model.parameters(), lr=1e-4, fused=True)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        for _ in range(1000):
            optimizer.step()
        with torch.no_grad():
            model[0].bias[UNIT] = -50.0
        recycle(model, optimizer, x, starts=starts)
        row = model[0].weight[UNIT].detach()
        steps = []
        for _ in range(20):
            before = row.clone()
            optimizer.step()
            steps.append((row - before).abs().max().item())
        longest[starts is None] = max(steps) / 1e-4
    assert longest[True] < 1.01
    assert 5 < longest[False] < 6.6


class Lion(Optimizer):
    """An optimizer of the user's (Chen et al. 2023, arXiv:2302.06675)."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 1e-3})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                average = self.state[parameter].setdefault("average", torch.ones_like(parameter))
                parameter -= self.param_groups[0]["lr"] * (0.9 * average + 0.1 * parameter.grad).sign()
                average.lerp_(parameter.grad, 0.01)


def test_an_unknown_optimizer_is_refused_or_told() -> None:
    model, optimizer, x = trained(Lion, {})
    before = copy.deepcopy(model.state_dict())
    for starts, text in (
        (
            None,
            "heal: `optimizer` must be one of torch.optim, or what a new one holds told in `starts`; got Lion. Pass "
            'for instance starts={"exp_avg": 0.0}, or {} where it keeps nothing.',
        ),
        (
            {},
            "heal: `starts` must tell what a new optimizer holds; got nothing for 'average', which Lion keeps of layer "
            "0. Pass for instance starts={'average': 0.0}.",
        ),
        (
            {"average": "median"},
            'heal: `starts` must map keys of the optimizer\'s state to numbers or "mean"; got '
            "{'average': 'median'}. Pass for instance {\"exp_avg\": 0.0}.",
        ),
    ):
        with pytest.raises(rectifier.RectifierError) as caught:
            recycle(model, optimizer, x, starts=starts)
        assert str(caught.value) == text
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    recycle(model, optimizer, x, starts={"average": 1.0})
    assert (optimizer.state[model[0].weight]["average"][UNIT] == 1).all()
    assert not (optimizer.state[model[0].weight]["average"][OTHERS] == 1).any()
    step(model, optimizer, x)


def test_a_history_of_all_parameters_is_refused() -> None:
    model, x = net()
    optimizer = LBFGS(model.parameters())
    with torch.no_grad():
        model[0].bias[UNIT] = -50.0
    with pytest.raises(rectifier.RectifierValueError) as caught:
        recycle(model, optimizer, x)
    assert str(caught.value) == (
        "heal: `optimizer` must keep a state of each parameter; got LBFGS, whose history mixes all of them. Leave "
        "`optimizer` out and make a new one afterwards."
    )
    optimizer.state[model[0].weight]["d"] = [torch.ones(3)]
    recycle(model, None, x)


def test_an_optimizer_of_other_parameters_is_refused() -> None:
    model, x = net()
    with torch.no_grad():
        model[0].bias[UNIT] = -50.0
    with pytest.raises(rectifier.RectifierValueError) as caught:
        recycle(model, SGD(copy.deepcopy(model).parameters()), x)
    assert str(caught.value) == (
        "heal: `optimizer` must step the parameters that are given a new start; got SGD without the one of layer 0. "
        "Make it from model.parameters()."
    )
    model[0].requires_grad_(False)  # frozen, as its owner wants
    recycle(model, SGD(model[2].parameters()), x)


REPLACED = (
    "undo: the model must be as the act at '1' left it; got parameters or optimizer state that were replaced since. "
    "Keep the act, or go on from a copy of the model made before it."
)
CHANGED = REPLACED.replace(
    "parameters or optimizer state that were replaced", "weights or optimizer state that changed"
)


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (lambda m, o, x: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach().clone())), REPLACED),
        (lambda m, o, x: m.__setitem__(2, nn.Linear(8, 2)), REPLACED),
        (lambda m, o, x: m.__setitem__(0, nn.Identity()), REPLACED),
        (lambda m, o, x: m.pop(2), REPLACED),
        (lambda m, o, x: o.load_state_dict(copy.deepcopy(o.state_dict())), REPLACED),
        (lambda m, o, x: o.state.clear(), REPLACED),
        (lambda m, o, x: m.double(), CHANGED),
        (lambda m, o, x: step(m, o, x), CHANGED),
    ],
)
def test_undo_after_something_was_replaced(after: Any, text: str) -> None:
    model, optimizer, x = trained(Adam, {"lr": 0.01})
    receipt = recycle(model, optimizer, x)
    after(model, optimizer, x)
    now = copy.deepcopy(model.state_dict())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        receipt.undo()
    assert str(caught.value) == text
    assert all(torch.equal(value, now[key]) for key, value in model.state_dict().items())
