"""``watch``: the same look during training, step after step, without changing a bit of it and at next to no cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from ..errors import RectifierTypeError, RectifierValueError
from ._check import check_common
from ._watching import Watching
from .adapters import adapter_for
from .pace import Pace
from .thresholds import Thresholds

__all__ = ["Watching", "watch"]

#: Share of the time of a step that looks take unless another is asked for: where gates are counted between them, less.
_BUDGET = {False: 0.02, True: 0.01}


def watch(
    model: Any,
    optimizer: Any = None,
    *,
    every: int | Literal["auto"] = "auto",
    gates: Literal["sampled", "every"] | None = None,
    budget: float | None = None,
    name: str = "",
    seed: int | None = None,
    limits: Thresholds | None = None,
    group: Any = None,
    log: Callable[[dict[str, float]], Any] | None = None,
) -> Watching:
    """Watch a model train: a context manager whose ``record`` tells which units died, when, and why.

    The training is bit for bit what it would be without. Two kinds of evidence: at *every step* the gradient of each
    unit's bias (or β, or incoming weights), which is not 0 only if the unit fired; at *some steps* a look at all
    gates, values and scales, of which a snapshot is made. The first step is looked at, so that the initialisation
    shows. Forward passes in training mode with gradients are seen (a validation pass in between is not), from within
    ``model(...)`` itself. At most 128 snapshots are kept: then neighbours are merged two by two (counts are summed,
    extremes kept, scales averaged) and the steps between them double.

    model: a PyTorch model.
    optimizer: its optimizer; its steps are counted, and ‖ΔW‖ ÷ ‖W‖ and ∂loss/∂W of each layer are measured at the step
        of a snapshot. Without one, forward passes in training mode are counted as steps, and gradients are not read.
    every: steps between looks. "auto": as few as the budget allows, from what looks are measured to take.
    gates: "sampled": between looks nothing but gradients is read. "every": gates are counted at every step, so that
        snapshots tell of all examples. By default "every" where ``every`` is a number, else "sampled".
    budget: share of the time of a step that looks and gradients may take on average with ``every="auto"``; 0.02 by
        default, and 0.01 beside ``gates="every"``, whose counting is not part of it.
    name, seed: kept in the record (nothing is seeded).
    limits: the thresholds of the verdicts.
    group: ``torch.distributed`` processes that train together: their counts are summed at each snapshot, and each gets
        the same record. By default those of a model under DDP or FSDP.
    log: called after each look, and once more at the end, with a flat dict of floats (docs/integrations.md lists its
        names), by the first of several processes alone. What it takes counts as part of the look. If it raises, that
        is told in one RuntimeWarning and the training goes on.

    Raises RectifierTypeError or RectifierValueError for arguments that cannot be used, for an optimizer that steps no
    parameter of the model, and for a model that is watched already. What the block raises goes through unchanged; the
    record until then is kept, with ``stopped`` set.

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
    if every != "auto" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise RectifierValueError(
            f"watch: `every` must be 'auto' or a whole number of steps, 1 or more; got {every!r}. "
            "Pass a number such as 10."
        )
    if gates not in (None, "sampled", "every"):
        raise RectifierValueError(
            f"watch: `gates` must be 'sampled' or 'every'; got {gates!r}. Pass 'every' to count those of every step."
        )
    if budget is not None:
        _check_budget(budget, every)
    check_common("watch", seed, limits)
    if log is not None and not callable(log):
        raise RectifierTypeError(
            f"watch: `log` must be a function that takes a dict, or None; got {type(log).__name__}. "
            "Pass for instance print, or the log method of a Weights & Biases run."
        )
    adapter.check_optimizer(optimizer, "watch")
    group = adapter.group_of(model, group, "watch")
    model = adapter.observable(model, "watch")
    if optimizer is not None and not adapter.unowned(model, optimizer)[1]:
        raise RectifierValueError(
            f"watch: `optimizer` must step parameters of the model; got {type(optimizer).__name__} with none of them. "
            "Make it from model.parameters()."
        )
    counts = every != "auto" if gates is None else gates == "every"
    pace = Pace(None if every == "auto" else every, _BUDGET[counts] if budget is None else budget)
    return Watching(adapter, model, optimizer, pace, counts, name, seed, limits, group, log)


def _check_budget(budget: float, every: Any) -> None:
    number = isinstance(budget, (int, float)) and not isinstance(budget, bool)
    if not number or not math.isfinite(budget) or not 0 < budget <= 1:
        raise RectifierValueError(
            f"watch: `budget` must be a share of the time of a step, above 0 and at most 1; got {budget!r}. "
            "2 % is written 0.02."
        )
    if every != "auto":
        raise RectifierValueError(
            f"watch: `budget` must be left out where `every` is a number; got {budget!r} and every={every!r}. "
            "Pass every='auto' to look as often as it allows."
        )
