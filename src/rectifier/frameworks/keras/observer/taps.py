"""Gradients at places inside of a model, on each backend: what is tapped on the way forward is told on the way back.

TensorFlow and PyTorch record what runs, so that the gradient of any tensor of the pass can be asked for. JAX
differentiates functions: there a second pass runs with a zero to be added at each place, which is not added (the values
stay bit for bit), but whose gradient is that of the place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

__all__ = ["Taps", "gradients_at"]

Sink = Callable[[npt.NDArray[Any]], None]
#: Runs the model with these values in place of trainable variables (or None: as they are); gives the loss.
Run = Callable[[Any], Any]


class Taps:
    """The places of one pass, in order."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.sinks: list[Sink] = []
        self.active = False
        self._tap: Callable[[Any, int], Any] | None = None
        self._turn = 0

    def start(self, *, active: bool, tap: Callable[[Any, int], Any] | None = None) -> None:
        """A pass begins. tap: puts a place of its number in; None: places are remembered."""
        self.active, self._tap, self._turn = active, tap, 0
        if tap is None:
            self.tensors, self.sinks = [], []

    def __call__(self, tensor: Any, sink: Sink) -> Any:
        """The tensor to go on with."""
        if not self.active:
            return tensor
        if self._tap is not None:
            self._turn += 1
            return self._tap(tensor, self._turn - 1)
        self.tensors.append(tensor)
        self.sinks.append(sink)
        return tensor


def gradients_at(
    taps: Taps, run: Run, replay: Run, inputs: Sequence[Any], variables: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """The loss as run, and its gradient by each of these variables (None where it has none); sinks get the others.

    run: the forward pass and the loss. replay: the same, once more, without counting. inputs: tensors of the model's
    input, from which gradients are followed, so that frozen layers show theirs as well.
    """
    return {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[keras.backend.backend()](
        taps, run, replay, inputs, variables
    )


def _tell(taps: Taps, found: Sequence[Any]) -> None:
    for sink, gradient in zip(taps.sinks, found, strict=True):
        if gradient is not None:
            sink(_host(gradient))


def _host(tensor: Any) -> npt.NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float64)


def _tensorflow(
    taps: Taps, run: Run, replay: Run, inputs: Sequence[Any], variables: Sequence[Any]
) -> tuple[Any, list[Any]]:
    import tensorflow as tf

    taps.start(active=True)
    with tf.GradientTape() as tape:
        for tensor in inputs:
            if tensor.dtype.is_floating:
                tape.watch(tensor)
        loss = run(None)
    weights = [variable._value for variable in variables]
    found = tape.gradient(loss, [*taps.tensors, *weights])
    dense = [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in found]
    _tell(taps, dense[: len(taps.tensors)])
    return loss, dense[len(taps.tensors) :]


def _torch(taps: Taps, run: Run, replay: Run, inputs: Sequence[Any], variables: Sequence[Any]) -> tuple[Any, list[Any]]:
    import torch

    taps.start(active=True)
    with torch.inference_mode(False), torch.enable_grad():
        for tensor in inputs:
            if tensor.is_floating_point():
                tensor.requires_grad_(True)
        loss = run(None)
        asked = [*taps.tensors, *(variable._value for variable in variables)]
        follow = [tensor for tensor in asked if tensor.requires_grad]
        got = iter(torch.autograd.grad(loss.reshape(()), follow, allow_unused=True))
        found = [next(got) if tensor.requires_grad else None for tensor in asked]
    _tell(taps, found[: len(taps.tensors)])
    return loss.detach(), found[len(taps.tensors) :]


@cache
def _identity() -> Callable[[Any, Any], Any]:
    """x as it is, with its gradient for the second argument as well."""
    import jax

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def tap(x: Any, zero: Any) -> Any:
        return x

    tap.defvjp(lambda x, zero: (x, None), lambda _, g: (g, g))
    found: Callable[[Any, Any], Any] = tap
    return found


def _jax(taps: Taps, run: Run, replay: Run, inputs: Sequence[Any], variables: Sequence[Any]) -> tuple[Any, list[Any]]:
    import jax
    import jax.numpy as jnp

    tap = _identity()
    taps.start(active=True)
    run(None)  # shapes, and what is to be counted
    zeros = [jnp.zeros(tensor.shape, tensor.dtype) for tensor in taps.tensors]

    def loss_of(given: Any) -> Any:
        values, places = given
        taps.start(active=True, tap=lambda x, turn: tap(x, places[turn]))
        value = replay(values)
        return jnp.reshape(value, ()) if getattr(value, "size", 0) == 1 else value

    loss, (weights, found) = jax.value_and_grad(loss_of)(([v.value for v in variables], zeros))
    _tell(taps, found)
    return loss, list(weights)
