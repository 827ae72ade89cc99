"""Names: of the layers of a model, and of the sites, one a call."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["Turns", "layers_of", "named"]


def layers_of(layer: Any) -> list[Any]:
    """The layers that it holds itself, in order."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def named(model: Any) -> dict[str, Any]:
    """Qualified name (``"encoder.dense_1"``, the model itself is ``""``) → layer; each once, under its first name."""
    found: dict[str, Any] = {"": model}
    met = {id(model)}

    def walk(prefix: str, layer: Any) -> None:
        for child in layers_of(layer):
            if id(child) in met:
                continue
            met.add(id(child))
            name = base = f"{prefix}.{child.name}" if prefix else child.name
            n = 1
            while name in found:
                n += 1
                name = f"{base}_{n}"
            found[name] = child
            walk(name, child)

    walk("", model)
    return found


class Turns:
    """How often each label was called in a pass."""

    def __init__(self) -> None:
        self._turns: Counter[str] = Counter()

    def start(self) -> None:
        self._turns.clear()

    def of(self, label: str, *, call: bool) -> str:
        """Name of the site: ``"block.relu#0"`` for a call, ``"re_lu"`` and then ``"re_lu@1"`` for a layer."""
        n = self._turns[label]
        self._turns[label] += 1
        return f"{label}#{n}" if call else label if n == 0 else f"{label}@{n}"
