"""Records made by hand: one site, one layer, with what a test does not say set to something plain."""

from __future__ import annotations

from typing import Any

import numpy as np

from rectifier.checkup import LayerVitals, SiteVitals, Snapshot

__all__ = ["layer", "shots", "site"]


def site(fired: list[int], *, examples: int = 1000, **changes: Any) -> SiteVitals:
    units = len(fired)
    alive = np.array([count > 0 for count in fired])
    values: dict[str, Any] = {
        "site": "act",
        "rectifier": "relu",
        "parameters": {},
        "layer": "linear",
        "examples": examples,
        "fired": np.array(fired),
        "nan": np.zeros(units, dtype=np.int64),
        "sum_h": np.array(fired, dtype=np.float64),
        "sum_abs_h": np.array(fired, dtype=np.float64),
        "min_z": np.where(np.array(fired) == examples, 0.5, -3.0),
        "max_z": np.where(alive, 2.0, -1.0),
        "rms_h": 1.0,
    }
    return SiteVitals(**{**values, **changes})


def layer(name: str = "linear", **changes: Any) -> LayerVitals:
    values: dict[str, Any] = {
        "layer": name,
        "fan_in": 4,
        "units": 4,
        "weight_rms": 0.5,
        "activation_rms": 1.0,
        "gradient_rms": None,
    }
    return LayerVitals(**{**values, **changes})


def shots(*sites: SiteVitals, layers: tuple[LayerVitals, ...] = (), steps: tuple[int, ...] = ()) -> list[Snapshot]:
    """One snapshot a site, at these steps or 1, 11, 21, …"""
    return [Snapshot(steps[i] if steps else 1 + 10 * i, (one,), layers) for i, one in enumerate(sites)]
