"""What the tests on Keras start from."""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import keras


class _WithoutTensorFlow(MetaPathFinder):
    """Keras's serialisation loads TensorFlow wherever it finds it, which takes longer than any test."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


if keras.backend.backend() != "tensorflow":
    sys.meta_path.insert(0, _WithoutTensorFlow())
