"""What the tests on Keras start from."""

import sys

import keras

# Keras's serialisation loads TensorFlow wherever it finds it, which takes longer than any test.
if keras.backend.backend() != "tensorflow":
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
