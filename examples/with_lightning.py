"""Lightning: one callback; its numbers go to the trainer's logger, here a CSV file."""

import lightning.pytorch as pl
import torch
from digits import STEP, batches, network
from lightning.pytorch.loggers import CSVLogger
from torch.nn.functional import cross_entropy

import rectifier
from rectifier.torch.lightning import WatchCallback


class Digits(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = network()

    def training_step(self, batch, index):
        images, classes = batch
        loss = cross_entropy(self.network(images), classes)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=STEP)


watch = WatchCallback()
trainer = pl.Trainer(max_epochs=5, accelerator="cpu", logger=CSVLogger("logs", name="digits"), callbacks=[watch])
trainer.fit(Digits(), batches())

rectifier.report(watch.record)
