"""What the layers with a learned slope check when they are made."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from .._family import family
from ..frameworks import refuse_mixed
from ..frameworks.numpy import parameter_value
from ..frameworks.saving import check_choice

__all__ = ["check_save", "first_slope"]


def first_slope(argument: str, value: Any) -> Any:
    """Where a slope starts: a finite number or an array of them; one that is traced is not looked at."""
    refuse_mixed("PReLU", argument, value, "jax")
    if isinstance(value, jax.core.Tracer):
        return value
    parameter = family["prelu"].parameters[0]
    renamed = type(parameter)(argument, parameter.default, parameter.domain, parameter.meaning)
    given = np.asarray(value) if isinstance(value, jax.Array) else value
    checked = parameter_value("PReLU", renamed, given, np.dtype(np.float32))
    return value if isinstance(value, jax.Array) else checked


def check_save(save: str | None) -> None:
    """Refuse a ``save`` that a learned slope cannot honour."""
    check_choice("PReLU", "prelu", save, learned=True)
