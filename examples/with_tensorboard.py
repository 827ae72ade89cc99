"""TensorBoard: scalars at each look; histograms over the units, and the findings as text, at the end.

Look at it with ``tensorboard --logdir runs``.
"""

import torch
from digits import STEP, batches, network
from torch.nn.functional import cross_entropy

import rectifier
from rectifier.reporters.tensorboard import TensorBoard

with TensorBoard("runs/digits") as board:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=STEP)
    with rectifier.watch(model, optimizer, log=board) as watching:
        for _ in range(5):
            for images, classes in batches():
                optimizer.zero_grad()
                cross_entropy(model(images), classes).backward()
                optimizer.step()
    board.add(watching.record)

print(f"Wrote runs/digits: {len(watching.record.snapshots)} looks, {len(watching.record.findings)} findings")
