"""Formulas that are said to be the same: both computed on the same numbers, and compared bit by bit or in ulps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment

__all__ = ["absolute_values", "losses", "numbers", "slopes_of_relu", "softened", "ulps"]

Floats = npt.NDArray[np.floating]


def numbers(dtype: str, many: int, seed: int) -> Floats:
    """Zeros, infinities, and bit patterns drawn evenly, so that every exponent is met; all of them for float16.

    NaNs are left out.
    """
    bits = np.dtype(dtype).itemsize * 8
    patterns = np.dtype(f"uint{bits}")
    if bits == 16:
        drawn = np.arange(2**16, dtype=patterns)
    else:
        drawn = np.random.default_rng(seed).integers(2**bits, size=many, dtype=patterns)
    special = np.array([0.0, -0.0, np.inf, -np.inf], dtype=dtype)
    values: Floats = np.concatenate([special, drawn.view(dtype)])
    return values[~np.isnan(values)]


def ulps(one: Floats, other: Floats) -> npt.NDArray[np.int64]:
    """How many numbers of their format lie between two arrays; −0 and 0 are one number.

    >>> ulps(np.float32([1.0, -0.0]), np.nextafter(np.float32([1.0, 0.0]), np.float32(2)))
    array([1, 1])
    """
    bits = 8 * one.dtype.itemsize

    def place(values: Floats) -> npt.NDArray[np.int64]:
        raw = values.view(f"int{bits}").astype(np.int64)
        return np.where(raw < 0, -(raw & (2 ** (bits - 1) - 1)), raw)

    apart: npt.NDArray[np.int64] = np.abs(place(one) - place(other))
    return apart


@experiment(version=1)
def absolute_values(config: Config) -> Outcome:
    """How many of ``many`` numbers of ``dtype`` the leaky rectifier with ``slope`` and |z| turn into other bits."""
    z = numbers(config["dtype"], config["many"], config["seed"])
    leaky = ACTIVATIONS["leaky_relu"].function(z, negative_slope=config["slope"])
    bits = f"uint{8 * z.dtype.itemsize}"
    differ = leaky.view(bits) != np.abs(z).view(bits)
    # −0 is not negative: a leaky rectifier keeps it, and |z| is +0. Equal as numbers, other bits.
    return {"compared": z.size, "differ": int((differ & (z != 0)).sum()), "zeros": int((differ & (z == 0)).sum())}


@experiment(version=1)
def slopes_of_relu(config: Config) -> Outcome:
    """Steps and slopes of an activation in float64.

    jump: the largest |f(b) − f(a)| ÷ (b − a) of neighbouring numbers, drawn over all exponents; huge for a jump.
    left, right: the slopes of the smallest and the largest over h = 2⁻¹ … 2⁻¹⁰⁰⁰ of (f(h) − f(0)) ÷ h and
    (f(0) − f(−h)) ÷ h: [smallest, largest] each.
    derivative_off: the largest difference of ``derivative`` from the slope of a chord, for z of 2⁻²⁰ … 2²⁰ in size.
    """
    activation = ACTIVATIONS[config["activation"]].function
    rng = np.random.default_rng(config["seed"])
    many = config["many"]
    a = rng.choice([-1.0, 1.0], many) * np.exp2(rng.uniform(-900, 900, many))
    a[:2] = 0.0, np.nextafter(0.0, -1.0)  # on either side of the kink
    b = np.nextafter(a, np.inf)
    with np.errstate(over="ignore"):  # of what does jump
        jump = np.max(np.abs(activation(b) - activation(a)) / (b - a))
    h = np.exp2(-np.arange(1.0, 1001.0))
    origin = activation(np.zeros(1))
    right, left = (activation(h) - origin) / h, (origin - activation(-h)) / h
    z = rng.choice([-1.0, 1.0], many) * np.exp2(rng.uniform(-20, 20, many))
    small = np.abs(z) * 2.0**-10
    chord = (activation(z + small) - activation(z - small)) / ((z + small) - (z - small))
    off = np.max(np.abs(activation.derivative(z) - chord))
    return {
        "jump": float(jump),
        "left": [float(left.min()), float(left.max())],
        "right": [float(right.min()), float(right.max())],
        "derivative_off": float(off),
    }


@experiment(version=1)
def softened(config: Config) -> Outcome:
    """How far softplus with ``beta`` is from ReLU, and its derivative from the sigmoid of β·z.

    gap: the largest softplus − ReLU, found at z = ``where``; below: the smallest. In float64.
    slope_off: the largest distance of the sigmoid of β·z from the slope of a chord of softplus, in float64.
    ulps: the most between softplus' derivative and the sigmoid in ``dtype``, where β·z is exact as β is a power of two.
    """
    beta, rng = config["beta"], np.random.default_rng(config["seed"])
    softplus, relu = ACTIVATIONS["softplus"].function, ACTIVATIONS["relu"].function
    z = np.concatenate([np.zeros(1), rng.normal(0.0, 3.0, config["many"])])
    gap = softplus(z, beta=beta) - relu(z)
    x = rng.normal(0.0, 3.0 / beta, config["many"]).astype(config["dtype"])
    sigmoid = ACTIVATIONS["sigmoid"].function
    off = ulps(softplus.derivative(x, beta=beta), sigmoid((beta * x).astype(config["dtype"])))
    h = 2.0**-16 / beta
    chord = (softplus(z + h, beta=beta) - softplus(z - h, beta=beta)) / (2 * h)
    return {
        "gap": float(gap.max()),
        "below": float(gap.min()),
        "where": float(z[np.argmax(gap)]),
        "slope_off": float(np.max(np.abs(chord - sigmoid(beta * z)))),
        "ulps": int(off.max()),
    }


@experiment(version=1)
def losses(config: Config) -> Outcome:
    """Ulps between each loss written with rectifiers and its closed form; by dtype, the largest of ``many`` margins.

    For the logistic loss the closed form is computed in the longest floating-point format there is and rounded.
    """
    rng, dtype = np.random.default_rng(config["seed"]), config["dtype"]
    many = config["many"]
    score = (rng.normal(0.0, 1.0, many) * np.exp2(rng.uniform(-8, 4, many))).astype(dtype)
    y = rng.choice([-1.0, 1.0], many).astype(dtype)
    threshold = np.abs(rng.normal(0.0, 1.0, many)).astype(dtype)
    relu: Callable[..., Any] = ACTIVATIONS["relu"].function
    softplus: Callable[..., Any] = ACTIVATIONS["softplus"].function
    long = (y * score).astype(np.longdouble)
    one = np.ones((), dtype)
    pairs = {
        "hinge": (relu(one - y * score), np.maximum(0, one - y * score)),
        "perceptron": (relu(-y * score), np.maximum(0, -y * score)),
        "soft_threshold": (
            relu(score - threshold) - relu(-score - threshold),
            np.sign(score) * np.maximum(np.abs(score) - threshold, 0),
        ),
        "logistic": (softplus(-y * score), np.logaddexp(np.longdouble(0), -long).astype(dtype)),
        # Not a rectifier: what is written where no softplus is at hand, to show that the measure can tell.
        "logistic_plainly": (np.log(one + np.exp(-y * score)), np.logaddexp(np.longdouble(0), -long).astype(dtype)),
    }
    found = {name: int(ulps(ours.astype(dtype), theirs.astype(dtype)).max()) for name, (ours, theirs) in pairs.items()}
    return {**found, **_others(score, y, threshold, relu, softplus)}


def _others(score: Floats, y: Floats, threshold: Floats, relu: Any, softplus: Any) -> Outcome:
    """Ulps between ours and what scikit-learn and PyTorch compute."""
    import torch
    from sklearn.metrics import hinge_loss
    from torch.nn import functional

    margins = relu(np.ones((), score.dtype) - y * score)
    mean = hinge_loss(y, score)
    few = slice(0, 1000)
    pairs = zip(torch.tensor(score[few]), threshold[few].tolist(), strict=True)
    soft = [float(functional.softshrink(x, lambd=at)) for x, at in pairs]
    ours = relu(score[few] - threshold[few]) - relu(-score[few] - threshold[few])
    logistic = functional.soft_margin_loss(torch.tensor(score), torch.tensor(y), reduction="none").numpy()
    return {
        "hinge_of_sklearn": int(ulps(np.array([np.average(margins)]), np.array([mean], dtype=margins.dtype))[0]),
        "soft_threshold_of_torch": int(ulps(ours, np.array(soft, dtype=score.dtype)).max()),
        "logistic_of_torch": int(ulps(softplus(-y * score), logistic).max()),
    }
