"""Weights of a model that was healed or pruned: a new file that says what was done, and a model made to fit it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import _files
from ...checkup.weights import names, tensorfile
from ...checkup.weights.folder import WRITTEN, regular
from ...errors import RectifierTypeError, RectifierValueError
from . import stored
from .surgery import sizes_of

__all__ = ["load", "save"]

#: Under this name a file tells what was done.
KEY = "rectifier"
_CURE = "Build the model as it was when it was pruned."


def save(model: nn.Module, path: str | Path, note: Mapping[str, Any], *, force: bool = False) -> Path:
    """Write the state dict and a note as JSON: in a safetensors file as metadata, else under the key "rectifier"."""
    target = _files.check_writable(path, force)
    suffix = target.suffix.lower()
    if suffix not in WRITTEN:
        raise RectifierValueError(
            f"save_weights: `path` must end in {', '.join(WRITTEN)}; got {str(path)!r}. Name it model.safetensors."
        )
    # Tied tensors are written twice: a file of another library's would leave one out.
    state = {name: value.detach().cpu().contiguous() for name, value in _tensors(model).items()}
    told = json.dumps({**note, "groups": _groups(model)})

    def write(part: Path) -> None:
        if suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(
                {name: value.clone() for name, value in state.items()}, part, metadata={"format": "pt", KEY: told}
            )
        else:
            torch.save({"state_dict": state, KEY: told}, part)

    return _files.write_with(target, write, force=force)


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    other = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if other:
        raise RectifierValueError(
            f"save_weights: `model` must hold tensors alone in its state dict; got {names.listed(other, 3)}. "
            "Save it with torch.save(model.state_dict(), FILE)."
        )
    return state


def _groups(model: nn.Module) -> dict[str, int]:
    """What of a layer's size no tensor tells."""
    found = {name: getattr(module, "groups", 1) for name, module in model.named_modules()}
    return {name: groups for name, groups in found.items() if isinstance(groups, int) and groups > 1}


def load(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Make the model's tensors as large as those of the file, and load them; returns the file's note."""
    state, note = _read(path)
    own = model.state_dict()
    lacks, extra = [name for name in own if name not in state], [name for name in state if name not in own]
    for what, found in (("which lacks", lacks), ("which holds besides", extra)):
        if found:
            raise _other(path, f"{what} {names.listed(map(names.shown, found), 3)}")
    changed = {name: value for name, value in state.items() if value.shape != own[name].shape}
    for name, value in changed.items():
        if value.ndim != own[name].ndim or any(
            new > old for new, old in zip(value.shape, own[name].shape, strict=True)
        ):
            raise _other(path, f"where {name} is {tuple(value.shape)}, and the model has {tuple(own[name].shape)}")
    smaller: dict[int, torch.Tensor] = {}
    for name, value in changed.items():
        place, _, leaf = name.rpartition(".")
        module = model.get_submodule(place)
        store: dict[str, Any] = module._parameters if leaf in module._parameters else module._buffers
        store[leaf] = smaller.setdefault(id(store[leaf]), _empty(store[leaf], value.shape))  # tied ones stay tied
    groups = note.get("groups")
    for place in {name.rpartition(".")[0] for name in changed}:
        module = model.get_submodule(place)
        many = groups.get(place) if isinstance(groups, dict) else None  # told where they are more than 1
        for name, size in sizes_of(module, many if isinstance(many, int) and many > 0 else 1).items():
            setattr(module, name, size)
    model.load_state_dict(state)
    return note


def _empty(old: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    new = torch.zeros(shape, dtype=old.dtype, device=old.device)
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new


def _other(path: str | Path, what: str) -> RectifierValueError:
    return RectifierValueError(
        f"load_weights: `path` must hold weights of this model; got {str(path)!r}, {what}. {_CURE}"
    )


def _read(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        path = regular(path)
        if path.suffix.lower() == ".safetensors":
            state, told = _safetensors(path)
        else:
            found = stored.unpickled(path)
            state, told = stored.state_dict(path, found), found.get(KEY)
    except (RectifierTypeError, RectifierValueError) as error:
        raise type(error)(str(error).replace("check_weights:", "load_weights:")) from error
    try:
        note = json.loads(told) if isinstance(told, str) else {}
    except (ValueError, RecursionError):
        note = {}
    return state, note if isinstance(note, dict) else {}


def _safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    from safetensors import safe_open

    tensorfile.read(path)  # its refusals are those of a check
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get(KEY)  # noqa: SIM118
