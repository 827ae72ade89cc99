"""ReLU alone is cheaper than sigmoid, tanh and the exponentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.compared import across
from .experiments.cost import alone
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide
from .lab.verdicts import geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

_RIVALS = ("sigmoid", "tanh", "elu", "softplus")
#: Numbers of float32: 128 KB, within a core's cache, and 16 MB, beyond it.
_SMALL, _LARGE = 2**15, 2**22
_PLACES = {
    ("numpy", _SMALL): "rectifier, in the cache",
    ("numpy", _LARGE): "rectifier, beyond it",
    ("torch", _SMALL): "PyTorch, in the cache",
    ("torch", _LARGE): "PyTorch, beyond it",
}
#: Less than this is the noise of a machine that does other things too.
_CHEAPER = 1.05


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        for library, values in _PLACES:
            rounds = {_SMALL: 15, _LARGE: 9}[values] * (1 if plan.quick else 3)
            config = {"library": library, "values": values, "activations": ["relu", *_RIVALS], "rounds": rounds}
            yield Run(alone, {**config, "seed": seed})


def _times(results: Results, place: tuple[str, int], label: str) -> Effect:
    title = "a copy" if label == "copy" else ACTIVATIONS[label].title
    values = results.where(library=place[0], values=place[1]).values(f"times_{label}")
    return geometric(values, f"{title} ÷ ReLU, {_PLACES[place]}", "times")


def _judge(results: Results) -> Verdict:
    found = {(place, label): _times(results, place, label) for place in _PLACES for label in _RIVALS}
    copies = tuple(_times(results, place, "copy") for place in _PLACES)
    answers = {each: decide(effect, _CHEAPER) for each, effect in found.items()}
    effects = (*found.values(), *copies)
    spans = {place: [found[place, label].value for label in _RIVALS] for place in _PLACES}
    told = "; ".join(f"{_PLACES[place]}: {min(span):.1f} to {max(span):.1f}" for place, span in spans.items())
    bound = (
        f"Beyond the cache a copy of the numbers takes {copies[1].value:.2f} and {copies[3].value:.2f} times as long "
        "as ReLU: the nearer to 1, the more it is memory that sets ReLU's pace."
    )
    answer = across(answers.values())
    if answer != "depends":
        return Verdict(answer, f"The others take so many times as long — {told}. {bound}", effects)
    same, unclear = (
        "; ".join(found[each].what for each, answer in answers.items() if answer == wanted)
        for wanted in ("does not hold", "not enough")
    )
    opened = f" Open: {unclear}." if unclear else ""
    return Verdict(answer, f"On function, library and size. Not cheaper: {same}.{opened} {bound}", effects)


def _figure(results: Results) -> Chart:
    shown = [(place, label) for label in _RIVALS for place in _PLACES]
    effects = [_times(results, place, label) for place, label in shown]
    return intervals(
        effects,
        x_title="time, as a multiple of ReLU's",
        caption="Time of one pass over float32 numbers on one thread, as a multiple of what ReLU takes in the same "
        "library and place. rectifier: NumPy arrays into memory that is there, correctly rounded. PyTorch: its own "
        "layers, with a new result each time.",
        alt="; ".join(effect.told for effect in effects),
        reference=1.0,
        log=True,
        groups=[_PLACES[place] for place, _ in shown],
    )


CLAIM = Claim(
    name="cheap-alone",
    group="cost",
    place=10,
    statement="By itself ReLU is cheaper to compute than sigmoid, tanh and the exponential rectifiers.",
    source="Krizhevsky, Sutskever and Hinton 2012; told ever since: a comparison where the others need exp.",
    refuted_by="Sigmoid, tanh, ELU and softplus that take less than 1.05 times as long in each library and size; it "
    "depends where that is so in some.",
    method="32,768 numbers (128 KB, in the cache) and 4,194,304 (16 MB, beyond it), float32, one thread: all functions "
    "in turn, round after round in changing order, by processor time; the ratio to ReLU within each round, median of "
    "the rounds. A plain copy of the numbers is timed beside them.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
