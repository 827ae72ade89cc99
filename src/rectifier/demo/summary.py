"""The demonstration in plain words: every number in them is taken from the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..reporters.words import count, number, percent
from .cure import SWAPS, Arm, CureResult
from .cut import CutResult
from .death import SMALL_STEP, DeathResult
from .depth import DepthResult

if TYPE_CHECKING:
    from . import DemoResult

__all__ = ["TITLES", "delta", "headline", "paragraphs", "points", "share", "which"]

TITLES = ("Depth", "Death", "Cure", "Cut")
#: Units named in a sentence; the page names them all.
_NAMED = 8


def paragraphs(result: DemoResult) -> tuple[tuple[str, str], ...]:
    """(title, text) of each act."""
    texts = (_depth(result.depth), _death(result.death), _cure(result.cure), _cut(result.cut))
    return tuple(zip(TITLES, texts, strict=True))


def share(value: float) -> str:
    """A share in per cent, one decimal place, never rounded to 0 or 100 when it is neither.

    >>> share(0.9644), share(1.0), share(0.0001)
    ('96.4 %', '100 %', '0.01 %')
    """
    if value in (0.0, 1.0):
        return percent(value)
    return f"{100 * value:.1f} %" if 0.0005 <= value < 0.9995 else percent(value)


def points(mean: float, error: float | None = None) -> str:
    """A difference of accuracies in percentage points, with its standard error.

    >>> points(0.069, 0.0204), points(-0.5)
    ('+6.9 ± 2.0 points', '−50.0 points')
    """
    told = f"{100 * mean:+.1f}".replace("-", "−")
    return f"{told} points" if error is None else f"{told} ± {100 * error:.1f} points"


def delta(value: float) -> str:
    """A largest change of the outputs: exactly 0 is said in words."""
    return "exactly 0" if value == 0.0 else number(value)


def which(units: tuple[int, ...], total: int) -> str:
    """The units of a layer, or those that are left where these are fewer.

    >>> which((0, 2), 8), which((0, 1, 2, 3, 4, 5, 7), 8), which((), 8)
    ('0, 2', 'all but 6', 'none')
    """
    left = sorted(set(range(total)) - set(units))
    if not units or not left:
        return "all" if units else "none"
    few, before = (left, "all but ") if len(left) < len(units) else (units, "")
    return before + ", ".join(map(str, few))


def headline(result: DemoResult) -> str:
    """The answer in one sentence: what died, why, what helps."""
    death, cure = result.death, result.cure
    same, small = cure.best(cure.step), cure.best(cure.small_step)
    helps = (
        f"{same.remedy} helps at the same step size" if same.sure else "no remedy surely helps at the same step size"
    )
    if small.sure:
        twice = same.sure and small.remedy == same.remedy
        helps += " and at a smaller one" if twice else f", {small.remedy} at a smaller one"
    return (
        f"Too large a step size silenced {death.silent_units} of {death.hidden_units} hidden units: their slope "
        f"is 0, so no gradient moves them; {helps}; what stays silent can be cut."
    )


def _depth(depth: DepthResult) -> str:
    sigmoid, relu, threshold = depth.of("sigmoid"), depth.of("relu"), depth.of("threshold")
    return (
        f"Of the gradient at the last of {depth.layers} layers, {number(sigmoid.kept)} reaches the first with the "
        f"sigmoid (its derivative is at most {number(sigmoid.largest_derivative)}), {number(relu.kept)} with ReLU, "
        f"and {delta(threshold.gradient[0])} with the threshold."
    )


def _death(death: DeathResult) -> str:
    sites = ", ".join(
        f"{len(units)} of {death.fired[site].shape[1]} in {site}{_named(units, death.fired[site].shape[1])}"
        for site, units in death.silent.items()
    )
    text = (
        f"Trained with too large a step size (Adam, {death.step:g}), {death.silent_units} of {death.hidden_units} "
        f"hidden units ({share(death.share)}) fire on none of {count(death.examples)} training images: {sites}. "
        f"{_why(death)} Test accuracy: {share(death.accuracy[-1])}; with step size {death.small_step:g}, "
        f"{share(death.accuracy_small[-1])} and {death.silent_small} silent."
    )
    return text + (f" {_one_unit(death)}" if death.chain else "")


def _named(units: tuple[int, ...], total: int) -> str:
    few = min(len(units), total - len(units))
    return f" ({which(units, total)})" if 0 < few <= _NAMED else ""


def _why(death: DeathResult) -> str:
    """What closed them, and when."""
    parts = [
        (death.pushed("its own update"), "by an update of their own weights"),
        (death.pushed("its inputs"), "by a change of their inputs"),
        (death.pushed("both together"), "by both together"),
        (death.pushed("born silent"), "never fired, even before training"),
    ]
    told = ", ".join(f"{many} {what}" for many, what in parts if many)
    half = death.median_death
    when = "" if half is None else f"; half of them by update {half + 1} of {death.steps}"
    return f"They were pushed below 0 for every image ({told}{when})."


def _one_unit(death: DeathResult) -> str:
    chain = death.chain
    assert chain is not None
    still = (
        f"its last {chain.still_steps} updates changed no bit of its weights"
        if chain.still_from is not None
        else f"only Adam's fading memory still moves its weights ({number(chain.drift[-1])} in the last update)"
    )
    closed = chain.images - chain.open_images
    return (
        f"Unit {chain.unit} of layer 1, for one: f'(z) is 0 on {count(closed)} of {count(chain.images)} images, so "
        f"its gradient is {delta(chain.gradient)}, and {still}."
    )


def _arm(arm: Arm) -> str:
    fresh = " (a fresh start)" if arm.remedy == "He initialisation" else ""
    return f"{arm.remedy}{fresh} {points(arm.gain, arm.gain_error)}"


def _cure(cure: CureResult) -> str:
    same = cure.best(cure.step)
    if same.sure:
        first = f"At the same step size {_arm(same)} of test accuracy helps most (more than twice its standard error)."
    else:
        first = f"At the same step size no remedy gained more than twice its standard error; the best: {_arm(same)}."
    lost = [arm for arm in cure.at(cure.step) if arm.gain < -2.0 * arm.gain_error]
    losses = f" Worse than nothing: {', '.join(_arm(arm) + _harm(arm, cure) for arm in lost)}." if lost else ""
    told = [cure.best(cure.small_step)]
    if told[0].remedy != "recycle":
        told.append(cure.of("recycle", cure.small_step))
    further = " and ".join(_arm(arm) + ("" if arm.sure else " (within twice its error)") for arm in told)
    change = max(cure.of("recycle", step).output_change for step in (cure.step, cure.small_step))
    return (
        f"{len(cure.seeds)} such networks, {cure.steps_after} more updates each. {first}{losses} A smaller step size "
        f"({cure.small_step:g}) alone: {points(cure.smaller_step_gain, cure.smaller_step_error)}; on top of it "
        f"{further}. Recycling changed the outputs by {_at_most(change)} at that moment."
    )


def _harm(arm: Arm, cure: CureResult) -> str:
    """Why a remedy harms, where the run has measured it."""
    silent, before = (sum(many) / len(many) for many in (arm.silent, cure.silent_before))
    if arm.remedy == "recycle" and silent > 0.5 * before:
        return f" (at this step size the units die again: {silent:.0f} silent at the end, {before:.0f} before)"
    if arm.remedy in SWAPS and arm.output_change > 0.0:
        return f" (swapping it in moved the outputs by up to {count(round(arm.output_change))} at once)"
    return ""


def _at_most(change: float) -> str:
    return delta(change) if change == 0.0 else f"at most {delta(change)}"


def _cut(cut: CutResult) -> str:
    last, proved = cut.silent_cut, cut.proved
    changed = max(last.change_train, last.change_test)
    text = (
        f"After {cut.steps} more updates with step size {SMALL_STEP:g}, {cut.returned} of {cut.silent_before} silent "
        f"units came back. {proved.units} are proved dead for every possible image; these and all silent ones cut: "
        f"{count(cut.parameters)} → {count(last.parameters)} parameters, outputs changed by {_at_most(changed)} "
        f"(they reach {number(cut.largest_output)}), test accuracy {share(cut.accuracy)} → {share(last.accuracy)}."
    )
    faster = [f"{number(t.before)} → {number(t.after)} µs for {count(t.batch)}" for t in cut.timings if t.speedup > 1.0]
    slower = [count(t.batch) for t in cut.timings if t.speedup <= 1.0]
    if faster:
        text += f" Time of a pass: {', '.join(faster)} images."
    return text + (f" Not faster for {', '.join(slower)} images." if slower else "")
