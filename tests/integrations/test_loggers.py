"""Real runs of real loggers, read back from what they wrote: TensorBoard, Weights & Biases offline, MLflow's files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

import rectifier
from rectifier.checkup import Record
from rectifier.reporters.tensorboard import TensorBoard


class Network(nn.Module):
    """A site whose name some loggers refuse (``relu#0``), and a unit that is planted dead."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.three = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 3)
        self.act = nn.ReLU()
        with torch.no_grad():
            self.one.bias[2] = -50.0
            self.two.bias.fill_(2.0)  # and no other is silent by chance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.three(self.act(self.two(F.relu(self.one(x)))))


def train(log: Any, steps: int = 8) -> Record:
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    with rectifier.watch(model, optimizer, every=4, log=log) as watching:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(32, 6)), torch.randint(3, (32,))).backward()
            optimizer.step()
    return watching.record


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "histograms": 0, "scalars": 0})
    events.Reload()
    return events


def scalars(events: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "live") as board:
        record = train(board)
        board.add(record)
    with TensorBoard(SummaryWriter(str(tmp_path / "record"))) as board:
        board.add(Record.from_json(record.to_json()))
    live, later = read(tmp_path / "live"), read(tmp_path / "record")
    assert set(live.Tags()["scalars"]) == set(later.Tags()["scalars"])
    assert set(live.Tags()["scalars"]) >= {"rectifier/silent", "rectifier/relu_0/silent", "rectifier/act/rms"}
    assert scalars(later, "rectifier/silent") == [(s.step, pytest.approx(1 / 13)) for s in record.snapshots]
    assert scalars(live, "rectifier/act/firing_rate")[1] == (
        4,
        pytest.approx(float(record.snapshots[1].sites[1].firing_rate.mean())),
    )
    for events in (live, later):
        assert scalars(events, "rectifier/dead")[-1] == (8, pytest.approx(1 / 13))
        (*_, histogram) = events.Histograms("rectifier/relu_0/firing_rates")
        rates = record.last.sites[0].firing_rate
        value = histogram.histogram_value
        assert (histogram.step, value.num, value.max) == (8, 8, rates.max())
        assert value.sum == pytest.approx(rates.sum())
        assert events.Histograms("rectifier/act/gradients")
        texts = {
            name: events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()
            for name in ("rectifier/summary", "rectifier/findings")
        }
        assert texts["rectifier/summary"].startswith("1 of 13 units is proved dead at relu#0: ")
        assert (
            "- **Proved dead** at relu#0, units 2 (1 of 8)\n    - evidence: fired at 0 of "
            in texts["rectifier/findings"]
        )


def test_tensorboard_of_what_cannot_be_drawn(tmp_path: Path) -> None:
    model = Network()
    with torch.no_grad():
        model.two.weight.fill_(torch.nan)
    record = rectifier.check(model, [torch.randn(8, 6)])
    with TensorBoard(tmp_path) as board:
        board.add(record)
        board.add(Record(model="MLP", source="check", snapshots=()))
    assert "rectifier/act/rms" in read(tmp_path).Tags()["scalars"]


def test_tensorboards_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        TensorBoard(tmp_path / "file" / "runs")
    assert str(caught.value) == (
        f"TensorBoard: `folder` must be a folder that can be written to; got '{tmp_path / 'file' / 'runs'}' "
        "(Not a directory). Pass another folder."
    )
    with pytest.raises(rectifier.RectifierTypeError) as wrong:
        TensorBoard(3)  # type: ignore[arg-type]
    assert str(wrong.value) == (
        "TensorBoard: `folder` must be a folder's name or a SummaryWriter; got int. Pass for instance 'runs/digits'."
    )


def test_standard_logging_needs_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("training")

    def log(numbers: dict[str, float]) -> None:
        logger.info("step %d: %.1f %% silent", numbers["rectifier/step"], 100 * numbers["rectifier/silent"])

    with caplog.at_level(logging.INFO, logger="training"):
        train(log)
    assert caplog.messages == ["step 1: 7.7 % silent", "step 4: 7.7 % silent"] + ["step 8: 7.7 % silent"] * 2
