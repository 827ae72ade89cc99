"""``log=``: what a logger is told, when, and that it can do a training no harm."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import rectifier
from rectifier.checkup.metrics import metrics, place_names, verdicts


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.LeakyReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].bias[2] = -50.0
        model[2].bias[1] = -5000.0
    return model


def train(model: nn.Module, steps: int, **given: Any) -> rectifier.checkup.Watching:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    with rectifier.watch(model, optimizer, **given) as watching:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(32, 6, generator=generator)).square().mean().backward()
            optimizer.step()
    return watching


def test_a_logger_is_told_of_each_look_and_of_the_end() -> None:
    told: list[dict[str, float]] = []
    record = train(network(), 10, every=4, log=told.append).record
    assert [numbers["rectifier/step"] for numbers in told] == [1, 4, 8, 10]
    assert [s.step for s in record.snapshots] == [1, 4, 10]  # what was counted after the last look is part of it
    assert all(type(value) is float for numbers in told for value in numbers.values())
    last, site = told[-1], record.last.sites[0]
    assert last["rectifier/units"] == 13
    assert last["rectifier/silent"] == 1 / 13  # leaky units are never silent
    assert last["rectifier/1/silent"] == 1 / 8 and last["rectifier/3/silent"] == 0
    assert last["rectifier/1/firing_rate"] == pytest.approx(float((site.fired / site.examples).mean()))
    assert last["rectifier/1/rms"] == site.rms_h and last["rectifier/1/gradient_rms"] == site.gradient_rms
    assert last["rectifier/0/update_ratio"] == record.last.layers[0].update_ratio
    # what only the whole record tells
    assert last["rectifier/judged_silent"] == record.share("silent", "dead") == 1 / 13
    assert last["rectifier/dead"] == last["rectifier/judged_silent"] and last["rectifier/1/dead"] == 1 / 8
    assert last["rectifier/faults"] == sum(finding.fault for finding in record.findings) >= 1
    assert last["rectifier/ill"] == sum(finding.ill for finding in record.findings)
    before = told[-2]
    assert set(last) - set(before) == set(verdicts(record))
    assert all(set(numbers) == set(before) for numbers in told[:-1])


def test_training_is_bit_identical_and_no_logger_no_call() -> None:
    plain, logged = network(), network()
    train(plain, 12, every=3)
    train(logged, 12, every=3, log=lambda numbers: None)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, logged.state_dict()[name]), name


def test_looks_alone_are_told_and_the_end() -> None:
    told: list[dict[str, float]] = []
    watching = train(network(), 300, log=told.append)
    looks = [step for snapshot in watching.record.snapshots for step in snapshot.looked]
    assert [numbers["rectifier/step"] for numbers in told[:-1]] == looks
    assert told[-1]["rectifier/step"] == 300 > looks[-1]


def test_what_was_not_measured_is_left_out() -> None:
    told: list[dict[str, float]] = []
    model = network()
    with rectifier.watch(model, log=told.append):  # no optimizer: no update
        for _ in range(2):
            model(torch.randn(8, 6))
    assert told and not any("update_ratio" in name or "gradient" in name for name in told[-1])
    told.clear()
    with rectifier.watch(model, log=told.append):
        pass
    assert told == []


@pytest.mark.filterwarnings("default")
def test_a_logger_that_raises_is_told_once_and_stops_nothing() -> None:
    calls = []

    def broken(numbers: dict[str, float]) -> None:
        calls.append(numbers["rectifier/step"])
        if len(calls) != 2:
            raise ConnectionError("no route to host")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watching = train(network(), 8, every=4, log=broken)
    assert [str(warning.message) for warning in caught] == [
        "watch: `log` raised ConnectionError at step 1: no route to host. The training goes on, the record is kept, "
        "and `log` is called again at the next look; what it raises is told once."
    ]
    assert caught[0].category is RuntimeWarning
    assert calls == [1, 4, 8, 8]
    assert [s.step for s in watching.record.snapshots] == [1, 4, 8]


def test_ctrl_c_in_a_logger_goes_through_with_the_record() -> None:
    def stop(numbers: dict[str, float]) -> None:
        if numbers["rectifier/step"] == 4 and "rectifier/faults" not in numbers:
            raise KeyboardInterrupt

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with pytest.raises(KeyboardInterrupt), rectifier.watch(model, optimizer, every=4, log=stop) as watching:
        for _ in range(8):
            optimizer.zero_grad()
            model(torch.randn(32, 6)).square().mean().backward()
            optimizer.step()
    assert watching.record.stopped == "the watched block raised KeyboardInterrupt after step 4: "
    assert [s.step for s in watching.record.snapshots] == [1, 4]


def test_the_record_until_an_error_is_told() -> None:
    told: list[dict[str, float]] = []
    model = network()
    with pytest.raises(ZeroDivisionError), rectifier.watch(model, every=10, log=told.append):
        model(torch.randn(8, 6))
        model(torch.randn(8, 6))
        raise ZeroDivisionError
    assert told[-1]["rectifier/judged_silent"] == 1 / 13


def test_names_that_every_logger_takes() -> None:
    assert place_names(["a.relu#1", "a/b", "a_b", "a b", "é@2"]) == {
        "a.relu#1": "a.relu_1",
        "a/b": "a_b",
        "a_b": "a_b_2",
        "a b": "a_b_3",
        "é@2": "é_2",
    }


def test_nan_is_told_as_nan() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    record = rectifier.check(model, [(torch.randn(8, 6), torch.zeros(8, 2))], F.mse_loss)
    told = metrics(record.last)
    assert told["rectifier/1/firing_rate"] < 1 and told["rectifier/1/gradient_rms"] != told["rectifier/1/gradient_rms"]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(rectifier.RectifierTypeError) as caught:
        rectifier.watch(network(), log="wandb")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "watch: `log` must be a function that takes a dict, or None; got str. "
        "Pass for instance print, or the log method of a Weights & Biases run."
    )
