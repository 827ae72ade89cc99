"""A network as a list of steps on plain arrays: what bounds are computed from, whichever framework it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Network", "Site", "Step"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Array:
    """One tensor of the network by the name that the model gives it."""

    name: str
    values: npt.NDArray[Any]
    """In its own dtype; bfloat16, which NumPy lacks, as float32 (the same numbers)."""

    @property
    def exact(self) -> Floats:
        return self.values.astype(np.float64)

    @property
    def digest(self) -> str:
        """sha256 of dtype, shape and the raw little-endian bytes in C order."""
        plain = np.ascontiguousarray(self.values, dtype=self.values.dtype.newbyteorder("<"))
        head = f"{self.values.dtype.name} {list(self.values.shape)}\n"
        return sha256(head.encode() + plain.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Step:
    """One operation. Shapes are those of one example: the batch axis in front is left out.

    ==========  ==============================================================================================
    ``op``      gives
    ==========  ==============================================================================================
    input       the box
    constant    array ``value``
    linear      x·Wᵀ + b on the last axis; arrays ``weight`` (units, features), ``bias``
    conv        a convolution (channels first); the same arrays; settings ``stride``, ``padding`` (pairs),
                ``mode``, ``dilation``, ``groups``
    scale       γ·(x − mean)/√(variance + ε) + β per channel: batch normalisation in evaluation; arrays ``mean``,
                ``variance``, ``weight``, ``bias``; settings ``epsilon``
    normalise   the same by the moments of ``count`` values of the batch or example itself; arrays ``weight``,
                ``bias``; settings ``centred``, ``epsilon``, ``passes`` (2: Σ(x − mean)² around the rounded mean, 1:
                Welford's updates) and either ``channels`` true, ``groups`` of channels and ``rows`` (most examples
                of a batch; None: of one example), or ``channels`` false and how many last ``axes``
    ellipsoid   x normalised over its last axis, then a linear layer: arrays ``scale``, ``shift``, ``weight``,
                ``bias``; settings ``centred``, ``epsilon``, ``passes``
    rectifier   settings ``function``, ``parameters``; array ``slope``
    pool        settings ``kind`` (max, mean), ``kernel``, ``stride``, ``padding`` (for a mean, zeros that count)
    hull        some of the values along ``axes``, the same for all: one of them, or where ``computed`` a weighted
                mean of them; ``zero``: or 0, or with weights that add up to less
    combine     Σ cᵢ·xᵢ + constant; settings ``coefficients``, ``constant``
    product     x·y
    cat         settings ``axis``
    reshape     the same values in order
    permute     settings ``axes``
    slice       settings ``axis``, ``start``, ``stop``
    unknown     anything
    ==========  ==============================================================================================

    Where all positions of an interval are one (a hull came before), a convolution's are too.
    """

    op: str
    inputs: tuple[int, ...] = ()
    """Indices of earlier steps."""
    shape: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    layer: str = ""
    """What it is in the model: a module's qualified name, or the name of a call."""


@dataclass(frozen=True)
class Site:
    """Where a rectifier reads: the step that gives its z, and the axis of its units there."""

    name: str
    rectifier: str
    step: int
    axis: int


@dataclass(frozen=True, eq=False)
class Network:
    """Steps in order, the places to be bounded, and the arithmetic that the framework runs them in."""

    steps: tuple[Step, ...]
    sites: tuple[Site, ...]
    roundoff: float
    """Unit roundoff u of the coarsest arithmetic in it."""
    smallest: float
    """Smallest normal number of its dtype."""
    largest: float
    """Largest finite one: what may exceed it is not bounded."""
    condition: str = ""
    """What is assumed beside the box, as it stands in a sentence: ", in batches of at most …"."""
    training: bool = False
    """Whether it is what the model computes in training mode."""
    input_shape: tuple[int, ...] = ()
    """Shape of one example of the model's input; the step "input" may hold it folded to channels or features."""
    observed: tuple[Floats, Floats] | None = None
    """The range that the step "input" was seen in."""
