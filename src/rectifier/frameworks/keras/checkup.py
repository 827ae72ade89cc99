"""What the check-up asks of a framework, for Keras on its three backends: find, observe and run a model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ...errors import RectifierTypeError, RectifierValueError
from .calm import undisturbed
from .observer.kinds import as_array, kernel_of
from .observer.observe import Observer
from .observer.taps import gradients_at

if TYPE_CHECKING:
    from . import acts, certified

__all__ = [
    "Observer",
    "acts",
    "certified",
    "check_optimizer",
    "gather",
    "group_of",
    "leads",
    "observable",
    "run",
    "tensors",
    "title",
    "undisturbed",
]


def __getattr__(name: str) -> Any:
    if name in ("acts", "certified"):
        return importlib.import_module(f"rectifier.frameworks.keras.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def observable(model: Any, verb: str) -> Any:
    """The model, where it has its weights.

    Raises RectifierValueError where it was never built.
    """
    if not model.built or any(variable._value is None for variable in model.variables):
        raise RectifierValueError(
            f"{verb}: `model` must have its weights; got {type(model).__name__} {model.name!r} that was never built. "
            "Call it on one batch first, or give it an Input."
        )
    return model


def check_optimizer(optimizer: Any, verb: str) -> None:
    """Refuse what is no optimizer of Keras's."""
    if optimizer is not None and not isinstance(optimizer, keras.optimizers.Optimizer):
        raise RectifierTypeError(
            f"{verb}: `optimizer` must be a keras.optimizers.Optimizer or None; got {type(optimizer).__name__}. "
            "Pass the optimizer that the model was compiled with, model.optimizer."
        )


def group_of(model: Any, group: Any, verb: str) -> None:
    """Keras sums over processes nowhere that we could ask."""
    if group is not None:
        raise RectifierTypeError(
            f"{verb}: `group` must be left out for a Keras model; got {type(group).__name__}. "
            "Check the model in one process."
        )


def gather(group: Any, value: Any) -> list[Any]:
    """What all processes have to say: one."""
    return [value]


def leads(group: Any) -> bool:
    """Whether this process tells the log: it is the only one."""
    return True


def title(model: Any) -> str:
    """Name of the class as the user wrote it."""
    return type(model).__name__


def tensors(inputs: Any, rule: str) -> Any:
    """A batch as tensors of the backend, in the structure that it came in; NumPy's float64 as Keras's own float.

    Raises RectifierTypeError where there is nothing of numbers in it.
    """
    leaves = keras.tree.flatten(inputs)
    fits = [keras.ops.is_tensor(leaf) or getattr(leaf, "dtype", None) is not None for leaf in leaves]
    if not leaves or not all(fits) or any(isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSU" for leaf in leaves):
        raise RectifierTypeError(f"{rule}; got {type(inputs).__name__}. Convert it with numpy.asarray.")

    def convert(leaf: Any) -> Any:
        double = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
        tensor = keras.ops.convert_to_tensor(leaf, dtype=keras.config.floatx() if double else None)
        if keras.backend.backend() == "torch":
            return tensor.detach().clone()  # gradients are followed from it on, and a model may change it in place
        return tensor

    return keras.tree.map_structure(convert, inputs)


def run(
    observer: Observer, inputs: Any, targets: Any, loss: Callable[[Any, Any], Any] | None, verb: str = "check"
) -> float | None:
    """One batch through the observed model; with a loss, its value, and gradients that change no variable."""
    given = tensors(inputs, f"{verb}: `batches` must yield inputs that are arrays, or a tuple, list or dict of them")
    if loss is None:
        _without_gradients(lambda: observer.forward(given))
        return None
    called = loss

    def value(outputs: Any) -> Any:
        found = called(outputs, targets)
        if not keras.ops.is_tensor(found) or _size(found) != 1 or not getattr(found, "requires_grad", True):
            shape = f"a tensor of shape {tuple(found.shape)}" if keras.ops.is_tensor(found) else type(found).__name__
            raise RectifierValueError(
                f"{verb}: `loss` must return a scalar tensor that depends on the outputs; got {shape}. "
                "Return for instance keras.ops.mean(keras.losses.mean_squared_error(targets, outputs))."
            )
        return found

    trained = observer.model.trainable_variables
    first = True

    def forward(values: Any) -> Any:
        nonlocal first
        count, first = first, False
        outputs = observer.forward(given, count=count, values=values)
        # On JAX the first pass is for counting, and its loss is not used.
        if count and keras.backend.backend() == "jax":
            return None
        with keras.StatelessScope(collect_losses=True):
            return value(outputs)

    leaves = [leaf for leaf in keras.tree.flatten(given)]
    found, gradients = gradients_at(observer.taps, forward, forward, leaves, trained)
    by_variable = {id(v): g for v, g in zip(trained, gradients, strict=True) if g is not None}
    for name, tally in observer.layers.items():
        gradient = by_variable.get(id(kernel_of(observer.names[name])))
        if gradient is not None and tally.values:
            tally.weight_gradients.append(float(np.mean(np.square(as_array(gradient).astype(np.float64)))))
    return float(keras.ops.convert_to_numpy(found).reshape(()))


def _size(tensor: Any) -> int:
    return int(np.prod(tuple(tensor.shape), dtype=np.int64))


def _without_gradients(action: Callable[[], Any]) -> None:
    if keras.backend.backend() != "torch":
        action()
        return
    import torch

    with torch.inference_mode(False), torch.no_grad():
        action()
