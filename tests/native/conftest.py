"""Shared by the tests of the compiled module."""

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native, oracle

_native.register_bfloat16(ml_dtypes.bfloat16)


@pytest.fixture(autouse=True)
def isa_restored() -> Iterator[None]:
    """A test that changes the instruction set leaves it as it was."""
    before = _native.isa()
    yield
    _native.use_isa(before)


def _sample(dtype: Any, count: int, seed: int = 0) -> np.ndarray:
    """Every exponent and sign, the working range, both sides of each kink, the ends, and the special values."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    digits, low, high = oracle.FORMATS[dtype.name]
    exponents = np.linspace(low - digits + 1, high, count).round()
    significands = rng.uniform(1, 2, count)
    signs = rng.choice([-1.0, 1.0], count)
    with np.errstate(over="ignore", under="ignore"):
        every = np.ldexp(signs * significands, exponents.astype(int)).astype(dtype)
        working = (rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-4, 3, count)).astype(dtype)
    smallest, normal = 2.0 ** (low - digits + 1), 2.0**low
    largest = (2 - 2.0 ** (1 - digits)) * 2.0**high
    edges = [0.0, smallest, normal, normal - smallest, largest, 1.0, 6.0, np.log(2), 0.5, 88.7, 103.9, 745.1, np.inf]
    around = np.array(edges).astype(dtype)
    around = np.concatenate(
        [around, np.nextafter(around[5:9], dtype.type(0)), np.nextafter(around[5:9], dtype.type(9))]
    )
    return np.concatenate([every, working, around, -around, np.array([np.nan]).astype(dtype)])


@pytest.fixture
def sample() -> Callable[..., np.ndarray]:
    return _sample
