"""A callback that watches the units of a model while ``fit`` trains it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter
from typing import Any, Literal

import keras

from ..checkup import Record, Thresholds
from ..checkup._check import check_batches, check_common, may_be_dead, split
from ..checkup._judge import judge
from ..checkup.adapters import versions_of
from ..checkup.errors import IllError
from ..checkup.history import CAPACITY, merge
from ..checkup.metrics import Logger, metrics, verdicts
from ..checkup.pace import Pace
from ..checkup.proofs.proof import describe, prove
from ..checkup.records import Snapshot
from ..checkup.severity import illness
from ..errors import RectifierTypeError, RectifierValueError
from ..frameworks.keras import checkup as adapter

__all__ = ["Watch"]

#: Share of the time of a step that looks take on average.
_BUDGET = 0.02


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Watches what ``fit`` trains, on each backend of Keras: pass it among its ``callbacks``.

    ``fit`` compiles its steps, so that nothing inside of them is seen. A look runs ``batches`` through the model as it
    is after that step, eagerly and as in training (batch normalisation by the batch, dropout), and writes no variable:
    the training is bit for bit what it would be without. There is a look before the first step, which shows the
    initialisation, and one after the last. At most 128 are kept: then every second one is left out.

    batches: what is looked at, an iterable of inputs or of ``(inputs, targets)``, read once. With targets the loss that
        the model was compiled with gives gradients. A few hundred examples: fewer than 300 cannot tell a unit that is
        silent from one that is rare.
    every: steps between looks (batches of ``fit``); "auto": as few as the budget allows.
    budget: share of the time of a step that looks may take on average with ``every="auto"``; 0.02 by default.
    name, limits: as in :func:`rectifier.watch`. seed: kept in the record.
    log: called after each look, and once more at the end, with a flat dict of floats (docs/integrations.md lists its
        names); if it raises, that is told in one RuntimeWarning and the training goes on.
    when_ill: what to do at the end of an epoch at which a finding is ill: ``"stop"`` the training with a warning,
        ``"raise"`` IllError; None goes on.

    At the end of each epoch ``rectifier/silent``, the share of units that fired at none of the examples of the last
    look, joins the ``logs`` that the callbacks behind it and ``History`` get. ``record`` is what was seen in the last
    ``fit``, or as of now; where ``fit`` raises, it holds what was seen until then. A second ``fit`` begins a new one.

    Raises RectifierTypeError or RectifierValueError where an argument cannot be used, and at the first look where a
    batch cannot.

    >>> import numpy as np, rectifier.keras as rk
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> watch = rk.Watch([(x, y)], every=2)
    >>> _ = model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[watch])
    >>> [snapshot.step for snapshot in watch.record.snapshots]
    [0, 2, 4, 6, 8]
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        every: int | Literal["auto"] = "auto",
        budget: float | None = None,
        name: str = "",
        seed: int | None = None,
        limits: Thresholds | None = None,
        log: Callable[[dict[str, float]], Any] | None = None,
        when_ill: Literal["stop", "raise"] | None = None,
    ) -> None:
        super().__init__()
        check_batches(batches, "Watch")
        _check(every, budget, log, when_ill)
        check_common("Watch", seed, limits)
        self._batches = [_parts(batch, index) for index, batch in enumerate(batches)]
        if not self._batches:
            raise RectifierValueError("Watch: `batches` must hold a batch; got none. Pass [(inputs, targets)].")
        self._every, self._budget = every, _BUDGET if budget is None else budget
        self._name, self._seed, self._limits, self._when_ill = name, seed, limits, when_ill
        self._log = None if log is None else Logger(log, "Watch")
        self._observer: adapter.Observer | None = None
        self._snapshots: list[Snapshot] = []
        self._pace = Pace(None, self._budget)
        self.step = 0
        """Steps counted so far."""

    @property
    def record(self) -> Record:
        """What was seen in the last ``fit``, or as of now. Raises RectifierValueError before the first."""
        if self._observer is None:
            raise RectifierValueError(
                "Watch: `record` needs a training that has begun; got none. Pass the callback to fit and train first."
            )
        snapshots = tuple(self._snapshots)
        networks, untraced = self._observer.networks(
            training=True, deep=may_be_dead(snapshots[-1] if snapshots else None)
        )
        proofs = prove(networks, None)
        findings = judge(snapshots, self._limits, proved=proofs.bounds, box=proofs.statements, history=True)
        return Record(
            model=adapter.title(self.model),
            source="watch",
            snapshots=snapshots,
            findings=findings,
            not_observed=self._not_observed(),
            seed=self._seed,
            versions=versions_of(self.model),
            box=describe(networks, None, untraced),
            certificate=proofs.certificate(findings),
            name=self._name,
        )

    def _not_observed(self) -> tuple[str, ...]:
        assert self._observer is not None
        sites = self._snapshots[-1].sites if self._snapshots else ()
        many = max((site.inputs or 0 for site in sites), default=0)
        looks = f"{len(self._snapshots)} look{'s' if len(self._snapshots) != 1 else ''}"
        between = (
            f"the steps of fit: they run compiled; seen were the {many} examples of `batches`, in {looks} between them"
        )
        none = [] if sites else ["the model: no rectifier was seen in it"]
        return (between, *self._observer.not_observed, *none)

    # Keras's hooks

    def on_train_begin(self, logs: Any = None) -> None:
        adapter.observable(self.model, "Watch")
        self._observer = adapter.Observer(self.model, training_only=True)
        self._snapshots = []
        self._pace = Pace(None if self._every == "auto" else int(self._every), self._budget)
        self.step, self._first = 0, 0
        self._begun = self._plain = math.nan
        self._finish: Callable[[], None] | None = None
        self._look()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        now = perf_counter()
        if not math.isnan(self._begun):
            self._plain = now - self._begun
            self._pace.plain(self._plain, 0.0)
        self._begun, self._first = now, batch
        if self.step + 1 >= self._pace.next and self._observer is not None:
            # On JAX the variables are the trainer's until somebody asks for the model.
            _ = self.model
            self._finish = self._observer.measure_update()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += batch - self._first + 1
        if self.step >= self._pace.next:
            _ = self.model
            if self._finish is not None and batch == self._first:  # several steps in one call are no step's update
                self._finish()
            self._finish = None
            self._look()
            self._begun = math.nan  # this interval holds a look

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = math.nan  # what comes between epochs is no step
        if logs is not None and self._snapshots:
            silent = metrics(self._snapshots[-1]).get("rectifier/silent")
            if silent is not None:
                logs["rectifier/silent"] = silent
        if self._when_ill is not None:
            self._heed()

    def on_train_end(self, logs: Any = None) -> None:
        if self._snapshots and self._snapshots[-1].step < self.step:
            self._look()
        self._tell(last=True)

    def _heed(self) -> None:
        record = self.record
        reason = illness(record)
        if reason is None:
            return
        reason = f"Watch: the network is ill after step {self.step}: {reason}"
        if self._when_ill == "raise":
            raise IllError(f"{reason} What was seen is kept in `.record`.", record)
        if not self.model.stop_training:
            self.model.stop_training = True
            warnings.warn(f"{reason} The training ends with this epoch.", RuntimeWarning, stacklevel=2)

    # One look

    def _look(self) -> None:
        observer, model = self._observer, self.model
        assert observer is not None
        begun = perf_counter()
        losses = []
        with adapter.undisturbed(model):
            observer.attach()
            try:
                for inputs, targets, weights in self._batches:
                    loss = None if targets is None else _loss_of(model, inputs, weights)
                    losses.append(adapter.run(observer, inputs, targets, loss, "Watch"))
            finally:
                observer.detach()
        known = [value for value in losses if value is not None]
        snapshot = observer.take(self.step, math.fsum(known) / len(known) if known else None)
        if snapshot is not None:
            self._snapshots.append(replace(snapshot, looked=(self.step,)))
        if len(self._snapshots) >= CAPACITY:
            self._snapshots = _thinned(self._snapshots)
            self._pace.halved()
        self._tell()
        seconds = perf_counter() - begun
        self._pace.looked(self.step, None if math.isnan(self._plain) else seconds + self._plain)

    def _tell(self, *, last: bool = False) -> None:
        """Hand the last look's numbers to the user's logger; at the end with the verdicts."""
        if self._log is None or not self._snapshots:
            return
        found = metrics(self._snapshots[-1])
        if last:
            found |= verdicts(self.record)
        self._log(found, self.step)


def _loss_of(model: Any, inputs: Any, weights: Any) -> Callable[[Any, Any], Any]:
    """The loss that the model was compiled with."""

    def loss(outputs: Any, targets: Any) -> Any:
        given = [None if part is None else keras.tree.map_structure(_tensor, part) for part in (targets, weights)]
        return model.compute_loss(x=inputs, y=given[0], y_pred=outputs, sample_weight=given[1])

    return loss


def _tensor(value: Any) -> Any:
    return keras.ops.convert_to_tensor(value)


def _parts(batch: Any, index: int) -> tuple[Any, Any, Any]:
    """Inputs, targets and sample weights, as ``fit`` takes them."""
    if isinstance(batch, (tuple, list)) and len(batch) == 3:
        return batch[0], batch[1], batch[2]
    return *split(batch, index, False, "Watch"), None


def _thinned(snapshots: list[Snapshot]) -> list[Snapshot]:
    """Every second look. Counts are not summed, as all looks are at the same examples; movements are."""
    first, rest = snapshots[:1], snapshots[1:]
    kept = []
    for a, b in zip(rest[::2], rest[1::2], strict=False):
        both = merge(a, b)
        moved = {site.site: site.moved for site in both.sites}
        ratios = {layer.layer: layer.update_ratio for layer in both.layers}
        sites = tuple(replace(site, moved=moved[site.site]) for site in b.sites)
        layers = tuple(replace(layer, update_ratio=ratios[layer.layer]) for layer in b.layers)
        kept.append(replace(b, sites=sites, layers=layers))
    return [*first, *kept, *rest[2 * len(kept) :]]


def _check(every: Any, budget: Any, log: Any, when_ill: Any) -> None:
    if every != "auto" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise RectifierValueError(
            f"Watch: `every` must be 'auto' or a whole number of steps, 1 or more; got {every!r}. "
            "Pass a number such as 10."
        )
    number = isinstance(budget, (int, float)) and not isinstance(budget, bool)
    if budget is not None and (every != "auto" or not number or not 0 < budget <= 1):
        raise RectifierValueError(
            f"Watch: `budget` must be a share of the time of a step, above 0 and at most 1, beside every='auto'; "
            f"got {budget!r} and every={every!r}. 2 % is written 0.02."
        )
    if log is not None and not callable(log):
        raise RectifierTypeError(
            f"Watch: `log` must be a function that takes a dict, or None; got {type(log).__name__}. "
            "Pass for instance print, or the log method of a Weights & Biases run."
        )
    if when_ill not in (None, "stop", "raise"):
        raise RectifierValueError(
            f"Watch: `when_ill` must be 'stop', 'raise' or None; got {when_ill!r}. "
            "Pass 'stop' to end the training, or leave it out to go on."
        )
