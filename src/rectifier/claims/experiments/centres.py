"""The mean and the variance of activations, layer by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment
from .plain import plain

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["centres", "passed_on"]

#: Rows of real data that are sent through.
_ROWS = 128


@experiment(version=1)
def passed_on(config: Config) -> Outcome:
    """One batch through ``depth`` layers of ``width`` units that are not trained; float32.

    data: "standardised", 128 rows of the breast cancer set, each feature with mean 0 and variance 1 over the training
        rows; "raw", the same as measured, from thousandths to thousands; "digits", 128 digits, pixels from 0 to 1
    times: factor on the input
    init: weights from N(0, 1/n) ("lecun"), N(0, 2/n) ("he"), n inputs, without biases; or "torch", PyTorch's own:
        weights and biases uniform within ±1/√n
    chain: "plain", h ← f(Wh); "residual", h ← h + f(Wh) from the second layer on

    mean, variance: of all activations of a layer, over rows and units, in the order of the layers; to four digits, as
        a record keeps hundreds of them
    of_units: share of the mean square of the last layer that is the units' own means squared
    """
    source = np.random.default_rng(config["seed"])
    h = config["times"] * _data(config["data"])
    f = ACTIVATIONS[config["activation"]].function
    means, variances = [], []
    for place in range(config["depth"]):
        weights, biases = _drawn(source, config["init"], h.shape[1], config["width"])
        after = f(h @ weights + biases)
        h = h + after if config["chain"] == "residual" and place else after
        means.append(float(f"{h.mean(dtype=np.float64):.4g}"))
        variances.append(float(f"{h.var(dtype=np.float64):.4g}"))
    of_units = float(np.square(h.mean(axis=0, dtype=np.float64)).mean() / np.square(h, dtype=np.float64).mean())
    return {"mean": means, "variance": variances, "of_units": of_units}


def _data(name: str) -> npt.NDArray[np.float32]:
    from ..tasks import images, tables

    if name == "raw":
        from sklearn.datasets import load_breast_cancer

        rows: npt.NDArray[np.float32] = load_breast_cancer().data[:_ROWS].astype(np.float32)
        return rows
    part = images.parts()["train"] if name == "digits" else tables.parts("breast_cancer")["train"]
    given: npt.NDArray[np.float32] = part[0][:_ROWS].numpy()
    return given


def _drawn(source: np.random.Generator, init: str, n: int, width: int) -> tuple[Any, Any]:
    if init == "torch":
        bound = 1.0 / math.sqrt(n)
        weights, biases = (source.uniform(-bound, bound, shape).astype(np.float32) for shape in ((n, width), width))
        return weights, biases
    spread = np.float32(math.sqrt({"lecun": 1.0, "he": 2.0}[init] / n))
    return spread * source.standard_normal((n, width), dtype=np.float32), np.float32(0.0)


@experiment(version=1)
def centres(config: Config) -> Outcome:
    """Train the plain network of "digits-mlp" or "tabular" as ``trained`` does; look at its activations.

    Of the validation part, in the order of the layers, before training and after it (``…_after``):

    mean: of h over examples and units, as a share of its root mean square; 0 is centred, 1 a constant
    of_units: share of the mean square of h that is the units' own means squared; 0 where every unit is centred
    test: accuracy after training
    """
    from torch import nn

    from ..tasks import images
    from ..tasks.training import Problem, accuracy, train

    setup, model, data, batches = plain(config)
    before = _looked_at(model, data["validation"][0])
    found = train(setup, Problem(model, batches, data, nn.functional.cross_entropy, accuracy, images.GOALS))
    after = _looked_at(model, data["validation"][0])
    return {**before, **{f"{name}_after": values for name, values in after.items()}, "test": found["test"]}


def _looked_at(model: nn.Sequential, h: torch.Tensor) -> Outcome:
    import torch

    means, of_units = [], []
    with torch.no_grad():
        for name, part in model.named_children():
            h = part(h)
            if name.startswith("act"):
                square = h.double().square().mean()
                means.append(float(h.double().mean() / square.sqrt()))
                of_units.append(float(h.double().mean(dim=0).square().mean() / square))
    return {"mean": means, "of_units": of_units}
