"""What ``watch`` returns: it looks at the steps that its pace says, and keeps the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from types import TracebackType
from typing import Any, Literal
from weakref import WeakSet

from ..errors import RectifierValueError
from ._check import may_be_dead
from ._judge import judge
from .adapters import versions
from .history import CAPACITY, half_way, halve, lengthen, merge, ungraded
from .metrics import Logger, metrics, verdicts
from .pace import REFERENCES, Pace
from .proofs.proof import describe, prove
from .records import Finding, Record, Snapshot
from .silence import short_of, unconfirmed
from .thresholds import Thresholds

__all__ = ["Watching"]

_watched: WeakSet[Any] = WeakSet()


class Watching:
    """What :func:`watch` returns: enter it round the training, or call :meth:`start` and :meth:`stop`."""

    def __init__(
        self,
        adapter: Any,
        model: Any,
        optimizer: Any,
        pace: Pace,
        counts: bool,
        name: str,
        seed: int | None,
        limits: Thresholds | None,
        group: Any = None,
        log: Callable[[dict[str, float]], Any] | None = None,
    ) -> None:
        self.step = 0
        """Steps counted so far."""
        self._adapter, self._model, self._optimizer = adapter, model, optimizer
        self._name, self._seed, self._limits = name, seed, limits
        self._pace, self._counts = pace, counts
        self._log = Logger(log, "watch") if log is not None and adapter.leads(group) else None
        self._observer = adapter.Observer(model, training_only=True, group=group)
        self._gradients = None if optimizer is None else adapter.Gradients(self._observer, optimizer)
        self._counting = adapter.Counting(self._observer) if counts else None
        self._snapshots: list[Snapshot] = []
        self._unconfirmed: dict[str, tuple[int, int]] = {}
        self._stopped: str | None = None
        self._handles: list[Any] = []
        self._finish: Any = None
        self._looking = self._timing = False
        #: The step after which there is more to do than to read gradients.
        self._wake = 1
        self._passes = 0
        self._clock: Any = None
        self._before: Any = None
        self._begun: float | None = None
        self._opening = 0.0

    @property
    def every(self) -> int:
        """Steps from the last snapshot to the next, as of now (it grows when the history is full)."""
        return self._pace.interval

    # Round the training

    def start(self) -> Watching:
        """Begin to watch, as entering the block does; returns itself."""
        if self._model in _watched:
            raise RectifierValueError(
                f"watch: `model` must not be watched already; got a {type(self._model).__name__} that is. "
                "Leave the block of the first watch before the second."
            )
        _watched.add(self._model)
        if self._optimizer is not None:
            self._handles.append(self._adapter.on_step(self._optimizer, self._after_step))
        else:
            self._observer.on_forward = self._before_forward
            self._observer.stand_by()
        self._prepare()
        return self

    def stop(self, error: BaseException | None = None) -> None:
        """Watch no more, as leaving the block does; a second call does nothing.

        error: what ended the training, kept in the record.
        """
        if self._model not in _watched or not (self._handles or self._observer.on_forward):
            return
        broken_off = self._looking and self._observer.passes > self._passes
        self._close_look()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._time(False)
        self._observer.on_forward = None
        self._observer.detach()
        if self._counting is not None:
            self._counting.settle()
            self._counting.detach()
        _watched.discard(self._model)
        if self._optimizer is None:
            self.step = self._observer.forwards
        if error is not None:
            self._stopped = f"the watched block raised {type(error).__name__} after step {self.step}: {error}"
        # The other processes do not know of the error, so there is nobody to sum with.
        if error is None or self._observer.group is None:
            self._last_look((self.step,) if broken_off else ())
        self._tell(last=True)

    def __enter__(self) -> Watching:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self.stop(error)
        return False

    @property
    def record(self) -> Record:
        """The record as of now; complete after the block."""
        snapshots = tuple(self._snapshots)
        deep = may_be_dead(snapshots[-1] if snapshots else None)
        networks, untraced = self._observer.networks(training=True, deep=deep)
        proofs = prove(networks, None)
        limits = self._limits or Thresholds()
        short = {} if self._counts else short_of(snapshots, limits)
        findings = judge(snapshots, limits, proved=proofs.bounds, box=proofs.statements, history=True, short=short)
        return Record(
            model=self._adapter.title(self._model),
            source="watch",
            snapshots=snapshots,
            findings=findings,
            not_observed=(*self._not_observed(), *_too_few(short, findings, limits)),
            stopped=self._stopped,
            seed=self._seed,
            versions=versions(),
            box=describe(networks, None, untraced),
            certificate=proofs.certificate(findings),
            name=self._name,
        )

    def _not_observed(self) -> tuple[str, ...]:
        lines = list(self._observer.not_observed)
        if not self._observer.forwards:
            lines.append("the model: no forward pass in training mode was seen; call model(...) itself")
        elif not any(snapshot.sites for snapshot in self._snapshots) and not lines and self._stopped is None:
            lines.append("the model: no rectifier was seen in it")
        if self._optimizer is not None:
            names, _ = self._adapter.unowned(self._model, self._optimizer)
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"the optimizer does not step {', '.join(names[:3])}{more}: their gradients were not read")
        lines += [
            f"{site}: no gradient in the last {steps} steps or more for {units} of its units that had fired; no look "
            "came after that to tell whether they still do"
            for site, (units, steps) in self._unconfirmed.items()
        ]
        if self._gradients is not None:
            lines += [
                f"{site}: a unit had a gradient though its gates were all shut (a penalty on its bias, a second path, "
                "or gradients that are not set to zero); its gradients were not taken as evidence"
                for site in sorted(self._gradients.refuted)
            ]
        return tuple(lines)

    # At each step

    def _after_step(self) -> None:
        self.step += 1
        gradients = self._gradients
        assert gradients is not None
        if self._looking:
            gradients.follow()
        gradients.see(self.step)
        if gradients.suspects:  # a look is to confirm it
            gradients.suspects = False
            if self._observer.group is None and self._pace.hasten(self.step):
                self._wake = self.step
        if self.step >= self._wake or self._lost:
            self._turn()

    def _before_forward(self) -> None:
        # The step before, with its backward pass, is over by now.
        self.step = self._observer.forwards
        if self.step and (self.step >= self._wake or self._lost):
            self._turn()
        if self._timing and self._begun is None:
            self._begun = perf_counter()

    @property
    def _lost(self) -> bool:
        """Whether something was called between looks that no look has seen."""
        return self._counting is not None and self._counting.lost

    def _turn(self) -> None:
        """A step is over that was looked at or timed, or before one that is to be."""
        if self._looking:
            if self._observer.passes == self._passes:  # the look is still to come: its forward pass failed, or was none
                self._begun = None
                return
            if self._finish is not None:
                self._finish()
                self._finish = None
                self._observer.see_weight_gradients()
            if self.step >= self._pace.next:
                self._take()
                self._tell()
                if self._pace.measured and not self._always:
                    self._close_look()
                self._pace.looked(self.step, self._seconds())
                self._agree()
        elif self._timing and self._begun is not None:
            self._pace.plain(self._seconds() or 0.0, 0.0 if self._gradients is None else self._gradients.seconds)
        self._prepare()

    def _agree(self) -> None:
        """Several processes look at the same steps: those of the first, whatever time the others took."""
        group = self._observer.group
        if group is not None and self._pace.measured:
            self._pace.next, self._pace.interval = self._adapter.gather(group, (self._pace.next, self._pace.interval))[
                0
            ]

    def _seconds(self) -> float | None:
        return None if self._begun is None else perf_counter() - self._begun + self._opening

    @property
    def _always(self) -> bool:
        """Whether every step is to be looked at, as its gates cannot be counted in another way."""
        return self._counting is not None and not self._counting.suffices

    def _prepare(self) -> None:
        """Get ready for the step to come: to look at it, to time it, or to let it run."""
        coming, due = self.step + 1, self._pace.next
        counting = self._counting
        if coming >= due or self._always:
            self._open_look()
            self._wake = coming
        else:
            self._close_look()
            if counting is not None:
                counting.follow(inside=self._optimizer is None)
            self._opening = 0.0
            timed = self._pace.measured and coming >= due - REFERENCES
            self._time(timed)
            self._wake = coming if timed else due - 1 - REFERENCES * self._pace.measured
        self._begun = None

    def _time(self, on: bool) -> None:
        """Take the time of the coming step, from its first forward pass on."""
        if on and not self._timing and self._optimizer is not None:
            self._clock = self._adapter.on_pass(self._model, self._start_clock)
        elif not on and self._timing and self._optimizer is not None:
            self._clock.remove()
        self._timing = on

    def _start_clock(self) -> None:
        if self._begun is None:
            self._begun = perf_counter()

    # One look

    def _open_look(self) -> None:
        begun = perf_counter()
        self._time(self._pace.measured)  # before the hooks of the look, whose time counts
        if not self._looking:
            self._looking = True
            if self._counting is not None:
                self._counting.paused = True
            if self._optimizer is not None:
                self._before = self._adapter.before_step(self._optimizer, self._before_step)
            self._observer.attach()
        self._passes = self._observer.passes
        self._opening = perf_counter() - begun

    def _close_look(self) -> None:
        if not self._looking:
            return
        self._looking = False
        if self._counting is not None:
            self._counting.paused = False
        if self._optimizer is not None:
            self._before.remove()
            self._observer.detach()
        else:
            self._observer.rest()

    def _before_step(self) -> None:
        if self.step + 1 >= self._pace.next:
            self._finish = self._observer.measure_update()

    def _take(self) -> None:
        if self._counting is not None:
            self._counting.settle()
        self._observer.gather()  # what another process saw fire is no gradient without a gate
        if self._gradients is not None:
            self._gradients.give()
        snapshot = self._observer.take(self.step)
        if snapshot is None:
            return
        self._believe(snapshot)
        sites = tuple(half_way(site, self.step) for site in snapshot.sites)
        self._snapshots.append(replace(snapshot, sites=sites, looked=(self.step,)))
        if len(self._snapshots) >= CAPACITY:
            self._snapshots = halve(self._snapshots)
            self._pace.halved()

    def _tell(self, *, last: bool = False) -> None:
        """Hand the last snapshot to the user's logger; at the end with the verdicts, which take too long before."""
        if self._log is None or not self._snapshots:
            return
        found = metrics(self._snapshots[-1])
        if last:  # gradients were read up to here
            found |= {"rectifier/step": float(self.step), **verdicts(self.record)}
        self._log(found, self.step)

    def _believe(self, snapshot: Snapshot) -> None:
        """Where a look refutes what the gradients say, nothing that they said stands."""
        refuted = {site.site for site in snapshot.sites if site.graded is not None and site.lived is None}
        if refuted and self._gradients is not None:
            self._gradients.refuted |= refuted
            self._snapshots = [ungraded(earlier, refuted) for earlier in self._snapshots]

    def _last_look(self, looked: tuple[int, ...]) -> None:
        """What is left since the last snapshot; less than half an interval is too few examples to stand alone."""
        if self._gradients is not None and self._snapshots:
            told = self._gradients.rest()
            self._unconfirmed = {} if looked else unconfirmed(self._snapshots[-1], told, self.step)
            self._snapshots[-1] = lengthen(self._snapshots[-1], told, self.step)
        previous = self._snapshots[-1].step if self._snapshots else 0
        snapshot = self._observer.take(self.step)
        if snapshot is None:
            return
        snapshot = replace(snapshot, looked=looked)
        short = len(self._snapshots) > 1 and self.step - previous < self.every / 2
        # Where gates alone were counted, there are no sums and extremes to stand alone.
        if self._snapshots and (short or any(site.looked == 0 for site in snapshot.sites)):
            self._snapshots[-1] = merge(self._snapshots[-1], snapshot)
        else:
            self._snapshots.append(snapshot)


def _too_few(
    short: Mapping[str, Mapping[int, tuple[int, int]]], findings: Sequence[Finding], limits: Thresholds
) -> list[str]:
    """What is said in place of a verdict, a line a site."""
    lines = []
    for site, units in short.items():
        dead = {
            unit for finding in findings if finding.site == site and finding.kind == "dead" for unit in finding.units
        }
        left = [counts for unit, counts in units.items() if unit not in dead]
        if left:
            seen, missing = left[0]
            lines.append(
                f"{site}: {len(left)} of its units fired at none of {seen} examples; {missing} more are needed to tell "
                f"them from units that fire at {limits.rare:.3g} of the examples (rare); gates='every' counts all"
            )
    return lines
