"""What was found: frozen, and written as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._family import family
from ..errors import RectifierValueError

__all__ = ["Proof", "Result", "promised"]

FORMAT = "rectifier-verify/1"


def promised(function: str, kind: str, dtype: str, default: bool) -> float:
    """The largest error promised, in ulp; 0.5 says: correctly rounded, every one."""
    if kind == "inverse":
        return 1.0 if default or dtype != "float64" else 2.0
    if default:
        return family[function].error_bound[dtype]
    return 2.0 if dtype == "float64" else 0.501


@dataclass(frozen=True)
class Result:
    """One function, kind and dtype, as one subject computed it."""

    function: str
    kind: str
    dtype: str
    subject: str
    """Who computed: an instruction set of the kernels, "torch gradient", or a peer."""
    parameter: float | None
    """Value of its parameter; None where it has none."""
    default: bool
    visited: int
    exhaustive: bool
    """Every bit pattern of the dtype was visited."""
    misrounded: int
    """Results that are not the correctly rounded value."""
    max_error: float
    """In ulp; infinite where NaN, an infinity or the sign of a zero is wrong."""
    worst_input: float
    worst_result: float
    near_ties: int
    """Inputs that only arithmetic of any precision could decide."""
    ties: tuple[float, ...]
    """The first of these."""
    promise: float | None
    """Largest error promised, in ulp (0.5: correctly rounded); None for a peer."""
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether the promise held."""
        if self.promise is None:
            return True
        return self.misrounded == 0 if self.promise == 0.5 else self.max_error <= self.promise

    def to_dict(self) -> dict[str, Any]:
        # JSON knows neither infinity nor hexadecimal floats; the input must come back to the bit.
        plain = asdict(self)
        for name in ("max_error", "worst_input", "worst_result"):
            value = plain[name]
            plain[name] = value if math.isfinite(value) else str(value)
        plain["worst_input_hex"] = float(self.worst_input).hex()
        plain["ties"] = [tie.hex() for tie in self.ties]
        return {**plain, "kept": self.kept}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Result:
        fields = {name: plain[name] for name in cls.__dataclass_fields__}
        for name in ("max_error", "worst_input", "worst_result"):
            fields[name] = float(fields[name])
        fields["ties"] = tuple(float.fromhex(tie) for tie in fields["ties"])
        return cls(**fields)


@dataclass(frozen=True)
class Proof:
    """All results of one run, and what it ran on."""

    results: tuple[Result, ...]
    absent: tuple[str, ...]
    """Subjects asked for that are not installed, each with the reason."""
    machine: str
    versions: dict[str, str]
    seconds: float
    pending: tuple[str, ...] = ()
    """Labels of the cases not judged yet, where the run was cut short."""
    code: str = ""
    """A digest of the code that was judged and that judged (see :mod:`.origin`); empty in old records."""
    question: str = ""
    """A digest of what was asked."""

    @property
    def broken(self) -> tuple[Result, ...]:
        """The results that broke a promise."""
        return tuple(result for result in self.results if not result.kept)

    def to_json(self) -> str:
        plain = {
            "format": FORMAT,
            "machine": self.machine,
            "versions": self.versions,
            "seconds": round(self.seconds, 1),
            "absent": list(self.absent),
            "code": self.code,
            "question": self.question,
            "pending": list(self.pending),
            "results": [result.to_dict() for result in self.results],
        }
        return json.dumps(plain, indent=1)

    @classmethod
    def read(cls, path: Path) -> Proof:
        """The proof in a file. Raises RectifierValueError where the file holds none."""
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            if plain["format"] != FORMAT:
                raise ValueError(plain["format"])
            return cls(
                results=tuple(Result.from_dict(result) for result in plain["results"]),
                absent=tuple(plain["absent"]),
                machine=plain["machine"],
                versions=plain["versions"],
                seconds=plain["seconds"],
                # Records of before cannot be gone on with; they are read all the same.
                pending=tuple(plain.get("pending", ())),
                code=plain.get("code", ""),
                question=plain.get("question", ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RectifierValueError(
                f"verify: `path` must be a file written with verify --json; got {str(path)!r}. "
                "Make one with: rectifier verify --json FILE"
            ) from error

    @staticmethod
    def joined(proofs: Iterable[Proof]) -> Proof:
        """Several runs as one; the machine and versions are the first one's."""
        every = tuple(proofs)
        return Proof(
            results=tuple(result for proof in every for result in proof.results),
            absent=tuple(dict.fromkeys(reason for proof in every for reason in proof.absent)),
            machine=every[0].machine,
            versions=every[0].versions,
            seconds=sum(proof.seconds for proof in every),
            pending=tuple(label for proof in every for label in proof.pending),
        )
