"""A callback for the Trainer of Hugging Face's transformers: the model, watched while ``Trainer.train`` trains it.

>>> from rectifier.torch.transformers import WatchCallback
>>> watch = WatchCallback(every=50)
>>> # Trainer(model, arguments, train_dataset=data, callbacks=[watch]).train(); rectifier.report(watch.record)
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any, Literal

import torch.distributed as dist

from ..checkup import Record, Thresholds
from ._trainer import IllError, Log, Watches, WhenIll

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "transformers":  # it is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(
        "rectifier.torch.transformers: `transformers` must be installed; it was not found. "
        'Run: pip install "rectifier[transformers]"',
        name="transformers",
    ) from error

__all__ = ["IllError", "WatchCallback"]


class WatchCallback(TrainerCallback):
    """Watches what ``Trainer.train`` trains, as :func:`rectifier.watch` does round a loop.

    A step is one of the optimizer, so accumulated batches are one; evaluations are not seen, nor what an attention mask
    hides. The numbers of the last look are added to the Trainer's next log, under names that docs/integrations.md
    lists, and the verdicts to ``state.log_history`` at the end. With several processes their counts are summed.

    every, gates, budget, name, seed, limits: as in :func:`rectifier.watch`.
    log: a further function to be called with the numbers of each look.
    when_ill: what to do at the end of an epoch, or of an evaluation, at which a finding is ill: ``"stop"`` the training
        with a warning, ``"raise"`` :class:`IllError`; None goes on.

    The Trainer tells no callback of an exception. As a context manager, ``with WatchCallback() as watch:`` round
    ``train()``, this one stops then, with ``record.stopped`` set; without, ``record`` has what was seen, and the hooks
    stay on until the next training, or :meth:`stop`. A second ``train`` begins a new record; where it resumes another,
    ``rectifier/step`` goes on from there, and steps in the record count from the resumption.

    Raises RectifierTypeError or RectifierValueError where an argument cannot be used; when training begins, those of
    :func:`rectifier.watch`.
    """

    def __init__(
        self,
        *,
        every: int | Literal["auto"] = "auto",
        gates: Literal["sampled", "every"] | None = None,
        budget: float | None = None,
        name: str = "",
        seed: int | None = None,
        limits: Thresholds | None = None,
        log: Log | None = None,
        when_ill: WhenIll | None = None,
    ) -> None:
        self._watches = Watches(
            every=every, gates=gates, budget=budget, name=name, seed=seed, limits=limits, log=log, when_ill=when_ill
        )
        self._latest: dict[str, float] = {}

    @property
    def record(self) -> Record:
        """What was seen in the last ``train``, or as of now."""
        return self._watches.record

    def stop(self, error: BaseException | None = None) -> None:
        """Watch no more; error: what ended the training, kept in the record."""
        self._watches.stop(error)

    def __enter__(self) -> WatchCallback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        self.stop(error)
        return False

    # The Trainer's events

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self._watches.forget(steps=True)
        self._watches.steps = {"": state.global_step}
        self._latest.clear()
        group = dist.group.WORLD if args.world_size > 1 and dist.is_initialized() else None
        optimizer = given["optimizer"]
        while hasattr(optimizer, "optimizer"):  # of accelerate, whose own has no hooks
            optimizer = optimizer.optimizer
        self._watches.start("", given["model"], optimizer, group, self._latest.update)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **given: Any,
    ) -> None:
        if self._latest and logs is not None:
            # The history has a copy of what the reporters after this callback get.
            logs.update(self._latest)
            state.log_history[-1].update(self._latest)
            self._latest.clear()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self._heed(control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self._heed(control)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self._watches.stop()
        if self._latest:
            state.log_history.append({**self._latest, "step": state.global_step})
            self._latest.clear()

    def _heed(self, control: TrainerControl) -> None:
        if self._watches.running:
            reason = self._watches.ill()
            if reason is not None and not control.should_training_stop:
                control.should_training_stop = True
                warnings.warn(f"{reason} The training ends here.", RuntimeWarning, stacklevel=2)
