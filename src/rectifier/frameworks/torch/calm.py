"""Leaving no trace: modes, buffers and random state are after a check what they were before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["undisturbed"]


@contextmanager
def undisturbed(model: nn.Module, *, seed: int | None = None, batches: Any = None) -> Iterator[None]:
    """Run the body with every submodule in evaluation mode; afterwards all is as before.

    Put back: the training flag of every submodule one by one (``train()`` would lose a frozen one), buffers,
    and the random state of Python, NumPy, PyTorch, its devices and of the generator that ``batches`` draws from.

    seed: seeds the random state inside, so that a shuffled loader or a random loss repeats itself.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = _buffers(model)
    generator = getattr(batches, "generator", None)
    drawn = generator.get_state() if isinstance(generator, torch.Generator) else None
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        for module, _ in modes:
            module.training = False
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for owner, name, buffer, saved, version in buffers:
            owner._buffers[name] = buffer
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(saved)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if drawn is not None and isinstance(generator, torch.Generator):
            generator.set_state(drawn)


def _buffers(model: nn.Module) -> list[tuple[nn.Module, str, torch.Tensor, torch.Tensor, int]]:
    return [
        (module, name, buffer, buffer.detach().clone(), buffer._version)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
