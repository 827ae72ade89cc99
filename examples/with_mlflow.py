"""MLflow, here into local files: ``log_metrics`` is the logger; the page and the record become artefacts of the run."""

import os

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # a folder needs no database; leave out where there is a server

import mlflow
import torch
from digits import STEP, batches, network
from torch.nn.functional import cross_entropy

import rectifier

model = network()
optimizer = torch.optim.Adam(model.parameters(), lr=STEP)

mlflow.set_tracking_uri("mlruns")
with mlflow.start_run():

    def log(numbers):
        mlflow.log_metrics(numbers, step=int(numbers["rectifier/step"]))

    with rectifier.watch(model, optimizer, log=log) as watching:
        for _ in range(5):
            for images, classes in batches():
                optimizer.zero_grad()
                cross_entropy(model(images), classes).backward()
                optimizer.step()
    rectifier.report(watching.record, html="watched.html", json="watched.json", force=True)
    mlflow.log_artifact("watched.html")
    mlflow.log_artifact("watched.json")
