"""pack_gate: bit i is x[i] > 0 or NaN, little-endian, zero-padded."""

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def expected(x):
    with np.errstate(invalid="ignore"):  # ml_dtypes' comparison tells of a NaN
        return np.packbits(~(x <= 0), bitorder="little")


@pytest.mark.parametrize("isa", _native.supported_isas())
@pytest.mark.parametrize("dtype", [*FLOATS, *"bBhHiIlLqQ?"], ids=lambda d: np.dtype(d).name)
def test_every_length(dtype, isa):
    _native.use_isa(isa)
    rng = np.random.default_rng(0)
    values = rng.integers(-3, 4, 200)
    for n in range(71):
        for start in (0, 1, 13):
            x = values[start : start + n].astype(dtype)
            got = _native.pack_gate(x)
            assert got.dtype == np.uint8
            assert got.shape == (-(-n // 8),)
            assert np.array_equal(got, expected(x))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_special_values(dtype, sample):
    x = sample(dtype, 500)
    special = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf]).astype(dtype)
    x = np.concatenate([special, x, special])
    for isa in _native.supported_isas():
        _native.use_isa(isa)
        with np.errstate(all="raise"):
            got = _native.pack_gate(x)
        assert np.array_equal(got, expected(x))


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=lambda d: np.dtype(d).name)
def test_every_16_bit_value(dtype):
    x = np.arange(65536, dtype=np.uint16).view(dtype)
    assert np.array_equal(_native.pack_gate(x), expected(x))


def test_refusals_say_the_cure():
    with pytest.raises(TypeError, match=r"`x` must be a NumPy array; got list. Pass np.asarray\(x\)."):
        _native.pack_gate([1.0])
    with pytest.raises(TypeError, match=r"got dtype\('complex128'\)"):
        _native.pack_gate(np.zeros(3, complex))
    for x in (np.zeros((2, 2)), np.zeros(4)[::2], np.zeros(4, ">f8"), np.zeros(())):
        with pytest.raises(ValueError, match="must be one-dimensional, contiguous, aligned and of native byte order"):
            _native.pack_gate(x)
