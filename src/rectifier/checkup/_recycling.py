"""``recycling``: units that fall asleep during training are given a new start, every so many steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import RectifierTypeError, RectifierValueError
from ._check import check_common
from ._heal import check_starts, receipts_of
from .adapters import adapter_for
from .plan import Wanted
from .records import Receipt, SiteVitals

__all__ = ["Recycling", "Turn", "recycling"]

#: Turns from one recycling of a unit to the next at the earliest: one is left out, in which it can learn.
_REST = 2


def recycling(
    model: Any,
    optimizer: Any,
    *,
    every: int = 1000,
    tau: float = 0.0,
    window: int | None = None,
    seed: int | None = None,
    starts: Mapping[str, float | str] | None = None,
) -> Recycling:
    """Recycle dormant units while a model trains (ReDo; Sokar et al. 2023, arXiv:2302.12902): a context manager.

    After every ``every``-th step of the optimizer the units with mean |h| ≤ τ · (mean of that over the site), over the
    training batches of the ``window`` steps before, are recycled as :func:`rectifier.heal` does: incoming weights drawn
    anew, outgoing ones 0, normalisation and the optimizer's state of these rows and columns anew. With τ = 0 these are
    the units that gave 0 at every example, and the outputs stay as they were, bit for bit; with τ > 0 units that are
    alive are recycled too, and what they gave on average on the last batch goes into the next bias. A unit that was
    recycled is left alone at the next turn, so that it has at least 2 · ``every`` steps to learn.

    model: a PyTorch model that trains in this process alone.
    optimizer: the one that steps it; its steps are counted.
    every: steps from turn to turn. tau: the threshold τ of dormancy, from 0 to below 1 (the paper's Atari agents: 0.1
    with 1000 steps). window: steps whose batches are looked at before each turn, at most ``every``; by default a tenth
    of it. seed: of the new weights; the global random state is neither read nor changed, so that with τ = 0 and no
    dormant unit the training is bit for bit what it would be without.
    starts: as in :func:`rectifier.heal`.

    ``turns`` of what is returned holds one :class:`Turn` each, with receipts. Leaving the block (or ``stop``) ends it;
    nothing is undone by that. A receipt's ``undo`` holds until the next step: after it the weights have been trained
    on, and it refuses.

    Raises RectifierTypeError or RectifierValueError for arguments that cannot be used; inside the training only where
    the optimizer turns out to keep a state that cannot be told row from row.

    >>> import torch, rectifier
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> with torch.no_grad():
    ...     _ = net[0].bias.copy_(torch.tensor([9.0, -9.0, 9.0]))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    >>> with rectifier.recycling(net, optimizer, every=2, seed=0) as recycling:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         net(torch.rand(8, 2)).square().mean().backward()
    ...         optimizer.step()
    >>> [(turn.step, [receipt.units for receipt in turn.receipts]) for turn in recycling.turns]
    [(2, [(1,)]), (4, [])]
    """
    adapter = adapter_for(model, "recycling")
    _check_arguments(every, tau, window)
    check_starts("recycling", starts)
    check_common("recycling", seed, None)
    if optimizer is None:
        raise RectifierTypeError(
            "recycling: `optimizer` must be the torch.optim.Optimizer that steps the model; got None. Pass it."
        )
    adapter.check_optimizer(optimizer, "recycling")
    if adapter.group_of(model, None, "recycling") is not None:
        raise RectifierValueError(
            f"recycling: `model` must train in one process; got a {type(model).__name__} over several, whose new "
            "weights would differ. Call rectifier.heal with the same seed and probe in each of them."
        )
    model = adapter.observable(model, "recycling")
    if not adapter.unowned(model, optimizer)[1]:
        raise RectifierValueError(
            f"recycling: `optimizer` must step parameters of the model; got {type(optimizer).__name__} with none of "
            "them. Make it from model.parameters()."
        )
    adapter.acts.check_known(optimizer, starts, "recycling")
    return Recycling(adapter, model, optimizer, every, float(tau), window or max(1, every // 10), seed, starts)


def _check_arguments(every: Any, tau: Any, window: Any) -> None:
    for name, value, top in (("every", every, None), ("window", window, every)):
        if name == "window" and value is None:
            continue
        number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not number or value < 1 or (top is not None and value > top):
            most = "" if top is None else f" and at most every={top}"
            raise RectifierValueError(
                f"recycling: `{name}` must be a whole number of steps, at least 1{most}; got {value!r}. "
                "Pass for instance 100."
            )
    number = isinstance(tau, (int, float, np.floating)) and not isinstance(tau, bool)
    if not number or not 0 <= tau < 1:
        raise RectifierValueError(
            f"recycling: `tau` must be a number from 0 to below 1; got {tau!r}. Pass 0.0 for units that give 0 alone."
        )


@dataclass(frozen=True)
class Turn:
    """What one turn of :func:`recycling` did."""

    step: int
    """Steps done when it came."""
    receipts: tuple[Receipt, ...]
    """One a site where units were recycled."""
    skipped: tuple[str, ...]
    """Places with dormant units that were left as they are, and why."""
    resting: int
    """Dormant units that were left alone because they were recycled at the turn before."""


class Recycling:
    """What :func:`recycling` returns: enter it round the training, or call :meth:`start` and :meth:`stop`."""

    def __init__(
        self,
        adapter: Any,
        model: Any,
        optimizer: Any,
        every: int,
        tau: float,
        window: int,
        seed: int | None,
        starts: Mapping[str, float | str] | None,
    ) -> None:
        self.step = 0
        """Steps counted so far."""
        self.turns: list[Turn] = []
        """The turns, in order."""
        self._adapter, self._model, self._optimizer = adapter, model, optimizer
        self._every, self._tau, self._window, self._starts = every, tau, window, starts
        self._generator = adapter.acts.generator_of(seed)
        self._observer: Any = None
        self._inputs: Any = None
        self._handle: Any = None
        self._last: dict[tuple[str, int], int] = {}

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of all turns, in order."""
        return tuple(receipt for turn in self.turns for receipt in turn.receipts)

    def start(self) -> Recycling:
        """Begin to count steps, as entering the block does; returns itself."""
        if self._handle is None:
            self._handle = self._adapter.on_step(self._optimizer, self._after_step)
            self._look()
        return self

    def stop(self) -> None:
        """Recycle no more, as leaving the block does; a second call does nothing."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        self._rest()

    def __enter__(self) -> Recycling:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        self.stop()
        return False

    def _after_step(self) -> None:
        self.step += 1
        if self.step % self._every == 0:
            self._turn()
        self._look()

    def _look(self) -> None:
        """Observe the steps of the window before the next turn."""
        if self._observer is None and self._every - self.step % self._every <= self._window:
            self._observer = self._adapter.Observer(self._model, training_only=True)
            self._observer.attach()
            self._inputs = self._adapter.acts.LastInputs(self._model)

    def _rest(self) -> None:
        if self._observer is not None:
            self._observer.detach()
            self._inputs.detach()
            self._observer = self._inputs = None

    def _turn(self) -> None:
        if self._observer is None:
            return
        snapshot, probe = self._observer.take(self.step), self._inputs.probe
        self._rest()
        sites = () if snapshot is None else snapshot.sites
        found = {site.site: np.flatnonzero(_dormant(site, self._tau)).tolist() for site in sites}
        earliest = self.step - _REST * self._every
        units = {
            site: tuple(unit for unit in dormant if self._last.get((site, unit), -math.inf) <= earliest)
            for site, dormant in found.items()
        }
        resting = sum(map(len, found.values())) - sum(map(len, units.values()))
        totals = {site.site: frozenset({site.units}) for site in sites}
        wanted = Wanted({site: chosen for site, chosen in units.items() if chosen}, totals, True, {})
        receipts: tuple[Receipt, ...] = ()
        skipped: tuple[str, ...] = ()
        if wanted.units:
            acts, skipped = self._adapter.acts.recycle(
                self._model,
                wanted,
                optimizers=(self._optimizer,),
                probe=probe,
                generator=self._generator,
                force=self._tau > 0,
                starts=self._starts,
                idle=True,
            )
            receipts = receipts_of("recycle", acts, skipped)
            self._last |= {(act.site, unit): self.step for act in acts for unit in act.units}
        self.turns.append(Turn(self.step, receipts, skipped, resting))


def _dormant(site: SiteVitals, tau: float) -> npt.NDArray[np.bool_]:
    """mean |h| of a unit ≤ τ · (mean of that over the site), shape (units,); a unit that gave NaN or ∞ is not."""
    infinite = np.zeros(site.units, dtype=np.int64) if site.infinite is None else site.infinite
    finite = (site.nan == 0) & (infinite == 0)
    dormant: npt.NDArray[np.bool_] = (site.sum_abs_h <= tau * site.sum_abs_h.mean()) & finite
    return dormant
