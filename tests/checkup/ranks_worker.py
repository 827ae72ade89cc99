"""One of two processes of ``test_ranks.py``: python ranks_worker.py RANK WORLD FILE; writes FILE.RANK.

Rank 0 of a world of 1 looks at everything alone: what the others together must come out at. Everything is float64, so
that no sign of a pre-activation hangs on the order of a sum.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import rectifier
from rectifier.checkup import ObservationError

Tensor = torch.Tensor
STEPS, EXAMPLES = 8, 64


class Network(nn.Module):
    """A call, a module and a function with flat parts; one unit planted dead, one that is hardly ever open."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.three = nn.Linear(12, 20), nn.Linear(20, 16), nn.Linear(16, 3)
        self.act, self.last = nn.ReLU(), nn.Tanh()
        with torch.no_grad():
            self.one.bias[4] = -60.0
            self.two.bias[2] = -60.0
            self.one.weight[5] *= 0.1
            self.one.bias[5] = -0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.three(self.act(self.two(F.relu(self.one(x))))))


def network() -> Network:
    return Network().double()


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, EXAMPLES, 12, generator=generator, dtype=torch.float64)
    return [(one, one[:, :3].sin()) for one in x]


def wrapped(way: str) -> nn.Module:
    model = network()
    if way == "DDP":
        return DistributedDataParallel(model)
    if way == "FSDP2":
        for layer in (model.one, model.two, model.three):
            fully_shard(layer)
        fully_shard(model)
    return model


def checked(model: nn.Module, rank: int, world: int, loss: Any = None, **given: Any) -> str:
    return rectifier.check(model, batches()[rank::world], loss, **given).to_json()


def watched(model: nn.Module, rank: int, world: int, **given: Any) -> str:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with rectifier.watch(model, optimizer, every=3, **given) as watching:
        for x, y in batches():
            share = slice(rank * EXAMPLES // world, (rank + 1) * EXAMPLES // world)
            optimizer.zero_grad()
            F.mse_loss(model(x[share]), y[share]).backward()
            if "group" in given:  # what DDP does
                for parameter in model.parameters():
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= world
            optimizer.step()
            if rank == 0:
                _ = watching.record  # one process may look at any time
    return watching.record.to_json()


def paced(rank: int) -> str:
    """As often as the time of a step allows, which is not the same for both."""
    model = wrapped("DDP")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with rectifier.watch(model, optimizer, budget=0.2) as watching:
        for x, y in batches() * 6:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            time.sleep(0.003 * rank)
            optimizer.step()
    return watching.record.to_json()


def failing(rank: int) -> tuple[str, str | None]:
    """The second process meets a batch that the model cannot take."""
    mine = batches()[rank::2]
    try:
        record = rectifier.check(
            network(), mine if rank == 0 else [mine[0], (torch.ones(2, 5), None)], group=dist.group.WORLD
        )
    except ObservationError as error:
        return error.record.to_json(), str(error)
    return record.to_json(), None


def main(rank: int, world: int, file: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {}
    if world == 1:
        # One batch of each of the two, so that nothing is summed in another order than it must be.
        result["alone"] = checked(network(), 0, 1), checked(network(), 0, 1, F.mse_loss), watched(network(), 0, 1)
    else:
        dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=world)
        for way in ("DDP", "FSDP2"):
            first = wrapped(way)
            result[way] = (
                checked(first, rank, world),
                checked(first, rank, world, F.mse_loss),
                watched(wrapped(way), rank, world),
            )
        group = {"group": dist.group.WORLD}
        result["group"] = (
            checked(network(), rank, world, **group),
            checked(network(), rank, world, F.mse_loss, **group),
            watched(network(), rank, world, **group),
        )
        result["paced"] = paced(rank)
        result["failing"] = failing(rank)
        result["separate"] = checked(network(), rank, world)
        dist.destroy_process_group()
    torch.save(result, f"{file}.{rank}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
