"""Counts of gates per unit: every layout and odd size, on every instruction set, against NumPy's sums."""

import itertools

import numpy as np
import pytest

import rectifier
from rectifier import _native

every_isa = pytest.mark.parametrize("isa", _native.supported_isas())


@every_isa
@pytest.mark.parametrize(
    "shape",
    [
        (1,),
        (77,),
        (3, 1),
        (1, 3),
        (17, 1),
        (16, 64),
        (100, 10),
        (33, 63),
        (1000, 3),
        (65, 129),
        (40, 2047),
        (19, 2049),
        (9, 5000),
        (2, 3, 4, 4),
        (5, 7, 9, 9),
        (4, 6, 8, 8),
        (3, 5, 7, 13),
        (2, 3, 2, 3, 2),
        (0, 3),
        (3, 0, 2),
        (1, 1, 1),
    ],
    ids=str,
)
def test_every_choice_of_axes(shape, isa):
    _native.use_isa(isa)
    rng = np.random.default_rng(0)
    for share in (0.5, 1.0):
        z = np.where(rng.random(shape) < share, 1.0, -1.0).astype(np.float32)
        for laid_out in (z, np.asfortranarray(z), np.moveaxis(z, 0, -1)):
            gate = rectifier.relu.gate(laid_out)
            every = range(-laid_out.ndim, laid_out.ndim)
            for axis in [None, *every, *itertools.combinations(range(laid_out.ndim), 2), ()]:
                got, want = gate.count(axis=axis), (laid_out > 0).sum(axis=axis)
                assert got.dtype == np.int64
                assert got.shape == want.shape
                assert np.array_equal(got, want), axis


@pytest.mark.parametrize(("rows", "columns"), [(70_001, 3), (66_000, 65), (140_000, 1), (16 * 4095 * 2 + 5, 8)])
def test_more_rows_than_the_counters_hold(rows, columns):
    ones = _native.pack_gate(np.ones(rows * columns, bool))
    counts = np.full(columns, 5)
    _native.count_gates(ones, (rows, columns), (False, True), counts)
    assert np.array_equal(counts, np.full(columns, rows + 5))
    z = np.random.default_rng(1).random((rows, columns)) < 0.5
    assert np.array_equal(rectifier.relu.gate(z).count(axis=0), z.sum(0))


def test_refusals():
    bits = np.zeros(2, np.uint8)
    match = "count_gates: `sizes` and `kept` must be tuples with an entry an axis, and `counts` int64"
    for sizes, kept, counts in (
        ((4, 4), (False,), np.zeros(4, np.int64)),
        ((4, 4), (False, True), np.zeros(5, np.int64)),
        ((4, 4), (False, True), np.zeros(4, np.int32)),
        ((-4, -4), (False, True), np.zeros(4, np.int64)),
        ([4, 4], (False, True), np.zeros(4, np.int64)),
    ):
        with pytest.raises(ValueError, match=match):
            _native.count_gates(bits, sizes, kept, counts)
    with pytest.raises(ValueError, match="`bits` must be uint8 with a bit for each of the 20 values; got 2 entries"):
        _native.count_gates(bits, (5, 4), (False, True), np.zeros(4, np.int64))
    gate = rectifier.relu.gate(np.ones((2, 3)))
    with pytest.raises(np.exceptions.AxisError):
        gate.count(axis=2)
