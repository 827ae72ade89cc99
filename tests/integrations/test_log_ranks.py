"""Two processes under DDP have one logger: that of the first, which is told of the examples of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from rectifier.checkup import Record

WORKER = Path(__file__).with_name("log_worker.py")


pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this PyTorch is built without it")


@pytest.fixture(scope="module")
def results(two_processes: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return two_processes(WORKER)


def test_the_first_process_alone_logs(results: list[dict[str, Any]]) -> None:
    first, second = results
    told, record = first["DDP"]
    assert second["DDP"] == ([], record)
    alone, _ = first["alone"]
    assert [numbers["rectifier/step"] for numbers in told] == [1, 3, 6, 8]
    assert [sorted(numbers) for numbers in told] == [sorted(numbers) for numbers in alone]
    for both, one in zip(told, alone, strict=True):
        assert both == pytest.approx(one, rel=1e-5)
    # an error leaves nobody waiting, and the logger is told what was seen until then
    told, _ = first["failing"]
    assert [numbers["rectifier/step"] for numbers in told] == [1, 3, 5]
    assert "rectifier/faults" in told[-1] and second["failing"][0] == []


@pytest.mark.parametrize(("by_hand", "part"), [(False, ""), (True, "net")])
def test_lightning_on_two_processes(by_hand: bool, part: str, results: list[dict[str, Any]]) -> None:
    """With manual optimization there are steps within what DDP takes for a forward pass: its parts are watched."""
    (told, records), (others, same) = (result[f"by_hand={by_hand}"] for result in results)
    assert others == [] and same == records and list(records) == [part]
    record = Record.from_json(records[part])
    assert [s.step for s in record.snapshots] == [1, 2, 4]
    assert sum(s.sites[0].examples for s in record.snapshots) == 64  # each process had its half
    assert record.not_observed == ()
    at = f"rectifier/{part}/step" if part else "rectifier/step"
    assert [numbers[at] for numbers in told] == [1, 2, 4, 4]
