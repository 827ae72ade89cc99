"""Weights & Biases, here offline: the run's own ``log`` is the logger; the page and the record become files of the run.

Send it later with ``wandb sync``.
"""

import torch
import wandb
from digits import STEP, batches, network
from torch.nn.functional import cross_entropy

import rectifier

model = network()
optimizer = torch.optim.Adam(model.parameters(), lr=STEP)

with wandb.init(project="digits", mode="offline") as run:
    run.define_metric("rectifier/*", step_metric="rectifier/step")
    with rectifier.watch(model, optimizer, log=run.log) as watching:
        for _ in range(5):
            for images, classes in batches():
                optimizer.zero_grad()
                cross_entropy(model(images), classes).backward()
                optimizer.step()
    rectifier.report(watching.record, html="watched.html", json="watched.json", force=True)
    run.save("watched.*")
