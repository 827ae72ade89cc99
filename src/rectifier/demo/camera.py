"""What act 2 sees after every update: who fires on any training image, and what closed who no longer does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["Camera", "Death", "Push", "hidden_layers"]

Bools = npt.NDArray[np.bool_]
Push = Literal["its own update", "its inputs", "both together", "born silent"]


@dataclass(frozen=True)
class Death:
    """One unit that fires on no training image at the end."""

    site: str
    unit: int
    last_fired: int | None
    """Updates done when it last fired on any training image; None where it never did."""
    push: Push
    """What closed it at the next update: recomputed with only its weights changed, and with only its inputs changed."""


@dataclass(frozen=True, eq=False)
class _Picture:
    inputs: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    fires: Bools


def hidden_layers(model: nn.Sequential) -> dict[str, nn.Linear]:
    """Name of the ReLU → the Linear before it."""
    return {
        name: layer
        for layer, (name, rectifier) in zip(model, list(model.named_children())[1:], strict=False)
        if isinstance(layer, nn.Linear) and isinstance(rectifier, nn.ReLU)
    }


class Camera:
    """Call :meth:`shoot` before the first update and after every one."""

    def __init__(self, model: nn.Sequential, x: torch.Tensor) -> None:
        self._layers = hidden_layers(model)
        self._x = x
        self._fires: dict[str, list[Bools]] = {site: [] for site in self._layers}
        self._pushes: dict[str, list[tuple[Bools, Bools]]] = {site: [] for site in self._layers}
        self._last: dict[str, _Picture] = {}
        self.first_layer: list[npt.NDArray[np.float32]] = []
        """Weights and bias of each first-layer unit after every update, (units, inputs + 1)."""

    def shoot(self) -> None:
        """Look at the network as it is now, on all images."""
        inputs = self._x
        with torch.no_grad():
            for site, layer in self._layers.items():
                z = layer(inputs)
                picture = _Picture(inputs, layer.weight.clone(), layer.bias.clone(), _any(z))
                self._fires[site].append(picture.fires)
                if site in self._last:
                    last = self._last[site]
                    own = _any(nn.functional.linear(last.inputs, picture.weight, picture.bias))
                    theirs = _any(nn.functional.linear(picture.inputs, last.weight, last.bias))
                    self._pushes[site].append((own, theirs))
                self._last[site] = picture
                inputs = torch.relu(z)
        first = self._last[next(iter(self._layers))]
        self.first_layer.append(torch.column_stack([first.weight, first.bias]).numpy())

    @property
    def fired(self) -> dict[str, Bools]:
        """Site → (steps + 1, units): did the unit fire on any image after that many steps?"""
        return {site: np.array(rows) for site, rows in self._fires.items()}

    def deaths(self, silent: Mapping[str, tuple[int, ...]]) -> tuple[Death, ...]:
        """When each of the ``silent`` units last fired and what closed it, in the order of their deaths."""
        fired = self.fired
        found = [self._death(site, unit, fired[site][:, unit]) for site, units in silent.items() for unit in units]
        return tuple(sorted(found, key=lambda death: -1 if death.last_fired is None else death.last_fired))

    def _death(self, site: str, unit: int, fired: Bools) -> Death:
        if not fired.any():
            return Death(site, unit, None, "born silent")
        last = int(np.flatnonzero(fired)[-1])
        if last == len(fired) - 1:
            raise AssertionError(f"unit {unit} of site {site} was reported silent and fires")
        open_by_own, open_by_inputs = (bool(fires[unit]) for fires in self._pushes[site][last])
        push: Push = "both together"
        if not open_by_own:
            push = "its own update"
        elif not open_by_inputs:
            push = "its inputs"
        return Death(site, unit, last, push)


def _any(z: torch.Tensor) -> Bools:
    return np.asarray((z > 0).any(dim=0).numpy())
