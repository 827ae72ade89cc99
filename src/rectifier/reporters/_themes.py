"""The two looks of a page's figures: Plotly templates for light and for dark.

The series colours are Okabe and Ito's palette, which colour-blind readers can tell apart, in the same order in both:
the dark ones are lighter tints of the same hues. Source: Okabe & Ito, Color Universal Design, 2008,
https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from typing import Any

__all__ = ["RATE_SCALE", "SILENT", "THEMES"]

#: Vermillion: a unit that never fired. Reads on both grounds.
SILENT = "#D55E00"

#: Cividis (Nuñez, Anderton & Renslow 2018, doi:10.1371/journal.pone.0199239), from rare to often.
RATE_SCALE = (
    "#00224e",
    "#123570",
    "#3b496c",
    "#575d6d",
    "#707173",
    "#8a8678",
    "#a59c74",
    "#c3b369",
    "#e1cc55",
    "#fee838",
)

_LIGHT = ["#0072B2", "#D55E00", "#009E73", "#B8578F", "#B07A00", "#3A9BD6", "#555555"]
_DARK = ["#58AEEB", "#FF8B45", "#2CC79B", "#E79AC7", "#F2BC42", "#A6DBFA", "#B5B5B5"]
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def _theme(ink: str, grid: str, line: str, ground: str, series: list[str]) -> dict[str, Any]:
    axis = {
        "gridcolor": grid,
        "linecolor": line,
        "tickcolor": line,
        "zerolinecolor": line,
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "exponentformat": "power",
        "title": {"standoff": 10},
    }
    bar = {"outlinewidth": 0, "tickcolor": line, "thickness": 14, "ticklen": 4}
    return {
        "layout": {
            "font": {"family": _FONT, "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": series,
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": ground,
                "bordercolor": line,
                "font": {"color": ink, "family": _FONT, "size": 13},
                "align": "left",
            },
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
            "margin": {"l": 48, "r": 16, "t": 24, "b": 44},
            "coloraxis": {"colorbar": bar},
            "hovermode": "closest",
            "bargap": 0.06,
        },
        "data": {"heatmap": [{"type": "heatmap", "colorbar": bar}]},
    }


THEMES: dict[str, dict[str, Any]] = {
    "light": _theme("#22262b", "#e4e6ea", "#8b919a", "#ffffff", _LIGHT),
    "dark": _theme("#dfe3e8", "#333941", "#7d8590", "#20252b", _DARK),
}
