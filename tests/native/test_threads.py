"""Long loops: the bits, flags and settings are those of short ones, whatever the threads; the pool survives."""

import os
import subprocess
import sys
import textwrap
import threading

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native

LONG = 300_001
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
FUNCTIONS = [("relu", ()), ("leaky_relu", (0.3,)), ("elu", (1.0,)), ("squared_relu", ())]
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


@pytest.fixture(autouse=True)
def settings_restored():
    threads, bytes_ = _native.threads(), _native.stream_from(1 << 62)
    _native.stream_from(bytes_)
    yield
    _native.set_threads(threads)
    _native.stream_from(bytes_)


def call(name, x, parameters, **keywords):
    wide = np.float64 if x.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        return getattr(_native, name)(x, *(wide(p) for p in parameters), **keywords)


def bits(array):
    return np.ascontiguousarray(array).view(BITS[array.dtype.itemsize])


def in_short_pieces(name, x, parameters):
    return np.concatenate([call(name, x[i : i + 1000], parameters) for i in range(0, len(x), 1000)])


def placed(dtype, count, offset):
    """``count`` zeros that begin ``offset`` values after a cache line does, and what lies on either side of them."""
    size = np.dtype(dtype).itemsize
    memory = np.full(count * size + 512, 0xA5, np.uint8)
    start = -memory.ctypes.data % 64 + 128 + offset * size
    around = np.concatenate([memory[:start], memory[start + count * size :]])
    values = memory[start : start + count * size].view(dtype)

    def untouched():
        return np.array_equal(around, np.concatenate([memory[:start], memory[start + count * size :]]))

    return values, untouched


@pytest.mark.parametrize("isa", _native.supported_isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize(("name", "parameters"), FUNCTIONS)
def test_threads_streams_and_places_do_not_matter(name, parameters, dtype, isa, sample):
    if isa == "baseline" and name == "elu":
        pytest.skip("too slow: fma in software")
    _native.use_isa(isa)
    x, _ = placed(dtype, LONG, 1)
    x[...] = np.resize(sample(dtype, 3000, seed=4), LONG)
    want = bits(in_short_pieces(name, x, parameters))
    for threads in (1, 2, 5):
        _native.set_threads(threads)
        for stream in (0, 1 << 62):
            _native.stream_from(stream)
            for offset in (0, 3) if threads != 2 else (0, 1, 4, 15, 17):
                for count in (LONG, 262_144):
                    out, untouched = placed(dtype, count, offset)
                    call(name, x[:count], parameters, out=out)
                    assert np.array_equal(bits(out), want[:count]), (threads, stream, offset, count)
                    assert untouched()
        assert np.array_equal(bits(call(name, x, parameters)), want)
        assert np.array_equal(bits(call(name, x[::-1], parameters)), want[::-1])
        assert np.array_equal(bits(call(name, np.repeat(x, 2)[::2], parameters)), want)
        same = x.copy()
        call(name, same, parameters, out=same)
        assert np.array_equal(bits(same), want)
        if parameters:
            many = np.full(LONG, parameters[0], np.float64 if dtype is np.float64 else np.float32)
            with np.errstate(all="ignore"):
                assert np.array_equal(bits(getattr(_native, name)(x, many)), want)


@pytest.mark.parametrize("code", "bhiq")
def test_integers(code):
    x = np.resize(np.arange(-120, 120), LONG).astype(code)
    _native.set_threads(3)
    for stream in (0, 1 << 62):
        _native.stream_from(stream)
        assert np.array_equal(_native.relu(x), np.maximum(x, x.dtype.type(0)))


def test_overlap_and_accumulation_are_handled():
    x = np.random.default_rng(0).normal(size=LONG)
    _native.set_threads(3)
    _native.stream_from(0)
    want = _native.relu(x[:-7])
    shifted = x.copy()
    _native.relu(shifted[:-7], out=shifted[7:])
    assert np.array_equal(shifted[7:], want)
    slopes = np.full(LONG, 1.0)
    slopes[0], slopes[1:60] = -1e9, 0.5
    halved = np.append(-1e9 * 0.5 ** np.arange(60), np.full(LONG - 60, -1e9 * 0.5**59))
    assert np.array_equal(_native.leaky_relu.accumulate(slopes), halved)
    assert _native.leaky_relu.reduce(slopes) == halved[-1]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_flags_of_every_thread_are_told(threads):
    _native.set_threads(threads)
    for place in (0, LONG // 2, LONG - 1):
        x = np.ones(LONG, np.float32)
        with np.errstate(all="raise"):
            _native.squared_relu(x)
            x[place] = 3e38
            with pytest.raises(FloatingPointError, match="overflow"):
                _native.squared_relu(x)
            x[place] = 1e-30
            with pytest.raises(FloatingPointError, match="underflow"):
                _native.squared_relu(x)
            x[place] = 1
            _native.squared_relu(x)  # nothing is left of it
            _native.elu(np.full(LONG, -np.inf, np.float32), np.float32(1))


def test_many_callers_at_once():
    _native.set_threads(3)
    _native.stream_from(0)
    faults = []

    def caller(seed):
        rng = np.random.default_rng(seed)
        for _ in range(40):
            x = rng.normal(size=140_000 + 1000 * seed).astype(np.float32)
            if not np.array_equal(_native.relu(x), np.maximum(x, 0)):
                faults.append(seed)

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not faults


def test_thousands_of_calls_with_sleep_between_some():
    x = np.arange(-70_000, 70_000, dtype=np.float32)
    want = np.maximum(x, 0)
    out = np.empty_like(x)
    pause = threading.Event()
    for i in range(4000):
        _native.set_threads(2 + i % 3)
        out[::997] = 7
        _native.relu(x, out=out)
        assert np.array_equal(out[::997], want[::997]), i
        if i % 100 == 0:
            pause.wait(0.002)  # the helpers go to sleep


def run_alone(program, seconds=60, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


START = """
    import numpy as np
    from rectifier import _native
    _native.set_threads(4)
    x = np.arange(-200_000, 200_000, dtype=np.float32)
    want = np.maximum(x, 0)
    assert np.array_equal(_native.relu(x), want)
"""


def test_fork_while_the_pool_lives():
    program = f"""{START}
    import os, threading
    going = True
    def busy():
        while going:
            _native.relu(x)
    other = threading.Thread(target=busy)  # the pool is mostly taken when the fork comes
    other.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            good = all(np.array_equal(_native.relu(x), want) for _ in range(5))
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(_native.relu(x), want)
    going = False
    other.join()
    print("done")
    """
    done = run_alone(f"import warnings\nwarnings.simplefilter('ignore')\n{textwrap.dedent(program)}")
    assert done.stdout.strip() == "done", done.stderr


def test_multiprocessing_with_fork():
    program = f"""{START}
    import multiprocessing
    def child(seed):
        return bool(np.array_equal(_native.relu(x), want))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(child, range(8)))
    print("done")
    """
    done = run_alone(textwrap.dedent(program))
    assert done.stdout.strip() == "done", done.stderr


def test_the_interpreter_exits_with_helpers_alive():
    for ending in (
        "",
        "import sys; sys.exit(3)",
        "import threading; threading.Thread(target=_native.relu, args=[x]).start()",
    ):
        done = run_alone(textwrap.dedent(START) + ending, seconds=30)
        assert done.returncode == (3 if "sys.exit" in ending else 0), done.stderr


PRINT = "from rectifier import _native; print(_native.threads())"


def test_environment_variables_say_how_many():
    assert run_alone(PRINT, RECTIFIER_NUM_THREADS="3", OMP_NUM_THREADS="5").stdout == "3\n"
    assert run_alone(PRINT, RECTIFIER_NUM_THREADS="", OMP_NUM_THREADS="5").stdout == "5\n"
    assert run_alone(PRINT, RECTIFIER_NUM_THREADS="", OMP_NUM_THREADS="4,2").stdout == "4\n"
    every = run_alone(PRINT, RECTIFIER_NUM_THREADS="", OMP_NUM_THREADS="").stdout
    assert int(every) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("value", ["0", "-1", "two", "2.5", "1025", "99999999999999999999", "3x"])
def test_a_bad_environment_variable_fails_the_import(value):
    done = run_alone(PRINT, RECTIFIER_NUM_THREADS=value, OMP_NUM_THREADS="1")
    assert done.returncode != 0
    assert (
        "ImportError: rectifier: the environment variable RECTIFIER_NUM_THREADS must be a whole number from 1 to "
        f"1024; got '{value}'. Unset it to have every processor used." in done.stderr
    )


def test_what_openmp_would_not_take_is_left_to_openmp():
    done = run_alone(PRINT, RECTIFIER_NUM_THREADS="", OMP_NUM_THREADS="two")
    assert int(done.stdout) == len(os.sched_getaffinity(0))


def test_set_threads_refuses_what_is_no_number_of_threads():
    for n in (0, -1, 1025):
        with pytest.raises(
            ValueError, match=f"set_threads: `n` must be a whole number from 1 to 1024; got {n}. Pass 1"
        ):
            _native.set_threads(n)
    _native.set_threads(7)
    assert _native.threads() == 7
