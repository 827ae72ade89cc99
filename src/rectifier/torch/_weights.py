"""``save_weights`` and ``load_weights``: a healed or pruned model's file, and a model made to fit it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from ..checkup.records import Receipt
from ..frameworks.torch import written

__all__ = ["load_weights", "save_weights"]


def save_weights(
    model: nn.Module, path: str | Path, receipts: Receipt | Iterable[Receipt] = (), *, force: bool = False
) -> Path:
    """Write a model's weights with what was done to them, for :func:`load_weights`.

    model: healed or pruned (any other as well).
    path: the new file, ``.safetensors``, ``.pt`` or ``.pth``.
    receipts: what ``heal`` or ``prune`` returned; kept in the file as JSON, as metadata of a safetensors file, else
        under the key "rectifier" beside "state_dict".
    force: True to replace a file that exists.

    Returns the path. Raises RectifierValueError where the file exists or could not be written.
    """
    several = (receipts,) if isinstance(receipts, Receipt) else receipts
    return written.save(model, path, {"acts": [receipt.to_dict() for receipt in several]}, force=force)


def load_weights(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load weights into the model that they were pruned from: its layers shrink to the sizes in the file.

    Nothing in the file is run. Tied parameters stay tied; parameters that shrink are new objects, so that an optimizer
    must be made afterwards. A swap is not repeated: swap first, with what the note says.

    model: built as before it was healed or pruned; changed in place, only where the whole file fits.
    path: a file that :func:`save_weights`, ``rectifier heal`` or ``rectifier prune`` wrote, or any state dict.

    Returns the note of the file, ``{"acts": [...], ...}``, or ``{}``. Raises RectifierTypeError or RectifierValueError
    for a file that cannot be read or is of another model.

    >>> import torch, rectifier, tempfile, pathlib
    >>> import rectifier.torch as rt
    >>> def build():
    ...     return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> net, x = build(), torch.rand(8, 2)
    >>> with torch.no_grad():
    ...     _ = net[0].bias.copy_(torch.tensor([9.0, -9.0, 9.0]))
    >>> receipt = rectifier.prune(net, rectifier.check(net, [x]), probe=x)
    >>> file = rt.save_weights(net, pathlib.Path(tempfile.mkdtemp()) / "pruned.safetensors", receipt)
    >>> again = build()
    >>> note = rt.load_weights(again, file)
    >>> again[0].out_features, note["acts"][0]["units"], bool((again(x) == net(x)).all())
    (2, [1], True)
    """
    return written.load(model, path)
