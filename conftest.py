"""What stays uncollected: tests and modules that need a process of their own."""

import contextlib
import os

# TensorFlow loaded before Triton crashes the process when PyTorch's compiler then loads Triton.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

# Keras takes its backend from KERAS_BACKEND when it is imported, and keeps it. Without the variable these are left to
# tests/keras_models/test_backends.py, which runs them in a process for each backend.
collect_ignore = (
    []
    if os.environ.get("KERAS_BACKEND")
    else ["src/rectifier/keras", "src/rectifier/frameworks/keras", "tests/keras_models/suite"]
)
