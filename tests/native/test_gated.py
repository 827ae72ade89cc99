"""The fused loops: the bits of the separate ones, whatever the length, place, threads and instruction set."""

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}
LENGTHS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 255, 256, 257, 1000]
LONG = 262_144 + 77
every_isa = pytest.mark.parametrize("isa", _native.supported_isas())
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)


@pytest.fixture(autouse=True)
def settings_restored():
    threads, size = _native.threads(), _native.stream_from(1 << 62)
    _native.stream_from(size)
    yield
    _native.set_threads(threads)
    _native.stream_from(size)


def bits(array):
    return np.ascontiguousarray(array).view(BITS[array.dtype.itemsize])


def values(dtype, count, seed=0):
    """Random bit patterns, signalling NaNs among them, and many zeros, kinks and plain numbers."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, count * np.dtype(dtype).itemsize, dtype=np.uint8).view(dtype)
    plain = rng.choice([-3.0, -1.0, -0.0, 0.0, 1.0, 5.5, 6.0, 7.0, np.nan, np.inf, -np.inf], count).astype(dtype)
    return np.where(rng.random(count) < 0.3, raw, plain).astype(dtype)


def packed(mask):
    return np.packbits(mask, bitorder="little")


def wide(dtype):
    return np.float64 if dtype is np.float64 else np.float32


def repeated(parameter, inner, count):
    return parameter[(np.arange(count) // inner) % len(parameter)]


#: name → its ufunc, the example parameter, the plane
GATED = {
    "relu": ("relu", None, None),
    "relu_and_zeros": ("relu", None, "zeros"),
    "leaky_relu": ("leaky_relu", 0.3, None),
    "abs": ("abs", None, "zeros"),
    "relu6": ("relu6", 5.5, "inside"),
    "squared_relu": ("squared_relu", None, None),
}


def check_gated(name, x, parameter, inner, out):
    ufunc, _, plane_of = GATED[name]
    gate = np.full(-(-len(x) // 8), 0xA5, np.uint8)
    plane = None if plane_of is None else gate.copy()
    each = repeated(parameter, inner, len(x)) if isinstance(parameter, np.ndarray) else parameter
    with np.errstate(all="ignore"):
        want = getattr(_native, ufunc)(x, *([] if parameter is None else [np.asarray(each, wide(x.dtype.type))]))
        masks = {"zeros": x == 0}
        if plane_of == "inside":
            masks["inside"] = ~(x <= 0) & ~(x >= each)
    want_gate = _native.pack_gate(x)
    any_set = _native.with_gate(name, x, out, parameter, inner, gate, plane)
    assert np.array_equal(bits(out), bits(want))
    assert np.array_equal(gate, want_gate)
    if plane is not None:
        assert np.array_equal(plane, packed(masks[plane_of]))
    assert any_set == (plane is not None and bool(masks[plane_of].any()))


@every_isa
@every_dtype
@pytest.mark.parametrize("name", GATED)
def test_with_gate_is_the_value_and_the_gate(name, dtype, isa):
    _native.use_isa(isa)
    number = GATED[name][1]
    source = values(dtype, 1100)
    for n in LENGTHS:
        for start in (0, 3):
            x = source[start : start + n]
            guarded = np.full(n + 2, 7, dtype)
            check_gated(name, x, number, 1, guarded[1:-1])
            assert guarded[0] == guarded[-1] == 7
            if number is not None and n:
                for period, inner in ((2, 1), (3, 5), (300, 1), (7, 40), (1, 9)):
                    many = np.linspace(number / 2, number * 2, period).astype(wide(dtype))
                    check_gated(name, x, many, inner, np.empty_like(x))
            same = x.copy()
            with np.errstate(all="ignore"):
                want = bits(getattr(_native, GATED[name][0])(x, *([] if number is None else [wide(dtype)(number)])))
            gate = np.empty(-(-n // 8), np.uint8)
            _native.with_gate(name, same, same, number, 1, gate, None if GATED[name][2] is None else gate.copy())
            assert np.array_equal(bits(same), want)


@every_dtype
@pytest.mark.parametrize("name", GATED)
def test_long_with_gate(name, dtype):
    x = values(dtype, LONG, seed=1)
    number = GATED[name][1]
    for threads in (1, 2, 3):
        _native.set_threads(threads)
        for stream in (0, 1 << 62):
            _native.stream_from(stream)
            check_gated(name, x, number, 1, np.zeros(LONG + 5, dtype)[5:])
            if number is not None:
                check_gated(name, x, np.linspace(0.5, 3, 48).astype(wide(dtype)), 7, np.zeros_like(x))


def rounded_once(exact, dtype):
    if dtype != ml_dtypes.bfloat16:
        return exact.astype(dtype)
    # ml_dtypes goes through float32. Rounded to odd there, the second rounding is as good as the only one.
    near = exact.astype(np.float32)
    toward_zero = np.where(np.abs(near) > np.abs(exact), np.nextafter(near, np.float32(0)), near)
    odd = toward_zero.view(np.uint32) | (toward_zero != exact) & ~np.isnan(exact)
    return odd.astype(np.uint32).view(np.float32).astype(dtype)


def want_backward(name, dh, gate, plane, each):
    """In as many digits as the exact product has, rounded once."""
    dtype = dh.dtype
    with np.errstate(all="ignore"):
        exact = dh.astype(np.float64)
        scaled = rounded_once(np.asarray(each, np.float64) * exact, dtype)
        zero = np.zeros_like(dh)
        if name == "nothing":
            return np.where(gate, dh, zero)
        if name == "slope":
            return np.where(gate, dh, scaled)
        if name == "mirror":
            return np.where(plane, zero, np.where(gate, dh, (-exact).astype(dtype)))
        return np.where(gate & ~plane, dh, np.where(plane, scaled, zero))


def check_backward(name, dh, gate, plane, parameter, inner, out):
    each = repeated(parameter, inner, len(dh)) if isinstance(parameter, np.ndarray) else parameter or 0.0
    each = np.asarray(each, wide(dh.dtype.type))
    want = want_backward(name, dh, gate, np.zeros_like(gate) if plane is None else plane, each)
    _native.backward(name, dh, out, parameter, inner, packed(gate), None if plane is None else packed(plane))
    with np.errstate(all="ignore"):  # ml_dtypes tells of a NaN
        nan = np.isnan(want)
        assert np.array_equal(np.isnan(out), nan)
    assert np.array_equal(bits(out)[~nan], bits(want)[~nan])


BACKWARD = {"nothing": None, "slope": 0.3, "mirror": None, "share": 0.5}


@every_isa
@every_dtype
@pytest.mark.parametrize("name", BACKWARD)
def test_backward(name, dtype, isa):
    _native.use_isa(isa)
    rng = np.random.default_rng(2)
    source = values(dtype, 1100, seed=3)
    number = BACKWARD[name]
    for n in LENGTHS:
        for start in (0, 5):
            dh = source[start : start + n]
            gate = rng.random(n) < 0.5
            for plane in (None, ~gate & (rng.random(n) < 0.5)):
                guarded = np.full(n + 2, 7, dtype)
                check_backward(name, dh, gate, plane, number, 1, guarded[1:-1])
                assert guarded[0] == guarded[-1] == 7
                if number is not None and n:
                    for period, inner in ((2, 1), (3, 5), (300, 1), (7, 40)):
                        many = np.linspace(-1, 2, period).astype(wide(dtype))
                        check_backward(name, dh, gate, plane, many, inner, np.empty_like(dh))


@every_dtype
@pytest.mark.parametrize("name", BACKWARD)
def test_long_backward(name, dtype):
    rng = np.random.default_rng(4)
    dh = values(dtype, LONG, seed=5)
    gate = rng.random(LONG) < 0.5
    plane = ~gate & (rng.random(LONG) < 0.5)
    for threads in (1, 2, 3):
        _native.set_threads(threads)
        for stream in (0, 1 << 62):
            _native.stream_from(stream)
            check_backward(name, dh, gate, plane, BACKWARD[name], 1, np.zeros(LONG + 5, dtype)[5:])
            same = dh.copy()
            _native.backward(name, same, same, BACKWARD[name], 1, packed(gate), packed(plane))
            apart = np.empty_like(dh)
            _native.backward(name, dh, apart, BACKWARD[name], 1, packed(gate), packed(plane))
            assert np.array_equal(bits(same), bits(apart))


def test_only_true_flags():
    for n in (1, 5, 16, 19, LONG):
        gate = np.full(-(-n // 8), 0xFF, np.uint8)
        small = np.full(n, 1e-38, np.float32)
        with np.errstate(all="raise"):
            # Open gates let dh through: the slope that is not used must tell nothing.
            _native.backward("slope", small, np.empty_like(small), 1e-30, 1, gate, None)
            _native.backward("slope", np.full(n, 3e38, np.float32), np.empty_like(small), 1e30, 1, gate, None)
            _native.backward("nothing", np.full(n, np.nan, np.float32), np.empty_like(small), None, 1, gate, None)


def test_refusals():
    x, bits_ = np.zeros(100, np.float32), np.zeros(13, np.uint8)
    memory = np.zeros(200, np.float32)

    def refused(match, name="relu", x=x, out=None, parameter=None, inner=1, gate=bits_, plane=None):
        out = np.empty_like(x) if out is None else out
        with pytest.raises(ValueError, match=match):
            _native.with_gate(name, x, out, parameter, inner, gate, plane)
        with pytest.raises(ValueError, match=match.replace("`x`", "`dh`").replace("with_gate", "backward")):
            _native.backward("slope", x, out, parameter, inner, gate, plane)

    overlap = "must not share memory in part; got arrays that overlap. Pass an array of its own."
    refused(f"with_gate: `out` and `x` {overlap}", x=memory[:100], out=memory[1:101])
    refused(f"with_gate: `out` and `gate` {overlap}", out=memory[:100], gate=memory.view(np.uint8)[396:409])
    refused(f"with_gate: `gate` and `x` {overlap}", x=memory[:100], gate=memory.view(np.uint8)[:13])
    # Read again for every row, so it may not even be the same memory.
    refused(f"with_gate: `out` and `parameter` {overlap}", out=memory[:100], parameter=memory[99:102])
    refused(f"with_gate: `out` and `parameter` {overlap}", out=memory[:100], parameter=memory[:100])
    with pytest.raises(ValueError, match=f"with_gate: `gate` and `parameter` {overlap}"):
        _native.with_gate("relu", x, x, memory[:4], 1, memory.view(np.uint8)[10:23], None)
    with pytest.raises(ValueError, match=f"with_gate: `plane` and `parameter` {overlap}"):
        _native.with_gate("abs", x, x, memory[:4], 1, bits_, memory.view(np.uint8)[10:23])
    refused("`x` must be a one-dimensional NumPy array", x=memory[::2], out=x)
    refused("`out` must be a one-dimensional .* and writeable; got list", out=[1.0])
    refused("`x` and `out` must be of one dtype", out=np.empty(100))
    refused("`x` and `out` must be of one dtype", out=np.empty(99, np.float32))
    refused("`x` and `out` must be of one dtype", x=np.zeros(100, np.int32))
    refused("`gate` must be uint8 with a bit for each of the 100 values; got 12 entries", gate=bits_[:12])
    refused("`parameter` must be an array of float32, not empty", parameter=np.zeros(3))
    refused("`parameter` must be an array of float32, not empty", parameter=np.zeros(0, np.float32))
    refused("`parameter` must be an array of float32, .* `inner` 0", parameter=np.zeros(3, np.float32), inner=0)
    with pytest.raises(ValueError, match="with_gate: `plane` must be given for 'abs'; got None"):
        _native.with_gate("abs", x, x, None, 1, bits_, None)
    with pytest.raises(ValueError, match="with_gate: `plane` must be None for 'relu'; got an array"):
        _native.with_gate("relu", x, x, None, 1, bits_, bits_.copy())
    with pytest.raises(ValueError, match=f"`gate` and `plane` {overlap}"):
        _native.with_gate("abs", x, x, None, 1, bits_, bits_)
    with pytest.raises(ValueError, match="with_gate: `name` must be one that it knows; got 'elu'. Pass 'relu'."):
        _native.with_gate("elu", x, x, None, 1, bits_, None)
    frozen = x.copy()
    frozen.flags.writeable = False
    refused("`out` must be a one-dimensional", out=frozen)


def test_copy_past_cache():
    memory = np.arange(1 << 20, dtype=np.uint8)
    source = memory[-memory.ctypes.data % 64 :][: 1 << 19]
    out = np.zeros(1 << 20, np.uint8)
    out = out[-out.ctypes.data % 64 :][: 1 << 19]
    _native.copy_past_cache(out, source)
    assert np.array_equal(out, source)
    with pytest.raises(ValueError, match="copy_past_cache: `out` and `from` must be of one size"):
        _native.copy_past_cache(out[1:-1], source[1:-1])
    with pytest.raises(ValueError, match="must not share memory in part"):
        _native.copy_past_cache(out[64:], out[:-64])
