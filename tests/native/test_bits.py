"""The bits depend on the input alone: not on instruction set, position, stride, alignment or length."""

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native, oracle

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
FUNCTIONS = [
    (name if kind == "value" else f"{name}_{kind}", bool(names)) for (name, kind), (names, _) in oracle.EXACT.items()
]
PARAMETERS = [1.0, 0.37]
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def bits(array):
    return np.ascontiguousarray(array).view(BITS[array.dtype.itemsize])


def call(name, x, parameter, **keywords):
    with np.errstate(all="ignore"):
        return getattr(_native, name)(x, *([] if parameter is None else [parameter]), **keywords)


def cases(takes_parameter, dtype):
    wide = np.float64 if dtype is np.float64 else np.float32
    return [wide(p) for p in PARAMETERS] if takes_parameter else [None]


every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
every_function = pytest.mark.parametrize(("name", "takes_parameter"), FUNCTIONS)


@every_dtype
@every_function
def test_instruction_sets_agree(name, takes_parameter, dtype, sample):
    x = sample(dtype, 3000, seed=1)
    size = np.dtype(dtype).itemsize
    raw = np.random.default_rng(5).integers(0, 256, 4000 * size, dtype=np.uint8)  # signalling NaNs too
    x = np.arange(65536, dtype=np.uint16).view(dtype) if size == 2 else np.concatenate([x, raw.view(dtype)])
    for parameter in cases(takes_parameter, dtype):
        results = {}
        for isa in _native.supported_isas():
            _native.use_isa(isa)
            assert _native.isa() == isa
            results[isa] = bits(call(name, x, parameter))
        first, *rest = results
        for isa in rest:
            different = np.flatnonzero(results[isa] != results[first])
            assert not len(different), f"{isa} and {first} differ at {x[different[:3]]}"


@every_dtype
@every_function
def test_position_length_and_stride_do_not_matter(name, takes_parameter, dtype, sample):
    x = sample(dtype, 300, seed=2)
    for isa in _native.supported_isas():
        _native.use_isa(isa)
        for parameter in cases(takes_parameter, dtype):
            whole = bits(call(name, x, parameter))
            for start in (0, 1, 5, 16, 37):
                for length in (1, 2, 7, 8, 15, 17, 33, 300):
                    part = slice(start, start + length)
                    assert np.array_equal(bits(call(name, x[part], parameter)), whole[part])
            assert np.array_equal(bits(call(name, x[::-1], parameter)), whole[::-1])
            assert np.array_equal(bits(call(name, x[::3], parameter)), whole[::3])
            out = np.zeros(2 * len(x), dtype)[::2]
            call(name, x, parameter, out=out)
            assert np.array_equal(bits(out), whole)
            unaligned = np.zeros(len(x) * x.itemsize + 1, np.uint8)[1:].view(dtype)
            unaligned[...] = x
            assert np.array_equal(bits(call(name, unaligned, parameter)), whole)
            if parameter is not None:
                many = np.full(len(x), parameter)
                assert np.array_equal(bits(call(name, x, many)), whole)
                spread = np.full(2 * len(x), parameter)[::2]
                assert np.array_equal(bits(call(name, x, spread)), whole)
                assert np.array_equal(bits(call(name, x[::2], spread[::2])), whole[::2])


@every_dtype
@every_function
def test_in_place_and_overlapping(name, takes_parameter, dtype, sample):
    for parameter in cases(takes_parameter, dtype):
        for step in (1, -1, 2):
            x = sample(dtype, 300, seed=3)
            want = bits(call(name, x[::step], parameter))
            call(name, x[::step], parameter, out=x[::step])
            assert np.array_equal(bits(x[::step]), want)
        x = sample(dtype, 300, seed=3)
        want = bits(call(name, x[:-5], parameter))
        call(name, x[:-5], parameter, out=x[5:])
        assert np.array_equal(bits(x[5:]), want)


@every_dtype
def test_parameters_broadcast(dtype, sample):
    wide = np.float64 if dtype is np.float64 else np.float32
    x = sample(dtype, 400)[:720].reshape(8, 9, -1)
    slopes = np.linspace(-1, 2, 9).astype(wide)
    for view in (slopes[:, None], np.broadcast_to(slopes[:, None], x.shape), slopes[::-1][:, None]):
        got = call("elu", x, view)
        for i in range(9):
            channel = view[i, 0] if view.ndim == 2 else view[0, i, 0]
            assert np.array_equal(bits(got[:, i]), bits(call("elu", x[:, i], channel)))
    # A single value against many parameters.
    got = call("leaky_relu", x[:1, :1, :1].reshape(()), slopes)
    assert [g.tobytes() for g in got] == [call("leaky_relu", x.flat[0], s).tobytes() for s in slopes]


def test_empty_and_scalar():
    assert _native.relu(np.array([], np.float32)).shape == (0,)
    assert _native.elu(np.float32(-1), np.float32(1)).dtype == np.float32
    assert _native.relu(np.zeros((3, 0, 2))).shape == (3, 0, 2)
