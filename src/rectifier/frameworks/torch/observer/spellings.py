"""Rectifiers by another name: ``maximum(z, 0)``, ``where(z > 0, z, 0)``, ``z * (z > 0)``, and aten calls.

With a threshold other than 0 that is a JumpReLU, ``z * (z > θ)`` (Rajamanoharan et al. 2024, arXiv:2407.14435), whose
gate is z > θ: it is counted as the gate of z − θ, which is open at the same examples, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn import functional as F

from ..sites import identify_call
from .provenance import Gate, Held, Origins

__all__ = ["JUMP", "SPELLED", "spelled"]

#: Name of the sites of JumpReLUs; each is counted as a ReLU of z − θ.
JUMP = "jumprelu"

#: Bare names of the calls that may be one.
SPELLED = frozenset(
    {"maximum", "max", "fmax", "where", "mul", "multiply", "masked_fill", "setitem", "clamp", "clamp_min", "clip"}
)
_OPS = (OpOverload, OpOverloadPacket)

#: Row, parameters, z, and for a JumpReLU z − θ.
Spelling = tuple[str, dict[str, Any], torch.Tensor, torch.Tensor | None]


def spelled(
    func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], origins: Origins
) -> Spelling | bool:
    """Row, parameters and z of a call that is a rectifier; True where it may be one, False where it is none."""
    if isinstance(func, _OPS):
        plain = getattr(torch, name, None) or getattr(F, name, None)
        found = identify_call(plain, args, kwargs) if plain is not None else None
        if found is not None and args and isinstance(args[0], torch.Tensor):
            # aten.elu(z, alpha, scale, input_scale) is more than an ELU
            return True if name == "elu" and len(args) > 2 else (*found, args[0], None)
    if name not in SPELLED or not args:
        return False
    if name in ("maximum", "max", "fmax"):
        return _largest(args[0], args[1] if len(args) > 1 else kwargs.get("other"), origins)
    if name in ("clamp", "clamp_min", "clip"):
        low, high = args[1] if len(args) > 1 else kwargs.get("min"), args[2] if len(args) > 2 else kwargs.get("max")
        is_relu = isinstance(low, torch.Tensor) and high is None and _is_zero(low, origins)
        return _relu(args[0], low) if is_relu else False
    if name == "where":
        method = func is torch.Tensor.where
        values = (*args, *(kwargs[key] for key in ("condition", "input", "other") if key in kwargs))
        if len(values) < 3:
            return False
        then, mask, other = values[:3] if method else (values[1], values[0], values[2])
        return _chosen(mask, then, other, origins)
    if len(args) < 2:
        return False
    if name in ("mul", "multiply"):
        return _chosen(args[0], args[1], 0, origins) or _chosen(args[1], args[0], 0, origins)
    found_mask = _gate(args[1], origins)
    if found_mask is None or not found_mask.is_of(args[0]):
        return False
    value = args[2] if len(args) > 2 else kwargs.get("value")
    if name == "masked_fill" and not found_mask.open and found_mask.level == 0 and _is_zero(value, origins):
        return _relu(args[0], value)
    return True


def _largest(a: Any, b: Any, origins: Origins) -> Spelling | bool:
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.is_floating_point()):
        return False
    if _is_zero(b, origins):
        return _relu(a, b)
    return _relu(b, a) if _is_zero(a, origins) else True


def _chosen(mask: Any, then: Any, other: Any, origins: Origins) -> Spelling | bool:
    """``then`` where the mask is true, ``other`` elsewhere."""
    gate = _gate(mask, origins)
    if gate is None:
        return False
    found = _by(gate, then, other, origins)
    if not isinstance(found, tuple) and isinstance(gate.level, Held):  # θ < z is z > θ
        found = _by(Gate(gate.level, gate.held, not gate.open, not gate.inclusive), then, other, origins)
    # Comparing with another level than 0 is common where there is no rectifier.
    return found if isinstance(found, tuple) else found and gate.level == 0


def _by(gate: Gate, then: Any, other: Any, origins: Origins) -> Spelling | bool:
    value, rest = (then, other) if gate.open else (other, then)
    rectified = _rectified(value, gate, origins)
    if not gate.is_of(value) and rectified is None:
        return gate.is_of(rest)
    if not _is_zero(rest, origins):
        return True
    if gate.level == 0 and rectified is None:
        return _relu(value, rest)
    return _jump(value if rectified is None else rectified, gate, floor=rectified is not None)


def _rectified(value: Any, gate: Gate, origins: Origins) -> torch.Tensor | None:
    """The z of a gate where the value is ``relu(z)``: JumpReLUs are often written ``relu(z) * (z > θ)``."""
    before = origins[value].before if isinstance(value, torch.Tensor) else None
    z = before.get() if before is not None else None
    return z if z is not None and gate.is_of(z) else None


def _jump(z: torch.Tensor, gate: Gate, *, floor: bool) -> Spelling | bool:
    level = gate.level.get() if isinstance(gate.level, Held) else gate.level
    if level is None:
        return True
    with torch.no_grad():
        seen = z.detach() - (level.detach() if isinstance(level, torch.Tensor) else level)
        if seen.shape != z.shape or not seen.is_floating_point():
            return True
        if gate.inclusive:  # open at the threshold itself: the smallest number above 0 stands for it
            seen = torch.where(seen == 0, torch.full_like(seen, torch.finfo(seen.dtype).tiny), seen)
        if floor:  # relu(z) is 0 below 0, wherever the threshold lies
            seen = torch.minimum(seen, z.detach())
    number = {"threshold": level} if isinstance(level, (int, float)) else {}
    return JUMP, number, z, seen


def _gate(mask: Any, origins: Origins) -> Gate | None:
    return origins[mask].gate if isinstance(mask, torch.Tensor) else None


def _is_zero(value: Any, origins: Origins) -> bool:
    if not isinstance(value, torch.Tensor):
        return isinstance(value, (int, float)) and value == 0
    if origins[value].zero:
        return True
    # Elsewhere, looking would wait for the device.
    return value.device.type == "cpu" and not bool(value.detach().any())


def _relu(z: torch.Tensor, zero: Any) -> Spelling | bool:
    """A ReLU of ``z``, unless the zeros spread it over a larger shape."""
    if isinstance(zero, torch.Tensor):
        shape = torch.broadcast_shapes(z.shape, zero.shape)  # type: ignore[no-untyped-call]
        if shape != z.shape:
            return True
    return "relu", {}, z, None
