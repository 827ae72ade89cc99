"""Flat parts other than a rectifier's own: saturated units, and units that are nearly silent.

What is flat, per example:

- *saturated* (sigmoid, tanh and their hard forms, the upper end of ReLU6): the derivative is at most 1 % of its largest
  value. That is z beyond ±2.993 for tanh and ±5.986 for sigmoid (Glorot & Bengio 2010 watch the same tails), and where
  a hard form is exactly flat.
- *nearly silent* (GELU, SiLU, Mish, hardswish): these are z·g(z) with a gate g from 0 to 1; here g(z) ≤ 1 %.

A unit is called so where that holds at a share of the examples of ``saturated`` or more. Neither is a fault by itself:
a gate that is shut by design looks the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .records import Finding, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = ["FLAT", "Flat", "flat_findings", "levels", "with_resampling"]


@dataclass(frozen=True)
class Flat:
    """Where a function is flat: z ≤ low, or z ≥ high. None: not at that end, or a parameter tells (``named``)."""

    low: float | None
    high: float | None
    kind: str = "saturated"
    named: tuple[str | None, str | None] = (None, None)


_TANH = math.atanh(math.sqrt(0.99))

#: Functions with such parts: rows of the family, and functions that are not of it.
FLAT: Mapping[str, Flat] = {
    "relu6": Flat(None, 6.0, named=(None, "ceiling")),
    "tanh": Flat(-_TANH, _TANH),
    "sigmoid": Flat(-2 * _TANH, 2 * _TANH),
    "hardtanh": Flat(-1.0, 1.0, named=("min_val", "max_val")),
    "hardsigmoid": Flat(-3.0, 3.0),
    "hardswish": Flat(-2.94, None, "nearly_silent"),  # g = relu6(z + 3)/6
    "gelu": Flat(-2.3263478740408408, None, "nearly_silent"),  # g = Φ
    "silu": Flat(-math.log(99.0), None, "nearly_silent"),  # g = sigmoid
    "mish": Flat(math.log(math.expm1(math.atanh(0.01))), None, "nearly_silent"),  # g = tanh(softplus)
}


def levels(function: str, parameters: Mapping[str, float]) -> tuple[float | None, float | None]:
    """From where on it is flat, below and above; None where it is not.

    >>> levels("relu6", {}), levels("hardtanh", {"min_val": -2.0, "max_val": 2.0})
    ((None, 6.0), (-2.0, 2.0))
    """
    flat = FLAT.get(function)
    if flat is None:
        return None, None
    ends = (flat.low, flat.high)
    low, high = (parameters.get(name, end) if name else end for name, end in zip(flat.named, ends, strict=True))
    return low, high


def flat_findings(site: SiteVitals, limits: Thresholds) -> list[Finding]:
    """The finding about flat parts at one site, where there is one."""
    share = limits.saturated
    flat = FLAT.get(site.rectifier)
    # Between looks gates alone are counted, no flat parts.
    seen = site.examples - site.nan if site.looked is None else np.full_like(site.nan, site.looked)
    counts = [count for count in (site.flat_low, site.flat_high) if count is not None]
    if flat is None or not counts or not seen.any():
        return []
    flats = sum(counts, np.zeros_like(seen))
    found = np.flatnonzero((seen > 0) & (flats >= share * seen))
    if not len(found):
        return []
    members = tuple(int(unit) for unit in found)
    least = float((flats[found] / seen[found]).min())
    low, high = levels(site.rectifier, site.parameters)
    where = " or ".join(
        text for end, text in ((low, f"z ≤ {low or 0.0:.4g}"), (high, f"z ≥ {high or 0.0:.4g}")) if end is not None
    )
    silent = flat.kind == "nearly_silent"
    told = "its gate passes at most 1 %" if silent else "its derivative is at most 1 % of its largest"
    return [
        Finding(
            kind="nearly_silent" if silent else "saturated",
            site=site.site,
            units=members,
            total=site.units,
            evidence=f"{where}, where {told}, at {least:.4g} or more of {int(seen[found].min())} examples ("
            f"{share:g}, saturated)",
            cause="not known: a gate that is shut by design and a pre-activation that has drifted off look the same",
            remedy="no fault by itself; where it spreads in training, lower the step, normalise the pre-activations, "
            "or use an initialisation that fits the function",
            measures={"share": least, "threshold": share, "examples": int(seen[found].min())},
        )
    ]


def with_resampling(findings: Sequence[Finding], snapshot: Snapshot) -> list[Finding]:
    """For silent latents of a sparse autoencoder: the remedies that its literature has."""
    latents = _latents(snapshot)
    return [
        replace(finding, remedy=f"{_RESAMPLE}; or {finding.remedy}")
        if finding.kind in ("dead", "silent") and finding.site in latents
        else finding
        for finding in findings
    ]


_RESAMPLE = (
    "resample these latents: encoder rows and decoder columns from inputs that are reconstructed worst, the rows "
    "scaled to 0.2 of the mean norm of living ones, bias 0, optimizer state anew (Bricken et al. 2023, Towards "
    "Monosemanticity); or train with an auxiliary loss on the silent ones (Gao et al. 2024, arXiv:2406.04093)"
)


def _latents(snapshot: Snapshot) -> frozenset[str]:
    """Sites of an autoencoder with one hidden layer that is wider than its input: nothing but encoder and decoder."""
    if len(snapshot.layers) != 2:
        return frozenset()
    encoder, decoder = snapshot.layers
    mirrored = encoder.fan_in == decoder.units and encoder.units == decoder.fan_in
    wide = encoder.units > encoder.fan_in
    return frozenset(site.site for site in snapshot.sites if mirrored and wide and site.units == encoder.units)
