"""What ``rectifier.check`` finds in a trained network, in a few numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

import rectifier

from ..._family import family
from ...checkup.records import SiteVitals
from ...checkup.thresholds import Thresholds
from ...frameworks.torch.sites import identify

__all__ = ["health"]


def health(model: nn.Module, inputs: torch.Tensor) -> dict[str, Any]:
    """Shares over all units, in [0, 1], and lists with one entry a place, in the order of the check-up's record.

    silent: units that a finding calls silent or dead on these inputs
    dormant: units whose mean |h| is at most τ = 0.025 of their layer's (Sokar et al. 2023, arXiv:2302.12902), the
        silent ones included; of any function, the sigmoid too
    zeros: share of the activations that are exactly 0, of the functions that are 0 below 0; else 0
    silent_by_layer, zeros_by_layer, activation_by_layer (root mean square of h), places
    The lists are empty and the shares 0 where there is no activation that the check-up knows (such as the identity);
    NaN where an activation was NaN or infinite.
    """
    lists: dict[str, Any] = {"places": [], "silent_by_layer": [], "zeros_by_layer": [], "activation_by_layer": []}
    if not any(identify(part) for part in model.modules()):
        return dict.fromkeys(("silent", "dormant", "zeros"), 0.0) | lists
    record = rectifier.check(model, [inputs])
    sites = record.last.sites
    if any(site.nan.any() or not np.isfinite(site.sum_abs_h).all() or _infinite(site) for site in sites):
        return dict.fromkeys(("silent", "dormant", "zeros"), math.nan) | lists
    silent = {site.site: set[int]() for site in sites}
    for finding in record.of("silent", "dead"):
        silent[finding.site].update(finding.units)
    units = sum(site.units for site in sites)
    values = sum(site.units * site.examples for site in sites)
    zeros = [_zeros(site) for site in sites]
    weighted = sum(share * site.units * site.examples for share, site in zip(zeros, sites, strict=True))
    return {
        "silent": sum(map(len, silent.values())) / units,
        "dormant": sum(_dormant(site) for site in sites) / units,
        "zeros": weighted / values,
        "places": [site.site for site in sites],
        "silent_by_layer": [len(silent[site.site]) / site.units for site in sites],
        "zeros_by_layer": zeros,
        "activation_by_layer": [site.rms_h for site in sites],
    }


def _infinite(site: SiteVitals) -> bool:
    return site.infinite is not None and bool(site.infinite.any())


def _zeros(site: SiteVitals) -> float:
    row = family[site.rectifier]
    return 1.0 - float(site.firing_rate.mean()) if row.negative_part == "none" and not row.comparison else 0.0


def _dormant(site: SiteVitals) -> int:
    return int(np.sum(site.sum_abs_h <= Thresholds().dormant * site.sum_abs_h.mean()))
