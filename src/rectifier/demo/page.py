"""The page of the demonstration, made of the reporters' parts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..reporters import html
from ..reporters.page import Card, Fact, Section, Table
from ..reporters.page import render as render_page
from ..reporters.words import count, number
from . import charts
from .camera import Push
from .chain import ChainRule
from .cure import CureResult
from .cut import CutResult
from .death import DeathResult
from .depth import DepthResult
from .findings import dated
from .summary import delta, headline, paragraphs, points, share, which

if TYPE_CHECKING:
    from . import DemoResult

__all__ = ["render", "sections"]

_PUSHES: tuple[Push, ...] = ("its own update", "its inputs", "both together", "born silent")


def render(result: DemoResult) -> str:
    """The page as the text of one HTML file."""
    death, best = result.death, result.cure.best(result.cure.step)
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return render_page(
        "Rectified units on real digits: how they die, and what helps",
        headline(result),
        sections(result),
        facts=(
            Fact(f"{death.silent_units} of {death.hidden_units}", "hidden units silent", "bad"),
            Fact(share(death.accuracy[-1]), f"test accuracy with step size {death.step:g}", "warn"),
            Fact(share(death.accuracy_small[-1]), f"with step size {death.small_step:g}", "good"),
            Fact(
                points(best.gain, best.gain_error).removesuffix(" points"),
                f"points of accuracy by the best remedy at the same step size: {best.remedy}",
            ),
            Fact(
                f"{count(result.cut.parameters)} → {count(result.cut.silent_cut.parameters)}",
                "parameters after the cut",
            ),
        ),
        footer=f"Seed {result.seed}; {result.seconds:.0f} s; {versions}. Data: scikit-learn's handwritten digits.",
    )


def sections(result: DemoResult) -> tuple[Section, ...]:
    """One section an act, one on a single dead unit, and last the check-up's own findings."""
    told = dict(paragraphs(result))

    def act(section: Section, title: str) -> Section:
        return dataclasses.replace(section, paragraphs=(told[title], *section.paragraphs))

    return (
        act(_depth(result.depth), "Depth"),
        act(_death(result.death), "Death"),
        *([_chain(result.death.chain)] if result.death.chain else []),
        act(_cure(result.cure), "Cure"),
        act(_cut(result.cut), "Cut"),
        _found(result.death),
    )


def _found(death: DeathResult) -> Section:
    return dataclasses.replace(
        html.sections(dated(death.checked, death.watched))[0],
        title="What the check-up found in the network of act 2",
        paragraphs=(
            f"rectifier.check after the last update: on all {count(death.examples)} training images, with proofs for "
            "every image whose pixels lie in [0, 1]. Causes and dates are those that rectifier.watch saw during "
            "training; its steps are updates.",
            "The watch on its own names slightly other units: it judges the images of its last interval alone, and "
            "proves for the range of each pixel that it met.",
        ),
    )


def _depth(depth: DepthResult) -> Section:
    rows = tuple(
        (
            curve.function,
            number(curve.largest_derivative),
            number(curve.gradient[0]),
            number(curve.gradient[-1]),
            number(curve.kept),
            number(curve.factor),
            number(plain.factor),
        )
        for curve, plain in zip(depth.curves, depth.plain, strict=True)
    )
    return Section(
        "1. Depth: what is left of the gradient",
        (
            f"Going back through a layer multiplies the gradient by f'(z) and by the weights. After {depth.layers} "
            f"layers of {depth.width} units, at initialisation, on {depth.images} real digits, this is what arrives.",
        ),
        figures=(charts.depth(depth),),
        tables=(
            Table(
                (
                    "Function",
                    "Largest f'(z) met",
                    "First layer",
                    "Last layer",
                    "Kept",
                    "A layer",
                    "A layer, plain weights",
                ),
                rows,
                "Gradient: root mean square of ∂loss/∂z. Kept: first layer ÷ last. A layer: what one more layer "
                "multiplies it by. Weights are drawn with each function's own gain ÷ √fan_in; plain: 1 ÷ √fan_in. "
                f"Geometric mean of {depth.networks} networks.",
            ),
        ),
    )


def _death(death: DeathResult) -> Section:
    rows = []
    for site, units in death.silent.items():
        total = death.fired[site].shape[1]
        pushes = [sum(d.site == site and d.push == push for d in death.deaths) for push in _PUSHES]
        rows.append((site, f"{len(units)} of {total}", which(units, total), *map(str, pushes)))
    return Section(
        "2. Death: too large a step size closes units",
        (
            f"A network 64 → 128 → 128 → 64 → 10 with ReLU, trained with Adam at step size {death.step:g} for "
            f"{death.steps} updates. Nothing is planted. A unit that fires on no training image gives 0 for all of "
            "them, and gets no gradient.",
            f"One update with step size {death.step:g} moves every weight of a unit by as much. The pixels are never "
            "negative, so where all weights move down the z of every image falls: in the first update alone by as "
            f"much as {death.first_push:.1f}. A unit whose z falls below 0 for every image is closed, and nothing "
            "pushes it back.",
        ),
        figures=(charts.lives(death), charts.deaths(death), charts.accuracy(death)),
        tables=(
            Table(
                ("Layer", "Silent", "Which units", "Own update", "Inputs", "Both", "Born silent"),
                tuple(rows),
                "What closed them, measured by recomputing z with only the unit's weights changed by the update (own "
                "update) and with only its inputs changed (inputs); where neither closes the unit, the two together do "
                "(both). Born silent: fired on no training image even before training.",
            ),
        ),
        notes=(
            *_first_deaths(death),
            "Causes as the check-up names them: "
            + ", ".join(f"{cause} ({many})" for cause, many in death.causes.items())
            + ".",
        ),
    )


def _first_deaths(death: DeathResult) -> list[str]:
    """How many fired for the last time before which update, the commonest first."""
    steps: dict[int, int] = {}
    for each in death.deaths:
        if each.last_fired is not None:
            steps[each.last_fired] = steps.get(each.last_fired, 0) + 1
    commonest = sorted(steps.items(), key=lambda item: (-item[1], item[0]))[:5]
    return [f"Update {step + 1} closed {many} units for good." for step, many in commonest]


def _chain(chain: ChainRule) -> Section:
    rows = tuple(
        (
            f"{row.image} (a {row.digit})",
            number(row.d_h),
            number(row.z),
            number(row.slope),
            number(row.x),
            number(row.product),
        )
        for row in chain.rows
    )
    still = (
        f"none of its 65 numbers changed by a bit in the last {chain.still_steps} updates"
        if chain.still_from is not None
        else f"the last update still moved them by up to {number(chain.drift[-1])}"
    )
    shut = chain.images - chain.open_images
    closed = f"all {count(shut)}" if not chain.open_images else f"{count(shut)} of {count(chain.images)}"
    fired = f"after update {chain.last_fired}" if chain.last_fired else "before training"
    parts = [
        (
            "What the loss asks",
            f"∂L/∂h is up to {number(chain.asked)}: the next layer does ask for a change.",
        ),
        (
            "The factor 0",
            f"z is at most {number(chain.largest_z)}; f'(z) is 0 on {closed} images.",
        ),
        (
            "The gradient 0",
            f"Largest |∂L/∂w| over all {count(chain.images)} images: {delta(chain.gradient)} by the chain rule, "
            f"{delta(chain.gradient_autograd)} by PyTorch.",
        ),
        (
            "The weights",
            f"It last fired {fired}. Adam still moves it by its memory, which fades by 0.9 an update; {still}.",
        ),
    ]
    if chain.living_unit is not None:
        told = (
            f"{number(chain.living_gradient)} by the chain rule, {number(chain.living_gradient_autograd)} by PyTorch."
        )
        parts.append((f"Beside it, living unit {chain.living_unit}", f"Largest |∂L/∂w|: {told}"))
    return Section(
        f"The chain rule on one real unit: number {chain.unit} of the first layer",
        ("∂L/∂w = Σ ∂L/∂h · f'(z) · x, summed over the images. Where f'(z) is 0 for all of them, so is the sum.",),
        figures=(charts.drift(chain),),
        tables=(
            Table(
                ("Training image", "∂L/∂h", "z", "f'(z)", f"x (pixel {chain.pixel})", "Product"),
                rows,
                "The three images that ask most of this unit.",
            ),
        ),
        cards=(Card(f"Unit {chain.unit}: why it cannot come back", tuple(parts), "bad", "dead end"),),
    )


def _cure(cure: CureResult) -> Section:
    rows = tuple(
        (
            arm.remedy,
            f"{arm.step:g}",
            share(arm.accuracy),
            "–" if arm.remedy == "nothing" else points(arm.gain, arm.gain_error),
            _verdict(arm.gain, arm.gain_error, arm.remedy == "nothing"),
            f"{sum(arm.silent) / len(arm.silent):.0f} of {cure.hidden_units}",
            delta(arm.output_change),
        )
        for arm in cure.arms
    )
    return Section(
        "3. Cure: remedies side by side",
        (
            f"{len(cure.seeds)} networks (seeds {cure.seeds[0]} to {cure.seeds[-1]}) were trained for "
            f"{cure.steps_before} updates at step size {cure.step:g}, which left {min(cure.silent_before)} to "
            f"{max(cure.silent_before)} of {cure.hidden_units} hidden units silent. Then each remedy got a copy of "
            f"each network, the same batches and {cure.steps_after} more updates.",
            'The remedy "smaller step size" alone is the row "nothing" at the smaller one: '
            f"{points(cure.smaller_step_gain, cure.smaller_step_error)} over going on as before.",
        ),
        figures=(charts.remedies(cure),),
        tables=(
            Table(
                (
                    "Remedy",
                    "Step size",
                    "Test accuracy",
                    "Gain",
                    "Verdict",
                    "Silent at the end",
                    "Outputs changed at once",
                ),
                rows,
                "Gain over doing nothing at the same step size: mean ± standard error of the differences, seed by "
                "seed. Outputs changed at once: largest |Δ| on the training images when the remedy was given. Silent: "
                "units without a living negative part.",
            ),
        ),
        notes=(
            "Recycle: silent units get new incoming weights and outgoing weights of 0, so the outputs stay the same.",
            "Leaky ReLU (slope 0.01 or 0.1) and ELU replace the ReLU; the weights stay.",
            "Among five remedies one passes twice its standard error by luck more often than a single one would.",
            "He initialisation starts afresh with weights of scale √(2 ÷ fan_in): all that was learned is given up.",
        ),
    )


def _verdict(gain: float, error: float, nothing: bool) -> str:
    if nothing:
        return "–"
    if gain > 2.0 * error:
        return "helps"
    return "harms" if gain < -2.0 * error else "not told apart"


def _cut(cut: CutResult) -> Section:
    stages = (
        ("before", "–", cut.hidden, cut.parameters, "–", "–", cut.accuracy),
        *(
            (
                name,
                str(c.units),
                c.hidden,
                c.parameters,
                delta(c.change_train),
                delta(c.change_test),
                c.accuracy,
            )
            for name, c in (("proved dead cut", cut.proved), ("silent cut too", cut.silent_cut))
        ),
    )
    changes = [change for c in (cut.proved, cut.silent_cut) for change in (c.change_train, c.change_test)]
    rounding = " Sums of fewer terms round differently: no change is exactly 0 where they do." if any(changes) else ""
    return Section(
        "4. Cut: what stays silent is pruned",
        (
            f"The network of act 2 was trained for {cut.steps} more updates at the smaller step size. Of its "
            f"{cut.silent_before} silent units {cut.returned} came back; {cut.silent} are silent now. Units proved "
            "dead for every image whose pixels lie in [0, 1] are cut unasked; those only seen silent are cut on "
            "the user's word.",
        ),
        tables=(
            Table(
                (
                    "",
                    "Units cut",
                    "Hidden layers",
                    "Parameters",
                    "max |Δ| train",
                    "max |Δ| test",
                    "Test accuracy",
                ),
                tuple(
                    (name, units, " → ".join(map(str, hidden)), count(numbers), train, test, share(accuracy))
                    for name, units, hidden, numbers, train, test, accuracy in stages
                ),
                f"max |Δ|: largest change of any output; the outputs reach {number(cut.largest_output)}.{rounding}",
            ),
            Table(
                ("Images at once", "Before (µs)", "After (µs)", "Times as fast"),
                tuple((count(t.batch), number(t.before), number(t.after), f"{t.speedup:.2f}") for t in cut.timings),
                "Median time of one forward pass, the two networks by turns, one thread.",
            ),
        ),
    )
