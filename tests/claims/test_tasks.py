"""The tasks: each runs with several activations, learns, and gives the same numbers again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rectifier.torch as rt
from rectifier.claims.experiments.trained import timed, trained
from rectifier.claims.lab.activations import ACTIVATIONS, Activation
from rectifier.claims.lab.experiment import Run
from rectifier.claims.lab.records import Records
from rectifier.claims.tasks import TASKS, run
from rectifier.claims.tasks.health import health
from rectifier.claims.tasks.images import feed_forward
from rectifier.claims.tasks.layers import gain, layer
from rectifier.claims.tasks.sequences import Reader
from rectifier.claims.tasks.setup import Setup
from rectifier.errors import RectifierValueError

#: Task → updates, step size, and what ReLU must reach on the test part with them.
SMALL = {
    "digits-mlp": (100, 0.1, 0.85),
    "digits-cnn": (60, 0.1, 0.6),
    "rows": (100, 0.03, 0.6),
    "tabular": (60, 0.03, 0.85),
    "detection": (150, 0.005, 0.08),
    "speech": (100, 0.03, 0.35),
    "text": (120, 0.1, 0.25),
    "cartpole": (40, 0.003, 0.12),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def config(task: str, activation: str = "relu", **others: Any) -> dict[str, Any]:
    updates, step, _ = SMALL[task]
    return {"task": task, "activation": activation, "seed": 3, "step": step, "budget": updates, **others}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_learns_and_repeats_to_the_bit(task: str) -> None:
    first, again = trained(config(task)), trained(config(task))
    assert json.dumps(first) == json.dumps(again)
    least = SMALL[task][2]
    assert least > TASKS[task].chance * 1.3
    assert first["test"] > least and first["validation"] > least
    assert first["updates"] == SMALL[task][0] and not first["diverged"]
    assert 0.05 < first["zeros"] < 0.95 and len(first["zeros_by_layer"]) == len(first["places"]) > 0


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_other_activations(task: str) -> None:
    """Also one that learns, one that the library does not know, and none at all."""
    found = {
        label: trained(config(task, label, budget=8))
        for label in ("relu", "prelu", "tanh", "threshold", "identity", "leaky_relu(negative_slope=0.2)")
    }
    assert len({json.dumps(outcome["validation_loss"]) for outcome in found.values()}) == len(found)
    assert all(math.isfinite(outcome["validation_loss"]) for outcome in found.values())
    assert found["identity"]["places"] == []


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_its_layers_from_the_table(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ACTIVATIONS["relu"]
    monkeypatch.setitem(ACTIVATIONS, "relu", Activation("relu", "ReLU", real.function, nn.Sigmoid))
    false = trained(config(task, budget=4))
    assert json.dumps(false) == json.dumps(trained(config(task, "sigmoid", budget=4)))


def test_a_run_leaves_threads_and_random_state_as_they_were() -> None:
    torch.set_num_threads(2)
    try:
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        run(config("text", budget=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.rand(3), expected)


def test_seeds_differ_and_activations_share_their_draws() -> None:
    start = {
        (label, seed): run(config("digits-mlp", label, seed=seed, budget=1))["loss"][1]
        for label in ("relu", "abs")
        for seed in (0, 1)
    }
    assert len(set(start.values())) == 4
    relu, other = nn.Linear(5, 4), nn.Linear(5, 4)
    for label, linear in (("relu", relu), ("abs", other)):
        setup(label).initialise(nn.Sequential(linear, layer(label)))
    torch.testing.assert_close(relu.weight / other.weight, torch.full((4, 5), gain("relu") / gain("abs")))


def setup(activation: str = "relu", **others: Any) -> Setup:
    return Setup(**{"activation": activation, "seed": 0, "step": 0.1, "budget": 10, **others})


@pytest.mark.parametrize(
    ("init", "std"), [("gain", math.sqrt(2 / 400)), ("lecun", 1 / 20), ("torch", 1 / math.sqrt(3 * 400))]
)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_initial_weights(init: str, std: float, scale: float) -> None:
    model = nn.Sequential()
    model.add_module("hidden", nn.Linear(400, 500))
    model.add_module("act", layer("relu"))
    model.add_module("output", nn.Linear(500, 3))
    setup(init=init, init_scale=scale, init_bias=-0.25).initialise(model)
    hidden, output = (model.get_submodule(name).requires_grad_(False) for name in ("hidden", "output"))
    assert float(hidden.weight.detach().std()) == pytest.approx(scale * std, rel=0.02)
    if init == "torch":
        assert -0.30 <= float(hidden.bias.min()) < -0.25 < float(hidden.bias.max()) <= -0.20
        assert 0 < float(output.bias.abs().max()) < 0.05
    else:
        assert set(hidden.bias.tolist()) == {-0.25} and set(output.bias.tolist()) == {0.0}


def test_gains_of_what_the_library_does_not_know() -> None:
    assert gain("identity") == 1.0
    assert gain("threshold") == pytest.approx(math.sqrt(2))
    assert gain("prelu(init=0.1)") == pytest.approx(math.sqrt(2 / 1.01))
    assert gain("relu(at_zero=0.5)") == pytest.approx(math.sqrt(2))


def test_leaky_reader_is_the_leaky_cell() -> None:
    torch.manual_seed(0)
    reader, cell = Reader("relu", (5, 3), 4), rt.LeakyCell(3, 4, alpha=0.7)
    reader.leak = rt.LeakyAverage(4, 0.7)
    cell.input.load_state_dict(reader.input.state_dict())
    cell.recurrent.load_state_dict(reader.recurrent.state_dict())
    x, hidden = torch.randn(2, 5, 3), None
    for t in range(5):
        hidden = cell(x[:, t], hidden)
    torch.testing.assert_close(reader(x), reader.output(hidden))


def test_sequences_tell_of_gradients_through_time() -> None:
    outcome = trained(config("rows", budget=5, alpha=0.9, delay=4, recurrent="identity"))
    assert len(outcome["gradient_by_step"]) == len(outcome["gradient_by_step_before"]) == 12
    assert all(value > 0 for value in outcome["gradient_by_step"])
    assert outcome["alphas_before"] == pytest.approx(0.9) and outcome["alphas"] != outcome["alphas_before"]
    fixed = trained(config("rows", budget=5, alpha=0.9, learn_alpha=False))
    assert fixed["alphas"] == fixed["alphas_before"]
    assert len(trained(config("rows", budget=1, by="pixels"))["gradient_by_step"]) == 64


def test_a_training_that_explodes_ends_and_says_so(tmp_path: Any) -> None:
    outcome = trained(config("tabular", step=1e8, budget=50, optimizer="sgd"))
    assert outcome["diverged"] and outcome["updates"] < 50 and math.isnan(outcome["validation_loss"])
    assert math.isnan(outcome["silent"]) and outcome["places"] == []
    assert outcome["test"] < 0.7
    records = Records(tmp_path)
    asked = Run(trained, config("tabular", step=1e8, budget=50, optimizer="sgd"))
    with records.adding():
        records.add(asked, outcome, 0.1, {})
    kept = next(iter(Records(tmp_path).results([asked])))
    assert json.dumps(kept.outcome) == json.dumps(outcome)


def test_regression_and_its_score() -> None:
    outcome = trained(config("tabular", data="diabetes", depth=1))
    assert 0.2 < outcome["test"] < 0.7
    assert trained(config("tabular", data="diabetes", step=0.9, budget=2))["test"] >= 0.0


def test_options_change_the_network() -> None:
    options = ({}, {"depth": 5}, {"width": 20}, {"norm": "batch"}, {"optimizer": "adam"}, {"optimizer": "sgd"})
    losses = {run(config("digits-mlp", budget=5, **others))["validation_loss"] for others in options}
    assert len(losses) == len(options)


def test_what_is_kept_of_a_run() -> None:
    whole = run(config("tabular", budget=5))
    assert whole["at"] == [0, 1, 2, 3, 4, 5] and len(whole["curve"]) == len(whole["loss"]) == 6
    left_out = {"seconds", "curve", "loss"}
    assert trained(config("tabular", budget=5)) == {name: whole[name] for name in whole if name not in left_out}
    assert timed(config("tabular", budget=2)).keys() == {"seconds", "updates"}
    assert timed.alone and not trained.alone


def test_own_layers() -> None:
    theirs = {"relu": nn.ReLU, "prelu": nn.PReLU, "elu": nn.ELU, "tanh": nn.Tanh}
    models = {label: feed_forward(label, 4, 2, 4, 2, "none") for label in (*theirs, "squared_relu")}
    for label, model in models.items():
        Setup(activation=label, seed=0, step=1.0, budget=1, own_layers=True).initialise(model)
    for label, kind in theirs.items():
        assert type(models[label].act1) is type(models[label].act2) is kind
    assert type(models["squared_relu"].act1) is rt.SquaredReLU  # PyTorch has none


def test_health_of_a_planted_network() -> None:
    model = nn.Sequential(nn.Linear(4, 5), rt.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(5, 4).abs())
        model[0].bias.copy_(torch.tensor([0.0, -9.0, 0.0, 1e-3, 1e-3]))
        model[0].weight[3] = 0.0
    found = health(model, torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) - 0.5)
    assert found["silent"] == 0.2 and found["silent_by_layer"] == [0.2]
    assert found["dormant"] == 0.6  # the silent one, and those that only pass on a thousandth
    assert found["zeros"] == pytest.approx((0.5 + 1 + 0.5 + 0 + 0) / 5, abs=0.03)
    torch.manual_seed(0)
    assert health(nn.Sequential(nn.Linear(4, 5), nn.Tanh()), torch.rand(9, 4))["zeros"] == 0.0


def messages() -> Iterator[tuple[dict[str, Any], str]]:
    good = {"task": "rows", "activation": "relu", "seed": 0, "step": 0.1}
    yield (
        {**good, "task": "digit"},
        "claims: `task` must be one of digits-mlp, digits-cnn, rows, tabular, detection, speech, text, cartpole; got "
        "'digit'. Pass a name such as 'digits-mlp'.",
    )
    yield (
        {"task": "tabular", "activation": "relu", "step": 0.1, "stpe": 0.2},
        "claims: a configuration of 'tabular' must hold activation, step and seed, and may hold budget, optimizer, "
        "init, init_scale, init_bias, own_layers, data, depth, width; got no 'seed', 'stpe'. Correct the names.",
    )
    labels = ", ".join(ACTIVATIONS)
    yield (
        {**good, "activation": "rleu"},
        f"claims: `activation` must be one of {labels}; got 'rleu'. "
        "Pass a name such as 'relu', or with one parameter 'leaky_relu(negative_slope=0.2)'.",
    )
    yield (
        {**good, "activation": "relu(slope=1)"},
        "claims: `activation` must have a parameter that its layer takes; got 'relu(slope=1)' (ReLU.__init__() got an "
        "unexpected keyword argument 'slope'). Write it as in 'leaky_relu(negative_slope=0.2)'.",
    )
    yield (
        {**good, "activation": "elu(alpha=big)"},
        "claims: `activation` must have a number as its parameter; got 'elu(alpha=big)'. "
        "Write it as in 'leaky_relu(negative_slope=0.2)'.",
    )
    yield ({**good, "seed": -1}, "claims: `seed` must be a whole number, 0 or more; got -1. Pass 0.")
    yield ({**good, "budget": 0}, "claims: `budget` must be a whole number, 1 or more; got 0. Pass 100.")
    yield ({**good, "step": 0}, "claims: `step` must be a number above 0; got 0. Pass 0.1.")
    yield (
        {**good, "init_scale": math.nan},
        "claims: `init_scale` must be a number above 0; got nan. Pass 0.1.",
    )
    yield (
        {**good, "init_bias": math.inf},
        "claims: `init_bias` must be a finite number; got inf. Pass 0.",
    )
    yield (
        {**good, "optimizer": "Adam"},
        "claims: `optimizer` must be one of 'sgd', 'momentum', 'adam'; got 'Adam'. Pass 'sgd'.",
    )
    for option, least in (("width", 1), ("delay", 0)):
        yield (
            {**good, option: -1},
            f"claims: `{option}` must be a whole number, {least} or more; got -1. Pass {100 * least}.",
        )
    yield (
        {**good, "learn_alpha": False},
        "claims: `learn_alpha` must be left out where there is no `alpha`; got False. Pass alpha=0.9.",
    )
    yield ({**good, "by": "columns"}, "claims: `by` must be one of 'rows', 'pixels'; got 'columns'. Pass 'rows'.")


@pytest.mark.parametrize(("given", "message"), list(messages()))
def test_what_cannot_be_used_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RectifierValueError) as caught:
        run(given)
    assert str(caught.value) == message


def test_quick_grids_are_parts_of_the_full_ones() -> None:
    for task in TASKS.values():
        assert len(task.few_steps) >= 2 and set(task.few_steps) < set(task.steps)
        assert list(task.steps) == sorted(task.steps) and task.quick < task.full
        assert np.diff(np.log(task.steps)).max() < math.log(4)
