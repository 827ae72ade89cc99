"""Who is judged: the kernels in an instruction set, the gradient that PyTorch users get, installed peers.

A subject maps a case to the function that computes it, or None where it has no such function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import _native, oracle, peers
from ..peers import torch as peer_torch
from .plan import Case
from .records import promised

__all__ = ["Gradient", "Kernel", "Peer", "Subject", "kernel"]

Array = npt.NDArray[Any]
Function = Callable[[Array], Array]


class Subject(Protocol):
    """One who computes."""

    @property
    def name(self) -> str: ...
    @property
    def judged_at_nan(self) -> bool: ...
    def promise(self, case: Case) -> float | None:
        """The largest error, in ulp, that is held against it; None for a peer, which has promised nothing."""
        ...

    def function(self, case: Case) -> Function | None: ...


def kernel(name: str, kind: str, dtype: str, parameter: float | None) -> Function:
    """The ufunc of a case, its parameter bound."""
    ufunc = getattr(_native, name if kind == "value" else f"{name}_{kind}")
    wide: Any = np.float64 if dtype == "float64" else np.float32
    takes = oracle.EXACT[name, kind][0] if (name, kind) in oracle.EXACT else ()  # type: ignore[index]
    operands = [wide(parameter)] if takes else []
    return lambda x: ufunc(x, *operands)


class Kernel:
    """The kernels, in one instruction set."""

    judged_at_nan = True

    def __init__(self, isa: str) -> None:
        self.name = isa

    def promise(self, case: Case) -> float | None:
        return promised(case.function, case.kind, case.dtype, case.default)

    def function(self, case: Case) -> Function | None:
        computed = kernel(case.function, case.kind, case.dtype, case.parameter)

        def on_this(x: Array) -> Array:
            _native.use_isa(self.name)
            return computed(x)

        return on_this


#: The functions that leave a choice of what is kept.
_CHOICE = ("squared_relu", "elu", "celu", "selu", "softplus")


class Gradient:
    """What ``backward`` leaves in ``z.grad`` for an upstream gradient of 1, through ``rectifier.torch``.

    save: what the backward pass reads, where a function leaves the choice; None for each function's default.
    """

    # A NaN of z is let through from a gate and is NaN from a saved value; it is counted apart.
    judged_at_nan = False

    def __init__(self, save: str | None = None) -> None:
        self.save = save
        self.name = "torch gradient" if save is None else f"torch gradient from the {save}"

    def promise(self, case: Case) -> float | None:
        if self.save == "output":
            return None  # where it underflows or saturates digits are lost; that is why it is no default
        if self.save is None and case.function in ("softplus", "squared_relu"):
            return 2.0  # from the output, which has been rounded
        kernels = promised(case.function, case.kind, case.dtype, case.default)
        # In 16 bits f′·dh is formed in float32 and rounded once more: f′ rounded to 16 bits first would lose digits of
        # the product, and underflow. Next to a tie the second rounding can then go the other way, by 2⁻¹³ ulp at most.
        return max(kernels, 0.501) if case.dtype in ("float16", "bfloat16") else kernels

    def function(self, case: Case) -> Function | None:
        if case.kind != "derivative" or not peers.installed("torch"):
            return None
        import rectifier.torch as rectifier_torch

        layer = getattr(rectifier_torch, case.function, None)
        if layer is None or "at_zero" in case.parameters and not case.default:
            return None
        if self.save is not None and case.function not in _CHOICE:
            return None
        given: dict[str, Any] = {name: value for name, value in case.parameters.items() if name != "at_zero"}
        if self.save is not None:
            given["save"] = self.save
        return lambda x: peer_torch.gradient(lambda z: layer(z, **given), x)


class Peer:
    """Another library, at its best."""

    judged_at_nan = False

    def __init__(self, name: str) -> None:
        self.name = name

    def promise(self, case: Case) -> float | None:
        return None

    def function(self, case: Case) -> Function | None:
        # Each peer has conventions of its own for the rest.
        return peers.function(self.name, case.function, case.kind, case.dtype) if case.default else None


def missing(subject: Subject) -> str | None:
    """Why a subject cannot be asked; None where it can."""
    modules = peers.MODULES.get(subject.name, ("torch",) if isinstance(subject, Gradient) else ())
    absent = [module for module in modules if not peers.installed(module)]
    return f"{subject.name}: {absent[0]} is not installed" if absent else None
