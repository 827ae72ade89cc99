"""What every test starts from, and what those of two processes share."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# A shell starts its background jobs with Ctrl-C ignored, and so would be the tests' own.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[dict[str, Any]]]:
    """Runs ``worker RANK WORLD FILE`` as ranks 0 and 1 of two, and alone.

    Returns what each rank saved to FILE.RANK, and in both what one process alone did.
    """
    import torch

    def run(worker: Path) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp(worker.stem)

        def start(rank: int, world: int, file: str) -> subprocess.Popen[str]:
            command = [sys.executable, str(worker), str(rank), str(world), str(folder / file)]
            return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

        running = [start(0, 2, "two"), start(1, 2, "two"), start(0, 1, "one")]
        for process in running:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors[-2000:]
        single = torch.load(folder / "one.0")
        return [{**torch.load(folder / f"two.{rank}"), **single} for rank in (0, 1)]

    return run
