"""What a claim is made of.

A claim is one file in ``rectifier/claims/`` whose ``CLAIM`` is a :class:`Claim`. Read ``absolute_value.py`` for a small
one. It needs:

- ``runs(plan, done)``: the runs that it asks for, a generator. The sweep leaves out what is already on record, which
  claims share, and asks again with what is ``done`` until nothing is missing. So a claim whose runs depend on earlier
  ones (each activation at its own best step size) simply yields those that it can name by now; see
  :func:`.fair.tuned`. Every configuration has a ``seed`` from ``plan.seeds`` (or ``plan.tuning``).
- ``judge(results)``: a :class:`Verdict`. It gets the results of its own runs whose seeds are complete, and is not asked
  where there are fewer than three of these. Say the answer by an effect with its interval (:mod:`.statistics`), and
  every finding by numbers or under a condition: the text must be true of other results too.
- ``figure(results)``: one :class:`~rectifier.reporters.page.Chart`, drawn by :mod:`.figures`.

Activations come from the table in :mod:`.activations` by their label, and from nowhere else: a test puts a false one
there and looks whether the claims that must then fail do fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .experiment import Run
from .plan import Plan
from .results import Results
from .statistics import Effect

if TYPE_CHECKING:
    from ...reporters.page import Chart

__all__ = ["ANSWERS", "GROUPS", "Answer", "Claim", "Group", "Verdict"]

Group = Literal[
    "function",
    "need",
    "gradient",
    "training",
    "cost",
    "sparsity",
    "death",
    "precision",
    "time scales",
    "default",
]
GROUPS: tuple[Group, ...] = Group.__args__  # type: ignore[attr-defined]

Answer = Literal["holds", "does not hold", "depends", "not enough"]
ANSWERS: tuple[Answer, ...] = Answer.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Verdict:
    """What the results say of a claim."""

    answer: Answer
    told: str
    """Why, in a sentence or two with figures. Where the answer is "depends": on what."""
    effects: tuple[Effect, ...] = ()
    """The figures that the answer rests on, the most telling first."""

    def __post_init__(self) -> None:
        # Figures are written into sentences in many ways, and a minus is one sign everywhere.
        object.__setattr__(self, "told", _HYPHEN.sub("−", self.told))


#: Before a number, and not in a word such as digits-5 or a span such as 3-5; and in an exponent.
_HYPHEN = re.compile(r"(?<![\w)])-(?=\.?\d)|(?<=\de)-(?=\d)")


@dataclass(frozen=True, eq=False)
class Claim:
    """A claim about rectified units, with all that is needed to see whether it is true."""

    name: str
    """Its file's name with hyphens."""
    group: Group
    place: int
    """Its place in the group."""
    statement: str
    """What is said, in plain words; one sentence."""
    source: str
    """Who says so."""
    refuted_by: str
    """What would have to be seen for it to be false; with the smallest effect that counts."""
    method: str
    """How it is measured, in a few sentences: task, budget, step sizes, what is held equal."""
    runs: Callable[[Plan, Results], Iterable[Run]]
    judge: Callable[[Results], Verdict]
    figure: Callable[[Results], Chart]
    seeds: tuple[int, int] = (5, 10)
    """How many seeds it takes unless told: quick, full."""

    def plan(self, *, quick: bool = False, seeds: int | None = None, set_of_seeds: int = 0) -> Plan:
        """The plan of this claim's runs; ``seeds`` in place of its own number of them."""
        return Plan(quick, self.seeds[not quick] if seeds is None else seeds, set_of_seeds)
