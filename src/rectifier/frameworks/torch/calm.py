"""Leaving no trace: modes, buffers and random state are after a look what they were before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

__all__ = ["plain_value", "undisturbed", "value_of"]


@contextmanager
def undisturbed(model: nn.Module, *, seed: int | None = None, batches: Any = None) -> Iterator[None]:
    """Run the body with every submodule in evaluation mode; afterwards all is as before.

    Put back: the training flag of every submodule one by one (``train()`` would lose a frozen one), buffers,
    and the random state of Python, NumPy, PyTorch, its devices and of the generators that ``batches`` and its samplers
    draw from.

    seed: seeds the random state inside, so that a shuffled loader or a random loss repeats itself.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = _buffers(model)
    drawn = [(generator, generator.get_state()) for generator in _generators(batches)]
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
        _restore(modes, buffers)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        for generator, state in drawn:
            generator.set_state(state)


def _generators(batches: Any) -> list[torch.Generator]:
    """Every generator of a loader: its own, its samplers' and those of samplers within samplers."""
    found: dict[int, torch.Generator] = {}
    waiting, met = [batches], set()
    while waiting:
        source = waiting.pop()
        if source is None or id(source) in met:
            continue
        met.add(id(source))
        generator = getattr(source, "generator", None)
        if isinstance(generator, torch.Generator):
            found[id(generator)] = generator
        waiting += [getattr(source, name, None) for name in ("sampler", "batch_sampler")]
    return list(found.values())


def plain_value(module: nn.Module, name: str) -> torch.Tensor | None:
    """A module's tensor where it is stored as such; None where reading it would compute it, or there is none."""
    for store in (module._parameters, module.__dict__, module._buffers):
        value = store.get(name)
        if isinstance(value, torch.Tensor):
            return value
    return None


def value_of(module: nn.Module, name: str) -> torch.Tensor | None:
    """A module's weight or bias as it is now, without its gradient; None where it has none.

    A computed one (a parametrization or a property) is computed in evaluation mode, past the parametrization's cache,
    and leaves buffers and random state as they were: in training mode a spectral normalisation would take a step.
    """
    stored = plain_value(module, name)
    if stored is not None or name in module._parameters:
        return None if stored is None else _whole(stored.detach())
    modes = [(part, part.training) for part in module.modules()]
    buffers = _buffers(module)
    state = torch.get_rng_state()
    try:
        for part, _ in modes:
            part.training = False
        with torch.no_grad():
            if parametrize.is_parametrized(module, name):
                value = module.parametrizations[name]()  # type: ignore[index,operator]
            else:
                value = getattr(module, name, None)
    finally:
        torch.set_rng_state(state)
        _restore(modes, buffers)
    return _whole(value.detach()) if isinstance(value, torch.Tensor) else None


def _whole(value: torch.Tensor) -> torch.Tensor:
    """A sharded tensor put together, which takes all its processes; any other as it is."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _restore(
    modes: list[tuple[nn.Module, bool]], buffers: list[tuple[nn.Module, str, torch.Tensor, torch.Tensor, int]]
) -> None:
    for module, training in modes:
        module.training = training
    for owner, name, buffer, saved, version in buffers:
        owner._buffers[name] = buffer
        # A batch normalisation in training moves its running statistics without a new version.
        if buffer._version != version or not (buffer.is_meta or torch.equal(buffer, saved)):
            with torch.no_grad():
                buffer.copy_(saved)


def _buffers(model: nn.Module) -> list[tuple[nn.Module, str, torch.Tensor, torch.Tensor, int]]:
    return [
        (module, name, buffer, buffer.detach().clone(), buffer._version)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
