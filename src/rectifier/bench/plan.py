"""What is timed: functions, kinds, dtypes, sizes, numbers of threads, peers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from .._choices import choices
from .._family import family
from ..errors import RectifierValueError
from .machine import available_memory, cores
from .peers import MODULES

__all__ = ["DTYPES", "KINDS", "SIZES", "Plan", "make_plan", "parse_size", "size_text"]

#: The first two are timed by default, all of them in a full run; the same for the kinds and the sizes.
DTYPES = ("float32", "bfloat16", "float16", "float64")
KINDS = ("value", "backward")
SIZES = (1 << 10, 1 << 17, 1 << 22, 1 << 26)
MORE_SIZES = (1 << 14, 1 << 20)
THREADS = (1, 2)
#: Seconds of timing for one function, kind, dtype, size and number of threads.
SECONDS = 1.0

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
#: Arrays alive at once: x, the result, a gradient, one's own copy of each for two frameworks, an idiom's temporaries.
_ARRAYS = 9


@dataclass(frozen=True)
class Plan:
    """What a run times; its product is small enough to be listed whole."""

    functions: tuple[str, ...]
    kinds: tuple[str, ...]
    dtypes: tuple[str, ...]
    sizes: tuple[int, ...]
    threads: tuple[int, ...]
    peers: tuple[str, ...]
    seconds: float

    @property
    def cells(self) -> int:
        """How many tables' columns there are."""
        return len(self.functions) * len(self.kinds) * len(self.dtypes) * len(self.sizes) * len(self.threads)

    @property
    def estimate(self) -> float:
        """Seconds the run will take, roughly: a large array's few rounds take longer than the time given to a cell."""
        many = len(self.functions) * len(self.kinds) * len(self.dtypes) * len(self.threads)
        candidates = 4 + 2 * len(self.peers)
        long = sum(max(self.seconds, size * candidates * 1e-8) + 1.0 for size in self.sizes)
        return 15.0 * len(self.threads) + many * long

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def make_plan(
    names: Iterable[str] = (),
    *,
    dtypes: Sequence[str] = (),
    sizes: Sequence[str] = (),
    threads: Sequence[str] = (),
    kinds: Sequence[str] = (),
    peers: Sequence[str] = (),
    full: bool = False,
    seconds: float = SECONDS,
) -> Plan:
    """The plan for what is asked; what is left out is chosen by default, and more of it with ``full``.

    names: functions of the family, all without. sizes: counts of values such as "128K". peers: keys of
    ``peers.MODULES``; those not installed are listed in the result.
    Raises RectifierValueError for a name, dtype, size, thread count, kind or peer that is unknown or cannot be used.
    """
    chosen_sizes = tuple(dict.fromkeys(map(parse_size, sizes)))
    if not chosen_sizes:
        chosen_sizes = tuple(sorted(SIZES + MORE_SIZES)) if full else SIZES
    plan = Plan(
        functions=choices("bench", "NAME", names, tuple(family)) or tuple(family),
        kinds=choices("bench", "--kind", kinds, KINDS) or (KINDS if full else KINDS[:1]),
        dtypes=_dtypes(dtypes, full),
        sizes=chosen_sizes,
        threads=_thread_counts(threads),
        peers=choices("bench", "--peer", peers, tuple(MODULES)) or tuple(MODULES),
        seconds=seconds,
    )
    _refuse_too_large(plan)
    return plan


def parse_size(text: str) -> int:
    """A count of values: "1000", "128K" (of 1024), "64M".

    >>> parse_size("128K")
    131072
    """
    number, unit = (text[:-1], _UNITS[text[-1].upper()]) if text[-1:].upper() in _UNITS else (text, 1)
    if not (number.isascii() and number.isdigit()) or not 1 <= int(number) * unit <= 1 << 34:
        raise RectifierValueError(
            f"bench: `--size` must be counts of values from 1 to 16G; got {text!r}. Write them as 1K,128K,4M,64M."
        )
    return int(number) * unit


def size_text(values: int) -> str:
    """
    >>> size_text(131072), size_text(1000)
    ('128 K', '1000')
    """
    for unit, factor in reversed(_UNITS.items()):
        if values % factor == 0:
            return f"{values // factor} {unit}"
    return str(values)


def _dtypes(given: Sequence[str], full: bool) -> tuple[str, ...]:
    chosen = choices("bench", "--dtype", given, DTYPES) or (DTYPES if full else DTYPES[:2])
    if importlib.util.find_spec("ml_dtypes") is not None:
        return chosen
    if "bfloat16" in given:
        raise RectifierValueError(
            "bench: `--dtype` bfloat16 needs ml_dtypes; it is not installed. Run: pip install ml_dtypes"
        )
    return tuple(name for name in chosen if name != "bfloat16")


def _thread_counts(given: Sequence[str]) -> tuple[int, ...]:
    most = cores()
    for text in given:
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
            raise RectifierValueError(
                f"bench: `--threads` must be whole numbers from 1 to {most}, the cores there are; got {text!r}. "
                "Leave it out for the usual."
            )
    return tuple(dict.fromkeys(map(int, given))) or tuple(count for count in THREADS if count <= most)


def _refuse_too_large(plan: Plan) -> None:
    largest = max(plan.sizes)
    needed = largest * max(_BYTES[dtype] for dtype in plan.dtypes) * _ARRAYS
    available = available_memory()
    if available is not None and needed > available:
        fits = available // (max(_BYTES[dtype] for dtype in plan.dtypes) * _ARRAYS)
        raise RectifierValueError(
            f"bench: `--size` must leave room for some {_ARRAYS} arrays, of which {available / 2**30:.1f} GiB are "
            f"there; got {size_text(largest)}, which needs {needed / 2**30:.1f} GiB. "
            f"Pass smaller ones, up to {max(1, fits)}."
        )
