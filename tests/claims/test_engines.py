"""The same results table whichever engine makes the runs, with a worker killed in the middle; and engines that fail.

Dask and Ray run in processes of their own: they start threads, change signal handlers, and warn.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rectifier.claims.lab import engines
from rectifier.claims.lab.engines import EngineError, engine
from rectifier.claims.lab.records import Records
from rectifier.errors import RectifierValueError

ROOT = Path(__file__).parents[2]


def swept(name: str, folder: Path, times: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.claims.sweeping", name, str(folder), str(times)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    done = swept("here", tmp_path_factory.mktemp("here") / "sweep", 0)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["local", "dask", "ray"])
def test_the_same_table_with_a_worker_killed(name: str, here: Any, tmp_path: Path) -> None:
    pytest.importorskip({"local": "joblib", "dask": "distributed", "ray": "ray"}[name])
    done = swept(name, tmp_path / "sweep", 1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # and nothing but data
    assert found["killed"] == 1 and here["killed"] == 0
    assert found["table"] == here["table"]
    assert not found["reports its use"]
    assert {outcome["threads"] for kind, _, outcome in found["table"] if kind == "sums"} == {1}


def test_a_run_that_always_ends_its_worker_is_told(tmp_path: Path) -> None:
    done = swept("local", tmp_path / "sweep", 99)
    assert done.returncode == 1
    assert "claims: `--engine` must keep its workers; 3 ended in a row, among 1 runs such as fragile/1" in done.stderr
    assert len(Records(tmp_path / "sweep" / "results")) == 17


def refused(name: str, address: str | None, workers: int | None = None) -> str:
    started = time.monotonic()
    with pytest.raises((EngineError, RectifierValueError)) as caught, engine(name, workers, address):
        pass
    assert time.monotonic() - started < 8
    return str(caught.value)


@pytest.mark.parametrize(("name", "library"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_that_is_not_there(name: str, library: str) -> None:
    pytest.importorskip(library)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    assert refused(name, address) == (
        f"claims: `--address` must be that of a {name.capitalize()} cluster that answers; got {address!r} "
        "([Errno 111] Connection refused). Start it, or leave --address out for workers on this machine."
    )
    assert "([Errno -" in refused(name, "nowhere.invalid:1")


def test_a_listener_that_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        assert f"must be that of a Dask cluster that answers; got {address!r} (timed out)" in refused("dask", address)


def test_unknown_engines_and_addresses_without_one() -> None:
    assert refused("spark", None) == ("claims: `--engine` must be one of local, dask, ray; got 'spark'. Take local.")
    assert refused("local", "tcp://there:1") == (
        "claims: `--address` must come with --engine dask or ray; got 'tcp://there:1'. Leave it out for local "
        "processes."
    )
    assert refused("local", None, 0) == ("claims: `--workers` must be at least 1; got 0. Leave it out for all cores.")
    assert refused("dask", "tcp://there:1", 3) == (
        "claims: `--workers` must come without --address; got 3 and 'tcp://there:1'. All workers of the cluster are "
        "used: leave it out."
    )


def alone(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_cluster_of_ray_that_runs_here() -> None:
    pytest.importorskip("ray")
    start = "from rectifier.claims.lab.engines import engine\n"
    guest = f"{start}with engine('ray', None, 'auto') as found: assert found.workers"
    host = "import subprocess, sys\n"
    host += f"{start}with engine('ray', 1): subprocess.run([sys.executable, '-c', {guest!r}], check=True)"
    done = alone(host)
    assert done.returncode == 0, done.stderr


def test_a_worker_that_is_killed_leaves_no_lock() -> None:
    """PyTorch's interpreter of graphs makes a bar of tqdm, whose lock outlives processes that are not forked."""
    done = alone(
        "import multiprocessing, os\n"
        "multiprocessing.set_start_method('spawn')\n"
        "from rectifier.claims.lab.experiment import Run\n"
        "from rectifier.claims.lab.worker import make\n"
        "from tests.claims.planted import failing\n"
        "assert make(Run(failing, {'seed': 0})).outcome == {'test': 0}\n"
        "from tqdm import tqdm\n"
        "tqdm(total=1, disable=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert (done.returncode, done.stderr) == (-9, "")
