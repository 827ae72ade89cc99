"""``heal``: bring back units that do not fire. It acts, returns receipts, and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from ..errors import RectifierTypeError, RectifierValueError
from ._check import check_common
from .adapters import adapter_for
from .plan import chosen, receipt, wanted_of
from .records import Finding, Receipt, Record

__all__ = ["heal"]

_SHUT = frozenset({"dead", "silent"})


def heal(
    model: Any,
    findings: Record | Finding | Iterable[Finding],
    optimizer: Any = None,
    *,
    how: Literal["recycle", "swap"] = "recycle",
    with_: Any = None,
    probe: Any = None,
    seed: int | None = None,
    force: bool = False,
) -> tuple[Receipt, ...]:
    """Give units that never fire a new start, or put another rectifier in their place.

    ``recycle``: incoming weights are drawn anew (normal, standard deviation gain/√fan-in; He et al. 2015,
    arXiv:1502.01852), the bias is 0, outgoing weights are 0, batch normalisation and the optimizer's state of these
    units start anew (after ReDo, Sokar et al. 2023, arXiv:2302.12902). A unit that gave 0 leaves the outputs as they
    were, bit for bit; where it did not, its mean on the probe goes into the next bias, and the receipt says so.
    ``swap``: the rectifier modules at the sites are replaced.

    model: a PyTorch model.
    findings: a Record or findings of one. Of a Record the dead and silent units are taken, it must be one of the
        weights as they are, and what cannot be recycled (a place whose neighbours cannot be followed, a unit that
        fires on the probe) is left as it is and told in ``skipped`` of every receipt. Findings are done as asked or
        refused, and need a probe.
    optimizer: the one that trains the model; its state of these units is reset. how: "recycle" or "swap".
    with_: for a swap, the name of a rectifier such as "leaky_relu", or a module (copied for each site).
    probe: a batch of inputs, on which the change of the outputs is measured; a unit that fires on it is alive, and
        one whose new weights do not make it fire on it is drawn again, up to 20 times.
    seed: for the new weights; the global random state is neither read nor changed.
    force: act on units that are alive as well (rare, dormant, always open or closed).

    Returns one receipt a site, empty where there is nothing to do; ``receipt.undo()`` takes it back bit for bit,
    the last one first.

    Raises RectifierTypeError or RectifierValueError, before anything is changed: for arguments that cannot be used,
    a record of other weights, units that are alive, places whose neighbours cannot be followed (of a Record: where
    nothing else is left to do), and by ``undo`` where what it would put back was changed since.

    >>> import torch, rectifier
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> with torch.no_grad():
    ...     _ = net[0].bias.fill_(-9.0)
    >>> x = torch.rand(8, 2)
    >>> receipts = rectifier.heal(net, rectifier.check(net, [x]), probe=x, seed=0)
    >>> [(receipt.units, receipt.output_change) for receipt in receipts]
    [((0, 1, 2), 0.0)]
    """
    adapter = adapter_for(model, "heal")
    _check_arguments(how, with_, seed)
    adapter.check_optimizer(optimizer, "heal")
    items = chosen(findings, "heal", _SHUT)
    wanted = wanted_of(findings, items, "heal")
    if not wanted.units:
        return ()
    if how == "swap":
        acts, skipped = adapter.acts.swap(model, wanted, with_=with_, probe=probe)
    else:
        alive = next((finding for finding in items if finding.kind not in _SHUT), None)
        if alive is not None and not force:
            raise RectifierValueError(
                f"heal: `findings` must be dead or silent; got {alive.kind!r} at {alive.site!r}, units that are alive. "
                "Leave it out, or pass force=True."
            )
        acts, skipped = adapter.acts.recycle(model, wanted, optimizer=optimizer, probe=probe, seed=seed, force=force)
    open_acts = list(range(len(acts)))
    return tuple(
        receipt(how, act, _in_order(act.undo, index, open_acts, act.site), skipped) for index, act in enumerate(acts)
    )


def _in_order(undo: Callable[[], None], index: int, open_acts: list[int], site: str) -> Callable[[], None]:
    """Acts may touch the same weights (the outgoing ones of a site are the incoming ones of the next)."""

    def once() -> None:
        if index not in open_acts:
            return
        if open_acts[-1] != index:
            raise RectifierValueError(
                f"undo: the last act must be taken back first; got the one at {site!r}, after which there was "
                "another. Undo the receipts in reverse order."
            )
        undo()
        open_acts.pop()

    return once


def _check_arguments(how: Any, with_: Any, seed: Any) -> None:
    if how not in ("recycle", "swap"):
        raise RectifierValueError(f'heal: `how` must be "recycle" or "swap"; got {how!r}. Pass how="recycle".')
    if how == "swap" and with_ is None:
        raise RectifierTypeError(
            'heal: `with_` must be given with how="swap"; got None. Pass for instance with_="leaky_relu".'
        )
    if how == "recycle" and with_ is not None:
        raise RectifierTypeError(f'heal: `with_` must be left out with how="recycle"; got {with_!r}. Pass how="swap".')
    check_common("heal", seed, None)
