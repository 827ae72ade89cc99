"""``watch``: the same look during training, step after step, without changing a bit of it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal
from weakref import WeakSet

from ..errors import RectifierValueError
from ._check import check_common, may_be_dead
from ._judge import judge
from .adapters import adapter_for, versions
from .history import CAPACITY, halve, merge
from .proof import describe, prove
from .records import Record, Snapshot
from .thresholds import Thresholds

__all__ = ["Watching", "watch"]

_watched: WeakSet[Any] = WeakSet()


def watch(
    model: Any,
    optimizer: Any = None,
    *,
    every: int = 10,
    name: str = "",
    seed: int | None = None,
    limits: Thresholds | None = None,
) -> Watching:
    """Watch a model train: a context manager whose ``record`` tells which units died, when, and why.

    The training is bit for bit what it would be without. Forward passes in training mode are seen (a validation pass
    in between is not), from within ``model(...)`` itself. A snapshot is taken after the first step, so that it shows
    the initialisation, and then every ``every`` steps; each covers the examples seen since the last. At most 128 are
    kept: then neighbours are merged two by two (counts are summed, extremes kept, scales averaged) and ``every``
    doubles.

    model: a PyTorch model.
    optimizer: its optimizer; its steps are counted, and ‖ΔW‖ ÷ ‖W‖ and ∂loss/∂W of each layer are measured at the step
        of a snapshot. Without one, forward passes in training mode are counted as steps.
    every: steps between snapshots.
    name, seed: kept in the record (nothing is seeded).
    limits: the thresholds of the verdicts.

    Raises RectifierTypeError or RectifierValueError for arguments that cannot be used, and for a model that is watched
    already. What the block raises goes through unchanged; the record until then is kept, with ``stopped`` set.

    >>> import torch, rectifier
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with rectifier.watch(net, optimizer, every=1) as watching:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         net(torch.ones(4, 2)).square().mean().backward()
    ...         optimizer.step()
    >>> [snapshot.step for snapshot in watching.record.snapshots]
    [1, 2, 3]
    """
    adapter = adapter_for(model, "watch")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise RectifierValueError(
            f"watch: `every` must be a whole number of steps, 1 or more; got {every!r}. Pass a number such as 10."
        )
    check_common("watch", seed, limits)
    adapter.check_optimizer(optimizer, "watch")
    return Watching(adapter, adapter.observable(model, "watch"), optimizer, every, name, seed, limits)


class Watching:
    """What :func:`watch` returns; enter it round the training."""

    def __init__(
        self,
        adapter: Any,
        model: Any,
        optimizer: Any,
        every: int,
        name: str,
        seed: int | None,
        limits: Thresholds | None,
    ) -> None:
        self.step = 0
        """Steps counted so far."""
        self.every = every
        """Steps between snapshots, as of now (it doubles when the history is full)."""
        self._adapter, self._model, self._optimizer = adapter, model, optimizer
        self._name, self._seed, self._limits = name, seed, limits
        self._observer = adapter.Observer(model, training_only=True)
        self._snapshots: list[Snapshot] = []
        self._stopped: str | None = None
        self._handles: list[Any] = []
        self._finish: Any = None

    def __enter__(self) -> Watching:
        if self._model in _watched:
            raise RectifierValueError(
                f"watch: `model` must not be watched already; got a {type(self._model).__name__} that is. "
                "Leave the block of the first watch before the second."
            )
        _watched.add(self._model)
        self._observer.attach()
        if self._optimizer is not None:
            self._handles += self._adapter.on_step(self._optimizer, self._before_step, self._after_step)
        else:
            self._observer.on_forward = self._before_forward
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._observer.on_forward = None
        self._observer.detach()
        _watched.discard(self._model)
        if self._optimizer is None:
            self.step = self._observer.forwards
        if error is not None:
            self._stopped = f"the watched block raised {type(error).__name__} after step {self.step}: {error}"
        self._last_look()
        return False

    @property
    def record(self) -> Record:
        """The record as of now; complete after the block."""
        snapshots = tuple(self._snapshots)
        deep = may_be_dead(snapshots[-1] if snapshots else None)
        networks, untraced = self._observer.networks(training=True, deep=deep)
        proofs = prove(networks, None)
        unseen = self._observer.not_observed
        if not self._observer.forwards:
            unseen = (*unseen, "the model: no forward pass in training mode was seen; call model(...) itself")
        return Record(
            model=type(self._model).__name__,
            source="watch",
            snapshots=snapshots,
            findings=judge(snapshots, self._limits, proved=proofs.bounds, box=proofs.statements, history=True),
            not_observed=unseen,
            stopped=self._stopped,
            seed=self._seed,
            versions=versions(),
            box=describe(networks, None, untraced),
            certificate=proofs.certificate,
            name=self._name,
        )

    def _due(self, step: int) -> bool:
        return step == 1 or step % self.every == 0

    def _before_step(self) -> None:
        if self._due(self.step + 1):
            self._finish = self._observer.measure_update()

    def _after_step(self) -> None:
        self.step += 1
        if self._finish is not None:
            self._finish()
            self._finish = None
            self._observer.see_weight_gradients()
        if self._due(self.step):
            self._look()

    def _before_forward(self) -> None:
        # The backward pass of the step before has run by now.
        self.step = self._observer.forwards
        if self.step and self._due(self.step):
            self._look()

    def _look(self) -> None:
        snapshot = self._observer.take(self.step)
        if snapshot is None:
            return
        self._snapshots.append(snapshot)
        if len(self._snapshots) >= CAPACITY:
            self._snapshots = halve(self._snapshots)
            self.every *= 2

    def _last_look(self) -> None:
        """What is left since the last snapshot; less than half an interval is too few examples to stand alone."""
        previous = self._snapshots[-1].step if self._snapshots else 0
        snapshot = self._observer.take(self.step)
        if snapshot is None:
            return
        if len(self._snapshots) > 1 and self.step - previous < self.every / 2:
            self._snapshots[-1] = merge(self._snapshots[-1], snapshot)
        else:
            self._snapshots.append(snapshot)
