"""The gate: packed bits in memory order, counted and unpacked."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rectifier
from rectifier._functions import FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_the_same_gate(name: str) -> None:
    z = np.array([-1.0, -0.0, 0.0, 1e-300, 2.0, np.nan, np.inf, -np.inf])
    gate = FUNCTIONS[name].gate(z)
    assert gate.unpack().tolist() == [False, False, False, True, True, True, True, False]
    assert gate.bits.tolist() == [0b01111000]


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int8, np.uint16, ">f4", bool]
)
def test_dtypes_and_lengths(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    for length in [*range(20), 63, 64, 65, 1000]:
        z = rng.normal(size=length).round().astype(dtype)
        gate = rectifier.relu.gate(z)
        assert gate.nbytes == -(-length // 8)
        np.testing.assert_array_equal(gate.unpack(), z.astype(float) > 0)
        assert gate.count() == (z.astype(float) > 0).sum()


def test_any_memory_layout_keeps_its_shape() -> None:
    z = np.random.default_rng(2).normal(size=(3, 5, 7, 2)).astype(np.float32)
    for view in (z, z.transpose(2, 0, 3, 1), z[:, ::-1], z[::2, :, ::3], np.asfortranarray(z), z[0, 0, 0, 0], z[:0]):
        gate = rectifier.relu.gate(view)
        assert gate.shape == view.shape
        np.testing.assert_array_equal(gate.unpack(), view > 0)
        assert gate.count() == (view > 0).sum()
        for axis in range(view.ndim):
            np.testing.assert_array_equal(gate.count(axis=axis), (view > 0).sum(axis=axis))


def test_bits_follow_memory_order() -> None:
    z = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    assert rectifier.relu.gate(z).bits.tolist() == [0b011101]
    assert rectifier.relu.gate(z.T).bits.tolist() == [0b011101]  # the same memory
    assert rectifier.relu.gate(np.asfortranarray(z)).bits.tolist() == [0b011011]
    assert rectifier.relu.gate(z.T) != rectifier.relu.gate(z)
    assert rectifier.relu.gate(np.asfortranarray(z)) == rectifier.relu.gate(z)


def test_an_array_that_is_not_aligned() -> None:
    z = np.frombuffer(bytearray(np.array([0.0, 1.0, -1.0, 2.0]).tobytes().rjust(33, b"-")), dtype="f8", offset=1)
    assert not z.flags.aligned
    assert rectifier.relu.gate(z).unpack().tolist() == [False, True, False, True]


def test_a_gate_cannot_be_changed() -> None:
    gate = rectifier.relu.gate(np.ones(3))
    for one in (gate, pickle.loads(pickle.dumps(gate)), copy.deepcopy(gate)):
        assert one == gate
        with pytest.raises(ValueError, match="read-only"):
            one.bits[0] = 0
    assert repr(gate) == "<Gate of shape (3,): 3 of 3 open, 1 bytes>"
