"""``check --certificate`` and ``certificate``: proofs written to a file, and checked for a file of weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]

TARGET = """
    import torch
    from torch import nn

    torch.set_num_threads(1)

    def net(dead=-50.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2))
        with torch.no_grad():
            model[0].bias.fill_(1.0)
            model[2].bias.fill_(2.0)
            model[0].bias[2] = model[2].bias[1] = dead
        return model

    def sick():
        torch.save(net().state_dict(), "model.pt")
        torch.save({"state_dict": net().bfloat16().state_dict()}, "rounded.pt")
        return net(), [torch.rand(64, 4)]

    def sound():
        return net(2.0), [torch.rand(64, 4)]
"""


@pytest.fixture
def proof(rectifier: Run, write: Callable[[str, str], Path], folder: Path) -> Path:
    write("train.py", TARGET)
    result = rectifier("check", "train.py:sick", "--certificate", "proof.json")
    assert result.exit_code in (0, 1) and result.stderr.endswith("Wrote proof.json\n")
    return folder / "proof.json"


def test_it_is_written_and_accepted(proof: Path, process: Run) -> None:
    result = process("certificate", "proof.json", "--weights", "model.pt")
    assert (result.returncode, result.stdout) == (0, "1: 2\n3: 1\n")
    lines = result.stderr.splitlines()
    assert lines[0] == "Accepted: 2 units cannot fire."
    box = r"for every input within its own range, all of them within \[0\.\d+, 0\.\d+\], in evaluation mode\."
    assert re.fullmatch(rf"1, made with 0\.bias, 0\.weight: {box}", lines[1])
    assert re.fullmatch(rf"3, made with 2\.bias, 2\.weight: {box}", lines[2])
    assert lines[3:] == [
        "Steps and names of sites are as the file tells: rectifier.checkup.proved(model, FILE) compares them, too."
    ]


def test_what_a_file_says_cannot_write_to_the_terminal(proof: Path, rectifier: Run) -> None:
    for field in ("site", "rectifier"):
        document = json.loads(proof.read_text())
        document["networks"][0]["dead"][0][field] = "\x1b[2K\rall units\u202e"
        (proof.parent / "odd.json").write_text(json.dumps(document))
        result = rectifier("certificate", "odd.json", "--weights", "model.pt")
        assert result.exit_code == 1 and result.stdout.startswith("refused: ")
        assert (result.stdout + result.stderr).replace("\n", "").isprintable()


def test_arrays_are_weights_too(proof: Path, rectifier: Run, folder: Path) -> None:
    import torch

    state = torch.load(folder / "model.pt")
    np.savez(folder / "model.npz", **{name: value.numpy() for name, value in state.items()})
    result = rectifier("certificate", "proof.json", "--weights", "model.npz")
    assert (result.exit_code, result.stdout) == (0, "1: 2\n3: 1\n")


def test_other_weights_and_forged_bounds_are_refused(proof: Path, rectifier: Run) -> None:
    result = rectifier("certificate", "proof.json", "--weights", "rounded.pt")
    reason = "refused: '0.weight' is another tensor than the one it was made for\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, reason, "")
    document = json.loads(proof.read_text())
    document["networks"][0]["dead"][0]["units"] = [0]
    proof.write_text(json.dumps(document))
    result = rectifier("certificate", "proof.json", "--weights", "model.pt")
    assert result.exit_code == 1
    assert result.stdout == "refused: the bounds of 1 do not shut each unit that it names\n"


def test_without_a_proof_there_is_no_file(proof: Path, rectifier: Run, folder: Path) -> None:
    result = rectifier("check", "train.py:sound", "--certificate", "none.json")
    assert "No certificate: no unit was proved dead by a bound." in result.stderr
    assert not (folder / "none.json").exists()


def test_files_are_not_overwritten_unasked(proof: Path, rectifier: Run) -> None:
    before = proof.read_bytes()
    result = rectifier("check", "train.py:sick", "--certificate", "proof.json")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: check: `--certificate` must not exist yet; got 'proof.json', which does. "
        "Pass --force to replace it, or another name.\n",
    )
    assert proof.read_bytes() == before
    assert rectifier("check", "train.py:sick", "--certificate", "proof.json", "--force").exit_code in (0, 1)


WEIGHTS = "certificate: `--weights` must be a state dict written with torch.save, or an .npz file; got"
WRITE = "Write one with: torch.save(model.state_dict(), FILE)"
FILE = "certificate: `FILE` must be a file written with check --certificate; got"
MAKE = "Make one with: rectifier check TARGET --certificate FILE"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("none.json", "--weights", "model.pt"), f"{FILE} 'none.json': there is no such file. {MAKE}"),
        ((".", "--weights", "model.pt"), f"{FILE} '.': it is a folder. {MAKE}"),
        (("model.pt", "--weights", "model.pt"), f"{FILE} 'model.pt': it is not text. {MAKE}"),
        (("proof.json", "--weights", "none.pt"), f"{WEIGHTS} 'none.pt': there is no such file. {WRITE}"),
        (
            ("proof.json", "--weights", "proof.json"),
            f"{WEIGHTS} 'proof.json': reading it failed with UnpicklingError. {WRITE}",
        ),
        (
            ("proof.json", "--weights", "list.pt"),
            f"{WEIGHTS} 'list.pt': it holds no mapping of names to tensors. {WRITE}",
        ),
    ],
)
def test_what_cannot_be_read(proof: Path, rectifier: Run, arguments: tuple[str, ...], text: str) -> None:
    import torch

    torch.save([1, 2], "list.pt")
    result = rectifier("certificate", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {text}\n")


def test_a_certificate_of_nothing_is_refused(rectifier: Run, proof: Path, folder: Path) -> None:
    read = json.loads(proof.read_text())
    proof.write_text(json.dumps({**read, "networks": []}))
    result = rectifier("certificate", "proof.json", "--weights", "model.pt")
    assert result.exit_code == 1 and "it names no unit" in result.stdout
