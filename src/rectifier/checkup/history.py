"""A bounded history: when it is full, neighbours are merged and the interval doubles; counts are summed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from .records import Ints, LayerVitals, SiteVitals, Snapshot

__all__ = ["CAPACITY", "half_way", "halve", "lengthen", "merge", "ungraded"]

#: Most snapshots that are kept: a heat map is no finer, and memory does not grow with the length of a training.
CAPACITY = 128


def halve(snapshots: list[Snapshot]) -> list[Snapshot]:
    """Merge neighbours two by two. The first stays alone: it is the look at the initialisation."""
    first, rest = snapshots[:1], snapshots[1:]
    pairs = [merge(rest[i], rest[i + 1]) for i in range(0, len(rest) - 1, 2)]
    return [*first, *pairs, *rest[2 * len(pairs) :]]


def merge(a: Snapshot, b: Snapshot) -> Snapshot:
    """What two snapshots in a row saw, as one at the step of the later."""
    earlier_sites = {site.site: site for site in a.sites}
    earlier_layers = {layer.layer: layer for layer in a.layers}
    later_sites, later_layers = {site.site for site in b.sites}, {layer.layer for layer in b.layers}
    return Snapshot(
        step=b.step,
        sites=tuple(_site(earlier_sites.get(site.site), site) for site in b.sites)
        + tuple(site for site in a.sites if site.site not in later_sites),
        layers=tuple(_layer(earlier_layers.get(layer.layer), layer) for layer in b.layers)
        + tuple(layer for layer in a.layers if layer.layer not in later_layers),
        loss=_mean(a.loss, b.loss, 1.0, 1.0),
        looked=a.looked + b.looked,
    )


#: Fewest steps without a gradient that tell a unit is still silent, where there were as many.
_LEAST = 10


def half_way(site: SiteVitals, step: int) -> SiteVitals:
    """With the step from which on proved life is recent; ``step``: the last whose gradient was read."""
    if site.lived is None or site.graded is None:
        return site
    return replace(site, recent=max(step - max(site.graded // 2, _LEAST), 0), until=step)


def lengthen(snapshot: Snapshot, gradients: Mapping[str, tuple[int, Ints, Ints]], step: int) -> Snapshot:
    """With what gradients told from it to this step.

    gradients: site → (steps, the last at which each unit's proved life or 0, at how many they did).
    """

    def longer(site: SiteVitals) -> SiteVitals:
        if site.site not in gradients:
            return site
        steps, lived, lives = gradients[site.site]
        lived = lived if site.lived is None else np.maximum(site.lived, lived)
        lives = lives if site.lives is None else site.lives + lives
        return half_way(replace(site, graded=_sum(site.graded, steps), lived=lived, lives=lives), step)

    return replace(snapshot, sites=tuple(map(longer, snapshot.sites)))


def ungraded(snapshot: Snapshot, sites: Collection[str]) -> Snapshot:
    """Without what gradients told of these sites."""
    return replace(
        snapshot,
        sites=tuple(
            replace(site, graded=None, lived=None, lives=None, until=0, recent=0) if site.site in sites else site
            for site in snapshot.sites
        ),
    )


def _mean(a: float | None, b: float | None, weight_a: float, weight_b: float) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return (a * weight_a + b * weight_b) / (weight_a + weight_b)


def _rms(a: float | None, b: float | None, weight_a: float, weight_b: float) -> float | None:
    squares = _mean(None if a is None else a * a, None if b is None else b * b, weight_a, weight_b)
    return None if squares is None else math.sqrt(squares)


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def _counts(a: Ints | None, b: Ints | None) -> Ints | None:
    return b if a is None else a if b is None else a + b


def _site(a: SiteVitals | None, b: SiteVitals) -> SiteVitals:
    if a is None or a.units != b.units:
        return b
    looked = [site.examples if site.looked is None else site.looked for site in (a, b)]
    n, m = float(looked[0]), float(looked[1])
    if not m:  # gates alone were counted
        b = replace(b, rms_h=a.rms_h)
    gradient = b.gradient_abs if a.gradient_abs is None else a.gradient_abs
    if a.gradient_abs is not None and b.gradient_abs is not None:
        gradient = (a.gradient_abs * n + b.gradient_abs * m) / (n + m)
    # Two moves in a row add up to at most their sum.
    moved = b.moved if a.moved is None else a.moved if b.moved is None else a.moved + b.moved
    return replace(
        b,
        examples=a.examples + b.examples,
        fired=a.fired + b.fired,
        nan=a.nan + b.nan,
        sum_h=a.sum_h + b.sum_h,
        sum_abs_h=a.sum_abs_h + b.sum_abs_h,
        min_z=np.minimum(a.min_z, b.min_z),
        max_z=np.maximum(a.max_z, b.max_z),
        rms_h=_rms(a.rms_h, b.rms_h, n, m) or 0.0,
        gradient_rms=_rms(a.gradient_rms, b.gradient_rms, n, m),
        gradient_abs=gradient,
        moved=moved,
        looked=None if a.looked is None and b.looked is None else sum(looked),
        graded=_sum(a.graded, b.graded),
        lived=b.lived if a.lived is None else a.lived if b.lived is None else np.maximum(a.lived, b.lived),
        lives=_counts(a.lives, b.lives),
        infinite=_counts(a.infinite, b.infinite),
        flat_low=_counts(a.flat_low, b.flat_low),
        flat_high=_counts(a.flat_high, b.flat_high),
        inputs=_sum(a.inputs, b.inputs),
    )


def _layer(a: LayerVitals | None, b: LayerVitals) -> LayerVitals:
    if a is None:
        return b
    ratios = [ratio for ratio in (a.update_ratio, b.update_ratio) if ratio is not None]
    return replace(
        b,
        activation_rms=_rms(a.activation_rms, b.activation_rms, 1.0, 1.0),
        gradient_rms=_rms(a.gradient_rms, b.gradient_rms, 1.0, 1.0),
        weight_gradient_rms=_rms(a.weight_gradient_rms, b.weight_gradient_rms, 1.0, 1.0),
        # the larger one: it is what kills
        update_ratio=max(ratios) if ratios else None,
        input_mean=_mean(a.input_mean, b.input_mean, 1.0, 1.0),
        input_rms=_rms(a.input_rms, b.input_rms, 1.0, 1.0),
        input_infinite=_sum(a.input_infinite, b.input_infinite),
    )
