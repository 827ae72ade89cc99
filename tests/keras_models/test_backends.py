"""Runs the tests in suite/, and the doctests of the modules for Keras, in a process for each backend of Keras.

By hand, for one backend: ``KERAS_BACKEND=jax pytest tests/keras_models/suite``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("tests/keras_models/suite", "src/rectifier/keras", "src/rectifier/frameworks/keras")


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_suite(backend: str) -> None:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *PARTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | quiet | {"KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, f"on {backend}:\n{done.stdout[-20_000:]}\n{done.stderr[-4_000:]}"
