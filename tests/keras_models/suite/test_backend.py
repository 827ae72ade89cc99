"""The process runs on the backend that it was started for."""

from __future__ import annotations

import os

import keras


def test_the_backend_is_the_one_asked_for() -> None:
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
