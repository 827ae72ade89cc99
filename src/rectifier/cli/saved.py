"""Saved weights as the TARGET of ``rectifier check``: telling them from a function, and which options go with which."""

from __future__ import annotations

import os
from pathlib import Path

from ..checkup.records import Record
from ..errors import RectifierValueError

__all__ = ["examined", "refuse_unused", "saved_weights", "weights_read"]


def saved_weights(target: str) -> bool:
    """Is this the path of weights, rather than the name of a function?"""
    from ..checkup.weights.folder import ENDINGS

    if target.lower().endswith(ENDINGS):
        return True
    try:
        return Path(target).is_dir() or (Path(target).is_file() and not target.endswith(".py"))
    except (OSError, ValueError):  # no name of a file: the search for a function says what is wrong
        return False


def weights_read(target: str, against: str | None) -> dict[str, str]:
    """The files of these weights → what they are: no output may take their place."""
    from ..checkup.weights.folder import ENDINGS

    kept = (*ENDINGS, "config.json", ".index.json")
    found = {place: "weights that are read" for place in (target, against) if place is not None}
    for folder in tuple(found):
        if Path(folder).is_dir() and os.access(folder, os.R_OK):
            parts = (str(part) for part in Path(folder).iterdir())
            found |= {part: "weights that are read" for part in parts if part.lower().endswith(kept)}
    return found


def examined(target: str, against: str | None, values: int | None) -> Record:
    """The record of these weights; errors are told in words of the command line."""
    from ..checkup import check_weights

    try:
        return check_weights(target, against=against, values=values)
    except RectifierValueError as error:
        text = str(error).replace("check_weights: `path`", "check: `TARGET`")
        raise RectifierValueError(text.replace("check_weights: `against`", "check: `--against`")) from error


def refuse_unused(
    saved: bool, *, against: str | None, values: int | None, certificate: str | None, seed: int | None
) -> None:
    """Refuse the options that would do nothing."""
    of_weights = {"--against": against, "--values": values}
    of_functions = {"--certificate": certificate, "--seed": seed}
    for option, value in (of_functions if saved else of_weights).items():
        if value is not None:
            rule, kind = ("a function", "saved weights") if saved else ("saved weights", "a function")
            raise RectifierValueError(
                f"check: `{option}` must come with {rule} as TARGET; got {kind}, for which it does nothing. "
                "Leave it out."
            )
