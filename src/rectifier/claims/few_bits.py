"""ReLU bears few bits better than tanh and sigmoid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .eight_bits import TASKS_TAKEN, lost, runs
from .experiments.compared import across
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.figures import intervals
from .lab.results import Results
from .lab.statistics import Effect, counted, decide, paired
from .lab.verdicts import OPEN
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_RIVALS = ("tanh", "sigmoid")
_BITS = (8, 4)
#: Points of accuracy that count as better.
_BETTER = 0.5


def _saved(results: Results, rival: str, bits: int) -> Effect:
    """Points that the rival loses more than ReLU."""
    effect = paired(
        lost(results, rival, bits),
        lost(results, "relu", bits),
        f"{bits} bits: lost by {ACTIVATIONS[rival].title} − lost by ReLU",
        "points of accuracy",
    )
    return counted(effect, sum(TASKS[task].tested for task in TASKS_TAKEN))


def _judge(results: Results) -> Verdict:
    effects = tuple(_saved(results, rival, bits) for bits in _BITS for rival in _RIVALS)
    eight = effects[: len(_RIVALS)]
    tanh, sigmoid = effects[len(_RIVALS) :]
    answers = dict(zip(_RIVALS, (decide(effect, _BETTER) for effect in eight), strict=True))
    answer = across(answers.values())
    four = f" In 4 bits tanh loses {_more(tanh.value)} than ReLU, and sigmoid {_more(sigmoid.value)}."

    def named(*wanted: str) -> str:
        told = (f"{rival} ({_more(effect.value)})" for rival, effect in zip(_RIVALS, eight, strict=True))
        return " and ".join(name for name, rival in zip(told, _RIVALS, strict=True) if answers[rival] in wanted)

    told = {
        "holds": f"In 8 bits ReLU loses less than both by {_BETTER} points and more.",
        "depends": f"On which one: in 8 bits {named('holds')} loses over half a point more than ReLU, "
        f"{named('does not hold')} does not.",
        "does not hold": f"In 8 bits not half a point more than ReLU is lost by {named('does not hold')}"
        + (f"; {named('not enough')}: open." if named("not enough") else ", so there is nothing to choose."),
        "not enough": OPEN,
    }
    return Verdict(answer, told[answer] + four, effects)


def _more(points: float) -> str:
    return f"{abs(points):.1f} points {'more' if points > 0 else 'less'}"


def _figure(results: Results) -> Chart:
    effects = [_saved(results, rival, bits) for bits in (8, 6, 5, 4) for rival in _RIVALS]
    return intervals(
        effects,
        x_title="points of accuracy that ReLU saves",
        caption="To the right of the line ReLU loses less than the other by going to so few bits, to the left more.",
        alt="; ".join(effect.told for effect in effects),
        reference=0.0,
        groups=[ACTIVATIONS[rival].title for _ in range(4) for rival in _RIVALS],
    )


CLAIM = Claim(
    name="few-bits",
    group="precision",
    place=20,
    statement="ReLU bears 8-bit fixed point better than tanh and sigmoid do.",
    source="Told of ReLU, as its arithmetic in fixed point is exact; Howard et al. 2017, arXiv:1704.04861, of ReLU6.",
    refuted_by="Tanh or sigmoid that in 8 bits loses less than half a point of accuracy more than ReLU does. It "
    "depends where that is so of one of the two.",
    method="The same runs as for eight-bits: what each network loses against its own float64 is compared seed by seed, "
    "mean of both tasks.",
    runs=runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
