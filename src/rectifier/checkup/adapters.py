"""Which framework a model belongs to: found by its type among the loaded modules, never imported for the user."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RectifierTypeError

if TYPE_CHECKING:
    from .weights.stored import Tensor

__all__ = ["adapter_for", "adapter_for_loaded", "is_keras", "stored_by_torch", "versions", "versions_of"]


def adapter_for(model: Any, verb: str) -> ModuleType:
    """The adapter (observing, graph surgery) of the framework that this model is of.

    Raises RectifierTypeError where it is of none.
    """
    # Keras first: on its PyTorch backend a Keras model is a torch.nn.Module as well.
    if is_keras(model):
        if verb not in _OF_KERAS:
            raise RectifierTypeError(
                f"{verb}: `model` must be a PyTorch model; got a Keras model, {type(model).__name__}. {_INSTEAD[verb]}"
            )
        return importlib.import_module("rectifier.frameworks.keras.checkup")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return importlib.import_module("rectifier.frameworks.torch.checkup")
    keras = " or a Keras model" if verb in _OF_KERAS else ""
    raise RectifierTypeError(
        f"{verb}: `model` must be a PyTorch model (torch.nn.Module){keras}; got {type(model).__name__}. "
        "Pass the model itself, not its weights or its class."
    )


#: What a Keras model can be given to.
_OF_KERAS = frozenset({"check", "heal", "proved"})
#: What to do with a Keras model in place of what there is for PyTorch alone.
_INSTEAD = {
    "watch": "Pass rectifier.keras.Watch(batches) among the callbacks of fit.",
    "recycling": "Recycle with rectifier.heal(model, record, model.optimizer) between calls of fit.",
    "trial": "Try remedies with rectifier.heal on copies made by keras.models.clone_model.",
    "prune": "Recycle the units with rectifier.heal, or build a narrower model.",
}


def is_keras(model: Any) -> bool:
    """Whether it is a model of Keras's, on whichever backend."""
    kind = getattr(sys.modules.get("keras"), "Model", None)
    return isinstance(kind, type) and isinstance(model, kind)


def adapter_for_loaded(verb: str) -> ModuleType:
    """The adapter for models that a function of the user's is yet to make. Raises where no framework is loaded."""
    if "torch" not in sys.modules:
        raise RectifierTypeError(
            f"{verb}: `model` must make a PyTorch model where it is a function; got one while PyTorch is not imported. "
            "Import torch first."
        )
    return importlib.import_module("rectifier.frameworks.torch.checkup")


def stored_by_torch(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file that torch.save wrote; the one place that imports a framework for the user."""
    read: Callable[[Path], Mapping[str, Tensor]] = importlib.import_module("rectifier.frameworks.torch.stored").read
    return read(path)


def versions() -> dict[str, str]:
    """Versions of what a record depends on."""
    from .. import __version__

    found = {"rectifier": __version__, "python": platform.python_version(), "numpy": np.__version__}
    torch = sys.modules.get("torch")
    return {**found, "torch": str(torch.__version__)} if torch is not None else found


def versions_of(model: Any) -> dict[str, str]:
    """The same for a record of this model: of a Keras model with Keras, the name of its backend and its version."""
    if not is_keras(model):
        return versions()
    keras = sys.modules["keras"]
    backend = keras.backend.backend()
    own = {"keras": keras.__version__, "keras_backend": backend, backend: sys.modules[backend].__version__}
    return {**versions(), **own}
