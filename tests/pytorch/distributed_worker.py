"""One of two processes of ``test_distributed.py``: python distributed_worker.py RANK WORLD FILE; writes FILE.RANK.

Rank 0 of a world of 1 trains without any of it: what the others must come out at. Everything is float64, so that the
order of a sum shows far below the tolerance.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import rectifier.torch as rt
from rectifier.frameworks.torch.ops import PUBLIC

Tensor = torch.Tensor
LAYERS = [rt.ReLU, rt.LeakyReLU, rt.PReLU, rt.Abs, rt.ReLU6, rt.SquaredReLU, rt.ELU, rt.CELU, rt.SELU, rt.Softplus]
STEPS, EXAMPLES = 4, 64


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(12, 32)]
    for layer in LAYERS:
        layers += [layer(), nn.Linear(32, 32)]
    return nn.Sequential(*layers, nn.Linear(32, 1)).double()


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, EXAMPLES, 12, generator=generator, dtype=torch.float64)
    return [(one, one[:, :1].sin()) for one in x]


def trained(model: nn.Module, rank: int, world: int) -> list[float]:
    """The loss of the whole batch at every step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for x, y in batches():
        share = slice(rank * EXAMPLES // world, (rank + 1) * EXAMPLES // world)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[share]), y[share])
        loss.backward()
        optimizer.step()
        whole = loss.detach().clone()
        if world > 1:
            dist.all_reduce(whole)
        losses.append(whole.item() / world)
    return losses


def full(model: nn.Module) -> dict[str, Tensor]:
    state = {name.removeprefix("module."): value for name, value in model.state_dict().items()}
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in state.items()}


def sharded() -> nn.Module:
    model = network()
    for layer in model:
        if any(True for _ in layer.parameters()):
            fully_shard(layer)
    fully_shard(model)
    assert isinstance(model, FSDPModule)
    return model


def of_dtensors(mesh: DeviceMesh) -> dict[str, Any]:
    """Every function on a tensor sharded along its rows, one along its columns and a replicated one."""
    found: dict[str, Any] = {}
    z = torch.linspace(-8, 8, 8 * 6, dtype=torch.float64).reshape(8, 6)
    for name, function in PUBLIC.items():
        given = {"negative_slope": 0.25} if name == "prelu" else {}
        for placement in (Shard(0), Shard(1), Replicate()):
            leaf = distribute_tensor(z, mesh, [placement]).requires_grad_()
            h = function(leaf, **given)
            assert isinstance(h, DTensor)
            h.square().sum().backward()
            assert isinstance(leaf.grad, DTensor)
            found[f"{name} {placement}"] = (h.full_tensor().detach(), leaf.grad.full_tensor())
    return found


def parallel(mesh: DeviceMesh) -> dict[str, Tensor]:
    """Linear → rectifier → Linear with the hidden units dealt out."""
    torch.manual_seed(0)
    found = {}
    for layer in LAYERS:
        block = nn.Sequential(nn.Linear(6, 10), layer(), nn.Linear(10, 3)).double()
        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        split = parallelize_module(block, mesh, plan)
        x = torch.linspace(-2, 2, 4 * 6, dtype=torch.float64).reshape(4, 6).requires_grad_()
        split(x).square().sum().backward()
        assert x.grad is not None
        found[layer.__name__] = x.grad
    return found


def main(rank: int, world: int, file: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if world == 1:
        model = network()
        result: dict[str, Any] = {"alone": (trained(model, 0, 1), full(model))}
    else:
        dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=world)
        mesh = init_device_mesh("cpu", (world,))
        model = DistributedDataParallel(network())
        result = {"DDP": (trained(model, rank, world), full(model))}
        model = sharded()
        result["FSDP2"] = (trained(model, rank, world), full(model))
        result["DTensor"] = of_dtensors(mesh)
        result["tensor parallel"] = parallel(mesh)
        dist.destroy_process_group()
    torch.save(result, f"{file}.{rank}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
