"""Results written past the cache, wherever they begin and end: the bits are those written through it."""

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native

# The shortest long loop, ends on either side of a word of bits, and a last part that is too short for lines.
LENGTHS = [131_072, 131_072 + 1, 131_072 + 63, 131_072 + 64, 131_072 + 65, 131_072 + 16_384 + 255]
OFFSETS = [0, 1, 3, 7, 15, 17, 31]
GATED = {"relu": (None, False), "leaky_relu": (0.3, False), "abs": (None, True), "relu6": (6.0, True)}
BACKWARD = {"nothing": None, "slope": 0.3, "mirror": None, "share": 0.5}

every_isa = pytest.mark.parametrize("isa", _native.supported_isas())
every_dtype = pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=lambda d: np.dtype(d).name
)


@pytest.fixture(autouse=True)
def settings_restored():
    threads, bytes_ = _native.threads(), _native.stream_from(1 << 62)
    yield
    _native.set_threads(threads)
    _native.stream_from(bytes_)


def placed(dtype, count, offset=0):
    """``count`` values of touched memory, ``offset`` after the start of a cache line, with 64 guarded bytes around."""
    size = np.dtype(dtype).itemsize
    memory = np.full(count * size + 64 * size + 256, 0xA5, np.uint8)
    start = -memory.ctypes.data % 64 + 64 + offset * size
    return memory[start - 64 : start + count * size + 64], memory[start : start + count * size].view(dtype)


def wide(dtype):
    return np.float64 if dtype == np.float64 else np.float32


def values(dtype, count, sample):
    return np.resize(sample(dtype, 997, seed=6), count)


def both_ways(run):
    """What ``run`` leaves in memory when it writes through the cache, and when it writes past it."""
    seen = []
    for stream in (1 << 62, 0):
        _native.stream_from(stream)
        with np.errstate(all="ignore"):
            seen.append(run())
    return zip(*seen, strict=True)


def places():
    """Every length and every offset, but not each with each; the threads go with them."""
    for i in range(max(len(LENGTHS), len(OFFSETS))):
        yield LENGTHS[i % len(LENGTHS)], OFFSETS[i % len(OFFSETS)], 1 + i % 3


def parameters_of(number, dtype):
    return [number] if number is None else [number, np.linspace(0.5, 3, 48).astype(wide(dtype))]


@every_isa
@every_dtype
@pytest.mark.parametrize("name", GATED)
def test_with_gate(name, dtype, isa, sample):
    _native.use_isa(isa)
    number, keeps = GATED[name]
    for n, offset, threads in places():
        _native.set_threads(threads)
        x = values(dtype, n, sample)
        for parameter in parameters_of(number, dtype):

            def run(x=x, n=n, offset=offset, parameter=parameter):
                memory, out = placed(dtype, n, offset)
                gate_memory, gate = placed(np.uint8, -(-n // 8), 3)
                plane_memory, plane = placed(np.uint8, -(-n // 8), 5)
                some = _native.with_gate(name, x, out, parameter, 7, gate, plane if keeps else None)
                return memory, gate_memory, plane_memory, np.array(some)

            for through, past in both_ways(run):
                assert np.array_equal(through, past), (n, offset, threads)


@every_isa
@every_dtype
@pytest.mark.parametrize("name", BACKWARD)
def test_backward(name, dtype, isa, sample):
    _native.use_isa(isa)
    rng = np.random.default_rng(7)
    for n, offset, threads in places():
        _native.set_threads(threads)
        dh = values(dtype, n, sample)
        gate = np.packbits(rng.random(n) < 0.5, bitorder="little")
        plane = ~gate & np.packbits(rng.random(n) < 0.5, bitorder="little")
        for parameter in parameters_of(BACKWARD[name], dtype):
            for second in (None, plane):

                def run(n=n, offset=offset, dh=dh, gate=gate, parameter=parameter, second=second):
                    memory, out = placed(dtype, n, offset)
                    _native.backward(name, dh, out, parameter, 7, gate, second)
                    return (memory,)

                for through, past in both_ways(run):
                    assert np.array_equal(through, past), (n, offset, threads)


@every_isa
@pytest.mark.parametrize("code", "bBhHiIqQ")
def test_integers(code, isa):
    _native.use_isa(isa)
    for n, offset, threads in places():
        _native.set_threads(threads)
        x = np.resize(np.arange(251), n).astype(np.uint8).astype(code.lower()).astype(code)
        ceilings = np.resize(np.array([3, 6, 100], code), 2 * n)

        def run(x=x, n=n, offset=offset, ceilings=ceilings):
            made = []
            for call in (
                lambda out, x=x: _native.relu(x, out=out),
                lambda out, x=x: _native.abs(x, out=out),
                lambda out, x=x: _native.relu6(x, ceilings[::2], out=out),
            ):
                memory, out = placed(code, n, offset)
                call(out)
                made.append(memory)
            return made

        for through, past in both_ways(run):
            assert np.array_equal(through, past), (n, offset, threads)


@every_isa
@every_dtype
def test_parameters_with_a_stride(dtype, isa, sample):
    _native.use_isa(isa)
    for n, offset, threads in places():
        _native.set_threads(threads)
        x = values(dtype, n, sample)
        slopes = np.resize(np.linspace(-1, 2, 31).astype(wide(dtype)), 3 * n)
        for step in (1, 3):

            def run(x=x, n=n, offset=offset, slopes=slopes[::step][:n]):
                memory, out = placed(dtype, n, offset)
                _native.leaky_relu(x, slopes, out=out)
                return (memory,)

            for through, past in both_ways(run):
                assert np.array_equal(through, past), (n, offset, threads, step)


def test_results_that_lie_beside_their_values_are_written_past_the_cache():
    """Refused where operands overlap in part, however long; in place is no overlap and is right."""
    _native.stream_from(0)
    n = LENGTHS[-1]
    _, memory = placed(np.float32, n + 16)
    memory[...] = np.resize(np.float32([-2.0, 3.0, np.nan]), n + 16)
    bits = np.zeros(-(-n // 8), np.uint8)
    match = "must not share memory in part; got arrays that overlap. Pass an array of its own."
    for shift in (1, 16):
        with pytest.raises(ValueError, match=f"with_gate: `out` and `x` {match}"):
            _native.with_gate("relu", memory[:n], memory[shift : n + shift], None, 1, bits, None)
        with pytest.raises(ValueError, match=f"backward: `out` and `dh` {match}"):
            _native.backward("nothing", memory[:n], memory[shift : n + shift], None, 1, bits, None)
    x = memory[:n].copy()
    _native.with_gate("relu", x, x, None, 1, bits, None)
    assert np.array_equal(x, np.resize(np.float32([0.0, 3.0, np.nan]), n), equal_nan=True)
