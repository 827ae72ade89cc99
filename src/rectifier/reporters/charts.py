"""The figures of a check-up's page, made from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkup.records import Record, SiteVitals, Snapshot
from ._themes import RATE_SCALE, SILENT
from .page import Figure, plain
from .words import count, number, percent, spot

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "firing_histogram",
    "firing_map",
    "firing_over_time",
    "losses",
    "scales_by_depth",
    "silence_over_time",
]

# Bounds that keep the page below 8 MB (Plotly itself is 5): a cell costs some 15 bytes.
MAX_UNITS = 512
MAX_SITES = 60
MAX_MAPS = 12
MAX_MAP_UNITS = 160
MAX_STEPS = 72
MAX_LINES = 7

# The colour bar starts below zero: a unit that never fired is another thing than one that fires at 0.01 %.
_BELOW = 0.12
_HOVER = "unit %{customdata[0]}<br>fired at %{customdata[1]} of %{customdata[2]} examples"


def firing_map(record: Record) -> Figure | None:
    """Firing rate of every unit at the last snapshot: one row a site, one column a unit."""
    sites, left_out = record.last.sites[:MAX_SITES], record.last.sites[MAX_SITES:]
    sites = tuple(site for site in sites if site.units and site.examples)
    if not sites:
        return None
    picks = [_pick(record, site, MAX_UNITS) for site in sites]
    width = max(len(pick) for pick in picks)
    rates = np.full((len(sites), width), np.nan, dtype=np.float32)
    seen = np.zeros((len(sites), width, 3), dtype=np.int64)
    for row, (site, pick) in enumerate(zip(sites, picks, strict=True)):
        rates[row, : len(pick)] = _level(site)[pick]
        seen[row, : len(pick)] = np.stack([pick, site.fired[pick], np.full(len(pick), site.examples)], axis=1)
    rows = [plain(site.site) for site in sites]
    plot = _heat(rates, seen, np.arange(width), rows, hover="%{y}<br>" + _HOVER)
    plot.update_yaxes(
        title_text="site",
        # Said outright: a name such as "1" would make it an axis of numbers.
        type="category",
        autorange="reversed",
        tickvals=rows,
        ticktext=[_tick(site.site) for site in sites],
        ticks="",
    )
    plot.update_xaxes(title_text="unit" if _all_shown(sites, picks) else "unit (a choice of them; see below)")
    plot.update_layout(height=110 + max(26, min(46, 900 // len(sites))) * len(sites))
    if len(sites) > 1:
        plot.data[0].ygap = 2
    notes = [_choice(sites, picks, MAX_UNITS)]
    if left_out:
        notes.append(f"The last {len(left_out)} sites are not drawn; the table below has them.")
    silent = {site.site: int((site.fired == 0).sum()) for site in sites}
    told = ", ".join(f"{spot(name)} {count(many)}" for name, many in silent.items() if many) or "none"
    return Figure(
        plot,
        " ".join(
            [
                "Each cell is a unit, each row a site, input side on top; vermillion cells never fired.",
                *[note for note in notes if note],
            ]
        ),
        f"Heat map of the firing rate of each unit, one row a site. Units that never fired: {told}.",
    )


def firing_over_time(record: Record) -> tuple[Figure, ...]:
    """Firing rate over the steps, one small map a site (step × unit); empty for a single snapshot."""
    if len(record.snapshots) < 2:
        return ()
    named = {name: 0 for name in _names(record)}
    for finding in record.findings:
        if finding.fault and finding.site in named:
            named[finding.site] += len(finding.units)
    chosen = set(sorted(named, key=lambda name: -named[name])[:MAX_MAPS])
    snapshots = _spread(record.snapshots, MAX_STEPS)
    return tuple(_site_over_time(record, snapshots, name) for name in named if name in chosen)


def _site_over_time(record: Record, snapshots: Sequence[Snapshot], name: str) -> Figure:
    moments = [(shot.step, site) for shot in snapshots for site in shot.sites if site.site == name]
    # A unit count that changed under way (pruning) leaves only the looks that can be compared with the last.
    last = moments[-1][1]
    moments = [(step, site) for step, site in moments if site.units == last.units]
    pick = _pick(record, last, MAX_MAP_UNITS)
    rates = np.stack([_level(site)[pick] for _, site in moments], axis=1).astype(np.float32)
    seen = np.stack(
        [np.stack([pick, site.fired[pick], np.full(len(pick), site.examples)], axis=1) for _, site in moments],
        axis=1,
    )
    steps = [step for step, _ in moments]
    plot = _heat(rates, seen, np.array(steps), np.arange(len(pick)), hover="step %{x}<br>" + _HOVER)
    plot.update_xaxes(title_text="step")
    plot.update_yaxes(title_text="unit" if len(pick) == last.units else "unit (a choice)", autorange="reversed")
    if len(pick) != last.units:
        plot.update_yaxes(showticklabels=False)
    plot.update_layout(height=340)
    first, final = int((moments[0][1].fired == 0).sum()), int((last.fired == 0).sum())
    told = (
        f"{count(first)} of {count(last.units)} units never fired in the look at step {count(steps[0])}, "
        f"{count(final)} at step {count(steps[-1])}."
    )
    note = _choice((last,), [pick], MAX_MAP_UNITS)
    return Figure(
        plot,
        f"{spot(name)}: {told}{' ' + note if note else ''}",
        f"Heat map of the firing rate of each unit of {spot(name)} over the steps. {told}",
        wide=False,
    )


def silence_over_time(record: Record) -> Figure | None:
    """How many units fired at no example of each look, over the steps, one line a site."""
    if len(record.snapshots) < 2:
        return None
    last = {site.site: int((site.fired == 0).sum()) for site in record.last.sites}
    chosen = set(sorted(last, key=lambda name: -last[name])[:MAX_LINES])
    plot = _figure()
    for place, name in enumerate(name for name in _names(record) if name in chosen):
        points = [
            (shot.step, int((site.fired == 0).sum()))
            for shot in record.snapshots
            for site in shot.sites
            if site.site == name and site.examples
        ]
        _line(plot, plain(spot(name)), points, place)
    plot.update_xaxes(title_text="step")
    plot.update_yaxes(title_text="units that never fired", rangemode="tozero")
    plot.update_layout(showlegend=True, height=320)
    rest = len(last) - len(chosen)
    told = ", ".join(f"{spot(name)} {count(last[name])}" for name in last if name in chosen)
    return Figure(
        plot,
        "Units that fired at no example of a look, by step: a line that rises and stays is units that died."
        + (f" The {rest} sites with fewer of them at the end are not drawn." if rest else ""),
        f"Lines over the steps of how many units never fired. At the last step: {told}.",
        wide=False,
    )


def losses(record: Record) -> Figure | None:
    """The loss over the steps, where it was seen more than once."""
    points = [(shot.step, shot.loss) for shot in record.snapshots if shot.loss is not None]
    if len(points) < 2:
        return None
    plot = _figure()
    _line(plot, "loss", points, 0)
    plot.update_xaxes(title_text="step")
    values = np.array([value for _, value in points])
    log = bool(np.all(np.isfinite(values)) and values.min() > 0 and values.max() / values.min() > 20)
    plot.update_yaxes(title_text="loss", type="log" if log else "linear")
    plot.update_layout(height=320)
    return Figure(
        plot,
        f"Loss at each look, from {number(points[0][1])} at step {count(points[0][0])} "
        f"to {number(points[-1][1])} at step {count(points[-1][0])}.",
        "Line of the loss over the steps.",
        wide=False,
    )


def scales_by_depth(record: Record) -> tuple[Figure, ...]:
    """Root mean square of ∂loss/∂z and of z by layer, first and last snapshot, on a log axis."""
    return tuple(
        figure
        for figure in (
            _scale(record, "gradient_rms", "gradient scale (RMS of ∂loss/∂z)", "Gradient scale by depth"),
            _scale(record, "activation_rms", "activation scale (RMS of z)", "Activation scale by depth"),
        )
        if figure
    )


def _scale(record: Record, attribute: str, axis: str, title: str) -> Figure | None:
    shots = [record.snapshots[0]] + ([record.last] if len(record.snapshots) > 1 else [])
    names = [layer.layer for layer in record.last.layers]
    plot, zeros, ends = _figure(), [], []
    for place, shot in enumerate(shots):
        values = [(layer.layer, getattr(layer, attribute)) for layer in shot.layers if layer.layer in names]
        zeros += [name for name, value in values if value == 0]
        points = [
            (names.index(name), value)
            for name, value in values
            if value is not None and np.isfinite(value) and value > 0
        ]
        if points:
            _line(plot, f"step {count(shot.step)}", points, place)
            ends.append(
                f"step {count(shot.step)}: {number(points[0][1])} at {spot(names[points[0][0]], attribute)}, "
                f"{number(points[-1][1])} at {spot(names[points[-1][0]], attribute)}"
            )
    if not plot.data:
        return None
    every = max(1, len(names) // 16)
    plot.update_xaxes(
        title_text="layer, input side left",
        tickvals=list(range(0, len(names), every)),
        ticktext=[_tick(name) for name in names[::every]],
        range=[-0.3, len(names) - 0.7],
    )
    plot.update_yaxes(type="log", title_text=axis)
    plot.update_layout(showlegend=True, height=340)
    gone = f" Exactly 0, so without a point: {', '.join(dict.fromkeys(zeros))}." if zeros else ""
    told = f"{title} (log axis); {'; '.join(ends)}.{gone}"
    return Figure(plot, told, f"Line chart. {told}", wide=False)


def firing_histogram(record: Record) -> Figure | None:
    """How many units fire how often at the last snapshot: never, in twenty bins, always."""
    sites = [site for site in record.last.sites if site.examples and site.units]
    if not sites:
        return None
    rates = np.concatenate([site.firing_rate for site in sites])
    never, always = rates == 0, rates == 1
    between, edges = np.histogram(rates[~never & ~always], bins=20, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    plot = _figure()
    for name, x, y, colour in (
        # First, so that it takes the palette's first colour.
        ("sometimes", centres.tolist(), between.tolist(), None),
        ("never", [-0.06], [int(never.sum())], SILENT),
        ("always", [1.06], [int(always.sum())], "#8A8F98"),
    ):
        plot.add_bar(
            x=x,
            y=y,
            name=name,
            width=0.046,
            marker={"color": colour, "line": {"width": 0}},
            text=y if name != "sometimes" else None,
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            hovertemplate="%{y} units<extra>" + name + "</extra>",
        )
    plot.update_xaxes(
        title_text="firing rate",
        tickvals=[-0.06, 0.25, 0.5, 0.75, 1.06],
        ticktext=["never", "25 %", "50 %", "75 %", "always"],
        range=[-0.12, 1.12],
        showgrid=False,
        tickangle=0,
    )
    plot.update_yaxes(title_text="units", rangemode="tozero")
    plot.update_layout(showlegend=False, height=300, barmode="overlay")
    told = (
        f"Of {count(rates.size)} units {count(int(never.sum()))} never fired, {count(int(always.sum()))} fired at "
        f"every example, and the median unit fired at {percent(float(np.median(rates)))} of them."
    )
    return Figure(plot, told, f"Histogram of firing rates. {told}")


def _figure() -> go.Figure:
    import plotly.graph_objects as go

    return go.Figure()


def _heat(rates: Any, seen: Any, x: Any, y: Any, *, hover: str) -> go.Figure:
    import plotly.graph_objects as go

    share = _BELOW / (1 + _BELOW)
    steps = np.linspace(share, 1, len(RATE_SCALE))
    scale = [
        [0.0, SILENT],
        [share, SILENT],
        *([float(at), hue] for at, hue in zip(steps, RATE_SCALE, strict=True)),
    ]
    plot = go.Figure(
        go.Heatmap(
            z=rates,
            x=x,
            y=y,
            customdata=seen,
            colorscale=scale,
            zmin=-_BELOW,
            zmax=1,
            hoverongaps=False,
            hovertemplate=hover + "<extra></extra>",
            colorbar={
                "tickvals": [-_BELOW / 2, 0.25, 0.5, 0.75, 1],
                "ticktext": ["never", "25 %", "50 %", "75 %", "always"],
            },
        )
    )
    return plot.update_xaxes(showgrid=False).update_yaxes(showgrid=False)


def _level(site: SiteVitals) -> Any:
    """The firing rate as it is coloured: below zero for a unit that never fired."""
    return np.where(site.fired == 0, -_BELOW / 2, site.firing_rate)


def _line(plot: go.Figure, name: str, points: Sequence[tuple[int, float | None]], place: int) -> None:
    plot.add_scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        name=name,
        mode="lines+markers" if len(points) <= 60 else "lines",
        # Dash and symbol tell the lines apart where colour does not.
        line={"dash": ("solid", "dash", "dot", "dashdot")[place % 4], "width": 2},
        marker={"symbol": ("circle", "diamond", "square", "cross")[place % 4], "size": 6},
    )


def _names(record: Record) -> list[str]:
    """Every site of the last snapshot, in forward order."""
    return [site.site for site in record.last.sites if site.units]


def _pick(record: Record, site: SiteVitals, most: int) -> Any:
    """Units to draw: all of them, or up to ``most``: those a fault names first, the others evenly spaced."""
    if site.units <= most:
        return np.arange(site.units)
    named = sorted({unit for f in record.findings if f.site == site.site and f.fault for unit in f.units})
    kept = np.array(named[: most // 2], dtype=np.int64)
    rest = np.setdiff1d(np.arange(site.units), kept)
    spread = rest[np.linspace(0, len(rest) - 1, most - len(kept)).astype(np.int64)]
    return np.union1d(kept, spread)


def _all_shown(sites: Sequence[SiteVitals], picks: Sequence[Any]) -> bool:
    return all(len(pick) == site.units for site, pick in zip(sites, picks, strict=True))


def _choice(sites: Sequence[SiteVitals], picks: Sequence[Any], most: int) -> str:
    if _all_shown(sites, picks):
        return ""
    return (
        f"Of a site with more than {most} units {most} are drawn: up to half of them units that a fault names, "
        "the others evenly spaced; the counts are of all units."
    )


def _spread(snapshots: Sequence[Snapshot], most: int) -> list[Snapshot]:
    """At most ``most`` snapshots, evenly spaced, with the first and the last."""
    if len(snapshots) <= most:
        return list(snapshots)
    return [snapshots[int(at)] for at in np.linspace(0, len(snapshots) - 1, most)]


def _tick(name: str) -> str:
    """A name for a tick: its end, as that is what differs between layers."""
    return plain(name if len(name) <= 18 else "…" + name[-17:])
