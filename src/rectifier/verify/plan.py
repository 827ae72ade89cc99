"""What is judged: one case a function, kind, dtype and parameter; and with which subjects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from .. import _native, oracle
from .._family import family
from ..errors import RectifierValueError

__all__ = [
    "DTYPES",
    "KINDS",
    "SAMPLE",
    "Case",
    "known_dtypes",
    "known_functions",
    "known_isas",
    "known_kinds",
    "make_plan",
]

DTYPES = ("float32", "float16", "bfloat16", "float64")
KINDS = ("value", "derivative", "slope_derivative", "inverse")
#: Inputs of a case of float32 or float64 unless told; 16-bit dtypes are always visited whole.
SAMPLE = 100_000
#: Sampled in an exhaustive run where not every input can be visited: float64, and float32 at other parameters.
LARGE_SAMPLE = 1_000_000

#: Other than the defaults: small, large, and no power of two; a slope that is negative, zero, above one.
OTHERS = {
    "negative_slope": (0.3, -1.0, 0.0, 5.0),
    "alpha": (0.1, 2.5, 1e3),
    "beta": (0.01, 3.3, 100.0),
    "ceiling": (0.3, 1e3),
    "at_zero": (0.5, 1.0),
}


@dataclass(frozen=True)
class Case:
    """Results of one kernel to be judged. ``function`` is the kernel's name: prelu is leaky_relu."""

    function: str
    kind: oracle.Kind
    dtype: str
    parameter: float | None
    default: bool
    count: int | None
    """How many inputs; None: every bit pattern."""

    @property
    def label(self) -> str:
        value = "" if self.default or self.parameter is None else f" {self.parameter:g}"
        return f"{self.function}{value} {self.kind} {self.dtype}"

    @property
    def parameters(self) -> dict[str, float]:
        """The parameter by its name."""
        names = oracle.EXACT[self.function, self.kind][0]
        return {} if self.parameter is None else {names[0]: self.parameter}


def known_functions(names: Iterable[str]) -> tuple[str, ...]:
    """Kernels by the names given, all where none is. Raises RectifierValueError for an unknown one."""
    kernels = tuple(dict.fromkeys(name for name, _ in oracle.EXACT))
    chosen: dict[str, None] = {}
    for name in names:
        key = "leaky_relu" if name == "prelu" else name
        if key not in kernels:
            close = get_close_matches(name, family, n=1, cutoff=0.6)
            cure = f"Did you mean {close[0]!r}? " if close else ""
            raise RectifierValueError(
                f"verify: `NAME` must be a function of the family; got {name!r}. {cure}Known: {', '.join(family)}."
            )
        chosen[key] = None
    return tuple(chosen) or kernels


def known_dtypes(names: Sequence[str]) -> tuple[str, ...]:
    """The dtypes given, all where none is. Raises RectifierValueError for an unknown one, or one that is not there."""
    for name in names:
        if name not in DTYPES:
            raise RectifierValueError(f"verify: `--dtype` must be of {', '.join(DTYPES)}; got {name!r}. Pass float32.")
    chosen = tuple(dict.fromkeys(names)) or DTYPES
    try:
        import ml_dtypes  # noqa: F401
    except ImportError:
        if "bfloat16" in names:
            raise RectifierValueError(
                "verify: `--dtype` bfloat16 needs ml_dtypes; it is not installed. Run: pip install ml_dtypes"
            ) from None
        chosen = tuple(name for name in chosen if name != "bfloat16")
    return chosen


def known_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The kinds given, all where none is. Raises RectifierValueError for an unknown one."""
    for name in names:
        if name not in KINDS:
            raise RectifierValueError(f"verify: `--kind` must be of {', '.join(KINDS)}; got {name!r}. Pass value.")
    return tuple(names) or KINDS


def known_isas(names: Sequence[str]) -> tuple[str, ...]:
    """The instruction sets given, the one in use where none is; ``all``: those this machine has."""
    there = tuple(_native.supported_isas())
    for name in names:
        if name not in (*there, "all"):
            raise RectifierValueError(
                f"verify: `--isa` must be all or one of {', '.join(there)} on this machine; got {name!r}. Leave it out."
            )
    if "all" in names:
        return there
    return tuple(dict.fromkeys(names)) or (_native.isa(),)


def make_plan(
    functions: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    *,
    exhaustive: bool = False,
    sample: int | None = None,
    kinds: Sequence[str] = (),
    others: bool = True,
) -> tuple[Case, ...]:
    """The cases, in the order of tables.

    functions, dtypes, kinds: names; all where empty. exhaustive: every bit pattern of float32 at default parameters.
    sample: inputs of a case where not all are visited. others: also parameters that are not the default.
    Raises RectifierValueError for an unknown name.
    """
    wide = sample or (LARGE_SAMPLE if exhaustive else SAMPLE)
    chosen = known_kinds(kinds)
    cases = []
    for dtype in known_dtypes(dtypes):
        for function in known_functions(functions):
            for kind in (k for f, k in oracle.EXACT if f == function and k in chosen):
                names = oracle.EXACT[function, kind][0]
                default = oracle.DEFAULTS[names[0]] if names else None
                whole = dtype in ("float16", "bfloat16")
                count = None if whole or (exhaustive and dtype == "float32") else wide
                cases.append(Case(function, kind, dtype, default, True, count))
                for value in OTHERS[names[0]] if names and others else ():
                    if kind == "inverse" and value <= 0:
                        continue
                    cases.append(Case(function, kind, dtype, value, False, None if whole else wide))
    if not cases:
        raise RectifierValueError(
            f"verify: nothing to judge: {', '.join(functions)} has no {', '.join(kinds)}. "
            "Name another function, or leave --kind out."
        )
    return tuple(cases)
