"""The initialisation, measured at the first look: the gain of each layer against what its rectifier needs.

A layer's measured gain is RMS(z) ÷ RMS(x), of its outputs and inputs on real data: for weights of variance g²/fan_in it
is g (He et al. 2015, arXiv:1502.01852; measured on data rather than computed from the weights as in Mishkin & Matas
2015, LSUV, arXiv:1511.06422, who scale each layer to unit output variance). The rectifier behind it needs
:func:`rectifier.gain`. Their quotient is the factor by which that layer changes the scale. One layer off its gain is no
fault, so only what becomes of the signal over the whole depth is judged: RMS(x) of the last layer against that of the
first. That measures what arrives, with skip connections and normalisations in it, so that neither a residual branch
that starts at 0 nor a layer before a normalisation is flagged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._gain import gain
from .records import CauseKind, Finding, LayerVitals, Severity, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = ["gains", "judge_initialisation", "judge_selu"]

#: SELU: how far √fan_in · RMS(W) may be from 1, and the inputs from mean 0 and root mean square 1.
_NEAR = 1.25
_OFF_CENTRE, _OFF_SCALE = 0.5, 2.0


def gains(snapshot: Snapshot) -> dict[str, tuple[float, float]]:
    """layer → (its measured gain, the gain that the rectifier behind it needs).

    Left out are layers whose outputs are normalised (their scale is taken away) and those that feed no rectifier.
    """
    found = {}
    sites = {site.layer: site for site in snapshot.sites if site.layer is not None and not _normalised(site)}
    for layer in snapshot.layers:
        site = sites.get(layer.layer)
        known = layer.activation_rms is not None and layer.input_rms is not None
        if site is None or not known or not layer.input_rms or not math.isfinite(layer.input_rms):
            continue
        measured = float(layer.activation_rms or 0.0) / layer.input_rms
        if math.isfinite(measured):
            found[layer.layer] = measured, gain(site.rectifier, **site.parameters)
    return found


def _normalised(site: SiteVitals) -> bool:
    return site.normalised or site.scale is not None


def judge_initialisation(snapshots: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    """Did the scale of what enters the layers vanish or explode along the depth at the first look?"""
    first = snapshots[0]
    ratio, depth = _through(first.layers)
    limit = limits.scale_ratio
    if math.isnan(ratio) or not limit or limit <= ratio <= 1 / limit:
        return []
    a_layer = limit ** (1 / depth)
    measured = gains(first)
    off = {name: pair for name, pair in measured.items() if not a_layer <= pair[0] / pair[1] <= 1 / a_layer}
    told = [f"{name} {pair[0]:.3g} (needs {pair[1]:.3g})" for name, pair in list(off.items())[:6]]
    more = f" and {len(off) - 6} more" if len(off) > 6 else ""
    gained = f"; gains RMS(z) ÷ RMS(x): {', '.join(told)}{more}" if told else ""
    evidence = (
        f"at the first look (step {first.step}) the root mean square of what enters the layers changed by a factor "
        f"{ratio:.3g} from the first layer to the last, {ratio ** (1 / depth):.3g} at each of {depth} (limits "
        f"{limit:g} and {1 / limit:g}, {a_layer:.3g} and {1 / a_layer:.3g} at each){gained}"
    )
    now, _ = _through(snapshots[-1].layers)
    still = math.isnan(now) or not limit <= now <= 1 / limit
    severity: tuple[Severity, str] = (
        ("ill", "training has not mended it")
        if still
        else ("note", f"training has mended it: at the last look the factor is {now:.3g}")
    )
    measures = {"ratio": ratio, "factor": ratio ** (1 / depth), "ratio_now": now, "limit": limit}
    measures |= {f"gain {name}": pair[0] for name, pair in off.items()}
    return [
        Finding(
            kind="initialisation",
            site=first.layers[0].layer,
            units=(),
            total=0,
            evidence=evidence,
            cause=f"initialisation: weights too {'small' if ratio < 1 else 'large'} for the rectifiers behind them",
            remedy="initialise anew with the gain of each rectifier (rectifier.torch.init_), or scale each layer to "
            "unit output variance on a batch (LSUV); or add normalisation",
            measures=measures,
            cause_kind="initialisation",
            severity=severity[0],
            severity_reason=severity[1],
        )
    ]


def _through(layers: Sequence[LayerVitals]) -> tuple[float, int]:
    """RMS(x) of the last layer ÷ that of the first, and how many layers lie between; NaN where there is no depth."""
    scales = [layer.input_rms for layer in layers]
    if len(scales) < 3 or not all(scale is not None and scale > 0 and math.isfinite(scale) for scale in scales):
        return math.nan, 0
    return float(scales[-1] or 0.0) / float(scales[0] or 1.0), len(scales) - 1


def judge_selu(snapshots: Sequence[Snapshot], *, history: bool) -> list[Finding]:
    """Are SELU's conditions met: weights of standard deviation 1/√fan_in, alpha dropout, standardised inputs?

    Klambauer et al. 2017, arXiv:1706.02515. The weights are judged at the first look of a training: they move later.
    """
    first, last = snapshots[0], snapshots[-1]
    selu = [site for site in last.sites if site.rectifier == "selu" and not _normalised(site)]
    if not selu:
        return []
    failed = _inputs_of(last) + [
        f"outputs of {site.site} go through {site.dropout}, which moves their mean and variance: use AlphaDropout"
        for site in selu
        if site.dropout is not None and "alpha" not in site.dropout
    ]
    if history:
        fed = {site.layer for site in selu}
        for layer in first.layers:
            spread = layer.weight_rms * math.sqrt(layer.fan_in)
            if layer.layer in fed and not 1 / _NEAR <= spread <= _NEAR:
                failed.append(f"weights of layer {layer.layer} start at {spread:.3g}/√fan_in, not 1/√fan_in (LeCun)")
    if not failed:
        return []
    kind: CauseKind = "initialisation" if any("fan_in" in line for line in failed) else "unknown"
    return [
        Finding(
            kind="selu",
            site=selu[0].site,
            units=(),
            total=0,
            evidence="; ".join(failed),
            cause="SELU keeps mean 0 and variance 1 only under its conditions",
            remedy="initialise with rectifier.torch.init_ (for SELU: normal, 1/√fan_in), use AlphaDropout, and "
            "standardise the inputs; or use another rectifier with normalisation",
            measures={"failed": len(failed)},
            cause_kind="input" if kind == "unknown" and any("inputs" in line for line in failed) else kind,
            severity="warning",
            severity_reason="a condition of self-normalisation is not met; the network may still learn",
        )
    ]


def _inputs_of(snapshot: Snapshot) -> list[str]:
    failed = []
    for layer in snapshot.layers:
        mean, rms = layer.input_mean, layer.input_rms
        if not layer.first or mean is None or rms is None or not (math.isfinite(mean) and math.isfinite(rms)):
            continue
        if abs(mean) > _OFF_CENTRE or not 1 / _OFF_SCALE <= rms <= _OFF_SCALE:
            failed.append(
                f"inputs of layer {layer.layer} have mean {mean:.3g} and root mean square {rms:.3g}, not 0, 1"
            )
    return failed
