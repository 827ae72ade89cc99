"""Gains against their closed forms (an independent derivation, not the quadrature again)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rectifier


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def elu_second_moment(alpha: float) -> float:
    # E[f²] = ½ + α²(E[e²ᶻ; z<0] − 2E[eᶻ; z<0] + ½), with E[eᵗᶻ; z<0] = e^(t²/2)Φ(−t)
    return 0.5 + alpha**2 * (math.exp(2) * normal_cdf(-2) - 2 * math.exp(0.5) * normal_cdf(-1) + 0.5)


@pytest.mark.parametrize(
    ("name", "parameters", "second_moment"),
    [
        ("relu", {}, 0.5),
        ("leaky_relu", {}, (1 + 0.01**2) / 2),
        ("leaky_relu", {"negative_slope": 0.3}, (1 + 0.3**2) / 2),
        ("prelu", {}, (1 + 0.25**2) / 2),
        ("abs", {}, 1.0),
        ("squared_relu", {}, 1.5),
        ("elu", {}, elu_second_moment(1.0)),
        ("elu", {"alpha": 0.5}, elu_second_moment(0.5)),
        ("selu", {}, 1.0),
        ("threshold", {}, 0.5),
        # ∫₀ᶜ z²φ + c²(1−Φ(c)) = Φ(c) − ½ − cφ(c) + c²(1−Φ(c))
        (
            "relu6",
            {"ceiling": 1.5},
            normal_cdf(1.5) - 0.5 - 1.5 * math.exp(-1.125) / math.sqrt(2 * math.pi) + 2.25 * (1 - normal_cdf(1.5)),
        ),
    ],
)
def test_closed_forms(name: str, parameters: dict[str, float], second_moment: float) -> None:
    assert rectifier.gain(name, **parameters) == pytest.approx(1 / math.sqrt(second_moment), rel=1e-12)


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "tanh", "celu"])
def test_the_others_against_sampling(name: str) -> None:
    z = np.random.default_rng(0).normal(size=400_000)
    sampled = 1 / math.sqrt(np.mean(np.square(rectifier._functions.FUNCTIONS[name](z))))
    assert rectifier.gain(name) == pytest.approx(sampled, rel=5e-3)
