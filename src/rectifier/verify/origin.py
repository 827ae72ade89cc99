"""Where a proof comes from: code, libraries, machine and question. Results of two origins are never put together."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from .. import _machine, _native
from ..errors import RectifierValueError
from .plan import Case
from .records import Proof
from .subjects import Subject

__all__ = ["code", "machine", "question", "refuse_another", "versions"]


#: Distributions whose versions are told.
_TOLD = (
    "rectifier",
    "numpy",
    "ml_dtypes",
    "mpmath",
    "torch",
    "scipy",
    "jax",
    "tensorflow",
    "keras",
    "onnx",
    "onnxruntime",
)


def machine() -> str:
    return f"{_machine.processor()}, {os.cpu_count()} cores, {platform.system()}"


def versions() -> dict[str, str]:
    return _machine.versions(_TOLD)


def code() -> str:
    """A digest of every source file and native module of the package: a version stays the same while code changes."""
    native = Path(_native.__file__)
    package = Path(__file__).parents[1]
    files = {path for path in package.rglob("*.py") if "__pycache__" not in path.parts}
    # An editable install may keep the native modules elsewhere.
    files |= {path for path in native.parent.iterdir() if path.suffix == native.suffix}
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: (path.name, path)):
        digest.update(f"{path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def question(cases: Sequence[Case], who: Sequence[Subject], seed: int) -> str:
    """A digest of what is asked: each case, each subject, the seed, the instruction set that gradients run on."""
    asked = (tuple(cases), tuple(subject.name for subject in who), seed, _native.isa())
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def refuse_another(proof: Proof, path: str, cases: Sequence[Case], who: Sequence[Subject], seed: int = 0) -> None:
    """Raise RectifierValueError where a run of these cases and subjects could not go on with the proof."""
    pairs = {
        "code": (proof.code, code()),
        "versions": (proof.versions, versions()),
        "machine": (proof.machine, machine()),
        "options": (proof.question, question(cases, who, seed)),
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise RectifierValueError(
                "verify: `--resume` must go on with a record of the same code, versions, machine and options; "
                f"got {path!r}, which differs in its {what}. Add --force to begin anew."
            )
