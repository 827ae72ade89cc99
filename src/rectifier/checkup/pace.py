"""At which steps of a training to look: at every N-th, or as often as a share of the step's time allows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

__all__ = ["REFERENCES", "Pace"]

#: Steps before a look whose time is taken, to compare the look's with.
REFERENCES = 3
#: At most so much further from a look to the next than from the start to it: units die early.
_STRIDE = 4
#: Fewest steps between looks.
_LEAST = 10
#: Share of the budget that is planned with. The rest is for what cannot be timed, which was measured to be as much:
#: calling hooks, and what a step finds no longer in the caches.
_PLANNED = 0.5


class Pace:
    """When the next look is due.

    every: steps between looks; None: as few as the budget allows.
    budget: share of the time of a step that watching may take on average. What a look takes is the time of its step
        beyond that of the plain steps before it, the median of the last five; what the first looks took beyond the
        budget is paid back by later ones that are further apart.
    """

    def __init__(self, every: int | None, budget: float) -> None:
        self.measured = every is None
        """Whether the interval follows from what looks were measured to take."""
        self.interval = every or REFERENCES + 1
        """Steps from the last look to the next."""
        self.next = 1
        """Step of the next look: the first shows the initialisation."""
        self._budget, self._least = _PLANNED * budget, _LEAST
        self._plain: deque[float] = deque(maxlen=15)
        self._looks: deque[float] = deque(maxlen=5)
        self._every_step = 0.0
        self._spent = 0.0
        self._borrowed = False

    def plain(self, seconds: float, ours: float) -> None:
        """A step without a look took so long; ``ours`` of that was spent on watching."""
        self._plain.append(seconds - ours)
        self._every_step = ours

    def looked(self, step: int, seconds: float | None) -> None:
        """The look at this step is over; with it the step took so long (None: not known)."""
        if not self.measured:
            self.next = (step // self.interval + 1) * self.interval
            return
        if seconds is not None:
            self._looks.append(seconds)
        if self._plain and self._looks:
            self.interval = self._affordable(step)
        elif len(self._looks) > 1:  # every step is looked at, and there is none to compare with
            self.interval = self._least
        self.next = step + self.interval

    def hasten(self, step: int) -> bool:
        """Look at the next step already, where that is within the budget, or beyond it by one look at most.

        One look more may be borrowed while the early ones, which are always beyond the budget, are still paid back:
        units die early.
        """
        if not self.measured or self.next <= step + 1 + REFERENCES or not (self._plain and self._looks):
            return False
        plain = _median(self._plain)
        look = max(_median(self._looks) - plain, 0.0)
        owed = self._spent - self._rate(plain) * step > look
        if owed and self._borrowed:
            return False
        self._borrowed = owed
        self.next = step + 1
        return True

    def halved(self) -> None:
        """The history was full, and has become half as fine."""
        if self.measured:
            self._least = 2 * max(self._least, self.interval)
        else:
            self.interval *= 2

    def _affordable(self, step: int) -> int:
        plain = _median(self._plain)
        look = max(_median(self._looks) - plain, 0.0)
        self._spent += look
        rate = self._rate(plain)
        owed = self._spent - rate * step
        steps = math.ceil((look + owed) / rate) if rate > 0 else self._least
        return max(min(steps, _STRIDE * step), self._least)

    def _rate(self, plain: float) -> float:
        """Seconds a step for looks: where reading gradients alone takes the budget, still a quarter of it."""
        return max(self._budget * plain - self._every_step, 0.25 * self._budget * plain)


def _median(values: Collection[float]) -> float:
    """The lower one of two: a pause in one of two steps is no cost of ours."""
    return sorted(values)[(len(values) - 1) // 2]
