"""The errors that the library raises on purpose.

Every one derives from :class:`RectifierError` and from the built-in class a caller would expect
(``ValueError`` or ``TypeError``), and carries exactly one string that says function, `argument`, rule, value got
and cure, for example::

    leaky_relu: `negative_slope` must be finite; got nan. Pass a number such as 0.01.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["RectifierError", "RectifierTypeError", "RectifierValueError", "TargetError"]


class RectifierError(Exception):
    """Base of every error that this library raises on purpose."""

    # Said outright, as TensorFlow adds the place in the user's code to errors of such types, and makes one of its own
    # of all others. Type checkers would take what is made for Any.
    if not TYPE_CHECKING:
        __init__ = Exception.__init__


class RectifierValueError(RectifierError, ValueError):
    """An argument of a right type with a value that cannot be used."""


class RectifierTypeError(RectifierError, TypeError):
    """An argument of a type (or an array of a dtype) that cannot be used."""


class TargetError(RectifierError, ValueError):
    """The user's own code (the TARGET of ``rectifier check``) could not be imported, called or used."""
