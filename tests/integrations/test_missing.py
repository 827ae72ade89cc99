"""A library that is not there is told by name, with the extra that brings it; ``import rectifier`` asks for none."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from rectifier.reporters.tensorboard import TensorBoard


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_trainers(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"rectifier.torch.{library}", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"rectifier.torch.{library}")
    assert str(caught.value) == (
        f"rectifier.torch.{library}: `{library}` must be installed; it was not found. "
        f'Run: pip install "rectifier[{library}]"'
    )
    assert caught.value.name == library


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        TensorBoard(tmp_path)
    assert str(caught.value) == (
        'TensorBoard: `tensorboard` must be installed; it was not found. Run: pip install "rectifier[tensorboard]"'
    )


def test_a_watch_without_a_logger_loads_none() -> None:
    program = (
        "import sys, torch, rectifier\n"
        "with rectifier.watch(torch.nn.Sequential(torch.nn.ReLU()), log=lambda numbers: None): pass\n"
        "found = {'lightning', 'transformers', 'tensorboard', 'wandb', 'mlflow'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
