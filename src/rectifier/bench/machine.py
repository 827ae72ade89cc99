"""What a figure must be told with: the processor, the instruction set in use, versions and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from .. import _native
from .._machine import processor, versions

__all__ = ["available_memory", "cores", "machine"]

#: Distributions whose versions are told.
_TOLD = (
    "rectifier",
    "numpy",
    "scipy",
    "torch",
    "jax",
    "tensorflow",
    "tensorflow-cpu",
    "onnxruntime",
)


def machine() -> dict[str, str]:
    """Processor, cores, instruction set, system, Python, the versions of what is installed, and the commit if known."""
    told = {
        "processor": processor(),
        "cores": str(cores()),
        "instruction set": _native.isa(),
        "system": platform.system(),
        **{name.removesuffix("-cpu"): number for name, number in versions(_TOLD).items()},
    }
    commit = _commit()
    return told if commit is None else {**told, "commit": commit}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that can still be used without swapping, by the system and by the control group; None: not known."""
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        group = Path("/sys/fs/cgroup")
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # another system; no control group; no limit ("max")
        pass
    return min(limits, default=None)


def _commit() -> str | None:
    """The commit of the checkout that this package is imported from; None where it is not from one."""
    package = Path(__file__).resolve().parents[1]
    try:
        root = _git(package, "rev-parse", "--show-toplevel")
        # An installed package may lie in a folder of somebody else's repository.
        if Path(root) / "src" / "rectifier" != package:
            return None
        return _git(package, "describe", "--always", "--dirty", "--exclude", "*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
