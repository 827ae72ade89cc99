"""Loaded before any test here."""

from __future__ import annotations

import os

# TensorFlow loaded before Triton, which this loads, makes PyTorch crash.
import rectifier.torch  # noqa: F401

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
