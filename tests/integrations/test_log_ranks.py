"""Two processes under DDP have one logger: that of the first, which is told of the examples of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

WORKER = Path(__file__).with_name("log_worker.py")


@pytest.mark.skipif(not dist.is_available(), reason="this PyTorch is built without it")
def test_the_first_process_alone_logs(two_processes: Callable[[Path], list[dict[str, Any]]]) -> None:
    first, second = two_processes(WORKER)
    told, record = first["DDP"]
    assert second["DDP"] == ([], record)
    alone, _ = first["alone"]
    assert [numbers["rectifier/step"] for numbers in told] == [1, 3, 6, 8]
    assert [sorted(numbers) for numbers in told] == [sorted(numbers) for numbers in alone]
    for both, one in zip(told, alone, strict=True):
        assert both == pytest.approx(one, rel=1e-5)
    # an error leaves nobody waiting, and the logger is told what was seen until then
    told, _ = first["failing"]
    assert [numbers["rectifier/step"] for numbers in told] == [1, 3, 3]
    assert "rectifier/faults" in told[-1] and second["failing"][0] == []
