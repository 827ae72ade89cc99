"""Beside PyTorch: its workers do the parts where they are as many as are wanted, and a fork is survived."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("torch")

START = """
    import os, numpy as np, torch
    from rectifier import _native
    torch.set_num_threads(2)
    torch.ones(1 << 20).mul_(2.0)  # its worker starts
    x = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
    want = np.maximum(x, np.float32(0))
    tasks = lambda: len(os.listdir("/proc/self/task"))
    def relu(threads):
        _native.set_threads(threads)
        for _ in range(20):
            assert np.array_equal(_native.relu(x), want)
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr


def test_no_helper_starts_where_a_worker_of_the_same_number_waits():
    run("""
        before = tasks()
        relu(2)
        assert tasks() == before, (tasks(), before)
        relu(3)
        assert tasks() == before + 2, (tasks(), before)
        assert torch.get_num_threads() == 2
        relu(2)
        assert tasks() == before + 2
    """)


@pytest.mark.parametrize("limit", ["2", "1"])
def test_in_the_cache_each_has_a_share_of_its_own(limit):
    """All is done, and the flags of each are told, even where the team is smaller than it was asked to be."""
    run(
        """
        for n in (131_072, 131_073, 300_001, 524_288):
            for seven in (x[:n].copy(), x[7:n].copy()):
                assert np.array_equal(_native.relu(seven), np.maximum(seven, np.float32(0)))
        huge = np.ones(300_001, np.float32)
        huge[-1] = 3e38
        with np.errstate(over="raise"):
            try:
                _native.squared_relu(huge)
            except FloatingPointError:
                pass
            else:
                raise AssertionError("an overflow was not told")
        def every(n, threads):
            _native.set_threads(threads)
            dz, gate = np.full((3, n), 7, np.float32), np.zeros((n + 7) // 8, np.uint8)
            h, at = x[:n], lambda a: a.ctypes.data
            _native.with_gate_at("relu", 1, at(h), at(dz[0]), n, 0.0, at(gate), 0)
            _native.backward_at("slope", 1, at(h), at(dz[1]), n, 0.5, at(gate), 0)
            _native.gradient_at("elu", 1, at(h), at(h), at(dz[2]), n, 1.0)
            return dz.tobytes() + gate.tobytes()
        for n in (32_769, 65_536, 65_599, 200_001):
            assert every(n, 1) == every(n, 2), n
        """,
        OMP_THREAD_LIMIT=limit,
    )


def test_a_child_may_use_both_after_a_fork():
    run("""
        relu(2)
        if (child := os.fork()) == 0:
            relu(2)
            assert torch.equal(torch.ones(1 << 20).mul_(2.0), torch.full((1 << 20,), 2.0))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        relu(2)
        torch.ones(1 << 20).mul_(2.0)
    """)


def test_every_thread_that_borrowed_may_fork():
    """Whichever forks first: a team is its caller's alone."""
    run("""
        import threading, time
        def fork():
            if (child := os.fork()) == 0:
                torch.ones(1 << 20).mul_(2.0)
                os._exit(0)
            for _ in range(200):
                if (done := os.waitpid(child, os.WNOHANG))[0]:
                    assert done[1] == 0
                    return
                time.sleep(0.05)
            os.kill(child, 9)
            raise AssertionError("the child waits for ever")
        relu(2)
        other = threading.Thread(target=fork)
        other.start()
        other.join()
        fork()
    """)


def test_flags_and_settings_of_the_workers_stay_their_own():
    run("""
        with np.errstate(all="raise"):
            relu(2)
        big = np.full(1 << 20, 3e38, np.float32)
        with np.errstate(over="raise"):
            try:
                _native.leaky_relu(-big, np.float32(2.0))
            except FloatingPointError:
                pass
            else:
                raise AssertionError("an overflow was not told")
        torch.set_flush_denormal(True)
        tiny = np.full(1 << 20, 1e-40, np.float32)
        assert np.array_equal(_native.relu(tiny), tiny)
    """)
