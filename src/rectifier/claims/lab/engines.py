"""Where runs are made, all through joblib: in local processes, on workers of Dask or of Ray.

Whichever it is, a run is made on one thread of a process, and its outcome depends on its configuration alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import RectifierError, RectifierValueError
from .experiment import Run
from .worker import Made, make

__all__ = ["ENGINES", "Engine", "EngineError", "engine"]

ENGINES = ("local", "dask", "ray")
#: How often workers may be lost in a row without one run being finished.
_LOSSES = 3
_SECONDS = 5.0
#: Ray's own word for the cluster that runs on this machine.
_HERE = "auto"


class EngineError(RectifierError):
    """Workers that cannot be reached, or that one run keeps ending."""


class Engine:
    """Makes runs, ``workers`` at a time."""

    def __init__(self, workers: int, backend: str = "loky", batch: int | None = None, **options: Any) -> None:
        """batch: how many runs are handed out at once, where joblib cannot hand each back as it ends (on Ray)."""
        self.workers = workers
        self._backend, self._batch, self._options = backend, batch, options

    def run(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Made]]:
        """Every run with what it made, in the order in which they end.

        A worker that ends in the middle (killed, or out of memory) takes its run with it, and that is made again. Local
        processes are joined: the others' runs are made again too. Raises EngineError where three workers in a row end
        without one run being finished.
        """
        if self.workers == 1 and self._backend == "loky":
            yield from ((run, make(run)) for run in runs)
            return
        left, losses, ahead = {run.key: run for run in runs}, 0, 2 * self.workers
        while left:
            try:
                for key, made in self._each(list(left.values()), ahead):
                    losses = 0
                    yield left.pop(key), made
            except Exception as error:
                if type(error).__name__ not in _LOST:
                    raise
                losses += 1
                if losses == _LOSSES:
                    raise EngineError(
                        f"claims: `--engine` must keep its workers; {losses} ended in a row, among {len(left)} runs "
                        f"such as {next(iter(left))} ({type(error).__name__}). Give it more memory, or fewer --workers."
                    ) from error
                # One of the first may be what ends workers: the others go before it, and at last one by one.
                ahead = ahead if len(left) > ahead else 1
                turned = [*left.items()]
                left = dict(turned[ahead:] + turned[:ahead])

    def _each(self, runs: Sequence[Run], ahead: int) -> Iterator[tuple[str, Made]]:
        """ahead: how many runs are handed out before the first has ended."""
        import joblib

        options = {**self._options, **({"inner_max_num_threads": 1} if self._backend == "loky" else {})}
        with warnings.catch_warnings(), joblib.parallel_config(self._backend, n_jobs=self.workers, **options):
            # A worker that grew is replaced by a fresh one, which is as it should be.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            if self._batch is None:
                parallel = joblib.Parallel(batch_size=1, pre_dispatch=ahead, return_as="generator_unordered")
                yield from parallel(map(_keyed, runs))
                return
            with joblib.Parallel(batch_size=1, pre_dispatch="all") as parallel:  # the same workers for every batch
                for first in range(0, len(runs), self._batch):
                    yield from parallel(map(_keyed, runs[first : first + self._batch]))


def _keyed(run: Run) -> Any:
    import joblib

    return joblib.delayed(_make)(run)


def _make(run: Run) -> tuple[str, Made]:
    return run.key, make(run)


#: Errors of joblib's processes, of Dask and of Ray that mean that a worker is gone; by name, as none need be installed.
_LOST = frozenset(
    {
        "TerminatedWorkerError",
        "BrokenProcessPool",
        "KilledWorker",
        "RayActorError",
        "ActorDiedError",
        "WorkerCrashedError",
    }
)


@contextlib.contextmanager
def engine(name: str = "local", workers: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """The engine of this name, ready to run; what was started for it is ended afterwards.

    workers: how many runs are made at a time on this machine; as many as there are cores unless told.
    address: of a Dask scheduler (``tcp://host:8786``) or a Ray cluster (``host:6379``, ``ray://host:10001``, or
        ``auto`` for the one that runs here); without one, workers are started on this machine.
    Raises RectifierValueError for another name and for arguments that do not go together, EngineError for a cluster
    that does not answer, ModuleNotFoundError for one whose library is not installed.
    """
    import joblib

    if name not in ENGINES:
        raise RectifierValueError(f"claims: `--engine` must be one of {', '.join(ENGINES)}; got {name!r}. Take local.")
    if workers is not None and workers < 1:
        raise RectifierValueError(f"claims: `--workers` must be at least 1; got {workers}. Leave it out for all cores.")
    if name == "local" and address is not None:
        raise RectifierValueError(
            f"claims: `--address` must come with --engine dask or ray; got {address!r}. Leave it out for local "
            "processes."
        )
    if workers is not None and address is not None:
        raise RectifierValueError(
            f"claims: `--workers` must come without --address; got {workers} and {address!r}. All workers of the "
            "cluster are used: leave it out."
        )
    workers = workers or int(joblib.cpu_count())
    if name == "local":
        yield Engine(workers)
    elif name == "dask":
        with _dask(workers, address) as client:
            yield Engine(sum(client.ncores().values()) or workers, "dask", client=client)
    else:
        with _ray(workers, address) as cores:
            # A worker that ends is started again and its run with it.
            lives = {"max_restarts": _LOSSES, "max_task_retries": _LOSSES}
            yield Engine(cores, "ray", batch=8 * cores, ray_remote_args=lives)


@contextlib.contextmanager
def _dask(workers: int, address: str | None) -> Iterator[Any]:
    import distributed

    if address is not None:
        _answers("dask", address, 8786)
        try:
            client = distributed.Client(address, timeout=_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise _unreachable("dask", address, str(error)) from error
        with client:
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs="CRITICAL"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextlib.contextmanager
def _ray(workers: int, address: str | None) -> Iterator[int]:
    # Before Ray is imported: it reports its use to its makers unless told not to.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.util.joblib import register_ray

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        # Whatever it is told, Ray prints notes of its workers on standard output, which is for data.
        _start_ray(ray, workers, address)
        try:
            register_ray()
            yield int(ray.cluster_resources()["CPU"])
        finally:
            ray.shutdown()


def _start_ray(ray: Any, workers: int, address: str | None) -> None:
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    if address is None:
        ray.init(num_cpus=workers, **common)
    else:
        if address != _HERE:
            _answers("ray", address, 6379)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable("ray", address, str(error)) from error


def _answers(name: str, address: str, port: int) -> None:
    """Raise EngineError where nothing speaks there: the libraries themselves would wait for it, or go on trying."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        with socket.create_connection((parts.hostname or "", parts.port or port), timeout=_SECONDS) as connection:
            # A scheduler of Dask sends its handshake, and Ray, which speaks HTTP/2, its settings.
            if connection.recv(1):
                return
            raise ConnectionError("it hung up")
    except (OSError, ValueError) as error:
        raise _unreachable(name, address, str(error)) from error


def _unreachable(name: str, address: str, why: str) -> EngineError:
    return EngineError(
        f"claims: `--address` must be that of a {name.capitalize()} cluster that answers; got {address!r} "
        f"({why.splitlines()[0]}). Start it, or leave --address out for workers on this machine."
    )
