"""One of two processes of ``test_log_ranks.py``: python log_worker.py RANK WORLD FILE; writes FILE.RANK."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import rectifier
from rectifier.torch.lightning import WatchCallback


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


class Digits(pl.LightningModule):
    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
        self.automatic_optimization = not by_hand

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.net(batch[0]).square().mean()
        if self.automatic_optimization:
            return loss
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return None

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fitted(rank: int, world: int, folder: Path, *, by_hand: bool) -> tuple[list[dict[str, float]], dict[str, str]]:
    """The processes are there already; Lightning takes them as torchrun's."""
    torch.manual_seed(1)
    data = DataLoader(TensorDataset(torch.randn(64, 6)), batch_size=8)
    told: list[dict[str, float]] = []
    watch = WatchCallback(every=2, log=told.append)
    pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    ).fit(Digits(by_hand), data)
    return told, {name: record.to_json() for name, record in watch.records.items()}


def main(rank: int, world: int, file: Path) -> None:
    torch.set_num_threads(1)
    result: dict[str, Any]
    if world == 1:
        result = {"alone": told(0, 1)}
    else:
        dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=world)
        result = {"DDP": told(rank, world), "failing": told(rank, world, fails=True)}
        given = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        os.environ |= {name: str(value) for name, value in given.items()} | {"TORCHELASTIC_RUN_ID": "here"}
        for by_hand in (False, True):
            result[f"by_hand={by_hand}"] = fitted(rank, world, file.parent, by_hand=by_hand)
        dist.destroy_process_group()
    torch.save(result, f"{file}.{rank}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
