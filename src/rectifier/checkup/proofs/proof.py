"""Proof that a unit can never fire: bounds of its pre-activation over a box of inputs, and the box in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import RectifierTypeError, RectifierValueError
from ..plan import NOTHING_BELOW
from ..records import Finding, Snapshot
from .bounds import Interval, propagate
from .certificate import Certificate, Claim
from .network import Network, Site

__all__ = ["Proofs", "describe", "parse_box", "prove", "upper_bound"]

Floats = npt.NDArray[np.float64]

_CURE = "Pass numbers such as box=(0.0, 1.0), or two arrays of the shape of one example."


@dataclass(frozen=True)
class Proofs:
    """What was proved."""

    bounds: dict[str, dict[int, float]] = field(default_factory=dict)
    """site → unit → the bound (≤ 0) that proves that this unit cannot fire."""
    statements: dict[str, str] = field(default_factory=dict)
    """site → how, and for which inputs."""
    claims: tuple[Claim, ...] = ()
    """The same, by network, for a checker."""

    def certificate(self, findings: Sequence[Finding]) -> Certificate | None:
        """The proofs of the units that the findings call dead; None where there is none.

        Not of others: one that no input of the box opens may have fired on an input outside of it, or before the
        weights were what they are.
        """
        dead: dict[str, set[int]] = {}
        for finding in findings:
            if finding.kind == "dead":
                dead.setdefault(finding.site, set()).update(finding.units)
        kept = []
        for claim in self.claims:
            sites = (
                (site, {unit: bound for unit, bound in units.items() if unit in dead.get(site.name, ())})
                for site, units in claim.dead
            )
            left = tuple((site, units) for site, units in sites if units)
            kept += [replace(claim, dead=left)] if left else []
        return Certificate.of(kept) if kept else None


def parse_box(box: Any) -> Interval | None:
    """The two ends of a box as float64 arrays; None where the range observed is to be used.

    Raises RectifierTypeError or RectifierValueError where it is no box.
    """
    if box is None:
        return None
    if not isinstance(box, (tuple, list)) or len(box) != 2:
        raise RectifierTypeError(f"check: `box` must be a pair (low, high); got {type(box).__name__}. {_CURE}")
    try:
        low, high = (np.asarray(end, dtype=np.float64) for end in box)
    except (TypeError, ValueError):
        kinds = ", ".join(type(end).__name__ for end in box)
        raise RectifierTypeError(f"check: `box` must hold numbers or arrays; got ({kinds}). {_CURE}") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise RectifierValueError(f"check: `box` must be finite; got an end that is not. {_CURE}")
    try:
        ordered = bool((low <= high).all())
    except ValueError:
        raise RectifierValueError(
            f"check: `box` must have ends of one shape; got {low.shape} and {high.shape}. {_CURE}"
        ) from None
    if not ordered:
        raise RectifierValueError(f"check: `box` must have low ≤ high; got low > high. {_CURE}")
    return low, high


def _fitted(network: Network, box: Interval | None) -> Interval | None:
    """The box in the shape of the network's input: folded where that holds one range a channel or feature."""
    if box is None:
        return network.observed
    shape, whole = network.steps[0].shape, network.input_shape
    try:
        low, high = (np.broadcast_to(end, whole) for end in box)
    except ValueError:
        got = max((end.shape for end in box), key=len)
        raise RectifierValueError(
            f"check: `box` must broadcast to one example of shape {whole}; got arrays of shape {got}. {_CURE}"
        ) from None
    if shape == whole:
        return low, high
    if len(shape) > 1:  # one range a channel
        low, high = low.reshape(shape[0], -1).min(axis=1), high.reshape(shape[0], -1).max(axis=1)
        one = (shape[0], *(1 for _ in shape[1:]))
        return low.reshape(one), high.reshape(one)
    # positions in front of the features (tokens) share one range
    return low.reshape(-1, shape[0]).min(axis=0), high.reshape(-1, shape[0]).max(axis=0)


def upper_bound(network: Network, box: Interval | None = None) -> dict[str, Interval]:
    """site → least and largest z of each of its units over the box (or the range observed), shapes (units,)."""
    found = propagate(network, _fitted(network, box))
    return {site.name: _per_unit(network, site, found[site.step]) for site in network.sites}


def _per_unit(network: Network, site: Site, interval: Interval) -> Interval:
    shape = network.steps[site.step].shape
    axis = site.axis % len(shape)
    others = tuple(d for d in range(len(shape)) if d != axis)
    low, high = interval[0].min(axis=others), interval[1].max(axis=others)
    return np.broadcast_to(low, shape[axis]), np.broadcast_to(high, shape[axis])


def prove(networks: Sequence[Network], box: Interval | None, *, seen: Sequence[Snapshot] = ()) -> Proofs:
    """The units that cannot fire over the box, or over the range observed.

    Only of rectifiers that are 0 for every z ≤ 0. A site that several networks reach is taken from the first that
    proves a unit of it. seen: what was seen of the same weights over the range observed; a network whose bounds it
    breaks is not what ran, and proves nothing.
    """
    proofs, claims = Proofs(), []
    for network in networks:
        where = _fitted(network, box)
        found = propagate(network, where)
        if seen and _broken(network, found if box is None else propagate(network, network.observed), seen[-1]):
            continue
        dead: list[tuple[Site, dict[int, float]]] = []
        for site in network.sites:
            if site.rectifier not in NOTHING_BELOW or site.name in proofs.bounds:
                continue
            high = _per_unit(network, site, found[site.step])[1]
            units = {int(unit): float(high[unit]) for unit in np.flatnonzero(high <= 0)}
            if units:
                proofs.bounds[site.name] = units
                proofs.statements[site.name] = f"{_how(network, site, units)}, for {_words(network, box)}"
                dead.append((site, units))
        if dead:
            claims.append(Claim(network, found, tuple(dead)))
    return Proofs(proofs.bounds, proofs.statements, tuple(claims))


def _broken(network: Network, found: Sequence[Interval], seen: Snapshot) -> bool:
    """Whether a pre-activation was seen outside its bounds."""
    vitals = {site.site: site for site in seen.sites}
    for site in network.sites:
        low, high = _per_unit(network, site, found[site.step])
        look = vitals.get(site.name)
        if look is not None and bool(((look.min_z < low) | (look.max_z > high)).any()):
            return True
    return False


def _how(network: Network, site: Site, units: Iterable[int]) -> str:
    step = network.steps[site.step]
    if step.op == "ellipsoid":
        n = network.steps[step.inputs[0]].shape[-1]
        return f"because {n} values normalised together are a vector of length √{n}, with rounding error included"
    if step.op != "normalise":
        return "by interval arithmetic with rounding error included"
    n = step.settings["count"]
    least = f"√(M − 1), M = {n}" if step.settings["centred"] else f"√M, M = {n}"
    still = ""
    if step.settings["channels"]:
        reach = math.sqrt(n - 1)
        weight, shift = (step.arrays[role].exact if role in step.arrays else None for role in ("weight", "bias"))
        spread = np.ones(step.shape[0]) if weight is None else np.abs(weight)
        ends = spread * reach + (0.0 if shift is None else shift)
        still = ", or hardly varies before that" if bool((ends[list(units)] > 0).any()) else ""
    return f"because a value normalised by M values is at most {least}{still}, with rounding error included"


def describe(networks: Sequence[Network], box: Interval | None, untraced: str | None = None) -> str | None:
    """The inputs that proofs are about, in words; None where there are none. untraced: why only of first layers."""
    told = [network for network in networks if box is not None or network.observed is not None]
    if not told:
        return None
    rest = "" if untraced is None else f"; layers behind the first are not bounded: {untraced}"
    return f"{_words(told[0], box)}{rest}"


def _words(network: Network, box: Interval | None) -> str:
    return f"{_box(network, box)}{network.condition}"


def _box(network: Network, box: Interval | None) -> str:
    if box is None:
        if network.observed is None:
            return "every finite input"
        low, high = (float(end) for end in (network.observed[0].min(), network.observed[1].max()))
        channels = len(network.steps[0].shape) > 1 and math.prod(network.observed[0].shape[1:]) == 1
        per = "channel" if channels else "feature"
        return f"each input {per} within the range observed for it (over all of them {low:g} to {high:g})"
    if all(end.ndim == 0 for end in box):
        return f"every input within [{float(box[0]):g}, {float(box[1]):g}], as given"
    return f"every input within its given range (over all of them {box[0].min():g} to {box[1].max():g})"
