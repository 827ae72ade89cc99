"""``check``: one look at a model on given batches."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import RectifierError, RectifierTypeError, RectifierValueError
from ._judge import judge
from .adapters import adapter_for, versions_of
from .errors import Interrupted, ObservationError
from .plan import NOTHING_BELOW
from .proofs.network import Network
from .proofs.proof import describe, parse_box, prove
from .records import Record, Snapshot
from .thresholds import Thresholds

__all__ = ["check"]


def check(
    model: Any,
    batches: Iterable[Any],
    loss: Callable[[Any, Any], Any] | None = None,
    *,
    box: tuple[Any, Any] | None = None,
    name: str = "",
    seed: int | None = None,
    limits: Thresholds | None = None,
    group: Any = None,
) -> Record:
    """Run a model over batches and tell which of its units never fire, which hardly do, and what else is wrong.

    The model runs in evaluation mode. Weights, gradients, buffers, the mode of every submodule and the random state
    are afterwards bit for bit what they were.

    model: a PyTorch model, or a Keras model that was built (its inputs are one argument, as in ``fit``).
    batches: iterable of inputs, or of pairs ``(inputs, targets)``. Inputs are a tensor, a tuple (several arguments) or
        a dict (keywords); to pass a tuple of inputs without targets, wrap it: ``((a, b), None)``. Without ``loss`` a
        pair's targets are not used.
    loss: called as ``loss(outputs, targets)``, returns a scalar; with it gradients are seen as well.
    box: ``(low, high)``, numbers or arrays of the shape of one example: the inputs for which units are to be proved
        dead. By default the range observed for each feature (each channel of a convolution).
    name: what the record is about, for titles.
    seed: seeds the random state during the check (for a shuffled loader or a random loss).
    limits: the thresholds of the verdicts.
    group: ``torch.distributed`` processes that each look at their own batches: their counts are summed, and each gets
        the same record. By default those of a model under DDP or FSDP.

    Returns a :class:`Record` with one snapshot and its findings; where a unit is proved dead, ``record.certificate``
    holds the proofs as a document to be checked apart.

    Raises RectifierTypeError or RectifierValueError for arguments that cannot be used, and :class:`ObservationError`,
    with what was seen until then in ``record``, where the model, the loss or the batches raise in the middle or end the
    process, or a batch after the first cannot be used. Ctrl-C raises :class:`Interrupted`, a KeyboardInterrupt that
    keeps the record likewise.

    >>> import torch, rectifier
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(torch.eye(2)); _ = net[0].bias.copy_(torch.tensor([0.0, -9.0]))
    >>> record = rectifier.check(net, [torch.tensor([[1.0, 2.0], [-1.0, 1.0]])])
    >>> [(finding.kind, finding.units) for finding in record.findings]
    [('dead', (1,))]
    """
    adapter = adapter_for(model, "check")
    _check_arguments(batches, loss, seed, limits)
    ends = parse_box(box)
    group = adapter.group_of(model, group, "check")
    target = adapter.observable(model, "check")
    observer = adapter.Observer(target, training_only=False, group=group)

    def try_box() -> None:
        """What is wrong with the box is told after one batch, not after all."""
        observer.detach()
        _check_shape(networks := observer.networks(training=False, deep=True)[0], ends)
        prove(networks, ends)
        observer.attach()

    early = None if ends is None or group is not None else try_box  # several processes end together
    run = _Run(batches, lambda inputs, targets: adapter.run(observer, inputs, targets, loss), loss is not None, early)
    with adapter.undisturbed(target, seed=seed, batches=batches):
        observer.attach()
        try:
            run.all()
        finally:
            observer.detach()
        run.settle(adapter.gather(group, run.told))
        snapshot = observer.take(0, run.mean_loss)
        deep = ends is not None or may_be_dead(snapshot)
        networks, untraced = observer.networks(training=False, deep=deep)
    record = Record(
        model=adapter.title(target),
        source="check",
        snapshots=() if snapshot is None else (snapshot,),
        not_observed=(*observer.not_observed, *_unused(ends, networks)),
        stopped=run.stopped,
        seed=seed,
        versions=versions_of(target),
        box=describe(networks, ends, untraced),
        name=name,
    )
    record = _judged(record, networks, ends, limits)
    if run.error is not None:
        kept = f"What was seen before it ({_batches(run.done)}) is kept in `.record`."
        kind = Interrupted if isinstance(run.error, KeyboardInterrupt) else ObservationError
        raise kind(f"check: {(run.stopped or '').rstrip('.')}. {kept}", record) from run.error
    _check_seen(record, snapshot, run)
    return record


def _judged(record: Record, networks: tuple[Network, ...], ends: Any, limits: Thresholds | None) -> Record:
    proofs = prove(networks, ends, seen=record.snapshots)
    findings = judge(record.snapshots, limits, proved=proofs.bounds, box=proofs.statements)
    return replace(record, findings=findings, certificate=proofs.certificate(findings))


def may_be_dead(snapshot: Snapshot | None) -> bool:
    """Whether a unit that a proof could be about fired at none of the examples: else none is looked for."""
    sites = () if snapshot is None else snapshot.sites
    return any(site.rectifier in NOTHING_BELOW and bool((site.fired == 0).any()) for site in sites)


class _Run:
    """Feeds the batches one by one, and remembers what ended it before the last."""

    def __init__(
        self,
        batches: Iterable[Any],
        feed: Callable[[Any, Any], float | None],
        paired: bool,
        early: Callable[[], None] | None,
    ) -> None:
        self._batches, self._feed, self._paired = batches, feed, paired
        self._early = early
        """Called once there was a batch with a row."""
        self.done = 0
        self.rowless = 0
        """Batches without a row."""
        self.losses: list[float] = []
        self.error: BaseException | None = None
        self.stopped: str | None = None

    @property
    def told(self) -> tuple[int, int, list[float], str | None]:
        """What other processes need to know of this run."""
        return self.done, self.rowless, self.losses, self.stopped

    def settle(self, runs: list[tuple[int, int, list[float], str | None]]) -> None:
        """All processes' runs as one."""
        if len(runs) < 2:
            return
        self.done = sum(run[0] for run in runs)
        self.rowless = sum(run[1] for run in runs)
        self.losses = [loss for run in runs for loss in run[2]]
        ended = [f"process {rank}: {run[3]}" for rank, run in enumerate(runs) if run[3] is not None]
        self.stopped = "; ".join(ended) or None

    @property
    def mean_loss(self) -> float | None:
        return math.fsum(self.losses) / len(self.losses) if self.losses else None

    def all(self) -> None:
        iterator = self._guard("the iterable `batches`", lambda: iter(self._batches))
        while self.error is None and iterator is not None:
            batch = self._guard("the iterable `batches`", lambda: next(iterator, _END))
            if batch is _END or self.error is not None:
                return
            self._guard("the model or the loss", partial(self._one, batch))
            if self._early is not None and self.error is None and self.done > self.rowless:
                self._early()
                self._early = None

    def _one(self, batch: Any) -> None:
        inputs, targets = split(batch, self.done, self._paired)
        try:
            value = self._feed(inputs, targets)
        except TypeError as error:
            if not self._paired and batch is not inputs and len(batch) == 2 and _MISSING.search(str(error)):
                self._hint = _PAIR
            raise
        self.done += 1
        self.rowless += _has_no_row(inputs)
        if value is not None:
            self.losses.append(value)

    _hint = ""

    def _guard(self, what: str, action: Callable[[], Any]) -> Any:
        """Whatever the user's code raises, and Ctrl-C, ends the look, not the record."""
        try:
            return action()
        except RectifierError as error:
            if self.done == 0:  # nothing was seen yet: plainly a slip in the arguments
                raise
            self._end(error, f"batch {self.done} could not be used: {str(error).removeprefix('check: ')}")
        except KeyboardInterrupt as error:
            self._end(error, f"interrupted at batch {self.done}")
        except SystemExit as error:
            self._end(error, f"{what} ended the process with SystemExit({error.code!r}) at batch {self.done}")
        except Exception as error:
            told = f": {error}" if str(error) else ""
            self._end(error, f"{what} raised {type(error).__name__} at batch {self.done}{told}{self._hint}")
        return None

    def _end(self, error: BaseException, told: str) -> None:
        self.error, self.stopped = error, told


#: How Python says that a call lacks an argument.
_MISSING = re.compile(r"missing \d+ required positional argument")
_PAIR = " (a pair is taken for inputs and targets; for a model that takes both, yield ((a, b), None))"


_END = object()


def split(batch: Any, index: int, paired: bool, verb: str = "check") -> tuple[Any, Any]:
    """Inputs and targets of one batch."""
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if paired:
        got = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise RectifierValueError(
            f"check: `batches` must yield pairs (inputs, targets) where a loss is given; got {got} at batch {index}. "
            "Yield (inputs, targets), or leave `loss` out."
        )
    if isinstance(batch, (tuple, list)):
        if len(batch) == 1:
            return batch[0], None
        raise RectifierValueError(
            f"{verb}: `batches` must yield inputs or pairs (inputs, targets); got {type(batch).__name__} of "
            f"{len(batch)} at batch {index}. Wrap several inputs in a tuple of their own: ((a, b, c), targets)."
        )
    return batch, None


def check_batches(batches: Any, verb: str) -> None:
    """Refuse what is one batch, or none."""
    single = isinstance(batches, (str, bytes, Mapping, np.ndarray)) or hasattr(batches, "shape")
    if single or not isinstance(batches, Iterable):
        raise RectifierTypeError(
            f"{verb}: `batches` must be an iterable of batches; got {type(batches).__name__}. "
            "Pass a loader, or a list such as [inputs] or [(inputs, targets)]."
        )


def _check_arguments(batches: Any, loss: Any, seed: Any, limits: Any) -> None:
    check_batches(batches, "check")
    if loss is not None and not callable(loss):
        raise RectifierTypeError(
            f"check: `loss` must be callable as loss(outputs, targets); got {type(loss).__name__}. "
            "Pass a function of the two, such as a cross-entropy."
        )
    check_common("check", seed, limits)


def check_common(verb: str, seed: Any, limits: Any) -> None:
    """Refuse a seed or limits that are none."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63):
        raise RectifierValueError(
            f"{verb}: `seed` must be a whole number from 0 to 2**63 − 1, or None; got {seed!r}. "
            "Pass a number such as 0."
        )
    if limits is not None and not isinstance(limits, Thresholds):
        raise RectifierTypeError(
            f"{verb}: `limits` must be Thresholds; got {type(limits).__name__}. "
            "Pass rectifier.checkup.Thresholds(rare=0.01)."
        )


def _check_shape(networks: tuple[Network, ...], ends: Any) -> None:
    if ends is not None and not networks:
        raise RectifierValueError(
            "check: `box` must have a layer that acts on the model's input; got a model where none feeds a rectifier "
            "that could be followed. Leave `box` out."
        )


def _unused(ends: Any, networks: tuple[Network, ...]) -> list[str]:
    """The first batch left something to prove, and a later one took it away: that is told, and the record kept."""
    if ends is None or networks:
        return []
    return ["the box: no layer acted on the model's input in every batch, so that nothing could be proved for it"]


def _has_no_row(inputs: Any) -> bool:
    """Is one of the inputs an array whose first axis is empty?"""
    several = inputs.values() if isinstance(inputs, Mapping) else inputs
    each = several if isinstance(inputs, (Mapping, tuple, list)) else (inputs,)
    return any(tuple(getattr(part, "shape", ()))[:1] == (0,) for part in each)


def _batches(many: int) -> str:
    return f"{many} batch" if many == 1 else f"{many} batches"


def _check_seen(record: Record, snapshot: Snapshot | None, run: _Run) -> None:
    if run.done == 0:
        raise RectifierValueError(
            "check: `batches` must hold at least one batch; got an empty iterable. "
            "Pass data (a generator that was used up before is empty)."
        )
    if run.rowless == run.done:
        raise RectifierValueError(
            f"check: `batches` must hold at least one example; got {_batches(run.done)} of 0 rows. "
            "Look at what fills or filters the data."
        )
    if snapshot is None or not snapshot.sites:
        unseen = f" Not observed: {'; '.join(record.not_observed)}." if record.not_observed else ""
        raise RectifierValueError(
            f"check: `model` must apply a rectifier of the family to a batch that is not empty; got {record.model}, "
            f"where none was seen. See rectifier.family for what is recognised.{unseen}"
        )
