"""Image classification: scikit-learn's 1,797 handwritten digits of 8 × 8, by a plain and by a convolutional network."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

from torch import nn

from ...demo import digits
from .layers import layer
from .setup import Setup, choice, whole
from .training import Batch, Problem, accuracy, shuffled, train

__all__ = ["convolution", "parts", "plain"]

GOALS = (0.5, 0.8, 0.9, 0.95)
BATCH = 64


@cache
def parts() -> dict[str, Batch]:
    """Images (n, 64) in [0, 1] and classes: 1,047 to train, 300 to choose the step size by, 450 to test.

    The split belongs to the experiment, not to its seed.
    """
    data = digits.load()
    return {
        "train": (data.x_train[300:], data.y_train[300:]),
        "validation": (data.x_train[:300], data.y_train[:300]),
        "test": (data.x_test, data.y_test),
    }


def plain(setup: Setup, *, depth: int = 3, width: int = 64, norm: str = "none") -> dict[str, Any]:
    """64 inputs, ``depth`` hidden layers of ``width`` units, 10 outputs; ``norm``: "none" or "batch" before each."""
    return _trained(setup, feed_forward(setup.activation, 64, depth, width, 10, norm), parts())


def convolution(setup: Setup, *, width: int = 8) -> dict[str, Any]:
    """Three 3 × 3 convolutions of ``width``, 2 and 4 times ``width`` channels at 8, 4 and 2 pixels, 10 outputs."""
    whole(1, width=width)
    return _trained(setup, convolutional(setup.activation, width), maps(parts()))


def maps(data: dict[str, Batch]) -> dict[str, Batch]:
    """The same images in the shape (n, 1, 8, 8)."""
    return {part: (x.reshape(-1, 1, 8, 8), y) for part, (x, y) in data.items()}


def convolutional(activation: str, width: int) -> nn.Sequential:
    """Convolution and activation three times, then a linear output."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, width, 3, padding=1),
            act1=layer(activation),
            conv2=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            act2=layer(activation),
            conv3=nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            act3=layer(activation),
            flat=nn.Flatten(),
            output=nn.Linear(16 * width, 10),
        )
    )


def feed_forward(activation: str, inputs: int, depth: int, width: int, outputs: int, norm: str) -> nn.Sequential:
    """``depth`` times Linear and activation, with batch normalisation between them where asked for; a linear output."""
    choice("norm", norm, ("none", "batch"))
    whole(0, depth=depth)
    whole(1, width=width)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for place in range(1, depth + 1):
        layers[f"linear{place}"] = nn.Linear(inputs if place == 1 else width, width)
        if norm == "batch":
            layers[f"norm{place}"] = nn.BatchNorm1d(width)
        layers[f"act{place}"] = layer(activation)
    layers["output"] = nn.Linear(width if depth else inputs, outputs)
    return nn.Sequential(layers)


def _trained(setup: Setup, model: nn.Module, data: dict[str, Batch]) -> dict[str, Any]:
    setup.initialise(model)
    problem = Problem(
        model=model,
        batches=shuffled(data["train"], BATCH, setup.generator(1)),
        parts=data,
        loss=nn.functional.cross_entropy,
        score=accuracy,
        goals=GOALS,
    )
    return train(setup, problem)
