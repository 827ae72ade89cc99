"""Who is asked, and for what: one candidate a library and way of running it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._choices import choices
from .._family import family
from ..errors import RectifierValueError

__all__ = ["CANDIDATES", "DTYPES", "FRAMEWORKS", "FUNCTIONS", "SAMPLES", "Candidate", "Plan", "make_plan", "missing"]

#: In which errors are measured; the first without being asked.
DTYPES = ("float32", "float64", "float16", "bfloat16")
#: Inputs of one function, value or derivative, and dtype.
SAMPLES = 100_000
FUNCTIONS = tuple(name for name, row in family.items() if not row.comparison)


@dataclass(frozen=True)
class Framework:
    """What may be asked for by name."""

    modules: tuple[str, ...]
    extra: str
    """The extra of rectifier's that brings it."""


FRAMEWORKS = {
    "rectifier": Framework((), ""),
    "numpy": Framework((), ""),
    "scipy": Framework(("scipy",), "frameworks"),
    "torch": Framework(("torch",), "torch"),
    "torch-compiled": Framework(("torch",), "torch"),
    "tensorflow": Framework(("tensorflow",), "tensorflow"),
    "keras": Framework(("keras",), "keras"),
    "jax": Framework(("jax",), "jax"),
    "onnxruntime": Framework(("onnxruntime", "onnx"), "frameworks"),
}


@dataclass(frozen=True)
class Candidate:
    """One library, in one way of running it."""

    label: str
    framework: str
    peer: str
    """The file of :mod:`rectifier.peers` that knows how to call it."""
    way: str
    process: str
    """Those of one name share a process, whose Keras runs on it. What loads TensorFlow must not load Triton, too."""
    ours: str | None = None
    """Whose functions are called in the peer's way instead of the peer's own: a module of rectifier's."""
    needs: str = ""
    """A module that it needs beside its framework's."""


def _keras(title: str, process: str) -> Candidate:
    return Candidate(f"Keras on {title}", "keras", "keras", "Keras", process, needs=process)


def _ours(way: str, process: str, suffix: str = "") -> Candidate:
    module = f"rectifier.{process}"
    return Candidate(f"{module}{suffix}", "rectifier", process, way, process, module, process)


#: In the order of tables: ours first, and first of all what the others are held against.
CANDIDATES = (
    Candidate("rectifier", "rectifier", "ours", "rectifier", "numpy"),
    _ours("PyTorch", "torch"),
    _ours("JAX", "jax"),
    _ours("TensorFlow", "tensorflow"),
    _ours("TensorFlow XLA", "tensorflow", " XLA"),
    Candidate("NumPy idiom", "numpy", "numpy", "NumPy idiom", "numpy"),
    Candidate("NumPy, copied often", "numpy", "numpy", "NumPy idiom, copied often", "numpy"),
    Candidate("SciPy", "scipy", "scipy", "SciPy", "numpy"),
    Candidate("PyTorch", "torch", "torch", "PyTorch", "torch"),
    Candidate("PyTorch compiled", "torch-compiled", "torch", "PyTorch compiled", "torch compiled"),
    Candidate("TensorFlow", "tensorflow", "tensorflow", "TensorFlow", "tensorflow"),
    Candidate("TensorFlow function", "tensorflow", "tensorflow", "TensorFlow function", "tensorflow"),
    Candidate("TensorFlow XLA", "tensorflow", "tensorflow", "TensorFlow XLA", "tensorflow"),
    _keras("TensorFlow", "tensorflow"),
    _keras("JAX", "jax"),
    _keras("PyTorch", "torch"),
    Candidate("JAX", "jax", "jax", "JAX", "jax"),
    Candidate("ONNX Runtime", "onnxruntime", "onnxruntime", "ONNX Runtime", "numpy"),
)


@dataclass(frozen=True)
class Plan:
    """What a run measures."""

    functions: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    dtypes: tuple[str, ...]
    samples: int
    """0: errors are not measured."""
    absent: tuple[str, ...]
    """What is not installed, each with how to install it."""


def make_plan(
    names: Iterable[str] = (),
    *,
    frameworks: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    samples: int = SAMPLES,
) -> Plan:
    """The plan for what is asked.

    names: functions of the family, all ten without. frameworks: keys of :data:`FRAMEWORKS`, all that are installed
    without; rectifier's own functions on NumPy arrays, and in the frameworks named, are beside them. dtypes: in which
    errors are measured, float32 without. samples: inputs of each error; 0 measures none.
    Raises RectifierValueError for an unknown function, framework or dtype, and for a framework that is named and not
    installed.
    """
    functions = choices("compare", "NAME", names, FUNCTIONS) or FUNCTIONS
    named = choices("compare", "--framework", frameworks, tuple(FRAMEWORKS))
    absent = {key: module for key in FRAMEWORKS if (module := missing(FRAMEWORKS[key].modules))}
    for key in named:
        if key in absent:
            raise RectifierValueError(
                f"compare: `--framework` must be installed; got {key!r}, without {absent[key]}. "
                f"Run: {_install(FRAMEWORKS[key].extra)}"
            )
    there = [
        candidate
        for candidate in CANDIDATES
        if candidate.framework not in absent and not missing([candidate.needs] if candidate.needs else [])
    ]
    asked = [candidate for candidate in there if not named or candidate.framework in named]
    # What the others are held against, and ours in the frameworks that are asked for.
    beside = {CANDIDATES[0].process, *(candidate.process for candidate in asked)}
    chosen = tuple(c for c in there if c in asked or (c.framework == "rectifier" and c.process in beside))
    told = tuple(
        f"{key}: {module} is not installed; run: {_install(FRAMEWORKS[key].extra)}"
        for key, module in absent.items()
        if not named
    )
    return Plan(functions, chosen, choices("compare", "--dtype", dtypes, DTYPES) or DTYPES[:1], samples, told)


def _install(extra: str) -> str:
    return f'pip install "rectifier[{extra}]"'


def missing(modules: Iterable[str]) -> str | None:
    """The first of these that is not installed."""
    return next((module for module in modules if importlib.util.find_spec(module) is None), None)
