"""Watching ``fit`` on the digits: what was planted is found, nothing else is, and the training is what it would be."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

import rectifier.keras as rk
from rectifier import RectifierTypeError, RectifierValueError
from rectifier.checkup.errors import IllError

DIGITS = load_digits()
#: Centred and scaled, so that no unit is shut by chance.
X = ((DIGITS.data - DIGITS.data.mean(axis=0)) / (DIGITS.data.std(axis=0) + 1)).astype(np.float32)
Y = DIGITS.target
LOOK = [(X[:600], Y[:600])]
#: What is the same code on each backend is run on the one that compiles nothing.
of_no_backend = pytest.mark.skipif(keras.backend.backend() != "torch", reason="the same on each backend")


def network() -> Any:
    """Two hidden layers, with the same weights on every backend; fit's own compiled loss is the cross-entropy."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(32, "relu", name="a"),
            layers.Dropout(0.2),
            layers.BatchNormalization(name="n"),
            layers.Dense(24, name="b"),
            rk.ReLU(name="r"),
            layers.Dense(10, name="o"),
        ]
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(size=weight.shape).astype(np.float32) * np.sqrt(2 / weight.shape[0]))
    for name, unit, bias in (("a", 3, -60.0), ("a", 11, 60.0), ("b", 5, -60.0)):
        values = np.array(keras.ops.convert_to_numpy(model.get_layer(name).bias))
        values[unit] = bias
        model.get_layer(name).bias.assign(values)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.02), loss, metrics=["accuracy"])
    return model


class Unlucky(keras.callbacks.Callback):
    """What a gradient that is far too large does to units 0 to 19 of layer b, at step 13."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.step = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        if self.step == 13:
            bias = self.model.get_layer("b").bias
            values = np.array(keras.ops.convert_to_numpy(bias))
            values[:20] = -60
            bias.assign(values)


def train(*callbacks: Any, epochs: int = 2) -> tuple[Any, Any]:
    model = network()
    history = model.fit(X, Y, batch_size=64, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks))
    return model, history.history


def test_planted_deaths_are_found_and_nothing_moves() -> None:
    told: list[dict[str, float]] = []
    watch = rk.Watch(LOOK, every=10, log=told.append, name="digits")
    model, history = train(watch)
    record = watch.record
    assert [snapshot.step for snapshot in record.snapshots] == [0, 10, 20, 30, 40, 50, 58]
    found = {(f.kind, f.site, f.units, f.cause_kind) for f in record.of("dead", "silent")}
    assert found == {("dead", "a.relu#0", (3,), "initialisation"), ("silent", "r", (5,), "initialisation")}
    assert all(finding.since in ({3: 0}, {5: 0}) for finding in record.of("dead", "silent"))
    assert [(f.site, f.units) for f in record.of("always_open") if f.site == "a.relu#0"] == [("a.relu#0", (11,))]
    assert record.not_observed == (
        "the steps of fit: they run compiled; seen were the 600 examples of `batches`, in 7 looks between them",
    )
    assert (record.source, record.name, record.model) == ("watch", "digits", "Sequential")
    ratios = [[layer.update_ratio for layer in snapshot.layers] for snapshot in record.snapshots]
    assert ratios[0] == ratios[-1] == [None] * 3 and all(ratio > 0 for row in ratios[1:-1] for ratio in row)
    losses = [snapshot.loss for snapshot in record.snapshots]
    assert losses[-1] < 0.7 * losses[0] and record.snapshots[0].sites[0].gradient_rms > 0  # type: ignore[operator]
    moved = record.snapshots[1].sites[0].moved
    assert moved is not None and moved[3] == 0 and (np.delete(moved, 3) > 0).all()
    assert [numbers["rectifier/step"] for numbers in told] == [0, 10, 20, 30, 40, 50, 58, 58]
    assert told[-1]["rectifier/dead"] == 1 / 56 and told[0]["rectifier/a.relu_0/silent"] == 1 / 32
    assert history["rectifier/silent"] == [2 / 56, 2 / 56]
    plain, without = train()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), plain.get_weights(), strict=True))
    assert without == {key: value for key, value in history.items() if key != "rectifier/silent"}


def test_a_large_step_is_dated_and_named_and_ends_the_training() -> None:
    watch = rk.Watch(LOOK, every=5, when_ill="stop")
    with pytest.warns(
        RuntimeWarning, match="^Watch: the network is ill after step 29: .*The training ends with this epoch"
    ):
        train(Unlucky(), watch, epochs=3)
    assert watch.step == 29
    died = {unit: step for f in watch.record.of("silent") if f.cause_kind == "step" for unit, step in f.since.items()}
    assert died == {unit: 15 for unit in range(20) if unit != 5}  # which was shut from the start


@of_no_backend
def test_an_ill_training_is_ended_by_an_error() -> None:
    strict = rk.Watch(LOOK, every=5, when_ill="raise")
    with pytest.raises(IllError, match="What was seen is kept in `.record`") as caught:
        train(Unlucky(), strict)
    assert any(finding.ill for finding in caught.value.record.findings)


@of_no_backend
def test_looks_are_as_many_as_the_budget_allows() -> None:
    watch = rk.Watch(LOOK, budget=0.5)
    train(watch)
    steps = [snapshot.step for snapshot in watch.record.snapshots]
    assert steps[:2] == [0, 4] and steps[-1] == 58 and len(steps) < 30
    full = rk.Watch(LOOK, every=1)
    from rectifier.keras import _watch

    kept = _watch.CAPACITY
    _watch.CAPACITY = 8
    try:
        train(full, epochs=1)
    finally:
        _watch.CAPACITY = kept
    steps = [snapshot.step for snapshot in full.record.snapshots]
    assert steps[0] == 0 and steps[-1] == 29 and len(steps) <= 8
    assert all(site.examples == 600 for snapshot in full.record.snapshots for site in snapshot.sites)


@of_no_backend
def test_a_log_that_raises_is_told_once() -> None:
    def broken(numbers: dict[str, float]) -> None:
        raise OSError("no space left")

    watch = rk.Watch(LOOK, every=20, log=broken)
    with pytest.warns(RuntimeWarning, match=r"^Watch: `log` raised OSError at step 0: no space left\.") as caught:
        train(watch, epochs=1)
    ours = [warning for warning in caught if str(warning.message).startswith("Watch: ")]
    assert len(ours) == 1 and watch.record.snapshots[-1].step == 29


@of_no_backend
def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "with_keras.py"), run_name="__main__")
    assert re.search(r"too large a step[\s\S]*\n\d+ units start anew\n", capsys.readouterr().out)
    assert (tmp_path / "watched.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (
            lambda: rk.Watch(X),
            RectifierTypeError,
            "Watch: `batches` must be an iterable of batches; got ndarray. Pass a loader, or a list such as "
            "[inputs] or "
            "[(inputs, targets)].",
        ),
        (
            lambda: rk.Watch([]),
            RectifierValueError,
            "Watch: `batches` must hold a batch; got none. Pass [(inputs, targets)].",
        ),
        (
            lambda: rk.Watch(LOOK, every=0),
            RectifierValueError,
            "Watch: `every` must be 'auto' or a whole number of steps, 1 or more; got 0. Pass a number such as 10.",
        ),
        (
            lambda: rk.Watch(LOOK, every=5, budget=0.1),
            RectifierValueError,
            "Watch: `budget` must be a share of the time of a step, above 0 and at most 1, beside every='auto'; "
            "got 0.1 and "
            "every=5. 2 % is written 0.02.",
        ),
        (
            lambda: rk.Watch(LOOK, log=3),  # type: ignore[arg-type]
            RectifierTypeError,
            "Watch: `log` must be a function that takes a dict, or None; got int. Pass for instance print, or the log "
            "method of a Weights & Biases run.",
        ),
        (
            lambda: rk.Watch(LOOK, when_ill="die"),  # type: ignore[arg-type]
            RectifierValueError,
            "Watch: `when_ill` must be 'stop', 'raise' or None; got 'die'. Pass 'stop' to end the training, or "
            "leave it out "
            "to go on.",
        ),
        (
            lambda: rk.Watch(LOOK).record,
            RectifierValueError,
            "Watch: `record` needs a training that has begun; got none. Pass the callback to fit and train first.",
        ),
        (
            lambda: rk.Watch([(X, Y, X, Y)]),
            RectifierValueError,
            "Watch: `batches` must yield inputs or pairs (inputs, targets); got tuple of 4 at batch 0. Wrap "
            "several inputs "
            "in a tuple of their own: ((a, b, c), targets).",
        ),
    ],
)
def test_bad_input(make: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == text
