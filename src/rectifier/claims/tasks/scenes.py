"""Scenes for the detector: one to three real digits of several sizes in 24 × 24 pixels, with their boxes."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from . import images
from .training import Batch

__all__ = ["GRID", "SIDE", "STRIDE", "boxes", "parts"]

SIDE, STRIDE = 24, 4
GRID = SIDE // STRIDE
_SIZES = (8, 10, 12)
_MANY = {"train": 1500, "validation": 200, "test": 400}
_INK = 0.25

Floats = npt.NDArray[np.float64]


@cache
def parts() -> dict[str, Batch]:
    """Scenes (n, 1, 24, 24) in [0, 1] and truth (n, 6, 6, 6), each part of its own digits and always the same.

    truth[i, :, row, column] of the cell that holds the middle of an object: 1, the middle's place in the cell (x, y in
    [0, 1)), the logarithms of width and height in cells, the class. 0 in the others.
    """
    return {part: _draw(part, many, seed) for seed, (part, many) in enumerate(_MANY.items())}


def _draw(part: str, many: int, seed: int) -> Batch:
    random = np.random.default_rng(seed)
    pixels, classes = (tensor.numpy() for tensor in images.parts()[part])
    pictures = pixels.reshape(-1, 8, 8).astype(np.float64)
    scenes = random.uniform(0.0, 0.2, (many, 1, SIDE, SIDE))
    truth = np.zeros((many, 6, GRID, GRID))
    for scene, cells in zip(scenes[:, 0], truth, strict=True):
        taken = np.zeros((SIDE, SIDE), dtype=bool)
        for _ in range(random.integers(1, 4)):
            index = int(random.integers(len(pictures)))
            digit = _resized(pictures[index], int(random.choice(_SIZES)))
            _place(scene, cells, taken, digit * random.uniform(0.6, 1.0), int(classes[index]), random)
    return torch.tensor(scenes, dtype=torch.float32), torch.tensor(truth, dtype=torch.float32)


def _place(
    scene: Floats, cells: Floats, taken: npt.NDArray[np.bool_], digit: Floats, label: int, random: np.random.Generator
) -> None:
    """Put a digit where no other is; a scene with no room for it goes without."""
    rows, columns = (np.flatnonzero((digit > _INK).any(axis=axis)) for axis in (1, 0))
    size = len(digit)
    for _ in range(20):
        top, left = (int(random.integers(SIDE - size + 1)) for _ in range(2))
        y0, y1, x0, x1 = top + rows[0], top + rows[-1] + 1, left + columns[0], left + columns[-1] + 1
        x, y = (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE
        cell = cells[:, int(y), int(x)]
        if taken[y0:y1, x0:x1].any() or cell[0]:
            continue
        taken[y0:y1, x0:x1] = True
        part = scene[top : top + size, left : left + size]
        np.maximum(part, digit, out=part)
        cell[:] = 1.0, x % 1, y % 1, np.log((x1 - x0) / STRIDE), np.log((y1 - y0) / STRIDE), label
        return


def _resized(picture: Floats, size: int) -> Floats:
    """Bilinear, pixel middles on pixel middles."""
    at = np.clip((np.arange(size) + 0.5) * 8 / size - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    share = at - low
    rows = picture[low] * (1 - share)[:, None] + picture[low + 1] * share[:, None]
    found: Floats = rows[:, low] * (1 - share) + rows[:, low + 1] * share
    return found


def boxes(cells: torch.Tensor) -> torch.Tensor:
    """Corners x0, y0, x1, y1 in pixels, (n, 36, 4), of middles and sizes as in the truth, (n, 4, 6, 6)."""
    step = torch.arange(GRID, dtype=cells.dtype)
    x = cells[:, 0] + step
    y = cells[:, 1] + step[:, None]
    half = cells[:, 2:4].clamp(max=2.0).exp() / 2
    corners = torch.stack([x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1]], dim=-1)
    return corners.flatten(1, 2) * STRIDE
