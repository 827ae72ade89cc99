"""Large results lie in memory that earlier ones have left."""

import ctypes
import os
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import rectifier
from rectifier import _native

LARGE = 4 << 20  # float32 values: 16 MB


@pytest.fixture(autouse=True)
def nothing_kept():
    before = _native.keep_at_most(0)
    _native.keep_at_most(1 << 30)
    yield
    _native.keep_at_most(0)
    _native.keep_at_most(before)


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal(LARGE, dtype=np.float32)


def address(array):
    return array.__array_interface__["data"][0]


def test_a_result_takes_the_place_of_one_that_died(x):
    first = rectifier.relu(x)
    place = address(first)
    view = first[1:]
    del first
    assert address(rectifier.elu(x)) != place  # the view is alive
    np.testing.assert_array_equal(view, np.maximum(x, 0)[1:])
    del view
    _native.keep_at_most(0)
    _native.keep_at_most(1 << 30)
    second = rectifier.relu(x)
    place = address(second)
    del second
    rectifier.leaky_relu(x[:2], negative_slope=0.5)  # a number not seen before goes a longer way
    third = rectifier.leaky_relu(x, negative_slope=0.5)
    assert address(third) == place
    np.testing.assert_array_equal(third, np.where(x > 0, x, 0.5 * x))


def test_every_way_to_a_large_result_recycles(x):
    def last():
        h, gate = rectifier.relu.with_gate(x)
        place = address(h)
        del h
        dz = rectifier.relu.backward(x, gate)
        return place, address(dz)

    assert len(set(last())) == 1
    for call in (rectifier.softplus.derivative, rectifier.elu.inverse):
        place = address(call(x))
        assert address(call(x)) == place


def test_small_results_and_those_of_others_are_numpys(x):
    assert get_handler_name(rectifier.relu(x)) == "rectifier"
    assert get_handler_name(rectifier.relu(x[:1000])) == "default_allocator"
    assert get_handler_name(x + 1) == "default_allocator"


def test_a_much_smaller_result_does_not_take_a_large_block(x):
    place = address(rectifier.relu(x))
    assert address(rectifier.relu(x[: LARGE * 9 // 10])) == place
    _native.keep_at_most(0)
    _native.keep_at_most(1 << 30)
    place = address(rectifier.relu(x))
    half = rectifier.relu(x[: LARGE * 6 // 10])
    assert address(half) != place


RESIDENT = """
import gc, os, numpy as np, rectifier
from pathlib import Path
from rectifier import _native

def resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")

x = np.ones(4 << 20, np.float32)
results = [rectifier.relu(x) for _ in range(6)]
full = resident()
del results
gc.collect()
kept = full - resident()
_native.keep_at_most(0)
print(kept // x.nbytes, round((full - resident()) / x.nbytes))
"""


def test_no_more_is_kept_than_allowed():
    """In a process of its own: where larger blocks have come and gone, malloc keeps what is given back to it."""
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    given_back, at_last = map(int, done.stdout.split())
    assert given_back >= 2  # of six, four may stay
    assert at_last >= 6


def test_pages_that_the_system_took_back_do_not_change_a_value(x):
    expected = np.maximum(x, 0)
    result = rectifier.relu(x)
    place, page = address(result), 4096
    del result
    libc = ctypes.CDLL(None, use_errno=True)
    middle = -(-place // page) * page + (4 << 20)
    dontneed = 4
    assert libc.madvise(ctypes.c_void_p(middle), ctypes.c_size_t(5 << 20), dontneed) == 0
    again = rectifier.relu(x)
    assert address(again) == place
    np.testing.assert_array_equal(again, expected)


def test_the_result_is_an_array_like_any_other(x):
    square = x.reshape(2048, 2048)
    transposed = rectifier.relu(square.T)
    assert transposed.flags.f_contiguous and transposed.flags.owndata and transposed.flags.writeable
    np.testing.assert_array_equal(transposed, np.maximum(square.T, 0))
    result = rectifier.relu(x)
    result.resize(LARGE * 2, refcheck=False)
    np.testing.assert_array_equal(result[:LARGE], np.maximum(x, 0))
    result.resize(10, refcheck=False)
    np.testing.assert_array_equal(result, np.maximum(x[:10], 0))
    wide = rectifier.leaky_relu(square[:1536], negative_slope=np.ones((2, 1, 1), np.float32))
    assert wide.shape == (2, 1536, 2048)


def test_tracemalloc_counts_what_is_alive(x):
    tracemalloc.start()
    try:
        result = rectifier.relu(x)
        assert tracemalloc.get_traced_memory()[0] >= x.nbytes
        del result
        assert tracemalloc.get_traced_memory()[0] < x.nbytes
    finally:
        tracemalloc.stop()


def test_threads_do_not_share_a_block(x):
    wrong = []

    def work(number):
        slope = np.float32(number)
        expected = np.where(x > 0, x, slope * x)
        for _ in range(10):
            result = rectifier.leaky_relu(x, negative_slope=float(slope))
            if not np.array_equal(result, expected):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("value", ["-1", "much", "1.5", "1048577", "99999999999999999999"])
def test_a_bad_environment_variable_fails_the_import(value):
    done = _import(value)
    assert done.returncode != 0
    assert (
        "ImportError: rectifier: the environment variable RECTIFIER_KEEP_MB must be a whole number from 0 to 1048576; "
        f"got '{value}'. Unset it to have up to 1024 MB kept." in done.stderr
    )


@pytest.mark.parametrize(("value", "kept"), [("", 1024), ("0", 0), ("64", 64)])
def test_the_environment_variable_says_how_much(value, kept):
    assert _import(value).stdout == f"{kept << 20}\n"


def _import(value):
    return subprocess.run(
        [sys.executable, "-c", "from rectifier import _native; print(_native.keep_at_most(0))"],
        env={**os.environ, "RECTIFIER_KEEP_MB": value},
        capture_output=True,
        text=True,
        check=False,
    )
