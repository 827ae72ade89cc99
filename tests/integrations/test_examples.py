"""The examples run as they stand, and leave what they say; the docs show them literally."""

from __future__ import annotations

import csv
import os
import re
import runpy
import shlex
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rectifier.checkup import Record
from rectifier.cli.app import app

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
PAGE = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("integrations.md", "pruning.md"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an example writes, as if it were started there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return tmp_path


def run(name: str) -> dict[str, object]:
    return runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_every_example_is_in_the_docs() -> None:
    shown = re.findall(r"literalinclude:: \.\./examples/(.*)", PAGE)
    files = [path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".yml")]
    assert sorted(shown) == sorted(files)


def test_the_loop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run("loop.py")["record"]
    assert isinstance(record, Record) and record.share("silent", "dead") > 0.1
    assert "units never fire" in capsys.readouterr().out
    assert (folder / "watched.html").stat().st_size > 10_000
    text = (EXAMPLES / "loop.py").read_text(encoding="utf-8")
    assert [line.split("#")[1].strip()[:2] for line in text.splitlines() if "  # " in line] == ["1:", "2:", "3:"]


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_lightning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("with_lightning.py")
    assert "too large a step" in capsys.readouterr().out
    with (folder / "logs" / "digits" / "version_0" / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["rectifier/network/silent"]]
    assert float(rows[-1]["rectifier/network/step"]) == 145
    assert float(rows[-1]["rectifier/network/judged_silent"]) > float(rows[0]["rectifier/network/silent"])


@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
def test_transformers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("with_transformers.py")
    assert re.search(r"silent at the end: [\d.]+% of 128 units", capsys.readouterr().out)


def entries(file: Path) -> Iterator[bytes]:
    """What W&B has written: after its own 7 bytes LevelDB's log of checksum, length, part; in blocks of 32 KB."""
    data, place, entry = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no room for a header is left in this block
            place += 32768 - place % 32768
            continue
        _, length, part = struct.unpack_from("<IHB", data, place)
        entry += data[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # the whole of one, or its end
            yield entry
            entry = b""


def test_weights_and_biases_offline(folder: Path) -> None:
    import wandb
    from wandb.proto import wandb_internal_pb2

    run("with_wandb.py")
    wandb.teardown()
    (home,) = (folder / "wandb").glob("offline-run-*")
    assert {path.name for path in (home / "files").glob("watched.*")} == {"watched.html", "watched.json"}
    (file,) = home.glob("*.wandb")
    rows = []
    for data in entries(file):
        entry = wandb_internal_pb2.Record.FromString(data)
        if entry.WhichOneof("record_type") == "history":
            rows.append({".".join(item.nested_key) or item.key: item.value_json for item in entry.history.item})
    record = Record.read(folder / "watched.json")
    looks = [step for snapshot in record.snapshots for step in snapshot.looked]
    assert [float(row["rectifier/step"]) for row in rows] == [*looks, 145]
    assert float(rows[-1]["rectifier/judged_silent"]) == record.share("silent", "dead")
    assert float(rows[-1]["rectifier/1/rms"]) == record.last.sites[0].rms_h


def test_mlflow_in_local_files(folder: Path) -> None:
    import mlflow

    run("with_mlflow.py")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs(["0"])
    record = Record.read(folder / "watched.json")
    looks = [step for snapshot in record.snapshots for step in snapshot.looked]
    history = client.get_metric_history(found.info.run_id, "rectifier/silent")
    assert [metric.step for metric in history] == [*looks, 145]
    assert found.data.metrics["rectifier/judged_silent"] == record.share("silent", "dead")
    assert found.data.metrics["rectifier/3/gradient_rms"] == record.last.sites[1].gradient_rms
    kept = [file.path for file in client.list_artifacts(found.info.run_id)]
    assert kept == ["watched.html", "watched.json"]


def test_tensorboard(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("with_tensorboard.py")
    assert re.fullmatch(r"Wrote runs/digits: \d+ looks, \d+ findings\n", capsys.readouterr().out)
    events = EventAccumulator("runs/digits", size_guidance={"tensors": 0}).Reload()
    (text,) = events.Tensors("rectifier/findings/text_summary")
    assert b"too large a step" in text.tensor_proto.string_val[0]
    assert events.Scalars("rectifier/judged_silent")[-1].step == 145


@pytest.mark.parametrize(("inputs", "status"), [("images - images.mean(dim=0)", 0), ("images", 1)])
def test_the_gate(inputs: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the CI files, with the example as it is, and without what keeps its units alive."""
    commands = {
        line.partition("rectifier ")[2]
        for file in (EXAMPLES / "ci").glob("*.yml")
        for line in file.read_text(encoding="utf-8").splitlines()
        if "rectifier check" in line and not line.startswith("#")
    }
    (command,) = commands
    (tmp_path / "digits.py").write_text((EXAMPLES / "digits.py").read_text(encoding="utf-8"), encoding="utf-8")
    text = (EXAMPLES / "train.py").read_text(encoding="utf-8")
    assert text.count("images - images.mean(dim=0)") == 1
    changed = text.replace("images - images.mean(dim=0)", inputs)
    (tmp_path / "train.py").write_text(changed, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = CliRunner().invoke(app, shlex.split(command), prog_name="rectifier")
    assert done.exit_code == status, done.output
    assert ("Limit exceeded: " in done.stderr) is bool(status)
    assert (tmp_path / "units.xml").read_text(encoding="utf-8").startswith("<?xml") and (
        tmp_path / "units.html"
    ).exists()
