"""Layers with the defaults of another framework: ``like="keras"`` and so on, from the rows of the family."""

from __future__ import annotations

from typing import Any

from ._family import FRAMEWORKS, family
from .errors import RectifierValueError

__all__ = ["Left", "LeftInt", "preset"]


class Left(float):
    """A default: by its type it is told from the same number given by hand."""


class LeftInt(int):
    """The same for a whole number."""


def preset(layer: str, row: str, like: str | None, **given: Any) -> list[Any]:
    """The arguments of a layer, those left out taken from a framework's defaults where ``like`` names one."""
    left = {name for name, value in given.items() if isinstance(value, (Left, LeftInt))}
    defaults = {name: float(v) if isinstance(v, Left) else int(v) for name, v in given.items() if name in left}
    if like is None:
        return list((given | defaults).values())
    if like not in FRAMEWORKS:
        raise RectifierValueError(
            f"{layer}: `like` must be one of {', '.join(FRAMEWORKS)}; got {like!r}. Pass for instance like='keras'."
        )
    presets = family[row].presets
    if like not in presets:
        raise RectifierValueError(
            f"{layer}: `like` must name a framework that has a default for this function; got {like!r}, which has "
            f"none. Pass one of {', '.join(presets)}, or the parameters themselves."
        )
    for name, value in presets[like].items():
        if (name in left) is (value is None):
            rule = (
                f"must be given together with `{name}`, which {like} takes from the shape of its input; got none"
                if value is None
                else f"must be given without `{name}`, which it sets to {value:g}; got both"
            )
            cure = f"Pass {name} too." if value is None else "Leave one of them out."
            raise RectifierValueError(f"{layer}: `like` {rule}. {cure}")
    return list((given | defaults | {name: v for name, v in presets[like].items() if v is not None}).values())
