"""What is said where Keras, its backend, or a backend that we know is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TRIED = """
import sys
for hidden in {hidden!r}:
    sys.modules[hidden] = None
try:
    import rectifier.keras
except (ModuleNotFoundError, ValueError) as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("backend", "hidden", "message"),
    [
        (
            "jax",
            ["keras"],
            'rectifier.keras: `keras` must be installed; it was not found. Run: pip install "rectifier[keras]"',
        ),
        (
            "jax",
            ["jax"],
            "rectifier.keras: `jax`, on which Keras is set to run, must be installed; it was not found. "
            'Run: pip install "rectifier[jax]", or set KERAS_BACKEND to one that is installed.',
        ),
        (
            "numpy",
            [],
            "rectifier.keras: the backend of Keras must be 'torch', 'jax' or 'tensorflow'; got 'numpy'. "
            "Set the environment variable KERAS_BACKEND before Keras is imported.",
        ),
    ],
    ids=["keras", "backend", "unknown"],
)
def test_what_is_missing_is_named(backend: str, hidden: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIED.format(hidden=hidden)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    assert done.stdout == message + "\n"
