"""What was found, as JSON: one line a function and candidate, so that a change is seen in a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RectifierValueError

__all__ = ["FORMAT", "Comparison", "Measured"]

FORMAT = "rectifier-compare/1"


@dataclass
class Measured:
    """One function, as one candidate has it. Numbers at points are texts of six digits, as JSON knows no NaN."""

    function: str
    framework: str
    candidate: str
    defaults: dict[str, dict[str, float | str] | None] = field(default_factory=dict)
    """Where users find it → argument → default; None: it is not there (any more)."""
    preset: dict[str, float | None] | None = None
    """The arguments of our layer that give what it does as it comes; None: it has no such defaults."""
    probes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Kind ("value", "derivative") → point ("nan", "0", "-0", "inf", "-inf", "6") → results; several where they depend
    on the position in the array."""
    subnormals: dict[str, dict[str, str]] = field(default_factory=dict)
    """Kind → "read" (inputs), "written" (results) → "all", "some" or "none" are kept; absent where it cannot show."""
    errors: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """dtype → kind → ``ulp`` (the largest error; 0.5: correctly rounded, in float64 the bits of our kernels), ``x``,
    ``got``, ``relative``, ``misrounded`` (share of the results); or ``problem``."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """dtype → that of the results, or "refused"."""
    problems: dict[str, str] = field(default_factory=dict)
    """Kind → what the framework said instead of a result."""


@dataclass(frozen=True)
class Comparison:
    """All that one run found."""

    measured: tuple[Measured, ...]
    failed: Mapping[str, str]
    """Candidate → how its process ended before it was through."""
    absent: tuple[str, ...]
    versions: Mapping[str, str]
    machine: str
    date: str
    samples: int
    seconds: float

    def of(self, function: str) -> tuple[Measured, ...]:
        return tuple(one for one in self.measured if one.function == function)

    @property
    def functions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.function for one in self.measured))

    def to_json(self) -> str:
        lines = ",\n".join(
            f"  {json.dumps({k: v for k, v in asdict(one).items() if v}, ensure_ascii=False)}" for one in self.measured
        )
        head = {
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": dict(self.versions),
            "samples": self.samples,
            "seconds": round(self.seconds, 1),
            "absent": list(self.absent),
            "failed": dict(self.failed),
        }
        opened = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
        return f'{opened},\n "measured": [\n{lines}\n ]\n}}'

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Raises ValueError, KeyError or TypeError where the text is no such record."""
        plain = json.loads(text)
        if plain.pop("format") != FORMAT:
            raise ValueError("another format")
        rows = tuple(Measured(**row) for row in plain.pop("measured"))
        return cls(measured=rows, **{**plain, "absent": tuple(plain["absent"])})

    @classmethod
    def read(cls, path: Path) -> Comparison:
        """The comparison in a file. Raises RectifierValueError where the file holds none."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RectifierValueError(
                f"compare: `path` must be a file written with compare --json; got {str(path)!r}. "
                "Make one with: rectifier compare --json FILE"
            ) from error
