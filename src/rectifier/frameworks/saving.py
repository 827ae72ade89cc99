"""What may be kept for the backward pass: the choices of each function, and why others are refused."""

from __future__ import annotations

from ..errors import RectifierTypeError, RectifierValueError

__all__ = ["GATED", "UNDONE", "check_choice"]

#: Their gate tells the whole derivative.
GATED = frozenset({"relu", "leaky_relu", "abs", "relu6"})
#: The output, which the next layer keeps anyway, tells f′ to the last digit unless it underflows.
UNDONE = frozenset({"softplus", "squared_relu"})
_NAMES = ("gate", "input", "output")


def check_choice(function: str, name: str, save: str | None, learned: bool) -> None:
    """Refuse a ``save`` that the row ``name`` cannot honour. ``learned``: its slope gets a gradient."""
    if save is None:
        return
    if not isinstance(save, str):
        raise RectifierTypeError(
            f"{function}: `save` must be one of {', '.join(map(repr, _NAMES))}; got {save!r}. Leave it out."
        )
    if save not in _NAMES:
        raise RectifierValueError(
            f"{function}: `save` must be one of {', '.join(map(repr, _NAMES))}; got {save!r}. Leave it out."
        )
    if name in GATED and not learned:
        if save != "gate":
            raise RectifierValueError(
                f"{function}: `save` must be 'gate', which tells the whole derivative in a bit a value; got {save!r}. "
                "Leave it out."
            )
    elif save == "gate":
        why = (
            "the slope's gradient needs the values below 0"
            if name in ("leaky_relu", "prelu")
            else "its derivative takes more values than one bit tells"
        )
        raise RectifierValueError(
            f"{function}: `save` must be 'input' or 'output', as {why}; got 'gate'. Leave it out."
        )
