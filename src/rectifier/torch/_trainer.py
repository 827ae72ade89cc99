"""What the callbacks of trainers share: watches that begin and end with a training, their log, what to do when ill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from ..checkup import Record, Thresholds, Watching, watch
from ..checkup.errors import IllError
from ..checkup.severity import illness
from ..errors import RectifierTypeError, RectifierValueError

__all__ = ["IllError", "Log", "Watches", "WhenIll"]

Log = Callable[[dict[str, float]], Any]
WhenIll = Literal["stop", "raise"]


class Watches:
    """The networks that one callback watches, by name; the one that is all there is has the name ""."""

    def __init__(
        self,
        *,
        every: int | Literal["auto"],
        gates: Literal["sampled", "every"] | None,
        budget: float | None,
        name: str,
        seed: int | None,
        limits: Thresholds | None,
        log: Log | None,
        when_ill: WhenIll | None,
    ) -> None:
        if log is not None and not callable(log):
            raise RectifierTypeError(
                f"WatchCallback: `log` must be a function that takes a dict, or None; got {type(log).__name__}. "
                "Pass for instance print, or the log method of a Weights & Biases run."
            )
        if when_ill not in (None, "stop", "raise"):
            raise RectifierValueError(
                f"WatchCallback: `when_ill` must be 'stop', 'raise' or None; got {when_ill!r}. "
                "Pass 'stop' to end the training, or leave it out to go on."
            )
        self._given: dict[str, Any] = {"every": every, "gates": gates, "budget": budget, "limits": limits}
        self._given |= {"name": name, "seed": seed}
        self._log, self._when_ill = log, when_ill
        self._running: dict[str, Watching] = {}
        self._ended: dict[str, Watching] = {}
        self._before: dict[str, int] = {}
        self.unsure: set[str] = set()
        """Networks of which it is not known yet whether they are to be watched: nothing is told of them."""

    # The training

    def forget(self, *, steps: bool) -> None:
        """A training begins: records of the one before go; ``steps``: and it does not go on from that."""
        self.stop()
        self._ended.clear()
        self.unsure.clear()
        if steps:
            self._before.clear()

    def start(self, name: str, model: nn.Module, optimizer: Optimizer | None, group: Any, tell: Log | None) -> None:
        """Watch this network from now on; ``tell`` gets its numbers beside the user's ``log``."""
        loggers = [log for log in (tell, self._log) if log is not None]

        def told(numbers: dict[str, float]) -> None:
            if name in self.unsure:
                return
            numbers["rectifier/step"] += self._before.get(name, 0)
            named = {f"rectifier/{name}/{key.removeprefix('rectifier/')}": value for key, value in numbers.items()}
            for log in loggers:
                log(named if name else numbers)

        watching = watch(model, optimizer, group=group, log=told if loggers else None, **self._given)
        self._running[name] = watching.start()

    def stop(self, error: BaseException | None = None) -> None:
        """The training is over, or ``error`` ended it."""
        while self._running:
            name, watching = self._running.popitem()
            self._ended = {name: watching, **self._ended}
            watching.stop(error)
            self._before[name] = self._before.get(name, 0) + watching.step

    def drop(self, name: str, error: BaseException | None = None) -> None:
        """Watch this network no more, and forget what was seen of it; ``error``: what ended the training."""
        self._running.pop(name).stop(error)

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(self._running)

    @property
    def _seen(self) -> dict[str, Watching]:
        known = {**self._ended, **self._running}
        return {name: watching for name, watching in known.items() if name not in self.unsure}

    @property
    def steps(self) -> dict[str, int]:
        """Steps of each network so far, those of earlier trainings that this one goes on from included."""
        now = {name: watching.step for name, watching in self._seen.items() if name in self._running}
        return {name: self._before.get(name, 0) + now.get(name, 0) for name in {**self._before, **now}}

    @steps.setter
    def steps(self, steps: Mapping[str, int]) -> None:
        self._before = {str(name): int(many) for name, many in steps.items()}

    # What was seen

    @property
    def records(self) -> dict[str, Record]:
        return {name: watching.record for name, watching in self._seen.items()}

    @property
    def record(self) -> Record:
        names = list(self._seen)
        if not names:
            raise RectifierValueError(
                "WatchCallback: `record` needs a training that has begun; got none. Pass the callback to the trainer "
                "and train first."
            )
        if len(names) > 1:
            raise RectifierValueError(
                f"WatchCallback: `record` needs one network that was watched; got {len(names)}: "
                f"{', '.join(map(repr, names))}. Use records[{names[0]!r}]."
            )
        return self._seen[names[0]].record

    def ill(self) -> str | None:
        """Why to stop, where that was asked for and a network is ill; raises IllError where that was."""
        if self._when_ill is None:
            return None
        for name, record in self.records.items():
            reason = illness(record, name)
            if reason is None:
                continue
            reason = f"WatchCallback: the network is ill after step {self.steps[name]}: {reason}"
            if self._when_ill == "raise":
                raise IllError(f"{reason} What was seen is kept in `.record`.", record)
            return reason
        return None
