"""Leaving no trace: random state, losses of layers and buffers are after a look what they were before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

__all__ = ["undisturbed"]

#: Where Keras keeps the generator of calls without a seed, which it makes at the first of them.
_GENERATOR = "global_seed_generator"


@contextmanager
def undisturbed(model: Any, *, seed: int | None = None, batches: Any = None) -> Iterator[None]:
    """Run the body; afterwards all is as before.

    Put back: the random state of Python, NumPy and, on its backend, PyTorch, with the modules of PyTorch's inside the
    model, and the losses that layers have added. Variables are not written in a look to begin with.

    seed: seeds the random state inside, so that a shuffled loader or a random loss repeats itself.
    """
    states = random.getstate(), np.random.get_state()
    losses = [(layer, list(layer._losses)) for layer in model._flatten_layers()]
    generator = global_state.get_global_attribute(_GENERATOR)
    with ExitStack() as stack:
        if keras.backend.backend() == "torch":
            from ..torch import calm

            stack.enter_context(calm.undisturbed(model, seed=seed, batches=batches))
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % 2**32)
            yield
        finally:
            for layer, kept in losses:
                layer._losses[:] = kept
            if generator is None:
                global_state.set_global_attribute(_GENERATOR, None)
            random.setstate(states[0])
            np.random.set_state(states[1])
