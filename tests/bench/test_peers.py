"""Every way of every peer computes the function that it is timed as, into the memory that it says."""

import numpy as np
import pytest

import rectifier
from rectifier._functions import FUNCTIONS
from rectifier.bench import peers
from rectifier.bench.peers import Data, numpy, ours
from rectifier.verify.inputs import dtype_of

# PyTorch's compiler, of its own doing, when it is loaded.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def jax_as_it_was():
    """JAX's peer sets float64 for its process, which is one of its own but here."""
    yield
    import jax

    jax.config.update("jax_enable_x64", False)


TOLERANCE = {"float32": 1e-5, "bfloat16": 0.03}


def right(name, kind, data):
    given = {"negative_slope": peers.SLOPE} if name == "prelu" else {}
    x = data.x.astype(np.float64)
    if kind == "value":
        return FUNCTIONS[name](x, **given)
    return FUNCTIONS[name].derivative(x, **given) * data.dh.astype(np.float64)


def as_array(result):
    if hasattr(result, "detach"):
        return result.float().numpy().astype(np.float64)
    return np.asarray(result).astype(np.float64)


def wrong(peer, dtype):
    """What a peer's ways get wrong, and how many of them there are; compiling is left to the command's test."""
    problems, count = [], 0
    for name in rectifier.family:
        for kind in ("value", "backward"):
            data = Data(dtype_of(dtype), 1000)
            for way in peers.ways(peer, name, kind, data, 1):
                if way.label == "PyTorch compiled" or way.label in ours.COPIES:
                    continue
                data.out[:] = 7
                got = as_array(way.run())
                if not np.allclose(got, right(name, kind, data), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]):
                    problems.append(f"{way.label}: {name} {kind} is wrong")
                if way.fresh == np.array_equal(data.out.astype(np.float64), got) and name != "threshold":
                    problems.append(f"{way.label}: {name} {kind} is not where it says")
                count += 1
    return problems, count


@pytest.mark.parametrize(("peer", "fewest"), [("ours", 52), ("numpy", 41), ("scipy", 3), ("torch", 48), ("jax", 25)])
def test_every_way_computes_what_it_is_timed_as(peer, fewest):
    if peer != "ours":
        pytest.importorskip(peers.MODULES[peer])
    problems, count = wrong(peer, "float32")
    assert not problems
    assert count >= fewest


@pytest.mark.parametrize("peer", ["ours", "numpy", "torch"])
def test_in_bfloat16(peer):
    if peer != "ours":
        pytest.importorskip(peers.MODULES[peer])
    assert not wrong(peer, "bfloat16")[0]


def test_a_way_that_computes_something_else_is_seen(monkeypatch):
    monkeypatch.setattr(numpy, "SELU_SCALE", 1.1)
    problems, _ = wrong("numpy", "float32")
    assert [problem for problem in problems if "selu" in problem] == problems != []


def test_the_arrays_begin_on_a_cache_line():
    for dtype in ("float32", "bfloat16"):
        data = Data(dtype_of(dtype), 1001)
        for array in (data.x, data.dh, data.out, data.scratch):
            assert array.ctypes.data % 64 == 0
            assert (array.size, array.dtype.name) == (1001, dtype)


def test_long_data_is_filled_to_its_end():
    data = Data(np.dtype(np.float32), (1 << 20) + 3)
    assert np.isfinite(data.x).all()
    assert 2.9 < data.x.std() < 3.1
