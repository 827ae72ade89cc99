"""Models that run as something else than module by module: compiled, in part or as a whole; and data parallel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks.patients.case import Case, Patient
from benchmarks.patients.cases import dense
from benchmarks.patients.planting import generator

Tensor = torch.Tensor


def compiled(seed: int, small: bool = False) -> Case:
    """Small: through Dynamo alone, without a C++ compiler: what can be seen of the model is the same."""
    case = dense.functional(seed)
    return replace(case, wrap=lambda model: torch.compile(model, backend="eager" if small else "inductor"))


def compiled_part(seed: int, small: bool = False) -> Case:
    case = dense.functional(seed)
    model: Any = case.model
    model.block = torch.compile(model.block, backend="eager" if small else "inductor")
    return case


RANKS = 2
APART = 12


def parallel(seed: int, small: bool = False) -> Case:
    """Two processes take every second batch each. Twelve live units fire in the batches of one of them alone: in each
    process, six of them look dead."""

    def draw(n: int, source: torch.Generator) -> Tensor:
        x = dense.inputs(n, source)
        x[:, 0] = torch.randint(RANKS, (n,), generator=source).float()
        return x

    case = dense.two_layers(seed, draw, live=(0.2, 0.45), apart=APART)
    source = generator(seed + 101)
    batches = []
    for place in range(20):
        x = dense.inputs(100, source)
        x[:, 0] = float(place % RANKS)  # which of the two processes it goes to
        batches.append((x, dense.classes(x)))
    return replace(case, batches=batches, wrap=DistributedDataParallel)


PATIENTS = (
    Patient("compiled", "the functional model as `torch.compile(model)`", compiled),
    Patient("compiled-part", "the functional model with its block compiled", compiled_part),
    Patient("ddp", "the mlp in two gloo processes; 12 more units fire for one of the two alone", parallel, ranks=RANKS),
)
