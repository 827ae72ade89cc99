"""The benchmark and the example of pruning do what their tables say."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import rectifier
from benchmarks import pruning

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pruning.vgg
    narrow = ((10, 10), (20,), (20,), (20,), (20,))
    monkeypatch.setattr(pruning, "vgg", lambda: whole(widths=narrow))


def test_a_fifth_of_the_channels_goes_and_outputs_stay(small: None) -> None:
    model = pruning.vgg()
    dead = pruning.kill(model)
    assert [len(units) for units in dead.values()] == [2, 2, 4, 4, 4, 4]
    x = torch.randn(2, 3, 32, 32)
    record, before = rectifier.check(model, [x]), model(x)
    receipt = rectifier.prune(model, record, probe=x)
    assert receipt.proved and [m.out_channels for m in model if isinstance(m, torch.nn.Conv2d)] == [
        8,
        8,
        16,
        16,
        16,
        16,
    ]
    assert torch.allclose(model(x), before, atol=1e-5)


def test_the_table_has_every_way(small: None) -> None:
    lines = pruning.table([1], [1], 4)
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names[:3] == ["before", "rectifier.prune", "rectifier.prune, to multiples of 8"]
    assert all(line.count("|") == lines[0].replace("\\|", "").count("|") for line in lines[1:])
    if importlib.util.find_spec("torch_pruning") is not None:
        assert names[-1] == "torch-pruning" and lines[-1].split("|")[2] == lines[3].split("|")[2]


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prune_digits", ROOT / "examples" / "prune_digits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_keeps_every_answer(capsys: pytest.CaptureFixture[str]) -> None:
    lines = example().main(steps=60)
    assert "Proved: each unit that was cut gives 0 (for every input within [0, 1]" in capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert [row[6] for row in cells[1:]] == ["450 of 450"] * 2 and len({row[7] for row in cells}) == 1
    counts = [int(row[2].replace(",", "")) for row in cells]
    assert counts[0] > counts[1] >= counts[2]


def test_the_page_has_the_figures_that_the_scripts_write() -> None:
    page = (ROOT / "docs" / "pruning.md").read_text(encoding="utf-8")
    for module in (pruning, example()):
        section = page[page.index(module.START) : page.index(module.END)]
        assert len(re.findall(r"^\|", section, re.MULTILINE)) >= 5
    savings = re.findall(r"^\| rectifier\.prune \|.*$", page, re.MULTILINE)[0].split("|")[4:-1]
    assert len(savings) == 4 and all(float(cell.split("%")[0]) <= -18 for cell in savings), savings
