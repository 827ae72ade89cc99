"""Names from a file of a stranger's: shown so that they can neither break a page or a terminal nor fill it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["listed", "printable", "shown", "unique"]

#: Characters of a name that are shown: its beginning and its end, which says "weight" or "bias".
_HEAD, _TAIL = 72, 40


def shown(name: str) -> str:
    """``name`` cut to length, every character that is not printed (control, direction, half of a pair) as its escape.

    >>> shown("conv1.weight"), shown("a\\x1b[31m\\n"), shown("\\ud800")
    ('conv1.weight', 'a\\\\x1b[31m\\\\n', '\\\\ud800')
    >>> shown("x" * 10_000_000 + ".weight")[70:]
    'xx…(10000007 characters)…xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.weight'
    """
    cut = len(name) > _HEAD + _TAIL + 24
    parts = (name[:_HEAD], name[-_TAIL:]) if cut else (name,)
    plain = [part if part.isprintable() else "".join(map(_escaped, part)) for part in parts]
    return f"{plain[0]}…({len(name)} characters)…{plain[1]}" if cut else plain[0]


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def printable(text: str) -> str:
    """A text of several lines with what would steer a terminal as escapes; lines and tabs stay.

    >>> printable("layer \\x1b[2J")
    'layer \\\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(letter) if letter not in "\n\t" and unicodedata.category(letter)[0] == "C" else letter
        for letter in text
    )


def unique(names: Iterable[str]) -> dict[str, str]:
    """name → how it is shown, no two alike."""
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    found = {}
    for name in names:
        text = plain = shown(name)
        while text in taken:  # in front: the end says which part of a layer it is
            numbers[plain] = numbers.get(plain, 1) + 1
            text = f"#{numbers[plain]} {plain}"
        taken.add(text)
        found[name] = text
    return found


def listed(names: Iterable[str], limit: int = 6) -> str:
    """The first of many names, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
