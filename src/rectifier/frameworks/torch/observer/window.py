"""Gradients of many units at some steps in a row, read together: when each last had one, how often, who fell quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["STEPS", "Window", "proves"]

Tensor = torch.Tensor

#: Gradients are kept for at most so many steps before they are read, which a byte must be able to count.
STEPS = 32
#: A unit is under suspicion when it has not moved for so many steps, and chance explains that less often than this.
_QUIET, _CHANCE = 10, 0.01


class Window:
    """Of all the units whose gradients lie on one device. Nothing waits for it, unless it is a CPU."""

    def __init__(self, device: torch.device, units: int, steps: int) -> None:
        self.rows = torch.zeros(steps, units, device=device)
        """The gradients at the steps that are to be read; zeros where there was none."""
        self.lived: Any = None
        """The last step since :meth:`begin` at which each unit's was not 0, 0 for none; None before one was read."""
        self.lives: Any = None
        """At how many it was not."""
        self.latest: Tensor | None = None
        """The gradients of the last step that was read."""
        self._host = self.rows.numpy() if device.type == "cpu" else None
        self._order = np.arange(1, steps + 1, dtype=np.uint8)[:, np.newaxis]
        # Lives in two stretches of steps, the earlier one first; the last step of each unit's life; who is suspected.
        self._stretches: list[tuple[int, Any]] = [(0, 0), (0, 0)]
        self._last: Any = 0
        self._told: Any = None

    def begin(self) -> None:
        self.lived = self.lives = self.latest = None

    def read(self, many: int, step: int, followed: Any) -> bool:
        """Take in the first rows, the last of which is of this step. Has a unit fallen quiet that had not before?

        followed: units that had a gradient at each of these steps, be it 0; None: all of them.
        """
        first = step - many + 1
        self.latest = self.rows[many - 1]
        if self._host is None:
            living = proves(self.rows[:many])
            steps = torch.arange(first, step + 1, device=self.rows.device).unsqueeze(1)
            lived, lives = (living * steps).amax(dim=0), living.sum(dim=0)
            self.lived = lived if self.lived is None else torch.maximum(self.lived, lived)
            self.lives = lives if self.lives is None else self.lives + lives
            return False
        # NumPy's calls are the cheaper ones for a few hundred numbers, and those on bytes are four times as fast.
        seen = self._host[:many]
        living = ((seen != 0) & np.isfinite(seen)).view(np.uint8)
        lives = np.add.reduce(living, axis=0, dtype=np.uint8).astype(np.int64)
        lived = np.maximum.reduce(living * self._order[:many], axis=0).astype(np.int64)
        lived = (lived + (first - 1)) * (lived > 0)
        self.lived = lived if self.lived is None else np.maximum(self.lived, lived)
        self.lives = lives if self.lives is None else self.lives + lives
        return self._suspects(lived, lives, many, step, followed)

    def told(self, place: slice) -> tuple[Tensor, Tensor]:
        """``lived`` and ``lives`` of these units."""
        found = (self.lived[place], self.lives[place])
        return found if self._host is None else (torch.from_numpy(found[0]), torch.from_numpy(found[1]))

    def _suspects(self, lived: Any, lives: Any, many: int, step: int, followed: Any) -> bool:
        """All its k lives lie before the last q of T steps with a probability of ((T − q)/T)^k if nothing changed."""
        (steps, before), (now, of_now) = self._stretches
        last = (now + many, of_now + lives) if now < STEPS else (many, lives)
        self._stretches = [(steps, before) if now < STEPS else (now, of_now), last]
        self._last = np.maximum(self._last, lived)
        quiet = step - self._last
        late = quiet >= _QUIET
        if not late.any():  # most units have moved at the last step
            self._told = None
            return False
        (steps, before), (now, of_now) = self._stretches
        chance = (np.maximum(steps + now - quiet, 0) / (steps + now)) ** (before + of_now)
        told = late & (self._last > 0) & (chance < _CHANCE)
        if followed is not None:
            told &= followed
        new = told if self._told is None else told & ~self._told
        self._told = told
        return bool(new.any())


def proves(gradient: Tensor) -> Tensor:
    """Which entries prove that a unit fired: an infinite or NaN gradient does not."""
    return (gradient != 0) & torch.isfinite(gradient)
