"""The data, the network and the training loop that the four acts share.

The data are scikit-learn's 1,797 real handwritten digits (8 × 8 images; Alpaydin and Kaynak 1998, UCI Machine Learning
Repository, doi:10.24432/C50P49), scaled to [0, 1], split once and for all into 1,347 for training and 450 for testing.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = [
    "BATCH",
    "EPOCH",
    "Digits",
    "Stream",
    "accuracy",
    "batches",
    "load",
    "loss",
    "mlp",
    "one_thread",
    "train",
]

#: Every pixel's range: what is proved for it holds for all images there can be.
BOX = (0.0, 1.0)
#: Images of one step.
BATCH = 64
#: Updates of one epoch: 1,347 images in whole batches.
EPOCH = 21
#: Inputs, three hidden layers, classes.
WIDTHS = (64, 128, 128, 64, 10)

Stream = Iterator[tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
loss: Loss = nn.functional.cross_entropy


@dataclass(frozen=True, eq=False)
class Digits:
    """Images (n, 64) in [0, 1], float32, and their classes (n,)."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor

    @property
    def numpy(self) -> npt.NDArray[np.float64]:
        """The training images as float64."""
        return self.x_train.numpy().astype(np.float64)


@cache
def load() -> Digits:
    """The digits, the same split every time: it belongs to the experiment, not to its seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, classes, test_size=0.25, stratify=classes, random_state=0)
    x_train, x_test = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    y_train, y_test = (torch.tensor(part, dtype=torch.int64) for part in parts[2:])
    return Digits(x_train, y_train, x_test, y_test)


def mlp(seed: int) -> nn.Sequential:
    """64 → 128 → 128 → 64 → 10 with ReLU, PyTorch's own initialisation; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: dict[str, nn.Module] = {}
        for place, (wide, narrow) in enumerate(pairwise(WIDTHS[:-1]), start=1):
            # The names that the check-up's sentences get: "silent at layer 1", "the weights of layer 1".
            layers |= {str(place): nn.Linear(wide, narrow), f"layer {place}": nn.ReLU()}
        return nn.Sequential(OrderedDict(layers, outputs=nn.Linear(*WIDTHS[-2:])))


def batches(digits: Digits, generator: torch.Generator) -> Stream:
    """Shuffled batches without end; what is left of an epoch (3 images) is dropped."""
    while True:
        order = torch.randperm(len(digits.x_train), generator=generator)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            yield digits.x_train[rows], digits.y_train[rows]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: Stream,
    steps: int,
    after: Callable[[int], None] | None = None,
) -> None:
    """``steps`` plain steps; ``after(number of steps done)`` is called after each."""
    for done in range(1, steps + 1):
        x, y = next(stream)
        optimizer.zero_grad()
        loss(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if after is not None:
            after(done)


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of the images whose class is the largest output."""
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).double().mean())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread inside the block: these networks are too small to share, and the digits stay the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
