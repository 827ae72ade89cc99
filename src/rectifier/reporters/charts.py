"""The charts of a check-up's page, made from records alone."""

from __future__ import annotations

import numpy as np

from ..checkup.records import Record
from .page import Chart
from .svg import Bar, Line, bars, lines
from .words import count, number, percent, spot

__all__ = ["firing_histogram", "losses", "scales_by_depth", "silence_over_time"]

MAX_LINES = 7
_LOG = 20.0


def silence_over_time(record: Record) -> Chart | None:
    """How many units fired at no example of each look, over the steps, one line a site."""
    if len(record.snapshots) < 2:
        return None
    last = {site.site: int((site.fired == 0).sum()) for site in record.last.sites if site.units}
    if not last:
        return None
    chosen = set(sorted(last, key=lambda name: -last[name])[:MAX_LINES])
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in last if name in chosen}
    for shot in record.snapshots:
        for site in shot.sites:
            if site.site in points and site.examples:
                points[site.site].append((shot.step, float((site.fired == 0).sum())))
    svg = lines([Line(spot(name), points[name]) for name in points], x_title="step", y_title="units that never fired")
    rest = len(last) - len(chosen)
    told = ", ".join(f"{spot(name)} {count(last[name])}" for name in points)
    return Chart(
        svg,
        "Units that fired at no example of a look, by step: a line that rises and stays is units that died."
        + (f" The {rest} sites with fewer of them at the end are not drawn." if rest else ""),
        f"Lines over the steps of how many units never fired. At the last step: {told}.",
    )


def losses(record: Record) -> Chart | None:
    """The loss over the steps, where it was seen more than once."""
    points = [(shot.step, shot.loss) for shot in record.snapshots if shot.loss is not None]
    if len(points) < 2:
        return None
    values = np.array([value for _, value in points])
    log = bool(np.all(np.isfinite(values)) and values.min() > 0 and values.max() / values.min() > _LOG)
    gone = int((~np.isfinite(values)).sum())
    return Chart(
        lines([Line("loss", points)], x_title="step", y_title="loss", log=log),
        f"Loss at each look{' (log axis)' if log else ''}, from {number(points[0][1])} at step {count(points[0][0])} "
        f"to {number(points[-1][1])} at step {count(points[-1][0])}."
        + (f" NaN or infinite, so without a point, at {count(gone)} of them." if gone else ""),
        "Line of the loss over the steps.",
    )


def scales_by_depth(record: Record) -> tuple[Chart, ...]:
    """Root mean square of ∂loss/∂z and of z by layer, first and last snapshot, on a log axis."""
    return tuple(
        chart
        for chart in (
            _scale(record, "gradient_rms", "gradient scale (RMS of ∂loss/∂z)", "Gradient scale by depth"),
            _scale(record, "activation_rms", "activation scale (RMS of z)", "Activation scale by depth"),
        )
        if chart
    )


def _scale(record: Record, attribute: str, axis: str, title: str) -> Chart | None:
    shots = [record.snapshots[0]] + ([record.last] if len(record.snapshots) > 1 else [])
    names = [layer.layer for layer in record.last.layers]
    series, zeros, ends = [], [], []
    for shot in shots:
        values = [(layer.layer, getattr(layer, attribute)) for layer in shot.layers if layer.layer in names]
        zeros += [name for name, value in values if value == 0]
        points = [
            (names.index(name), value)
            for name, value in values
            if value is not None and np.isfinite(value) and value > 0
        ]
        if points:
            series.append(Line(f"step {count(shot.step)}", points))
            ends.append(
                f"step {count(shot.step)}: {number(points[0][1])} at {spot(names[points[0][0]], attribute)}, "
                f"{number(points[-1][1])} at {spot(names[points[-1][0]], attribute)}"
            )
    if not series:
        return None
    svg = lines(
        series, x_title="layer, input side left", y_title=axis, log=True, labels=[_tick(name) for name in names]
    )
    gone = f" Exactly 0, so without a point: {', '.join(dict.fromkeys(zeros))}." if zeros else ""
    told = f"{title} (log axis); {'; '.join(ends)}.{gone}"
    return Chart(svg, told, f"Line chart. {told}")


def firing_histogram(record: Record) -> Chart | None:
    """How many units fire how often at the last snapshot: never, in twenty bins, always."""
    sites = [site for site in record.last.sites if site.examples and site.units]
    if not sites:
        return None
    rates = np.concatenate([site.firing_rate for site in sites])
    never, always = int((rates == 0).sum()), int((rates == 1).sum())
    between, edges = np.histogram(rates[(rates > 0) & (rates < 1)], bins=20, range=(0.0, 1.0))
    items = [Bar(-0.06, 0.046, never, f"never: {count(never)} units", "never", count(never))]
    items += [
        Bar((low + high) / 2, 0.046, int(many), f"{percent(low)} to {percent(high)}: {count(int(many))} units")
        for low, high, many in zip(edges[:-1].round(2).tolist(), edges[1:].round(2).tolist(), between, strict=True)
    ]
    items.append(Bar(1.06, 0.046, always, f"always: {count(always)} units", "always", count(always)))
    ticks = ((-0.06, "never"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.06, "always"))
    told = (
        f"Of {count(rates.size)} units {count(never)} never fired, {count(always)} fired at every example, and the "
        f"median unit fired at {percent(float(np.median(rates)))} of them."
    )
    return Chart(
        bars(items, ticks=ticks, x_title="firing rate", y_title="units"), told, f"Histogram of firing rates. {told}"
    )


def _tick(name: str) -> str:
    """A name for a tick: its end, as that is what differs between layers."""
    return name if len(name) <= 18 else "…" + name[-17:]
