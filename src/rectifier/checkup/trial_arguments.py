"""What ``trial`` accepts: remedies, batches and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .._family import family
from ..errors import RectifierTypeError, RectifierValueError
from ._check import check_common
from .records import Record

__all__ = [
    "CLIP",
    "NOTHING",
    "RECYCLE",
    "RESCALE",
    "Remedy",
    "check_arguments",
    "check_batches",
    "check_source",
    "chosen_remedies",
]

Remedy = Callable[[Any, Any, Record], Any]
NOTHING, RECYCLE, RESCALE, CLIP = "nothing", "recycle", "rescale", "clip gradients"
#: Rectifiers that a swap may put in place, by name.
_SWAPS = tuple(name for name, row in family.items() if row.layer is not None)


def chosen_remedies(remedies: Any) -> dict[str, Remedy | None]:
    given = [remedies] if isinstance(remedies, str) else remedies
    found: dict[str, Remedy | None] = {NOTHING: None}
    for item in given if isinstance(given, Iterable) else [given]:
        if isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str) and callable(item[1]):
            found[item[0]] = item[1]
        elif isinstance(item, str) and item in (NOTHING, RECYCLE, RESCALE, CLIP, *_SWAPS):
            found[item] = None
        else:
            got = repr(item) if isinstance(item, str) else type(item).__name__
            raise RectifierValueError(
                f"trial: `remedies` must be among {NOTHING}, {RECYCLE}, {RESCALE}, {CLIP}, {', '.join(_SWAPS)}, or "
                f"pairs (name, function); got {got}. A smaller step is tried with every remedy: see `smaller`."
            )
    return found


def check_arguments(loss: Any, score: Any, steps: Any, repeats: Any, smaller: Any, clip: Any, seed: Any) -> None:
    for name, value in (("loss", loss), ("score", score)):
        if not callable(value) and not (name == "score" and value is None):
            raise RectifierTypeError(
                f"trial: `{name}` must be called as {name}(outputs, targets); got {type(value).__name__}. "
                "Pass for instance torch.nn.functional.cross_entropy."
            )
    for name, value in (("steps", steps), ("repeats", repeats)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise RectifierValueError(
                f"trial: `{name}` must be a whole number, at least 1; got {value!r}. Pass for instance 5."
            )
    if smaller is not None and not (_number(smaller) and 0 < smaller < 1):
        raise RectifierValueError(
            f"trial: `smaller` must be a share of the step size, between 0 and 1, or None; got {smaller!r}. "
            "Pass for instance 0.1."
        )
    if not (_number(clip) and 0 < clip < math.inf):
        raise RectifierValueError(f"trial: `clip` must be a norm above 0; got {clip!r}. Pass for instance 1.0.")
    if seed is None:
        raise RectifierValueError("trial: `seed` must be a whole number; got None. Pass a number such as 0.")
    check_common("trial", seed, None)


def check_source(data: Any, name: str) -> None:
    if not isinstance(data, Iterable):
        raise RectifierTypeError(
            f"trial: `{name}` must be an iterable of batches (inputs, targets); got {type(data).__name__}. "
            "Pass a list of batches or a DataLoader."
        )
    if isinstance(data, Iterator):
        raise RectifierValueError(
            f"trial: `{name}` must start anew each time it is iterated; got a {type(data).__name__}, which is used up "
            "after one time. Pass a list of batches or a DataLoader."
        )


def check_batches(batches: list[Any], name: str = "data") -> None:
    if not batches:
        raise RectifierValueError(
            f"trial: `{name}` must yield batches (inputs, targets); got none from it. Pass a list of batches or a "
            "DataLoader that is not empty."
        )
    wrong = next((batch for batch in batches if not isinstance(batch, (tuple, list)) or len(batch) != 2), None)
    if wrong is not None:
        raise RectifierTypeError(
            f"trial: `{name}` must yield pairs (inputs, targets); got {type(wrong).__name__}. "
            "Wrap them, such as ((a, b), targets)."
        )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
