"""Plans, records, tables and the timing itself."""

import json
import time
from dataclasses import replace

import pytest

from rectifier.bench import Absent, Benchmark, Timing, bench, make_plan, plan
from rectifier.bench.peers import Way
from rectifier.bench.table import absences, markdown, tables
from rectifier.bench.worker import FEWEST, MOST, measure
from rectifier.errors import RectifierError, RectifierValueError


def timing(candidate="rectifier out=", peer="rectifier", **changes):
    mine = Timing("relu", "value", "float32", 1, 1024, candidate, peer, False, 0.5, 0.45, 0.55, 9, 1.0)
    return replace(mine, **changes)


MACHINE = {"processor": "Some", "cores": "2", "instruction set": "avx2", "numpy": "2.4"}
FOUND = Benchmark(
    (
        timing(),
        timing("PyTorch out=", "torch", ns=0.4, ratio=0.8),
        timing("plain copy", "copy", ns=0.25, ratio=0.5),
        timing("NumPy", "numpy", fresh=True, ns=1.5, ratio=3.0),
        timing(values=2048, ns=123.4),
    ),
    (Absent("relu", "value", "float32", "jax", "not installed"),),
    MACHINE,
    1.5,
)


def test_what_takes_longer_is_seen_to_take_longer():
    short, long = measure([Way("a", lambda: time.sleep(1e-4)), Way("b", lambda: time.sleep(5e-3))], 0.0, 0.0)
    assert len(short) == len(long) == FEWEST
    assert min(long) >= 5e-3
    assert sorted(short)[len(short) // 2] < 3e-3


def test_the_time_given_is_used_for_more_rounds():
    (times,) = measure([Way("a", lambda: None)], 60.0, 0.0)
    assert len(times) == MOST


def test_a_record_comes_back():
    assert Benchmark.from_json(FOUND.to_json()) == FOUND


@pytest.mark.parametrize("text", ["", "{}", '{"format": "rectifier-verify/1"}', "[]"])
def test_another_file_is_refused(text):
    with pytest.raises(RectifierValueError, match="must be a file written with bench --json"):
        Benchmark.from_json(text)


def test_records_of_one_machine_are_joined():
    other = replace(FOUND, timings=(timing(function="elu"),))
    joined = Benchmark.joined([FOUND, other])
    assert [t.function for t in joined.timings] == ["relu"] * 5 + ["elu"]
    assert (joined.absent, joined.seconds) == (FOUND.absent, 3.0)
    with pytest.raises(RectifierValueError) as caught:
        Benchmark.joined([FOUND, replace(FOUND, machine={**MACHINE, "commit": "abc"})])
    assert str(caught.value) == (
        "bench: records that are joined must be of one machine, versions and commit; got commit None and abc. "
        "Run them again together."
    )


def test_the_table():
    (table,) = tables(FOUND)
    assert table.title == "relu, float32, 1 thread"
    assert table.sizes == (1024, 2048)
    assert [name for name, _ in table.rows] == ["rectifier out=", "plain copy", "NumPy", "PyTorch out="]
    assert markdown([table], 1024).splitlines() == [
        "| | rectifier out= | plain copy | NumPy | PyTorch out= |",
        "|---|---|---|---|---|",
        "| `relu` | 0.500 ns ±10 % | 0.50 | 3.00 | **0.80** |",
    ]
    assert markdown([table], 2048).splitlines()[2] == "| `relu` | 123 ns ±0 % |"


def test_the_absent_are_told_once():
    two = [Absent(name, "value", "float32", "jax", "not installed") for name in ("relu", "elu")]
    one = Absent("elu", "backward", "float32", "scipy", "no such derivative")
    lines = absences(replace(FOUND, absent=(*two, one)))
    assert lines == ["jax: not installed (relu, elu)", "scipy: no such derivative (elu backward)"]


def test_the_default_plan():
    made = make_plan(["relu"])
    assert made.dtypes == ("float32", "bfloat16")
    assert made.sizes == (1024, 131072, 4194304, 67108864)
    assert (made.kinds, made.seconds) == (("value",), 1.0)
    assert made.peers == ("numpy", "scipy", "torch", "jax", "tensorflow", "onnxruntime")
    full = make_plan(["relu"], full=True, sizes=["2K"], dtypes=["float16"])
    assert (full.kinds, full.sizes, full.dtypes) == (("value", "backward"), (2048,), ("float16",))
    assert set(make_plan(full=True).dtypes) == set(plan.DTYPES)


def test_no_more_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(plan, "available_memory", lambda: 9 * 4 * 1000)
    assert make_plan(sizes=["1000"], dtypes=["float32"]).sizes == (1000,)
    with pytest.raises(RectifierValueError) as caught:
        make_plan(sizes=["1K"], dtypes=["float32"])
    assert str(caught.value) == (
        "bench: `--size` must leave room for some 9 arrays, of which 0.0 GiB are there; got 1 K, which needs 0.0 GiB. "
        "Pass smaller ones, up to 1000."
    )


def test_a_process_that_fails_is_told_of():
    broken = replace(make_plan(["relu"], sizes=["16"], threads=["1"], peers=["numpy"]), functions=("nosuch",))
    with pytest.raises(RectifierError) as caught:
        bench(broken)
    assert str(caught.value) == (
        "bench: the process with 1 threads ended with status 1: KeyError: 'nosuch'. "
        "Where memory ran out (status -9), pass smaller sizes; leave a peer out with --peer."
    )


def test_json_is_plain(tmp_path):
    assert json.loads(FOUND.to_json())["timings"][0]["candidate"] == "rectifier out="
