"""Names that a verb is given, held against those there are."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from .errors import RectifierValueError

__all__ = ["choices"]


def choices(verb: str, argument: str, given: Iterable[str], there_are: tuple[str, ...]) -> tuple[str, ...]:
    """The names given, each once. Raises RectifierValueError for an unknown one, with the nearest."""
    chosen = tuple(dict.fromkeys(given))
    for name in chosen:
        if name not in there_are:
            close = get_close_matches(name, there_are, n=2, cutoff=0.6)
            cure = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise RectifierValueError(
                f"{verb}: `{argument}` must be of {', '.join(there_are)}; got {name!r}. "
                f"{cure}Leave it out for the usual."
            )
    return chosen
