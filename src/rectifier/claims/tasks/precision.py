"""Average precision of a detector: written here, as none of the libraries that are needed anyway has it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["area", "average_precision", "overlap", "suppress", "true_positives"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def average_precision(
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    truth: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    classes: int,
    *,
    least: float = 0.5,
) -> float:
    """Mean over the classes of the area under the precision–recall curve, at an overlap of ``least``.

    found: boxes (n, m, 4), scores (n, m; a box of score 0 counts as none) and classes (n, m) of n images
    truth: boxes (n, k, 4), whether there is one (n, k), and classes (n, k)
    Classes without a true object are left out. Source: Everingham et al. 2010, doi:10.1007/s11263-009-0275-4, with the
    area under all points of the curve, as since 2010.
    """
    scores, labels = found[1].numpy(), found[2].numpy()
    there, true_labels = truth[1].numpy(), truth[2].numpy()
    hits = true_positives(found, truth, least).numpy()
    areas = []
    for label in range(classes):
        many = int((there & (true_labels == label)).sum())
        if many:
            of_label = (labels == label) & (scores > 0)
            areas.append(area(scores[of_label], hits[of_label], many))
    return float(np.mean(areas))


def area(scores: npt.NDArray[np.floating], hits: Bools, many: int) -> float:
    """Area under precision over recall, where precision is the best at this recall or a higher one.

    >>> area(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)  # ½ · 1 + ½ · ⅔
    0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits[order]].sum() / many)


def true_positives(
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    truth: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    least: float,
) -> torch.Tensor:
    """Which boxes are right, (n, m): they overlap a true box of their class best, enough, and no better score does."""
    same = truth[1][:, None, :] & (found[2][:, :, None] == truth[2][:, None, :])
    shared = overlap(found[0], truth[0]).masked_fill(~same, -1.0)
    best, which = shared.max(dim=2)
    claims = shared.new_zeros(shared.shape, dtype=found[1].dtype).scatter_(2, which[:, :, None], found[1][:, :, None])
    claims = claims.masked_fill((best < least)[:, :, None], 0.0)
    first = claims.argmax(dim=1, keepdim=True)  # of equal scores the first
    chosen = torch.zeros_like(claims, dtype=torch.bool).scatter_(1, first, True) & (claims > 0)
    return chosen.any(dim=2)


def suppress(boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor, most: float) -> torch.Tensor:
    """The scores, 0 for each box that overlaps a kept one of its class with a better score by more than ``most``."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(len(boxes))[:, None]
    ranked = boxes[places, order]
    rivals = (overlap(ranked, ranked) > most) & (
        classes[places, order][:, :, None] == classes[places, order][:, None, :]
    )
    kept = torch.ones_like(scores, dtype=torch.bool)
    for rank in range(boxes.shape[1] - 1):
        kept[:, rank + 1 :] &= ~(rivals[:, rank, rank + 1 :] & kept[:, rank : rank + 1])
    return torch.zeros_like(scores).scatter(1, order, scores.gather(1, order) * kept)


def overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Shared area ÷ joint area of each box of one (n, m, 4) with each of the other (n, k, 4): (n, m, k)."""
    low = torch.maximum(one[:, :, None, :2], other[:, None, :, :2])
    high = torch.minimum(one[:, :, None, 2:], other[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=3)
    areas = [(box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (one, other)]
    return shared / (areas[0][:, :, None] + areas[1][:, None, :] - shared).clamp(min=1e-9)
