"""Arrays in chunks: Dask's, on threads and on a cluster of processes, and xarray's."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import rectifier
from rectifier import _native

FUNCTIONS = ["relu", "leaky_relu", "abs", "relu6", "squared_relu", "elu", "celu", "selu", "softplus"]


@pytest.fixture(scope="module")
def x():
    values = np.random.default_rng(0).normal(0, 4, (60, 7, 5)).astype(np.float32)
    values[3, 2, 1] = np.nan
    return values


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process of its own."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as workers,
        distributed.Client(workers) as client,
    ):
        yield client


def lazy(x):
    return da.from_array(x, chunks=(17, 4, 5))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_run_chunk_by_chunk_on_a_cluster(cluster, x, name):
    function = getattr(rectifier, name)
    for call in (function, function.derivative):
        result = call(lazy(x))
        assert isinstance(result, da.Array) and result.dtype == x.dtype and result.chunks == lazy(x).chunks
        np.testing.assert_array_equal(result.compute(), call(x))


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (0, 1, 2)])
def test_gates_are_counted_where_they_are(cluster, x, axis):
    gate = rectifier.relu.gate(lazy(x))
    counts = gate.count(axis=axis)
    assert isinstance(counts, da.Array) and counts.dtype == np.int64
    np.testing.assert_array_equal(counts.compute(), rectifier.relu.gate(x).count(axis=axis))


def test_a_gate_kept_by_the_workers_is_bits(cluster, x):
    gate = rectifier.relu.gate(lazy(x)).persist()
    blocks = dask.compute(*gate._gates.to_delayed().ravel())
    assert sum(block.nbytes for block in blocks) <= x.size / 8 + len(blocks)
    np.testing.assert_array_equal(gate.unpack().compute(), rectifier.relu.gate(x).unpack())
    assert gate.compute() == rectifier.relu.gate(x)


def test_nothing_is_computed_before_it_is_asked_for(x):
    looked_at = []
    watched = lazy(x).map_blocks(
        lambda block: looked_at.append(1) or block, dtype=x.dtype, meta=np.empty((0, 0, 0), x.dtype)
    )
    gate = rectifier.relu.gate(watched)
    counts, unpacked = gate.count(axis=0), gate.unpack()
    assert gate.shape == x.shape and repr(gate) == "<ChunkedGate of shape (60, 7, 5) in 8 chunks>"
    assert not looked_at
    dask.compute(counts, unpacked, scheduler="sync")
    assert len(looked_at) == 8


def test_chunks_of_unknown_size_are_counted(x):
    rows = lazy(x)[lazy(x)[:, 0, 0] > 0]
    np.testing.assert_array_equal(
        rectifier.relu.gate(rows).count(axis=0).compute(scheduler="sync"),
        rectifier.relu.gate(x[x[:, 0, 0] > 0]).count(axis=0),
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_xarray_keeps_its_names_and_stays_lazy(x, name):
    function = getattr(rectifier, name)
    named = xr.DataArray(x, dims=("step", "unit", "place"), coords={"unit": np.arange(7)}, name="z")
    result = function(named)
    assert isinstance(result, xr.DataArray) and result.dims == named.dims
    np.testing.assert_array_equal(result.values, function(x))
    chunked = function(named.chunk(step=20))
    assert isinstance(chunked.data, da.Array)
    np.testing.assert_array_equal(chunked.compute(scheduler="sync").values, function(x))


def test_the_gate_of_xarray_in_chunks_stays_lazy(x):
    gate = rectifier.relu.gate(xr.DataArray(x).chunk(20))
    assert type(gate).__name__ == "ChunkedGate"
    np.testing.assert_array_equal(gate.count(axis=0).compute(scheduler="sync"), rectifier.relu.gate(x).count(axis=0))
    with pytest.raises(rectifier.RectifierTypeError, match="got a Dask array"):
        rectifier.relu.with_gate(xr.DataArray(x).chunk(20))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ufuncs_know_where_they_live(name):
    """Or pickle would look for them in every module there is, which some modules warn of."""
    ufunc = getattr(_native, name)
    assert ufunc.__module__ == "rectifier._native"
    assert pickle.loads(pickle.dumps(ufunc)) is ufunc


def test_one_gate_of_the_whole_is_not_made_unasked(x):
    with pytest.raises(rectifier.RectifierTypeError) as raised:
        rectifier.abs.with_gate(lazy(x))
    assert str(raised.value) == (
        "abs.with_gate: `x` must be a NumPy array; got a Dask array. Take abs(x) and abs.gate(x), which are as lazy as "
        "x is."
    )
    with pytest.raises(rectifier.RectifierTypeError) as raised:
        rectifier.relu.backward(lazy(x), rectifier.relu.gate(x))
    assert str(raised.value) == (
        "relu.backward: `dh` must be a NumPy array; got a Dask array. "
        "Multiply: dh * relu.derivative(x), which is as lazy as they are."
    )
