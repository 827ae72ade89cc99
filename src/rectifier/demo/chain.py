"""The chain rule spelled out on one real dead unit: dL/dw = Σ dL/dh · f'(z) · x, over all training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import rectifier

from . import digits
from .digits import Digits

__all__ = ["ChainRule", "Factors", "chain_rule"]

Bools = npt.NDArray[np.bool_]
Weights = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Factors:
    """The three factors of one image, for the weight of the unit that looks at pixel ``pixel``."""

    image: int
    digit: int
    z: float
    d_h: float
    """∂L/∂h, from autograd: what the next layer asks of this unit."""
    slope: float
    """f'(z)"""
    x: float
    product: float


@dataclass(frozen=True)
class ChainRule:
    """One first-layer unit after training, beside a living one."""

    unit: int
    last_fired: int
    """Steps done when it last fired."""
    images: int
    largest_z: float
    """Over all training images: all below 0."""
    asked: float
    """Largest |∂L/∂h|: the loss does ask this unit for a change."""
    open_images: int
    """Images at which f'(z) is not 0."""
    gradient: float
    """Largest |∂L/∂w| of its 64 weights and its bias, by the chain rule in NumPy."""
    gradient_autograd: float
    """The same by PyTorch's autograd."""
    pixel: int
    rows: tuple[Factors, ...]
    drift: tuple[float, ...]
    """Largest |change| of its 65 numbers at each step after it last fired: the optimizer's memory, fading."""
    still_from: int | None
    """Steps done after which they are the same, bit for bit, until the end; None where they still move."""
    living_unit: int | None
    living_gradient: float
    """The largest |∂L/∂w| of the living unit, by the chain rule."""
    living_gradient_autograd: float

    @property
    def still_steps(self) -> int:
        """Last steps of the training that changed no bit of its weights."""
        return 0 if self.still_from is None else self.last_fired + len(self.drift) - self.still_from


def chain_rule(model: nn.Sequential, data: Digits, fired: Bools, history: Weights) -> ChainRule | None:
    """The first-layer unit that fired before training and stood still longest at its end.

    ``fired`` (steps + 1, units), ``history`` one (units, 65) a step. A unit of the first layer, as no other layer can
    bring it back: its inputs are the images, which do not change. None where no such unit died.
    """
    alive = np.flatnonzero(fired[-1])
    dead = np.flatnonzero(fired[0] & ~fired[-1])
    if not len(dead):
        return None
    numbers = np.stack(history)  # (steps + 1, units, 65)
    moves = np.abs(np.diff(numbers, axis=0)).max(axis=2)  # (steps, units)
    last_move = np.array([_last(moves[:, unit] > 0) for unit in dead])
    unit = int(dead[np.argmin(last_move)])
    last_fired = _last(fired[:, unit])
    still_from = int(last_move.min()) + 1
    z, d_h, gradients = _passes(model, data)
    slopes = rectifier.relu.derivative(z)
    by_rule = (d_h * slopes).T @ np.column_stack([data.numpy, np.ones(len(z))])
    living = int(alive[np.argmax(np.abs(gradients[alive]).max(axis=1))]) if len(alive) else None
    rows, pixel = _rows(z[:, unit], d_h[:, unit], slopes[:, unit], data)
    return ChainRule(
        unit=unit,
        last_fired=last_fired,
        images=len(z),
        largest_z=float(z[:, unit].max()),
        asked=float(np.abs(d_h[:, unit]).max()),
        open_images=int(np.count_nonzero(slopes[:, unit])),
        gradient=float(np.abs(by_rule[unit]).max()),
        gradient_autograd=float(np.abs(gradients[unit]).max()),
        pixel=pixel,
        rows=rows,
        drift=tuple(moves[last_fired:, unit].tolist()),
        still_from=still_from if still_from < len(fired) - 1 else None,
        living_unit=living,
        living_gradient=0.0 if living is None else float(np.abs(by_rule[living]).max()),
        living_gradient_autograd=0.0 if living is None else float(np.abs(gradients[living]).max()),
    )


def _last(flags: Bools) -> int:
    places = np.flatnonzero(flags)
    return int(places[-1]) if len(places) else -1


def _passes(
    model: nn.Sequential, data: Digits
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """z and ∂L/∂h of the first layer (images, units), and autograd's ∂L/∂(weights, bias) (units, 65)."""
    first = model[0]
    assert isinstance(first, nn.Linear)
    z = first(data.x_train)
    h = torch.relu(z)
    h.retain_grad()
    outputs = h
    for layer in list(model)[2:]:
        outputs = layer(outputs)
    model.zero_grad()
    digits.loss(outputs, data.y_train).backward()  # type: ignore[no-untyped-call]
    assert h.grad is not None and first.weight.grad is not None and first.bias.grad is not None
    gradients = torch.column_stack([first.weight.grad, first.bias.grad]).double().numpy()
    model.zero_grad()
    return z.detach().double().numpy(), h.grad.double().numpy(), gradients


def _rows(
    z: npt.NDArray[np.float64], d_h: npt.NDArray[np.float64], slopes: npt.NDArray[np.float64], data: Digits
) -> tuple[tuple[Factors, ...], int]:
    """The three images that ask most of the unit, and the pixel that is brightest in them."""
    images = np.argsort(-np.abs(d_h), kind="stable")[:3]
    x = data.numpy
    pixel = int(x[images].mean(axis=0).argmax())
    return tuple(
        Factors(
            image=int(i),
            digit=int(data.y_train[i]),
            z=float(z[i]),
            d_h=float(d_h[i]),
            slope=float(slopes[i]),
            x=float(x[i, pixel]),
            product=float(d_h[i] * slopes[i] * x[i, pixel]) + 0.0,  # a zero is a zero, whatever its sign
        )
        for i in images
    ), pixel
