"""What the tests of JAX share: the functions with their parameters, and inputs that hold each edge."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import rectifier.jax as rj

NAMES = ("relu", "leaky_relu", "prelu", "abs", "relu6", "squared_relu", "elu", "celu", "selu", "softplus")
GATED = ("relu", "leaky_relu", "prelu", "abs", "relu6")
REQUIRED: dict[str, dict[str, Any]] = {"prelu": {"negative_slope": 0.25}}
OTHER: dict[str, dict[str, Any]] = {
    "leaky_relu": {"negative_slope": -1.5},
    "prelu": {"negative_slope": 0.1},
    "relu6": {"ceiling": 2.7},
    "elu": {"alpha": 0.3},
    "celu": {"alpha": 2.5},
    "softplus": {"beta": 3.0},
}
SPECIAL = (0.0, -0.0, 1e-8, -1e-8, 1e-30, -1e-30, 6.0, 20.0, -20.0, 100.0, -100.0, math.inf, -math.inf, math.nan)


def bound(name: str, **given: Any) -> Callable[[Any], Any]:
    """The function with its required parameter, and those given."""
    return functools.partial(getattr(rj, name), **(REQUIRED.get(name, {}) | given))


def sample(dtype: Any) -> Any:
    """1,024 values, so that the last axis fills bytes, as a JAX array."""
    spread = np.linspace(-25.0, 25.0, 505)
    values = np.concatenate([spread, spread * 1e-3, SPECIAL])
    return jnp.asarray(values.astype(dtype))
