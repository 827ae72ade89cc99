"""Recycling and swapping in Keras models: outputs stay, training goes on, and every bit comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import rectifier
import rectifier.keras as rk
from rectifier import RectifierTypeError, RectifierValueError
from tests.keras_models.suite.shared import plant, redraw


def values(variables: Any) -> list[Any]:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def same(a: list[Any], b: list[Any]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def network(optimizer: Any = None, *, trained: bool = True, kind: str = "channels_last") -> tuple[Any, Any, Any]:
    shape = (8, 8, 2) if kind == "channels_last" else (2, 8, 8)
    axis = -1 if kind == "channels_last" else 1
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(7, 3, activation="relu", data_format=kind, name="c"),
            layers.MaxPooling2D(2, data_format=kind),
            layers.Conv2D(5, 2, data_format=kind, name="d"),
            layers.BatchNormalization(axis=axis, name="n"),
            layers.ReLU(name="r"),
            layers.Flatten(data_format=kind),
            layers.Dropout(0.1),
            layers.Dense(12, name="e"),
            rk.ReLU(name="s"),
            layers.Dense(3, name="o"),
        ]
    )
    redraw(model)
    model.compile(
        optimizer or keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(64, *shape)).astype(np.float32), rng.integers(0, 3, 64)
    if trained:
        model.fit(x, y, batch_size=32, verbose=0)
    plant(model.get_layer("c").bias, 2, -60.0)
    plant(model.get_layer("n").beta, 1, -100.0)
    plant(model.get_layer("e").bias, 4, -90.0)
    return model, x, y


@pytest.mark.parametrize("kind", ["channels_last", "channels_first"])
def test_recycled_units_live_and_outputs_stay(kind: str) -> None:
    model, x, _ = network(kind=kind)
    weights, state = values(model.variables), values(model.optimizer.variables)
    record = rectifier.check(model, [x])
    assert [(f.site, f.units) for f in record.of("dead")] == [("c.relu#0", (2,)), ("r", (1,)), ("s", (4,))]
    silent = record.of("dead", "silent")
    receipts = rectifier.heal(model, record, model.optimizer, probe=x, seed=0)
    assert {r.site: r.units for r in receipts} == {
        site: tuple(sorted(u for f in silent if f.site == site for u in f.units)) for site in ("c.relu#0", "r", "s")
    }
    assert all(receipt.output_change == 0 and not receipt.skipped for receipt in receipts)
    assert "of layer d drawn anew (normal, deviation 0.2673), bias 0, layer n reset for them" in receipts[1].change
    assert not rectifier.check(model, [x]).of("dead", "silent")
    e, o = (np.array(keras.ops.convert_to_numpy(model.get_layer(name).kernel)) for name in ("e", "o"))
    assert not o[4].any() and e[:, 4].any()
    read = np.isin(np.arange(len(e)) % 5, receipts[1].units)  # channels are last where Keras flattens
    others = np.delete(e, receipts[2].units, axis=1)  # these read what is drawn anew
    assert not others[read].any() and others[~read].all()
    place = next(i for i, v in enumerate(model.trainable_variables) if v is model.get_layer("o").kernel)
    momentum, velocity = values([model.optimizer._momentums[place], model.optimizer._velocities[place]])
    stay = np.delete(velocity, receipts[2].units, axis=0)
    assert not momentum[4].any() and np.delete(momentum, receipts[2].units, axis=0).any()
    assert np.allclose(velocity[4], stay.mean()) and stay.mean() > 0
    for receipt in reversed(receipts):
        receipt.undo()
    assert same(weights, values(model.variables)) and same(state, values(model.optimizer.variables))
    receipts = rectifier.heal(model, record, model.optimizer, probe=x, seed=0)
    plant(model.get_layer("o").kernel, 4, 0.5)
    with pytest.raises(RectifierValueError, match="^undo: the model must be as the act at 's' left it"):
        receipts[-1].undo()


def test_the_mean_of_a_living_unit_goes_into_the_next_bias() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6, name="a"), layers.LeakyReLU(0.1, name="l"), layers.Dense(3, name="b")]
    )
    redraw(model)
    x = np.random.default_rng(1).normal(size=(256, 4)).astype(np.float32)
    plant(model.get_layer("a").bias, 2, -40.0)
    before = keras.ops.convert_to_numpy(model(x)).mean(axis=0)
    (finding,) = rectifier.check(model, [x]).of("always_closed")
    assert finding.units == (2,)
    with pytest.raises(
        RectifierValueError, match="^heal: `findings` must be dead or silent; got 'always_closed' at 'l'"
    ):
        rectifier.heal(model, finding, probe=x)
    (receipt,) = rectifier.heal(model, finding, probe=x, force=True, seed=1)
    after = keras.ops.convert_to_numpy(model(x)).mean(axis=0)
    assert np.allclose(before, after, atol=1e-4) and "their mean on the probe" in receipt.change
    receipt.undo()
    assert np.array_equal(before, keras.ops.convert_to_numpy(model(x)).mean(axis=0))


@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (lambda: keras.optimizers.SGD(0.01, momentum=0.9), 1),
        (lambda: keras.optimizers.SGD(0.01), 0),
        (lambda: keras.optimizers.RMSprop(1e-3, momentum=0.9, centered=True), 3),
        (lambda: keras.optimizers.Adagrad(0.01), 1),
        (lambda: keras.optimizers.AdamW(1e-3, amsgrad=True, use_ema=True), 4),
    ],
)
def test_the_state_of_optimizers_starts_anew(make: Any, kept: int) -> None:
    # Built, not trained: what a new optimizer holds is what it holds already.
    model, x, _ = network(make(), trained=False)
    model.optimizer.build(model.trainable_variables)
    before = values(model.optimizer.variables)
    receipts = rectifier.heal(model, rectifier.check(model, [x]), model.optimizer, probe=x, seed=0)
    assert sum(int(r.change.rpartition("; ")[2].split()[0]) for r in receipts) == 11 * kept
    if not model.optimizer.use_ema:  # which is the weights
        assert same(before, values(model.optimizer.variables))


def test_where_units_cannot_be_followed_that_is_told() -> None:
    x = keras.Input((4,))
    h = layers.Dense(4, "relu", name="a")(x)
    twice = layers.Dense(4, name="t")
    sums = layers.Add(name="sum")([h, layers.Dense(4, name="u")(h)])
    k = layers.ReLU(name="k")(twice(twice(sums)))
    model = keras.Model(x, layers.Dense(2, name="o")(layers.Concatenate()([layers.Dense(3, "relu", name="b")(k), k])))
    redraw(model)
    for name in ("a", "b"):
        plant(model.get_layer(name).bias, 1, -90.0)
    probe = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    record = rectifier.check(model, [probe])
    (receipt,) = rectifier.heal(model, record, probe=probe, seed=0)
    assert (receipt.site, receipt.units, receipt.output_change) == ("b.relu#0", (1,), 0.0)
    assert receipt.skipped[0] == (
        "`findings` must name a place whose neighbours can be followed; got 'a.relu#0', which is read by sum "
        "(Add), through "
        "which units are not followed. Leave it out, or change the model by hand."
    )


def test_a_frozen_layer_is_left_as_it_is() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, "relu", name="a"), layers.Dense(2, name="o")])
    redraw(model)
    plant(model.get_layer("a").bias, 1, -90.0)
    model.get_layer("o").trainable = False
    probe = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    weights = values(model.variables)
    with pytest.raises(RectifierValueError) as error:
        rectifier.heal(model, rectifier.check(model, [probe]), probe=probe, seed=0)
    assert str(error.value) == (
        "heal: `model` must train the layers around units that are recycled; got layer 'o' at 'a.relu#0', which is "
        "frozen. Set its `trainable` to True, or leave 'a.relu#0' out."
    )
    assert same(weights, values(model.variables))


def test_swapped_rectifiers_are_saved_and_come_back(tmp_path: Path) -> None:
    model, x, y = network()
    record = rectifier.check(model, [x])
    before = keras.ops.convert_to_numpy(model(x))
    receipts = rectifier.heal(model, record, model.optimizer, how="swap", with_="leaky_relu", probe=x)
    assert [receipt.site for receipt in receipts] == ["c.relu#0", "r", "s"]
    assert all(receipt.output_change > 0 for receipt in receipts)  # type: ignore[operator]
    swapped = rectifier.check(model, [x])
    assert {site.rectifier for site in swapped.last.sites} == {"leaky_relu"} and not swapped.of("dead", "silent")
    model.fit(x, y, batch_size=32, verbose=0)
    model.save(tmp_path / "swapped.keras")
    loaded = keras.models.load_model(tmp_path / "swapped.keras")
    assert np.array_equal(keras.ops.convert_to_numpy(model(x)), keras.ops.convert_to_numpy(loaded(x)))
    assert np.allclose(model.predict(x, verbose=0), keras.ops.convert_to_numpy(loaded(x)), atol=1e-5)
    for receipt in reversed(receipts):
        receipt.undo()
    assert [site.site for site in rectifier.check(model, [x]).last.sites] == ["c.relu#0", "r", "s"]
    assert type(model.get_layer("r")) is layers.ReLU and model.get_layer("c").activation is keras.activations.relu
    assert not np.array_equal(before, keras.ops.convert_to_numpy(model(x)))  # trained on
    (one, *_) = rectifier.heal(model, rectifier.check(model, [x]), how="swap", with_=layers.ELU(0.5), probe=x)
    assert rectifier.check(model, [x]).last.sites[0].parameters == {"alpha": 0.5} and one.site == "c.relu#0"


def test_bad_input() -> None:
    model, x, _ = network()
    record = rectifier.check(model, [x])

    def refused(kind: type[Exception], text: str, **arguments: Any) -> None:
        with pytest.raises(kind) as caught:
            rectifier.heal(model, arguments.pop("findings", record), arguments.pop("optimizer", None), **arguments)
        assert str(caught.value) == text

    refused(
        RectifierTypeError,
        "heal: `optimizer` must be a keras.optimizers.Optimizer or None; got object. Pass the optimizer that "
        "the model was "
        "compiled with, model.optimizer.",
        optimizer=object(),
    )
    refused(
        RectifierValueError,
        "heal: `with_` must be one of relu, leaky_relu, abs, relu6, squared_relu, elu, celu, selu, softplus "
        "for a Keras "
        "model, or a layer without weights; got 'prelu'. Pass for instance with_=\"leaky_relu\".",
        how="swap",
        with_="prelu",
    )
    refused(
        RectifierValueError,
        "heal: `with_` must be a rectifier without weights of its own for a Keras model; got Dense. Pass for instance "
        'with_="leaky_relu".',
        how="swap",
        with_=layers.Dense(2),
    )
    refused(
        RectifierTypeError,
        "heal: `with_` must be the name of a rectifier or a layer of Keras's; got int. Pass for instance "
        'with_="leaky_relu".',
        how="swap",
        with_=3,
    )
    refused(
        RectifierValueError,
        "heal: `probe` must be given with findings that come without their record; got None, so nothing "
        "shows that they "
        "still hold. Pass a batch of inputs, or the record itself.",
        findings=record.of("dead")[0],
    )
    refused(
        RectifierValueError,
        "heal: `starts` must name what the optimizer keeps, momentums, velocities; got 'exp_avg'. Leave it "
        "out, or name one "
        "of these.",
        optimizer=model.optimizer,
        starts={"exp_avg": 0.0},
    )
    other = keras.optimizers.Adam()
    other.build([model.get_layer("o").bias])
    refused(
        RectifierValueError,
        "heal: `findings` must name a place that can be acted on; got 3 where none can. `optimizer` must "
        "step the model; got "
        "Adam, which does not step layer c. Pass model.optimizer. `optimizer` must step the model; got Adam, "
        "which does not "
        "step layer d. Pass model.optimizer. `optimizer` must step the model; got Adam, which does not step "
        "layer e. Pass "
        "model.optimizer.",
        optimizer=other,
    )
    plant(model.get_layer("c").bias, 0, 0.5)
    refused(
        RectifierValueError,
        "heal: `findings` must be a record of the model as it is; got one where the weights of layer 'c' "
        "were others. Run "
        "rectifier.check again.",
        probe=x,
    )
    refused(
        RectifierValueError,
        'heal: `how` must be "recycle" or "swap" for a Keras model; got "rescale" for Sequential. Initialise its '
        'layers with kernel_initializer="he_normal", or normalise between them.',
        findings=_about_a_scale(record),
        how="rescale",
    )


def _about_a_scale(record: Any) -> Any:
    from dataclasses import replace

    return record.with_findings((replace(record.findings[0], kind="initialisation", units=()),))
