"""A callback for Lightning: the networks of a LightningModule, watched while ``Trainer.fit`` trains them.

>>> from rectifier.torch.lightning import WatchCallback
>>> watch = WatchCallback(every=50)
>>> # trainer = lightning.Trainer(callbacks=[watch]); trainer.fit(module, data); rectifier.report(watch.record)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn

from ..checkup import Record, Thresholds
from ..errors import RectifierValueError
from ._trainer import IllError, Log, Watches, WhenIll

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "lightning":  # it is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(
        "rectifier.torch.lightning: `lightning` must be installed; it was not found. "
        'Run: pip install "rectifier[lightning]"',
        name="lightning",
    ) from error

__all__ = ["IllError", "WatchCallback"]


class WatchCallback(Callback):
    """Watches what a ``fit`` trains, as :func:`rectifier.watch` does round a loop.

    A pass is a call of the LightningModule itself (``self(x)``) or, where ``training_step`` calls its parts
    (``self.encoder(x)``), of each part: then there is a record for each, in ``records``. A step is one of the optimizer
    that owns the part's parameters, so accumulated batches are one step, validation is not seen, and with manual
    optimization each network has its own steps. Passed to a Trainer's loggers, under names that
    docs/integrations.md lists, with ``rectifier/<part>/`` in front where parts are watched. Under DDP the counts of
    all processes are summed.

    module: name of the one part to watch, such as ``"generator"``; by default whatever is called.
    every, gates, budget, name, seed, limits: as in :func:`rectifier.watch`.
    log: a further function to be called with the numbers of each look.
    when_ill: what to do at the end of an epoch, or of a validation, at which a finding is ill: ``"stop"`` the training
        with a warning, ``"raise"`` :class:`IllError`; None goes on.

    The weights, and the random numbers, are bit for bit those of a training without it. An exception goes through with
    the record kept (``record.stopped``). A second ``fit`` begins a new record; where it resumes another,
    ``rectifier/step`` goes on from there (the callback's state is in the checkpoint), and steps in the record count
    from the resumption.

    Raises RectifierTypeError or RectifierValueError where an argument cannot be used, or, when training begins, where
    no optimizer steps the module's parameters.
    """

    def __init__(
        self,
        module: str | None = None,
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
        self._module = module
        self._roots = _Roots()

    @property
    def record(self) -> Record:
        """What was seen in the last ``fit``, or as of now; where several parts were watched, see ``records``."""
        return self._watches.record

    @property
    def records(self) -> dict[str, Record]:
        """name of the part → its record; the name is "" where the module itself, or one chosen part, is watched."""
        return self._watches.records

    # Lightning's hooks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._watches.forget(steps=trainer.global_step == 0)
        optimizers = [one for one in trainer.optimizers if isinstance(one, torch.optim.Optimizer)]
        group = dist.group.WORLD if trainer.world_size > 1 and dist.is_initialized() else None

        def tell(numbers: dict[str, float]) -> None:
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=trainer.global_step)

        candidates = self._candidates(trainer, pl_module)
        owners = {name: _owner(part, optimizers) for name, part in candidates.items()}
        if not any(owners.values()):
            of = type(pl_module).__name__ + ("" if self._module is None else f".{self._module}")
            raise RectifierValueError(
                f"WatchCallback: an optimizer must step parameters of {of}; got {len(optimizers)} of which none does. "
                "Return it from configure_optimizers."
            )
        for name, part in candidates.items():
            if owners[name] is not None:
                self._watches.start(name, part, owners[name], group, tell if trainer.loggers else None)
        watched = {name: part for name, part in candidates.items() if owners[name] is not None}
        if len(watched) > 1:
            self._roots.follow(watched, self._watches.unsure)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        for name in sorted(self._roots.settled()):  # the same order in all processes: they sum what they saw
            self._watches.drop(name)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heed(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heed(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(exception)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._watches.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._watches.steps = state_dict["steps"]

    # Which networks

    def _candidates(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, nn.Module]:
        if self._module is not None:
            try:
                return {"": pl_module.get_submodule(self._module)}
            except AttributeError as error:
                raise RectifierValueError(
                    f"WatchCallback: `module` must name a part of {type(pl_module).__name__}; got {self._module!r}. "
                    f"Its parts are {', '.join(name for name, _ in pl_module.named_children())}."
                ) from error
        wrapped = trainer.strategy.model is not pl_module
        # What wraps the module calls all of training_step through it: with manual optimization there are steps inside.
        whole: dict[str, nn.Module] = {} if wrapped and not pl_module.automatic_optimization else {"": pl_module}
        return whole if wrapped and whole else {**whole, **dict(_parts("", pl_module))}

    def _heed(self, trainer: Trainer) -> None:
        if self._watches.running and not trainer.sanity_checking:
            reason = self._watches.ill()
            if reason is not None and not trainer.should_stop:
                trainer.should_stop = True
                warnings.warn(f"{reason} The training ends with this epoch.", RuntimeWarning, stacklevel=2)

    def _end(self, error: BaseException | None) -> None:
        called_none = self._roots.leave()
        if called_none:  # what is said of the module then is that it was not called
            self._watches.unsure.discard("")
        for name in sorted(self._watches.unsure.intersection(self._watches.running)):
            self._watches.drop(name, error)
        self._watches.stop(error)


def _parts(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The networks that a training step may call: children, and what is in a list or dict of them."""
    for name, child in module.named_children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from _parts(f"{prefix}{name}.", child)
        else:
            yield f"{prefix}{name}", child


def _owner(module: nn.Module, optimizers: list[torch.optim.Optimizer]) -> torch.optim.Optimizer | None:
    """The optimizer that steps most of its parameters; None where none does."""
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    steps = [sum(id(p) in trained for group in one.param_groups for p in group["params"]) for one in optimizers]
    return optimizers[steps.index(max(steps))] if any(steps) else None


class _Roots:
    """Which of several networks a training step calls itself, and which are called by another of them."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._open: set[str] = set()
        self._unsure: set[str] = set()
        self._inner: set[str] = set()
        self._depth = 0
        self._called = False

    def follow(self, networks: dict[str, nn.Module], unsure: set[str]) -> None:
        """Take out of ``unsure`` each that a training step is seen to call."""
        unsure.update(networks)
        self._open, self._unsure, self._inner = set(networks), unsure, set()
        self._depth, self._called = 0, False
        for name, network in networks.items():
            self._handles.append(network.register_forward_pre_hook(self._enter(name)))
            self._handles.append(network.register_forward_hook(self._leave, always_call=True))

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._depth += 1
            if name in self._open and module.training and torch.is_grad_enabled():
                self._called = True
                self._open.discard(name)
                if self._depth == 1:
                    self._unsure.discard(name)
                else:
                    self._inner.add(name)

        return hook

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth -= 1

    def settled(self) -> set[str]:
        """After a batch: those that need not be watched, each told once. They are called by another one, or are the
        module round a part that was called: to go on looking out for its call would cost something at every step."""
        found, self._inner = self._inner, set()
        if self._called and "" in self._open:
            self._open.discard("")
            found.add("")
        if self._handles and not self._open:
            self.leave()
        return found

    def leave(self) -> bool:
        """Follow no more; whether none of them was called."""
        none = bool(self._handles) and not self._called
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        return none
