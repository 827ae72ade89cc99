"""The figures of the demonstration's page."""

from __future__ import annotations

import numpy as np

from ..reporters.page import Figure
from .chain import ChainRule
from .cure import CureResult
from .death import DeathResult
from .depth import DepthResult

__all__ = ["accuracy", "deaths", "depth", "drift", "lives", "remedies"]

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
_SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "x", "star")
#: Vermillion for what does not fire, a mid grey-blue for what does: they differ in lightness too.
_CLOSED, _OPEN = "#D55E00", "#8FB8D6"


def depth(result: DepthResult) -> Figure:
    """Gradient by layer, one line a function; the threshold's is 0 and lies on no logarithmic axis."""
    import plotly.graph_objects as go

    plot = go.Figure()
    layers = list(range(1, result.layers + 1))
    shown = [curve for curve in result.curves if curve.gradient[0] > 0.0]
    for place, curve in enumerate(shown):
        plot.add_scatter(
            x=layers,
            y=list(curve.gradient),
            name=curve.function,
            mode="lines+markers",
            line={"dash": _DASHES[place], "width": 2},
            marker={"symbol": _SYMBOLS[place], "size": 6},
        )
    plot.update_layout(
        xaxis={"title": {"text": "layer (the loss is on the right)"}},
        yaxis={"title": {"text": "gradient, root mean square"}, "type": "log"},
    )
    absent = ", ".join(curve.function for curve in result.curves if curve not in shown)
    told = "Read from right to left: how the gradient fares on its way back to the first layer."
    told += f" Exactly 0 in the first layer, so not on this axis: {absent}." if absent else ""
    ends = "; ".join(f"{curve.function} {curve.kept:.2g}" for curve in shown)
    return Figure(plot, told, f"Line chart of the gradient by layer. First layer as a share of the last: {ends}.")


def lives(result: DeathResult) -> Figure:
    """Heat map unit × step: fired on any training image or not; in each layer the earliest deaths at the bottom."""
    import plotly.graph_objects as go

    rows, names = [], []
    for site, fired in result.fired.items():
        last = np.where(fired.any(axis=0), len(fired) - 1 - fired[::-1].argmax(axis=0), -1)
        for unit in np.argsort(last, kind="stable"):
            rows.append(fired[:, unit])
            names.append(f"{site}, unit {unit}")
    plot = go.Figure(
        go.Heatmap(
            z=np.array(rows, dtype=np.int8),
            customdata=np.repeat(np.array(names, dtype=object)[:, None], len(rows[0]), axis=1),
            colorscale=[[0.0, _CLOSED], [0.5, _CLOSED], [0.5, _OPEN], [1.0, _OPEN]],
            zmin=0,
            zmax=1,
            hovertemplate="%{customdata}, after update %{x}<extra></extra>",
            colorbar={"tickvals": [0.25, 0.75], "ticktext": ["silent", "fires"]},
        )
    )
    edges = np.cumsum([fired.shape[1] for fired in result.fired.values()])
    for edge in edges[:-1]:
        plot.add_hline(y=float(edge) - 0.5, line={"width": 2, "color": "#666666"})
    middles = [float(edge) - fired.shape[1] / 2 for edge, fired in zip(edges, result.fired.values(), strict=True)]
    plot.update_layout(
        height=520,
        xaxis={"title": {"text": "updates done"}},
        yaxis={"tickvals": middles, "ticktext": list(result.fired)},
    )
    return Figure(
        plot,
        "One row a hidden unit, one column an update: does it fire on any training image? Within a layer the earliest "
        "deaths are at the bottom.",
        f"Heat map: at the end {result.silent_units} of {result.hidden_units} units fire on no training image.",
    )


def deaths(result: DeathResult) -> Figure:
    """Silent units of each layer by step."""
    import plotly.graph_objects as go

    plot = go.Figure()
    for place, (site, fired) in enumerate(result.fired.items()):
        plot.add_scatter(
            x=list(range(len(fired))),
            y=(~fired).sum(axis=1).tolist(),
            name=f"{site} (of {fired.shape[1]})",
            mode="lines",
            line={"dash": _DASHES[place], "width": 2, "shape": "hv"},
        )
    plot.update_layout(
        xaxis={"title": {"text": "updates done"}},
        yaxis={"title": {"text": "silent units"}, "rangemode": "tozero"},
    )
    ends = ", ".join(f"{int((~fired[-1]).sum())} of {fired.shape[1]}" for fired in result.fired.values())
    return Figure(
        plot,
        "Units that fire on no training image, layer by layer.",
        f"Silent units at the end: {ends}.",
        wide=False,
    )


def accuracy(result: DeathResult) -> Figure:
    """Test accuracy by epoch, large step size and small."""
    import plotly.graph_objects as go

    plot = go.Figure()
    for place, (step, curve) in enumerate(((result.step, result.accuracy), (result.small_step, result.accuracy_small))):
        plot.add_scatter(
            x=list(range(len(curve))),
            y=[100 * value for value in curve],
            name=f"step size {step:g}",
            mode="lines+markers",
            line={"dash": _DASHES[place], "width": 2},
            marker={"symbol": _SYMBOLS[place], "size": 6},
        )
    plot.update_layout(xaxis={"title": {"text": "epochs done"}}, yaxis={"title": {"text": "test accuracy (%)"}})
    return Figure(
        plot,
        "The same network, the same batches: only the step size differs.",
        f"Test accuracy ends at {100 * result.accuracy[-1]:.1f} % and {100 * result.accuracy_small[-1]:.1f} %.",
        wide=False,
    )


def drift(chain: ChainRule) -> Figure:
    """How the optimizer's memory fades from the dead unit's weights."""
    import plotly.graph_objects as go

    steps = [chain.last_fired + 1 + place for place in range(len(chain.drift))]
    moved = [(step, value) for step, value in zip(steps, chain.drift, strict=True) if value > 0.0]
    plot = go.Figure(
        go.Scatter(
            x=[step for step, _ in moved],
            y=[value for _, value in moved],
            mode="lines+markers",
            marker={"size": 4},
        )
    )
    plot.update_layout(
        height=280,
        xaxis={"title": {"text": "update"}, "range": [0, steps[-1] + 1]},
        yaxis={"title": {"text": "largest change of a weight"}, "type": "log"},
    )
    told = "After the unit last fired only Adam's memory of earlier gradients moves it, less at every update."
    if chain.still_from is not None:
        told += f" From update {chain.still_from + 1} on the change is exactly 0, which no logarithmic axis shows."
    return Figure(plot, told, told)


def remedies(result: CureResult) -> Figure:
    """Gain over doing nothing at the same step size, with its standard error, one dot a remedy and step."""
    import plotly.graph_objects as go

    plot = go.Figure()
    for place, step in enumerate((result.step, result.small_step)):
        arms = [arm for arm in result.at(step) if arm.remedy != "nothing"]
        plot.add_scatter(
            x=[100 * arm.gain for arm in arms],
            y=[index + (0.12 if place else -0.12) for index in range(len(arms))],
            error_x={"type": "data", "array": [200 * arm.gain_error for arm in arms], "thickness": 2},
            name=f"step size {step:g}",
            mode="markers",
            marker={"symbol": _SYMBOLS[place], "size": 10},
        )
    names = [arm.remedy for arm in result.at(result.step) if arm.remedy != "nothing"]
    plot.add_vline(x=0.0, line={"width": 1, "dash": "dash", "color": "#888888"})
    plot.update_layout(
        xaxis={"title": {"text": "gain in test accuracy over doing nothing (points)"}},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed"},
    )
    told = "; ".join(
        f"{arm.remedy} at step size {arm.step:g}: {100 * arm.gain:+.1f}"
        for arm in result.arms
        if arm.remedy != "nothing"
    )
    return Figure(
        plot,
        "Right of the line a remedy is better than doing nothing at the same step size. Bars: twice the standard error "
        "each way.",
        f"Gain in points. {told}.",
    )
