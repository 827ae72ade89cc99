"""Two processes over gloo train to what one does: DDP, FSDP2; DTensors; hidden units dealt out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rectifier.torch as rt
from rectifier.frameworks.torch.ops import PUBLIC

WORKER = Path(__file__).with_name("distributed_worker.py")
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch is built without it")


@pytest.fixture(scope="module")
def results(two_processes: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What rank 0 and rank 1 found, and in both what one process finds alone."""
    return two_processes(WORKER)


@pytest.mark.parametrize("way", ["DDP", "FSDP2"])
def test_two_processes_train_to_what_one_does(way: str, results: list[dict[str, Any]]) -> None:
    for result in results:
        losses, state = result[way]
        expected, weights = result["alone"]
        assert expected[-1] < expected[0]
        assert losses == pytest.approx(expected, rel=1e-10)
        assert state.keys() == weights.keys()
        for name, value in state.items():
            torch.testing.assert_close(value, weights[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_dtensors(name: str, results: list[dict[str, Any]]) -> None:
    z = torch.linspace(-8, 8, 8 * 6, dtype=torch.float64).reshape(8, 6).requires_grad_()
    h = PUBLIC[name](z, **({"negative_slope": 0.25} if name == "prelu" else {}))
    h.square().sum().backward()
    for result in results:
        found = {key: value for key, value in result["DTensor"].items() if key.split()[0] == name}
        assert len(found) == 3
        for value, gradient in found.values():
            torch.testing.assert_close(value, h.detach(), rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(gradient, z.grad, rtol=1e-12, atol=1e-14)


def test_hidden_units_dealt_out(results: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    for name in ("ReLU", "LeakyReLU", "PReLU", "Abs", "ReLU6", "SquaredReLU", "ELU", "CELU", "SELU", "Softplus"):
        block = nn.Sequential(nn.Linear(6, 10), getattr(rt, name)(), nn.Linear(10, 3)).double()
        x = torch.linspace(-2, 2, 4 * 6, dtype=torch.float64).reshape(4, 6).requires_grad_()
        block(x).square().sum().backward()
        for result in results:
            torch.testing.assert_close(result["tensor parallel"][name], x.grad, rtol=1e-10, atol=1e-12)
