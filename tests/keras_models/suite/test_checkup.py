"""The check-up of Keras models: the record is that of an equal PyTorch model on each backend, and nothing moves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import rectifier
import rectifier.keras as rk
from rectifier import RectifierTypeError, RectifierValueError
from rectifier.checkup import Record, Rejected, accept, proved
from rectifier.frameworks.keras.certified import Tensors
from tests.keras_models.suite.shared import plant, redraw

BACKEND = os.environ["KERAS_BACKEND"]


def data(shape: tuple[int, ...], classes: int = 3, count: int = 48) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, *shape)).astype(np.float32), rng.integers(0, classes, count)


def cross_entropy(outputs: Any, targets: Any) -> Any:
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(targets, outputs, from_logits=True))


def convolutions(first: bool) -> Any:
    """Channels first or last; reference.py has the same in PyTorch.

    No convolution has as many filters as columns: with channels first, Keras on TensorFlow adds the bias along those.
    """
    shape, kind = ((2, 8, 8), "channels_first") if first else ((8, 8, 2), "channels_last")
    made = keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(7, 3, activation="relu", data_format=kind, name="c"),
            layers.MaxPooling2D(2, data_format=kind),
            layers.Conv2D(5, 2, use_bias=False, data_format=kind, name="d"),
            layers.BatchNormalization(axis=1 if first else -1, epsilon=1e-5, name="n"),
            layers.ReLU(name="r"),
            layers.Flatten(data_format=kind),
            layers.Dropout(0.5),
            layers.Dense(7, activation="elu", name="e"),
            layers.Dense(6, name="f"),
            layers.LeakyReLU(0.1, name="l"),
            layers.Dense(3, name="o"),
        ]
    )
    redraw(made)
    plant(made.get_layer("c").bias, 2, -60.0)
    plant(made.get_layer("n").beta, 1, -100.0)
    plant(made.get_layer("f").bias, 4, 90.0)
    return made


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What the check of the same network in PyTorch says."""
    folder = tmp_path_factory.mktemp("reference")
    x, y = data((8, 8, 2))
    weights = {f"w{i}": np.array(w) for i, w in enumerate(convolutions(False).get_weights())}
    np.savez(folder / "given.npz", x=x, y=y, **weights)
    script = Path(__file__).parents[1] / "reference.py"
    command = [sys.executable, str(script), str(folder / "given.npz"), str(folder / "record.json")]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return Record.read(folder / "record.json")


def close(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return bool(np.allclose(a, b, rtol=2e-4, atol=1e-6, equal_nan=True))


@pytest.mark.parametrize("first", [False, True])
def test_the_record_is_that_of_an_equal_pytorch_model(first: bool, theirs: Record) -> None:
    made = convolutions(first)
    x, y = data((8, 8, 2))
    ours = rectifier.check(made, [(x.transpose(0, 3, 1, 2) if first else x, y)] * 2, cross_entropy)
    assert [site.site for site in ours.last.sites] == ["c.relu#0", "r", "e.elu#0", "l"]
    for mine, other in zip(ours.last.sites, theirs.last.sites, strict=True):
        assert np.abs(mine.fired - other.fired).max() <= 1  # a sum in another order may round to the other side of 0
        for name in ("rectifier", "examples", "inputs", "normalised", "dropout"):
            assert getattr(mine, name) == getattr(other, name), name
        for name in ("sum_h", "sum_abs_h", "min_z", "max_z", "rms_h", "gradient_rms", "gradient_abs", "bias"):
            assert close(getattr(mine, name), getattr(other, name)), name
        for name in ("weight_norm", "scale", "shift", "nan", "infinite"):
            assert close(getattr(mine, name), getattr(other, name)), name
    assert [site.layer for site in ours.last.sites] == ["c", "d", "e", "f"]
    assert [site.upstream for site in ours.last.sites] == [None, "c.relu#0", "r", "e.elu#0"]
    for mine, other in zip(ours.last.layers, theirs.last.layers, strict=True):
        for name in ("fan_in", "units", "first", "values", "format", "weight_format", "input_infinite"):
            assert getattr(mine, name) == getattr(other, name), name
        for name in ("weight_rms", "activation_rms", "gradient_rms", "weight_gradient_rms", "input_mean", "input_rms"):
            assert close(getattr(mine, name), getattr(other, name)), name
    names = dict(zip((s.site for s in theirs.last.sites), (s.site for s in ours.last.sites), strict=True))
    told = [(f.kind, f.site, f.units, f.cause_kind, f.severity) for f in ours.findings if f.units]
    expected = [(f.kind, names[f.site], f.units, f.cause_kind, f.severity) for f in theirs.findings if f.units]
    assert told == expected
    assert {("dead", "c.relu#0", (2,)), ("dead", "r", (1,))} <= {item[:3] for item in told}
    assert close(ours.last.loss, theirs.last.loss)
    assert ours.not_observed == ()
    assert ours.versions["keras_backend"] == BACKEND and ours.versions["keras"] == keras.__version__
    assert BACKEND in ours.versions


def test_nothing_moves() -> None:
    made = convolutions(False)
    x, y = data((8, 8, 2))
    weights = [np.array(w) for w in made.get_weights()]
    seeds = [np.array(keras.ops.convert_to_numpy(v)) for v in made.variables]
    before = keras.ops.convert_to_numpy(made(x, training=False))
    state = np.random.get_state()[1].copy()
    rectifier.check(made, [(x, y)], cross_entropy, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(weights, made.get_weights(), strict=True))
    now = [np.array(keras.ops.convert_to_numpy(v)) for v in made.variables]
    assert all(np.array_equal(a, b) for a, b in zip(seeds, now, strict=True))
    assert np.array_equal(before, keras.ops.convert_to_numpy(made(x, training=False)))
    assert np.array_equal(state, np.random.get_state()[1])
    assert keras.layers.Layer.__call__.__qualname__ == "Layer.__call__"
    assert not hasattr(keras.layers.Layer.__call__, "__self__") and made.get_layer("c").activation.__name__ == "relu"


class Blocks(layers.Layer):
    """Calls of Keras's functions, ours and the backend's own, and a rectifier that is none of them."""

    def __init__(self) -> None:
        super().__init__(name="blocks")
        self.one, self.two = layers.Dense(4, name="one"), layers.Dense(4, name="two", activation=layers.LeakyReLU(0.2))

    def build(self, shape: Any) -> None:
        self.one.build(shape)
        self.two.build((None, 4))

    def call(self, x: Any) -> Any:
        h = keras.ops.relu(self.one(x))
        h = rk.squared_relu(keras.activations.relu(self.two(h) + 0.5))
        return keras.ops.elu(h, alpha=0.5)


class Maximum(layers.Layer):
    def call(self, x: Any) -> Any:
        return keras.ops.maximum(x, 0.0)


def test_calls_and_nested_models_and_layers_used_twice() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="relu", name="deep")], name="inner")
    shared = rk.ReLU(name="shared")
    x = keras.Input((5,))
    h = shared(layers.Dense(4, name="a")(x))
    h = shared(layers.Dense(4, name="b")(h))
    h = inner(Blocks()(h))
    h = keras.ops.relu6(layers.Dense(4, name="c", activation=keras.activations.gelu)(h))
    h = layers.Activation("selu", name="act")(h)
    model = keras.Model(x, Maximum(name="most")(h))
    redraw(model)
    record = rectifier.check(model, [data((5,))[0]])
    found = [(site.site, site.rectifier, site.layer, site.upstream) for site in record.last.sites]
    assert found == [
        ("shared", "relu", "a", None),
        ("shared@1", "relu", "b", "shared"),
        ("blocks.relu#0", "relu", "blocks.one", "shared@1"),
        ("blocks.two.leaky_re_lu", "leaky_relu", "blocks.two", "blocks.relu#0"),
        ("blocks.relu#1", "relu", None, None),
        ("blocks.squared_relu#0", "squared_relu", None, None),
        ("blocks.elu#0", "elu", None, None),
        ("inner.deep.relu#0", "relu", "inner.deep", "blocks.elu#0"),
        ("c.gelu#0", "gelu", "c", "inner.deep.relu#0"),
        ("relu6#0", "relu6", None, None),
        ("act", "selu", None, None),
    ]
    assert record.last.sites[6].parameters == {"alpha": 0.5}
    assert record.not_observed == (
        "most (Maximum): no rectifier of Keras's was called in its own code; others, such as a maximum with "
        "0, were not "
        "observed",
    )


def test_masked_positions_are_not_counted() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Embedding(9, 3, mask_zero=True), layers.Dense(5, "relu", name="d")]
    )
    record = rectifier.check(model, [np.array([[1, 2, 0, 0], [3, 4, 5, 0]])])
    (site,) = record.last.sites
    assert (site.examples, site.inputs) == (5, 2)


def test_what_cannot_be_seen_is_told() -> None:
    parts = [layers.SimpleRNN(4, activation="relu", name="r"), layers.Dense(2, "relu", name="d")]
    record = rectifier.check(keras.Sequential([keras.Input((6, 3)), *parts]), [data((6, 3))[0]])
    assert record.not_observed == ("r (SimpleRNN): a recurrent layer, its inside was not observed",)
    assert [site.site for site in record.last.sites] == ["d.relu#0"]


def test_mixed_precision() -> None:
    policy = keras.DTypePolicy("mixed_bfloat16")
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6, "relu", dtype=policy, name="a"), layers.Dense(3, dtype=policy, name="b")]
    )
    plant(model.get_layer("a").bias, 1, -90.0)
    x, y = data((4,))
    record = rectifier.check(model, [(x, y)], lambda o, t: cross_entropy(keras.ops.cast(o, "float32"), t))
    assert [layer.format for layer in record.last.layers] == ["bfloat16", "bfloat16"]
    assert record.last.layers[0].weight_format == "float32"
    assert 1 in record.of("dead")[0].units and record.last.sites[0].gradient_rms is not None


def test_sigmoids_vanish_and_large_weights_explode() -> None:
    x, y = data((16,))

    def chain(activation: str, scale: float) -> Any:
        parts = [layers.Dense(16, activation, name=f"l{i}") for i in range(10)]
        model = keras.Sequential([keras.Input((16,)), *parts, layers.Dense(3, name="o")])
        redraw(model)
        model.set_weights([w * scale if w.ndim > 1 else w for w in model.get_weights()])
        return rectifier.check(model, [(x, y)], cross_entropy)

    assert chain("sigmoid", 1.0).of("vanishing_gradient")
    assert chain("relu", 1000.0).of("exploding_activation", "exploding_gradient", "initialisation")
    sound = chain("relu", 1.0)
    assert not sound.of("vanishing_gradient", "exploding_gradient", "exploding_activation", "vanishing_activation")


def test_what_is_proved_is_certified() -> None:
    made = convolutions(False)
    x = data((8, 8, 2))[0]
    record = rectifier.check(made, [x], box=(-4.5, 4.5))
    assert record.certificate is not None
    assert record.certificate.units == {"c.relu#0": (2,), "r": (1,)}
    assert accept(record.certificate.document, Tensors(made)) == record.certificate.units
    first = proved(made, record)[0]
    assert first.conditions == "for every input within [-4.5, 4.5], in evaluation mode"
    plant(made.get_layer("c").bias, 2, 60.0)
    with pytest.raises(Rejected, match="'c.bias' is another tensor than the one it was made for"):
        proved(made, record)


def test_bounds_hold() -> None:
    """What is computed for many inputs of the box lies within the bounds of each site."""
    from rectifier.checkup.proofs.proof import upper_bound
    from rectifier.frameworks.keras.checkup import Observer, run

    x = keras.Input((9, 9, 2))
    h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="a")(x)
    h = layers.Conv2D(4, 3, dilation_rate=2, padding="same", groups=2, name="b")(h)
    h = layers.BatchNormalization(name="n")(h)
    h = layers.Add(name="sum")([layers.LeakyReLU(0.3, name="r")(h), h])
    h = layers.AveragePooling2D(2)(h)
    h = layers.Concatenate()([layers.Flatten()(h), layers.GlobalAveragePooling2D()(h)])
    h = layers.Rescaling(2.0, 0.25)(h)
    model = keras.Model(x, layers.Dense(5, "relu", name="o")(h))
    redraw(model)
    model.get_layer("n").moving_mean.assign(np.float32([1.0, -1.0, 0.5, 0.0]))
    rng = np.random.default_rng(3)
    observer = Observer(model, training_only=False)
    observer.attach()
    for _ in range(3):
        run(observer, rng.choice([-1.0, 1.0], size=(64, 9, 9, 2)).astype(np.float32), None, None)
    observer.detach()
    (network,), reason = observer.networks(training=False, deep=True)
    assert reason is None and {step.op for step in network.steps}.isdisjoint({"unknown"})
    bounds = upper_bound(network, (np.float64(-1.0), np.float64(1.0)))
    for site in observer.take(0).sites:  # type: ignore[union-attr]
        low, high = bounds[site.site]
        assert (site.min_z >= low).all() and (site.max_z <= high).all()
        assert np.isfinite(high).all()


def test_bad_input() -> None:
    made = convolutions(False)
    x = data((8, 8, 2))[0]

    def refused(kind: type[Exception], text: str, action: Any) -> None:
        with pytest.raises(kind) as caught:
            action()
        assert str(caught.value) == text

    refused(
        RectifierTypeError,
        "watch: `model` must be a PyTorch model; got a Keras model, Sequential. Pass "
        "rectifier.keras.Watch(batches) among "
        "the callbacks of fit.",
        lambda: rectifier.watch(made),
    )
    refused(
        RectifierTypeError,
        "prune: `model` must be a PyTorch model; got a Keras model, Sequential. Recycle the units with "
        "rectifier.heal, or "
        "build a narrower model.",
        lambda: rectifier.prune(made, rectifier.check(made, [x])),
    )
    refused(
        RectifierTypeError,
        "recycling: `model` must be a PyTorch model; got a Keras model, Sequential. Recycle with rectifier.heal(model, "
        "record, model.optimizer) between calls of fit.",
        lambda: rectifier.recycling(made, None),
    )
    refused(
        RectifierTypeError,
        "trial: `model` must be a PyTorch model; got a Keras model, Sequential. Try remedies with "
        "rectifier.heal on copies "
        "made by keras.models.clone_model.",
        lambda: rectifier.trial(made, [(x, x)], cross_entropy),
    )
    refused(
        RectifierValueError,
        "check: `model` must have its weights; got Sequential 'raw' that was never built. Call it on one "
        "batch first, or "
        "give it an Input.",
        lambda: rectifier.check(keras.Sequential([layers.Dense(2)], name="raw"), [x]),
    )
    refused(
        RectifierTypeError,
        "check: `batches` must be an iterable of batches; got ndarray. Pass a loader, or a list such as [inputs] or "
        "[(inputs, targets)].",
        lambda: rectifier.check(made, x),
    )
    refused(
        RectifierTypeError,
        "check: `batches` must yield inputs that are arrays, or a tuple, list or dict of them; got str. "
        "Convert it with "
        "numpy.asarray.",
        lambda: rectifier.check(made, ["a"]),
    )
    refused(
        RectifierTypeError,
        "check: `group` must be left out for a Keras model; got int. Check the model in one process.",
        lambda: rectifier.check(made, [x], group=3),
    )
    with pytest.raises(
        RectifierValueError, match=r"^check: `loss` must return a scalar tensor that depends on the outputs"
    ):
        rectifier.check(made, [(x, x)], lambda outputs, targets: outputs)


@pytest.mark.parametrize("kind", [rk.PReLU, layers.PReLU])
def test_a_dead_unit_is_proved_beside_learned_slopes(kind: Any) -> None:
    made = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu", name="a"),
            kind(name="p"),
            layers.Dense(3, activation="relu", name="b"),
        ]
    )
    redraw(made)
    plant(made.get_layer("a").bias, 1, -60.0)
    record = rectifier.check(made, [data((4,))[0]])
    assert [(site.site, site.rectifier) for site in record.last.sites][:2] == [("a.relu#0", "relu"), ("p", "prelu")]
    assert ("dead", "a.relu#0", (1,)) in [(f.kind, f.site, f.units) for f in record.findings]
