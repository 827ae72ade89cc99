"""A training loop of your own: two lines round it, and one for the report."""

import torch
from digits import STEP, batches, network
from torch.nn.functional import cross_entropy

import rectifier

model = network()
optimizer = torch.optim.Adam(model.parameters(), lr=STEP)

with rectifier.watch(model, optimizer) as watching:  # 1: and the loop stays as it is
    for _ in range(5):
        for images, classes in batches():
            optimizer.zero_grad()
            cross_entropy(model(images), classes).backward()
            optimizer.step()

record = watching.record  # 2: what was seen, and what it means
rectifier.report(record, html="watched.html", force=True)  # 3: here, and as a page
