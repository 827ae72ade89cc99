"""Floating-point warnings: none but true ones; and the caller's settings come back."""

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native, oracle

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
FUNCTIONS = [
    (name, kind, name if kind == "value" else f"{name}_{kind}", bool(names))
    for (name, kind), (names, _) in oracle.EXACT.items()
]


@pytest.mark.parametrize("isa", _native.supported_isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("name", "kind", "ufunc", "takes_parameter"), FUNCTIONS)
def test_no_false_alarm(name, kind, ufunc, takes_parameter, dtype, isa, sample):
    _native.use_isa(isa)
    x = sample(dtype, 200)
    x = np.concatenate([x, np.array([np.nan] * 3 + [np.inf] * 3 + [-np.inf] * 3).astype(dtype)])
    wide = np.float64 if dtype is np.float64 else np.float32
    call = getattr(_native, ufunc)
    for parameter in [wide(1), wide(0.3), wide(40)] if takes_parameter else [None]:
        positional = [] if parameter is None else [parameter]
        with np.errstate(all="ignore"):
            result = call(x, *positional).astype(np.float64)
        # A finite input with an infinite result overflows; a plain product may underflow. Nothing else is told.
        _, low, _ = oracle.FORMATS[np.dtype(dtype).name]
        quiet = ~np.isinf(result) | np.isinf(x.astype(np.float64)) | (kind == "inverse" and name != "leaky_relu")
        if name in ("leaky_relu", "squared_relu"):
            quiet &= ~(np.abs(result) < 2.0 ** (low + 1))
        with np.errstate(all="raise"):
            call(x[quiet], *positional)
            for value in x[quiet][-40:]:
                call(np.array([value]), *positional)


def test_true_overflow_and_underflow_are_told():
    for dtype in (np.float32, np.float64):
        with pytest.raises(FloatingPointError, match="overflow"), np.errstate(all="raise"):
            _native.squared_relu(np.full(3, np.finfo(dtype).max))
    with pytest.raises(FloatingPointError, match="overflow"), np.errstate(all="raise"):
        _native.selu(np.full(3, np.finfo(np.float64).max))
    for dtype in (np.float32, np.float64):
        with pytest.raises(FloatingPointError, match="underflow"), np.errstate(all="raise"):
            _native.leaky_relu(np.full(3, -3 * np.finfo(dtype).smallest_subnormal), dtype(0.3))


def test_signalling_nan_is_no_alarm():
    x = np.array([0x7F800001, 0xFF800001], np.uint32).view(np.float32)
    with np.errstate(all="raise"):
        for name in ("relu", "abs", "selu", "tanh", "sigmoid"):
            assert np.isnan(getattr(_native, name)(x)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_16_bit_pattern_or_a_sample_is_quiet_in_relu(dtype):
    size = np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, 65536 * size, dtype=np.uint8).view(dtype)
    with np.errstate(all="raise"):
        for name in ("relu", "abs", "abs_derivative", "threshold", "leaky_relu_slope_derivative"):
            getattr(_native, name)(raw)
