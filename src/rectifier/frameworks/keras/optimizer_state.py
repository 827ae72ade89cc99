"""What an optimizer of Keras's keeps of some rows of a variable, and what a new one would hold for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import optimizers as known

from ...errors import RectifierValueError
from .observer.kinds import as_array
from .surgery import Edit

__all__ = ["kept_by", "state_edits"]

_KNOWN = (
    known.SGD,
    known.Adam,
    known.AdamW,
    known.Nadam,
    known.Adamax,
    known.RMSprop,
    known.Adagrad,
    known.Adadelta,
    known.Lion,
    known.Lamb,
)
#: State of Keras's optimizers → what a new one holds there; "value": the new weights. Adam and its kin divide their
#: second moment by 1 − β₂^step, one number for all rows: docs/healing.md tells why "mean" and not 0.
_STARTS: Mapping[str, float | str] = {
    **dict.fromkeys(("momentums", "velocity_hats", "m", "u", "average_gradients", "accumulated_gradients"), 0.0),
    **dict.fromkeys(("accumulated_grads", "accumulated_delta_vars"), 0.0),
    "velocities": "mean",
    "accumulators": 0.0,
    "model_variables_moving_average": "value",
}


def _inner(optimizer: Any) -> Any:
    """The optimizer that a loss scale is put round."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _kept(optimizer: Any) -> dict[str, Any]:
    """Name → what it keeps, one variable for each that it steps."""
    steps = len(optimizer._trainable_variables)
    found = {}
    for name, value in vars(optimizer).items():
        own = name.lstrip("_")
        if own in _STARTS and len(value or ()) == steps:
            found[own] = value
    return found


def kept_by(optimizers: Sequence[Any]) -> set[str]:
    """Names of what the optimizers keep by now."""
    return {key for each in optimizers if each.built for key in _kept(_inner(each))}


def state_edits(
    optimizers: Sequence[Any], edit: Edit, name: str, starts: Mapping[str, float | str] | None
) -> list[Edit]:
    """Edits that give the optimizer's state of a slice of a variable what a new optimizer holds there.

    Raises RectifierValueError where none of the optimizers steps the variable, or its state is not known.
    """
    if not optimizers or not edit.variable.trainable or not any(each.built for each in optimizers):
        return []
    for outer in optimizers:
        optimizer = _inner(outer)
        places = [i for i, v in enumerate(optimizer._trainable_variables) if v is edit.variable]
        if not places:
            continue
        if not isinstance(optimizer, _KNOWN):
            raise RectifierValueError(
                f"heal: `optimizer` must be one of {', '.join(kind.__name__ for kind in _KNOWN)}; got "
                f"{type(optimizer).__name__}. Leave `optimizer` out and compile the model anew afterwards."
            )
        return [
            Edit(slot, edit.axis, edit.index, _start(optimizer, key, slot, edit, starts))
            for key, slots in _kept(optimizer).items()
            if tuple((slot := slots[places[0]]).shape) == tuple(edit.variable.shape)
        ]
    raise RectifierValueError(
        f"heal: `optimizer` must step the model; got {type(optimizers[0]).__name__}, which does not step layer {name}. "
        "Pass model.optimizer."
    )


def _start(optimizer: Any, key: str, slot: Any, edit: Edit, starts: Mapping[str, float | str] | None) -> Any:
    start = (starts or {}).get(key, _STARTS[key])
    if key not in (starts or {}):
        if isinstance(optimizer, known.RMSprop) and key == "velocities":
            start = 0.0  # not divided by a number of steps
        elif isinstance(optimizer, known.Adagrad) and key == "accumulators":
            start = float(optimizer.initial_accumulator_value)
    if start == "value":
        return edit.value
    if start != "mean":
        return start
    left = np.delete(as_array(slot), edit.index, axis=edit.axis)
    return float(left.astype(np.float64).mean()) if left.size else 0.0
