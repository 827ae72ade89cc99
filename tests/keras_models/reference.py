"""Checks the PyTorch model that tests of the check-up compare with: ``reference.py WEIGHTS.npz RECORD.json``.

In a process of its own, as PyTorch cannot be imported behind TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import rectifier


class ChannelsLast(torch.nn.Module):
    """Keras flattens with channels last, whatever the format."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def main(given: str, out: str) -> None:
    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        *(torch.nn.Conv2d(2, 7, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Conv2d(7, 5, 2, bias=False), torch.nn.BatchNorm2d(5), torch.nn.ReLU()),
        *(ChannelsLast(), torch.nn.Dropout(), torch.nn.Linear(20, 7), torch.nn.ELU()),
        *(torch.nn.Linear(7, 6), torch.nn.LeakyReLU(0.1), torch.nn.Linear(6, 3)),
    )
    arrays = np.load(given)
    tensors = [tensor for name, tensor in model.state_dict().items() if "num_batches" not in name]
    with torch.no_grad():
        for i, tensor in enumerate(tensors):
            value = torch.as_tensor(arrays[f"w{i}"])
            tensor.copy_(value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value)
    batch = torch.as_tensor(arrays["x"].transpose(0, 3, 1, 2).copy()), torch.as_tensor(arrays["y"])
    record = rectifier.check(model, [batch] * 2, torch.nn.functional.cross_entropy)
    Path(out).write_text(record.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
