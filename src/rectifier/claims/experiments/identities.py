"""Formulas that are said to be the same: both computed on the same numbers, and compared bit by bit or in ulps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment

__all__ = ["absolute_values", "numbers"]

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


@experiment(version=1)
def absolute_values(config: Config) -> Outcome:
    """How many of ``many`` numbers of ``dtype`` the leaky rectifier with ``slope`` and |z| turn into other bits."""
    z = numbers(config["dtype"], config["many"], config["seed"])
    leaky = ACTIVATIONS["leaky_relu"].function(z, negative_slope=config["slope"])
    bits = f"uint{8 * z.dtype.itemsize}"
    differ = leaky.view(bits) != np.abs(z).view(bits)
    # −0 is not negative: a leaky rectifier keeps it, and |z| is +0. Equal as numbers, other bits.
    return {"compared": z.size, "differ": int((differ & (z != 0)).sum()), "zeros": int((differ & (z == 0)).sum())}
