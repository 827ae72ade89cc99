"""One of two processes of ``test_log_ranks.py``: python log_worker.py RANK WORLD FILE; writes FILE.RANK."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import rectifier


def told(rank: int, world: int, *, fails: bool = False) -> tuple[list[dict[str, float]], str]:
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    if world > 1:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x = torch.randn(8, 32, 6, generator=torch.Generator().manual_seed(1))
    calls: list[dict[str, float]] = []
    watching = rectifier.watch(model, optimizer, every=3, log=calls.append)
    try:
        with watching:
            for step, batch in enumerate(x):
                optimizer.zero_grad()
                model(batch[rank * 32 // world : (rank + 1) * 32 // world]).square().mean().backward()
                optimizer.step()
                if fails and step == 4:
                    raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    return calls, watching.record.to_json()


def main(rank: int, world: int, file: Path) -> None:
    torch.set_num_threads(1)
    if world == 1:
        result = {"alone": told(0, 1)}
    else:
        dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=world)
        result = {"DDP": told(rank, world), "failing": told(rank, world, fails=True)}
        dist.destroy_process_group()
    torch.save(result, f"{file}.{rank}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
