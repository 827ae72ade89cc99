"""The callback for Lightning, in real trainings."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import rectifier
from rectifier.torch.lightning import IllError, WatchCallback

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning's own use of PyTorch
]


def loader(many: int = 96, batch: int = 16) -> DataLoader[Any]:
    torch.manual_seed(1)
    return DataLoader(TensorDataset(torch.randn(many, 6), torch.randint(0, 3, (many,))), batch_size=batch)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        model[0].bias[2] = -50.0
    return model


class Whole(pl.LightningModule):
    """Calls itself."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        self.net, self.lr = net(), lr

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Part(Whole):
    """Calls its network."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])


class Adversaries(pl.LightningModule):
    """Two networks with an optimizer each, stepped by hand, the second every second batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6))
        self.discriminator = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 1))
        self.teacher = nn.Sequential(nn.Linear(6, 6), nn.ReLU()).requires_grad_(False)
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> None:
        x, _ = batch
        first, second = self.optimizers()
        made = self.generator(torch.randn(len(x), 4))
        self.teacher(made)
        first.zero_grad()
        self.manual_backward(F.softplus(-self.discriminator(made)).mean())
        first.step()
        if index % 2:
            second.zero_grad()
            loss = F.softplus(-self.discriminator(x)) + F.softplus(self.discriminator(made.detach()))
            self.manual_backward(loss.mean())
            second.step()

    def configure_optimizers(self) -> Any:
        make = [torch.optim.SGD(part.parameters(), lr=0.01) for part in (self.generator, self.discriminator)]
        return make, []


def trainer(watch: WatchCallback | None, folder: Path, **given: Any) -> pl.Trainer:
    values: dict[str, Any] = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, **given}
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=[] if watch is None else [watch],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **values,
    )


def fit(watch: WatchCallback | None, folder: Path, module: pl.LightningModule | None = None, **given: Any) -> Any:
    module = Whole() if module is None else module
    torch.manual_seed(2)
    validation = loader(32) if isinstance(module, Whole) else None
    trainer(watch, folder, **given).fit(module, loader(), validation)
    return module


def untouched(module: nn.Module) -> bool:
    return all(not m._forward_hooks and not m._forward_pre_hooks for m in module.modules())


def test_a_training_is_watched_and_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    plain = fit(None, tmp_path)
    watch = WatchCallback(every=2, name="digits", seed=3)
    watched = fit(watch, tmp_path)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    record = watch.record
    assert [s.step for s in record.snapshots] == [1, 2, 4, 6]
    # 6 batches of 16; the validation's 2 are not seen
    assert [sum(s.sites[0].examples for s in record.snapshots)] == [96]
    assert (record.model, record.name, record.seed, record.stopped) == ("Whole", "digits", 3, None)
    assert record.last.sites[0].site == "net.1" and record.not_observed == ()
    assert 2 in {unit for finding in record.of("dead", "silent") for unit in finding.units}
    assert all(s.sites[0].gradient_rms for s in record.snapshots)
    assert record.last.layers[0].update_ratio is not None
    assert untouched(watched) and list(watch.records) == [""]


def test_a_part_that_is_called_is_watched(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    watch = WatchCallback(every=2, log=told.append)
    module = fit(watch, tmp_path, Part())
    assert list(watch.records) == ["net"]
    assert [s.step for s in watch.record.snapshots] == [1, 2, 4, 6]
    assert watch.record.last.sites[0].site == "1" and untouched(module)
    assert [numbers["rectifier/net/step"] for numbers in told] == [1, 2, 4, 6, 6]
    assert told[-1]["rectifier/net/1/silent"] >= 1 / 12
    chosen = WatchCallback("net", every=2)
    fit(chosen, tmp_path, Part())
    assert list(chosen.records) == [""] and chosen.record.last.sites[0].site == "1"


@pytest.mark.parametrize("kind", [Part, Whole])
def test_what_needs_no_watch_is_soon_left_alone(kind: Any, tmp_path: Path) -> None:
    """The module round a part that is called, and the part of a module that is."""
    hooks: list[int] = []

    class Counts(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            hooks.append(len(trainer.optimizers[0]._optimizer_step_post_hooks))

    made = trainer(WatchCallback(every=100), tmp_path)
    made.callbacks.append(Counts())
    made.fit(kind(), loader())
    assert hooks == [2, 1, 1, 1, 1, 1]


def test_manual_optimization_of_two_networks(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    watch = WatchCallback(every=1, log=told.append)
    module = fit(watch, tmp_path, Adversaries())
    assert list(watch.records) == ["generator", "discriminator"]  # what nothing trains is not watched
    generator, discriminator = watch.records.values()
    assert [s.step for s in generator.snapshots] == [1, 2, 3, 4, 5, 6]
    assert [s.sites[0].examples for s in generator.snapshots] == [16] * 6
    # between two of its steps it is called once for the generator, or twice, and twice for itself
    assert [s.step for s in discriminator.snapshots] == [1, 2, 3]
    assert [s.sites[0].examples for s in discriminator.snapshots] == [64, 64, 64]
    assert {name.split("/")[1] for numbers in told for name in numbers} == {"generator", "discriminator"}
    assert untouched(module)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        _ = watch.record
    assert str(caught.value) == (
        "WatchCallback: `record` needs one network that was watched; got 2: 'generator', 'discriminator'. "
        "Use records['generator']."
    )


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    watch = WatchCallback(every=1)
    fit(watch, tmp_path, accumulate_grad_batches=3)
    assert [s.step for s in watch.record.snapshots] == [1, 2]
    assert [s.sites[0].examples for s in watch.record.snapshots] == [48, 48]


def test_mixed_precision(tmp_path: Path) -> None:
    watch = WatchCallback(every=1)
    fit(watch, tmp_path, precision="bf16-mixed")
    assert watch.record.last.layers[0].format == "bfloat16"
    assert watch.record.last.layers[0].weight_format == "float32"
    assert watch.record.last.sites[0].gradient_rms


def test_the_loggers_are_told(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="run", version="a")
    watch = WatchCallback(every=2)
    fit(watch, tmp_path, logger=logger)
    with (tmp_path / "run" / "a" / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["rectifier/step"]]
    steps = [(float(row["rectifier/step"]), int(row["step"])) for row in rows]
    assert steps == [(1, 0), (2, 1), (4, 3), (6, 5), (6, 6)]  # Lightning counts a step when it is over
    assert float(rows[-1]["rectifier/judged_silent"]) == watch.record.share("silent", "dead")
    assert float(rows[-1]["rectifier/net.1/silent"]) >= 1 / 12


def test_a_resumed_fit_goes_on_counting(tmp_path: Path) -> None:
    told: list[float] = []

    def log(numbers: dict[str, float]) -> None:
        told.append(numbers["rectifier/step"])

    watch = WatchCallback(every=3, log=log)
    first = trainer(watch, tmp_path)
    first.fit(Whole(), loader())
    first.save_checkpoint(tmp_path / "a.ckpt")
    again = WatchCallback(every=3, log=log)
    trainer(again, tmp_path, max_epochs=2).fit(Whole(), loader(), ckpt_path=tmp_path / "a.ckpt")
    assert told == [1, 3, 6, 6, 7, 9, 12, 12]
    assert [s.step for s in again.record.snapshots] == [1, 3, 6]
    told.clear()
    trainer(watch, tmp_path).fit(Whole(), loader())  # a training of its own begins at 1, with a new record
    assert told == [1, 3, 6, 6] and watch.record.last.step == 6


def test_an_exception_keeps_the_record(tmp_path: Path) -> None:
    class Broken(Whole):
        def training_step(self, batch: Any, index: int) -> Tensor:
            if index == 4:
                raise ZeroDivisionError("user code")
            return super().training_step(batch, index)

    watch = WatchCallback(every=2)
    module = Broken()
    with pytest.raises(ZeroDivisionError):
        fit(watch, tmp_path, module)
    assert watch.record.stopped == "the watched block raised ZeroDivisionError after step 4: user code"
    assert watch.record.last.step == 4 and untouched(module)


def test_stop_and_raise_when_ill(tmp_path: Path) -> None:
    class Ill(Whole):
        def __init__(self) -> None:
            super().__init__()
            with torch.no_grad():
                self.net[0].bias.fill_(-50.0)

    watch = WatchCallback(every=1, when_ill="stop")
    module = Ill()
    with pytest.warns(RuntimeWarning) as warned:
        fit(watch, tmp_path, module, max_epochs=5)
    text = [str(w.message) for w in warned if w.category is RuntimeWarning]
    assert text[0].startswith("WatchCallback: the network is ill after step 6: dead at net.1, 12 of 12 units: ")
    assert text[0].endswith(". The training ends with this epoch.") and len(text) == 1
    assert watch.record.last.step == 6
    raising = WatchCallback(every=1, when_ill="raise")
    with pytest.raises(IllError) as caught:
        fit(raising, tmp_path, Ill(), max_epochs=5)
    said = text[0].replace("The training ends with this epoch.", "What was seen is kept in `.record`.")
    assert str(caught.value) == said
    assert caught.value.record.findings and raising.record.stopped is not None
    fit(WatchCallback(every=1, when_ill="raise"), tmp_path, max_epochs=2)  # one silent unit is no illness


def test_nothing_called_is_told(tmp_path: Path) -> None:
    class Inside(Whole):
        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self.net[2](F.relu(self.net[0](batch[0]))), batch[1])

    watch = WatchCallback()
    fit(watch, tmp_path, Inside())
    assert watch.record.not_observed == (
        "the model: no forward pass in training mode was seen; call model(...) itself",
    )


def strangers() -> pl.LightningModule:
    module = Whole()
    module.configure_optimizers = lambda: torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)  # type: ignore
    return module


def watched_already() -> pl.LightningModule:
    module = Whole()
    module.held = rectifier.watch(module).start()  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(
    ("make", "given", "text"),
    [
        (
            strangers,
            {},
            "WatchCallback: an optimizer must step parameters of Whole; got 1 of which none does. "
            "Return it from configure_optimizers.",
        ),
        (
            Whole,
            {"module": "nett"},
            "WatchCallback: `module` must name a part of Whole; got 'nett'. Its parts are net.",
        ),
        (
            watched_already,
            {},
            "watch: `model` must not be watched already; got a Whole that is. "
            "Leave the block of the first watch before the second.",
        ),
        (
            Whole,
            {"every": 0},
            "watch: `every` must be 'auto' or a whole number of steps, 1 or more; got 0. Pass a number such as 10.",
        ),
    ],
)
def test_errors_when_training_begins(make: Any, given: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        fit(WatchCallback(**given), tmp_path, make())
    assert str(caught.value) == text


def test_errors() -> None:
    with pytest.raises(rectifier.RectifierTypeError) as caught:
        WatchCallback(log=3)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "WatchCallback: `log` must be a function that takes a dict, or None; got int. "
        "Pass for instance print, or the log method of a Weights & Biases run."
    )
    with pytest.raises(rectifier.RectifierValueError) as wrong:
        WatchCallback(when_ill="halt")  # type: ignore[arg-type]
    assert str(wrong.value) == (
        "WatchCallback: `when_ill` must be 'stop', 'raise' or None; got 'halt'. "
        "Pass 'stop' to end the training, or leave it out to go on."
    )
    with pytest.raises(rectifier.RectifierValueError) as none:
        _ = WatchCallback().record
    assert str(none.value) == (
        "WatchCallback: `record` needs a training that has begun; got none. Pass the callback to the trainer "
        "and train first."
    )


def test_a_compiled_model_is_watched_with_lightning_about() -> None:
    """Lightning puts a torch.compile of its own in PyTorch's place, which copies every argument."""
    torch._dynamo.reset()
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model = torch.compile(inner, backend="eager")
    with rectifier.watch(model) as watching:  # type: ignore[arg-type]
        model(torch.randn(500, 4)).sum().backward()
    (site,) = watching.record.last.sites
    assert site.examples == 500 and not watching.record.not_observed
