"""From what was seen to what it means: a pure function of snapshots and thresholds.

One unit, one verdict about its gate, the strongest that holds: dead (proved), silent (0 of N), rare (k of N). What
the function's negative part keeps alive is *always closed* instead, which is no fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .._family import family
from .causes import Causes
from .deaths import Moment, moments
from .flat import flat_findings, with_resampling
from .initialisation import judge_initialisation, judge_selu
from .reasons import group, percent
from .records import Finding, SiteVitals, Snapshot
from .scales import judge_scales
from .severity import weigh
from .silence import Soon, too_soon
from .thresholds import Thresholds

__all__ = ["judge", "upper_rate"]

Bools = npt.NDArray[np.bool_]

#: Functions that are the identity (or a straight line) where they fire: open at every example means linear.
_STRAIGHT = frozenset({"relu", "leaky_relu", "prelu", "abs", "relu6", "elu", "celu", "selu"})


def upper_rate(fired: int, examples: int, *, confidence: float = 0.95, inputs: int | None = None) -> float:
    """Upper bound of a firing rate after ``fired`` firings in ``examples`` examples, at this confidence.

    The largest p with N·KL(k/N ‖ p) ≤ ln(1/(1 − confidence)) (Chernoff 1952, doi:10.1214/aoms/1177729330). It holds
    for every N, never lies below the exact bound of Clopper & Pearson, and for k = 0 is that bound,
    1 − (1 − confidence)^(1/N) < 3/N: the rule of three (Hanley & Lippman-Hand 1983). Examples are taken as independent.

    inputs: how many of them are, where several examples (positions) belong to one input. The share of an input's
    positions that fire is then what was drawn that many times, and the bound holds for it just so (Hoeffding 1963,
    doi:10.1080/01621459.1963.10500830): ``inputs`` takes the place of N, k/N stays.

    >>> round(upper_rate(0, 1000), 6)
    0.002991
    >>> round(upper_rate(0, 64000, inputs=1000), 6)
    0.002991
    """
    drawn = examples if inputs is None else min(inputs, examples)
    if drawn == 0 or fired >= examples:
        return 1.0
    rate, limit = fired / examples, -math.log1p(-confidence) / drawn
    low, high = rate, 1.0
    for _ in range(60):  # halves the bracket each time: down to the last bit of a double
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _divergence(rate, middle) <= limit else (low, middle)
    return high


def _divergence(q: float, p: float) -> float:
    if p >= 1.0:
        return math.inf
    return (q * math.log(q / p) if q else 0.0) + (1 - q) * math.log((1 - q) / (1 - p))


def judge(
    snapshots: Sequence[Snapshot],
    limits: Thresholds | None = None,
    *,
    proved: Mapping[str, Mapping[int, float]] | None = None,
    box: str | Mapping[str, str] | None = None,
    history: bool = False,
    short: Mapping[str, Mapping[int, Any]] | None = None,
) -> tuple[Finding, ...]:
    """The findings about the last snapshot, with what the snapshots before it tell about when and why.

    proved: site → unit → the bound (≤ 0) of its pre-activation that proves it dead; box: over which inputs, or site →
    how and over which inputs.
    history: True where the snapshots follow a training run; False where one look was taken, which cannot tell when.
    short: site → units of which too few examples were seen to call them silent (:func:`.silence.short_of`).
    """
    if not snapshots:
        return ()
    limits = limits if limits is not None else Thresholds()
    findings: list[Finding] = []
    causes = Causes(snapshots, limits, history=history)
    for site in snapshots[-1].sites:
        past = moments(snapshots, site) if history else []
        few = (short or {}).get(site.site, {})
        findings += _Site(site, limits, causes, proved or {}, box, past, few).findings()
        findings += flat_findings(site, limits)
    findings = with_resampling(findings, snapshots[-1])
    findings += judge_scales(snapshots, limits, history=history)
    if history:
        findings += judge_initialisation(snapshots, limits)
    findings += judge_selu(snapshots, history=history)
    return tuple(
        replace(finding, measures={key: float(value) for key, value in finding.measures.items()})
        for finding in weigh(findings, snapshots, limits)
    )


class _Site:
    """The verdicts about one site."""

    def __init__(
        self,
        site: SiteVitals,
        limits: Thresholds,
        causes: Causes,
        proved: Mapping[str, Mapping[int, float]],
        box: str | Mapping[str, str] | None,
        past: Sequence[Moment],
        few: Mapping[int, Any],
    ) -> None:
        self.site, self.limits, self.causes, self.box = site, limits, causes, box
        self.past, self.few = past, few
        # What is no row of the family is judged by its flat parts alone, as a function for comparison is.
        self.row = family[site.rectifier if site.rectifier in family else "tanh"]
        #: Examples at which z was a number.
        self.seen = site.examples - site.nan
        self.bounds = proved.get(site.site, {})

    def findings(self) -> list[Finding]:
        site = self.site
        found = self._nan()
        if self.row.comparison or site.examples == 0:
            return found
        never = ~site.alive & (self.seen > 0)
        if self.row.negative_part != "none":
            return [*found, *self._observation("always_closed", never), *self._always_open()]
        dead = self._dead(never)
        soon = {unit: too_soon(self.past, unit) for unit in map(int, np.flatnonzero(never & ~dead)) if self.past}
        waiting = {unit: found for unit, found in soon.items() if found is not None}
        silent = never & ~dead
        silent[[*waiting, *self.few]] = False
        rare = (site.fired > 0) & (site.fired <= self.limits.rare * self.seen)
        found += self._shut("dead", dead)
        found += self._shut("silent", silent)
        found += self._rare(rare) + self._waiting(waiting)
        found += self._dormant((site.fired > 0) & ~rare)
        return [*found, *self._always_open()]

    def _dead(self, never: Bools) -> Bools:
        site = self.site
        dead = np.zeros(site.units, dtype=bool)
        dead[list(self.bounds)] = True
        return (dead | self._zero_row()) & never

    def _zero_row(self) -> Bools:
        """Weights (or γ) that are exactly 0 with a bias (or β) that is not positive: shut for every finite input."""
        site = self.site
        if site.scale is not None and site.shift is not None:
            closed: Bools = (site.scale == 0) & (site.shift <= 0)
            return closed
        if site.weight_norm is None or site.scale is not None or site.shift is not None:
            return np.zeros(site.units, dtype=bool)
        bias = site.bias if site.bias is not None else np.zeros(site.units)
        # the largest z seen must agree: it would not where something unseen stands between the layer and the site
        zero: Bools = (site.weight_norm == 0) & (bias <= 0) & (site.max_z <= 0) & (site.max_z == site.min_z)
        return zero

    def _shut(self, kind: str, units: Bools) -> list[Finding]:
        site, found = self.site, []
        for cause, members in group(self.causes.of(site, units)):
            most = float(site.max_z[members].max())
            evidence = (
                f"fired at 0 of {self._examples(members)}; largest z seen {most:.4g}; {self._gradients(members)}"
                f"{self._sure('the true rate of each', members)}"
            )
            proof = self._proof(members) if kind == "dead" else None
            found.append(
                Finding(
                    kind="dead" if kind == "dead" else "silent",
                    site=site.site,
                    units=tuple(members),
                    total=site.units,
                    evidence=evidence,
                    cause=cause.cause,
                    remedy=cause.remedy,
                    measures={**self._measured(members), "max_z": most, **cause.measures},
                    proof=proof,
                    since=self.causes.since(site, members),
                    cause_kind=cause.kind,
                )
            )
        return found

    # How much was seen

    def _examples(self, members: Sequence[int]) -> str:
        """ "1000 examples", or what else they are: positions of fewer inputs, and those that are not NaN."""
        low, high = int(self.seen[members].min()), int(self.seen[members].max())
        many = f"{high}" if low == high else f"{low} to {high}"
        numbers = " that are not NaN" if low < self.site.examples else ""
        return f"{many} {'examples' if self._rows is None else 'values'}{numbers}" + (
            "" if self._rows is None else f" from {self._rows} inputs"
        )

    def _gradients(self, members: Sequence[int]) -> str:
        """What the steps between looks told of units that are shut."""
        if self.site.lived is None or self.site.graded is None or self.site.graded < 2:
            return ""
        last = int(self.site.lived[members].max())
        return f"no gradient after step {last}; " if last else f"no gradient at any of {self.site.graded} steps; "

    @property
    def _rows(self) -> int | None:
        """Inputs seen, where each gave several examples: those are not independent of each other."""
        rows = self.site.inputs
        return rows if rows is not None and 0 < rows < self.site.examples else None

    def _drawn(self, members: Sequence[int]) -> int:
        """Independent examples of each of these units, at least."""
        least = int(self.seen[members].min())
        return least if self._rows is None else min(self._rows, least)

    def _measured(self, members: Sequence[int]) -> dict[str, float]:
        drawn = self._drawn(members)
        inputs = {} if self._rows is None else {"inputs": drawn}
        rate = upper_rate(0, drawn, confidence=self.limits.confidence)
        return {"examples": int(self.seen[members].min()), **inputs, "rate_bound": rate}

    def _sure(self, what: str, members: Sequence[int]) -> str:
        """The bound after none in N: in the words of the rule of three at 95 %, else as it is."""
        n, confidence = self._drawn(members), self.limits.confidence
        inputs = "" if self._rows is None else ", N inputs"
        if confidence == 0.95:
            return f"with 95 % confidence {what} is below {min(3 / n, 1.0):.3g} (3/N{inputs})"
        rate = upper_rate(0, n, confidence=confidence)
        return f"with {percent(confidence)} confidence {what} is at most {rate:.3g}{inputs and ' (N inputs)'}"

    def _proof(self, members: Sequence[int]) -> str:
        zero = self._zero_row()
        if all(zero[unit] for unit in members):
            what = "γ is" if self.site.scale is not None else "all incoming weights are"
            return f"{what} exactly 0 and what is added is not positive, so z ≤ 0 for every finite input"
        bound = max(self.bounds.get(unit, -math.inf) for unit in members)
        also = " or by weights that are exactly 0" if any(zero[unit] for unit in members) else ""
        if isinstance(self.box, Mapping):
            return f"z ≤ {bound:.4g}{also} {self.box.get(self.site.site, '')}".rstrip()
        return f"z ≤ {bound:.4g} by interval arithmetic with rounding error included{also}, for {self.box}"

    def _rare(self, units: Bools) -> list[Finding]:
        members = [int(unit) for unit in np.flatnonzero(units)]
        if not members:
            return []
        site, confidence = self.site, self.limits.confidence
        most, n = int(site.fired[members].max()), int(self.seen[members].min())
        bound = max(
            upper_rate(int(site.fired[unit]), int(self.seen[unit]), confidence=confidence, inputs=self._drawn([unit]))
            for unit in members
        )
        inputs = {} if self._rows is None else {"inputs": self._drawn(members)}
        return [
            self._told_rare(
                members,
                f"fired at {int(site.fired[members].min())} to {most} of {self._examples(members)}; with "
                f"{percent(confidence)} confidence the true rate of each is below {bound:.3g}"
                f"{'' if self._rows is None else ' (N inputs)'}",
                "leave it where the feature is rare in the data; else watch it in training, and lower the step or use "
                "a rectifier with a living negative part",
                {"examples": n, **inputs, "most_fired": most, "rate_bound": bound},
            )
        ]

    def _waiting(self, units: Mapping[int, Soon]) -> list[Finding]:
        """Quiet, for a time too short to tell that from what they did before."""
        found = []
        for steps in (False, True):
            told = {unit: soon for unit, soon in units.items() if soon.steps is steps}
            if not told:
                continue
            fired, seen, quiet = (max(getattr(s, name) for s in told.values()) for name in ("fired", "seen", "silent"))
            what = (
                f"had a gradient at up to {fired} of {seen} steps until the last with one, and at 0 of up to {quiet} "
                "since"
                if steps
                else f"fired at up to {fired} of {seen} examples until they were last seen to fire, and at 0 of "
                f"{quiet} since"
            )
            measures = {"most_steps": fired, "steps": seen, "silent_steps": quiet}
            if not steps:
                measures = {"most_fired": fired, "examples": seen, "silent_examples": quiet}
            remedy = "look at more of the training: gates='every', or a shorter interval between looks"
            evidence = f"{what}: at such a rate that is no sign of silence yet"
            found.append(self._told_rare(list(told), evidence, remedy, measures))
        return found

    def _told_rare(self, units: Sequence[int], evidence: str, remedy: str, measures: Mapping[str, float]) -> Finding:
        return Finding(
            kind="rare",
            site=self.site.site,
            units=tuple(units),
            total=self.site.units,
            evidence=evidence,
            cause="not known: few examples reach these units; a rare feature and a unit about to fall silent look the "
            "same in one look",
            remedy=remedy,
            measures=measures,
        )

    def _dormant(self, candidates: Bools) -> list[Finding]:
        site = self.site
        finite = self.seen if site.infinite is None else self.seen - site.infinite
        if site.looked is not None:  # only of these was |h| summed
            finite = np.minimum(finite, site.looked)
        size = site.sum_abs_h / np.maximum(finite, 1)
        mean = float(size.mean())
        if not (mean > 0 and math.isfinite(mean)):
            return []
        score = size / mean
        candidates = candidates & ~np.isposinf(site.max_z)  # sums leave infinities out, and such a unit passes them on
        members = [int(unit) for unit in np.flatnonzero(candidates & (score <= self.limits.dormant))]
        if not members:
            return []
        worst = float(score[members].max())
        return [
            Finding(
                kind="dormant",
                site=site.site,
                units=tuple(members),
                total=site.units,
                evidence=f"mean |h| is at most {worst:.3g} of the site's mean (τ = {self.limits.dormant:g})",
                cause="not known: these units fire, but what they pass on is small beside the others",
                remedy="leave them where their weights downstream are large; else recycle them (rectifier.heal with "
                "force=True and a probe) where the layers round them can be followed",
                measures={"score": worst, "tau": self.limits.dormant},
            )
        ]

    def _always_open(self) -> list[Finding]:
        site = self.site
        if site.rectifier not in _STRAIGHT:
            return []
        open_ = (site.fired == self.seen) & (self.seen > 0)
        if site.rectifier == "relu6":
            open_ &= site.max_z <= site.parameters.get("ceiling", 6.0)
        return self._observation("always_open", open_)

    def _observation(self, kind: str, units: Bools) -> list[Finding]:
        members = [int(unit) for unit in np.flatnonzero(units)]
        if not members:
            return []
        site = self.site
        opened = kind == "always_open"
        edge = float(site.min_z[members].min() if opened else site.max_z[members].max())
        many = self._examples(members)
        evidence = (
            f"fired at all of {many}; smallest z seen {edge:.4g}; {self._sure('the share that closes each', members)}"
            if opened
            else f"fired at 0 of {many}; largest z seen {edge:.4g}; {self._sure('the true rate of each', members)}"
        )
        straight = opened or self.row.negative_part == "linear"
        return [
            Finding(
                kind="always_open" if opened else "always_closed",
                site=site.site,
                units=tuple(members),
                total=site.units,
                evidence=evidence,
                cause="the unit is linear on what was seen: its rectifier does nothing"
                if straight
                else "the unit lies on the curved negative part: it still learns, slowly where it levels off",
                remedy="no fault; nothing to do unless many units are: then depth buys nothing there",
                measures={**self._measured(members), "edge_z": edge},
            )
        ]

    def _nan(self) -> list[Finding]:
        members = [int(unit) for unit in np.flatnonzero(self.site.nan > 0)]
        if not members:
            return []
        kind, cause, remedy = self.causes.of_nan(self.site)
        total = int(self.site.nan.sum())
        return [
            Finding(
                kind="nan",
                site=self.site.site,
                units=tuple(members),
                total=self.site.units,
                evidence=f"{total} NaN among {self.site.examples * self.site.units} pre-activations; they count "
                "neither as firing nor as silent, and the units are judged on the others",
                cause=cause,
                remedy=remedy,
                measures={"nan": total, "examples": self.site.examples},
                cause_kind=kind,
            )
        ]
