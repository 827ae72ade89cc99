"""What a logger is told: a snapshot or a record as one flat dict of plain floats, under names that do not change.

Names are ``rectifier/<measure>`` of the whole model and ``rectifier/<place>/<measure>`` of a site or layer, whose name
is the record's with every character that some logger refuses (all but letters, digits, ``_ . -``) as ``_``. What was
not measured is left out, never told as 0. docs/integrations.md lists them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .._family import family
from .records import Record, SiteVitals, Snapshot

__all__ = ["Logger", "metrics", "place_names", "verdicts"]


class Logger:
    """The user's ``log``; what it raises is told once, and ends no training."""

    def __init__(self, log: Callable[[dict[str, float]], Any], function: str) -> None:
        self._log, self._function, self._failed = log, function, False

    def __call__(self, found: dict[str, float], step: int) -> None:
        try:
            self._log(found)
        except Exception as error:
            if not self._failed:
                self._failed = True
                warnings.warn(
                    f"{self._function}: `log` raised {type(error).__name__} at step {step}: {error}. The training goes "
                    "on, the record is kept, and `log` is called again at the next look; what it raises is told once.",
                    RuntimeWarning,
                    stacklevel=3,
                )


def place_names(names: Iterable[str]) -> dict[str, str]:
    """name of a site or layer → that in a metric; where two would be the same, the later ones get a number.

    >>> place_names(["block.relu#1", "encoder/0", "encoder_0"])
    {'block.relu#1': 'block.relu_1', 'encoder/0': 'encoder_0', 'encoder_0': 'encoder_0_2'}
    """
    given: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]", "_", name) or "_"
        told, n = plain, 1
        while told in given.values():
            n += 1
            told = f"{plain}_{n}"
        given[name] = told
    return given


def metrics(snapshot: Snapshot) -> dict[str, float]:
    """What one snapshot saw; nothing is judged, so this takes as long as reading a few arrays does."""
    found: dict[str, float] = {"rectifier/step": float(snapshot.step)}
    names = place_names(site.site for site in snapshot.sites)
    units = sum(site.units for site in snapshot.sites)
    silent = {site.site: _silent(site) for site in snapshot.sites}
    if units:
        found["rectifier/units"] = float(units)
        found["rectifier/silent"] = sum(silent.values()) / units
    for site in snapshot.sites:
        if not site.units or not site.examples:
            continue
        measures = {
            "silent": silent[site.site] / site.units,
            "always_open": float(np.mean((site.fired == site.examples - site.nan) & (site.fired > 0))),
            "firing_rate": float(np.mean(site.firing_rate)),
            "rms": site.rms_h,
            "gradient_rms": site.gradient_rms,
        }
        found |= _named(names[site.site], measures)
    layers = place_names(layer.layer for layer in snapshot.layers)
    for layer in snapshot.layers:
        found |= _named(layers[layer.layer], {"update_ratio": layer.update_ratio})
    return found


def verdicts(record: Record) -> dict[str, float]:
    """What only the whole record tells: its verdicts."""
    found = {
        "rectifier/faults": float(sum(finding.fault for finding in record.findings)),
        "rectifier/ill": float(sum(finding.ill for finding in record.findings)),
    }
    sites = record.last.sites if record.snapshots else ()
    if any(site.units for site in sites):
        found["rectifier/judged_silent"] = record.share("silent", "dead")
        found["rectifier/dead"] = record.share("dead")
    names = place_names(site.site for site in sites)
    for site in sites:
        of = [finding for finding in record.of("silent", "dead") if finding.site == site.site]
        for measure, kinds in (("judged_silent", ("silent", "dead")), ("dead", ("dead",))):
            named = {unit for finding in of if finding.kind in kinds for unit in finding.units}
            found[f"rectifier/{names[site.site]}/{measure}"] = len(named) / site.units
    return found


def _silent(site: SiteVitals) -> int:
    """Units that fired at none of the examples, where that is no life: not of leaky, ELU and their like."""
    row = family.get(site.rectifier)
    if row is None or row.comparison or row.negative_part != "none":
        return 0
    return int((~site.alive & (site.examples > site.nan)).sum())


def _named(place: str, measures: Mapping[str, float | None]) -> dict[str, float]:
    return {f"rectifier/{place}/{name}": float(value) for name, value in measures.items() if value is not None}
