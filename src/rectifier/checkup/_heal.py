"""``heal``: bring back units that do not fire. It acts, returns receipts, and can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ..errors import RectifierTypeError, RectifierValueError
from ._check import check_common
from .adapters import adapter_for
from .plan import Act, chosen, receipt, wanted_of
from .records import Finding, Receipt, Record

__all__ = ["check_starts", "heal", "receipts_of"]

_HOW = ("recycle", "swap", "rescale")
_SHUT = frozenset({"dead", "silent"})
#: What rescaling is a remedy for.
_SCALES = frozenset(
    {
        "initialisation",
        "selu",
        "vanishing_activation",
        "exploding_activation",
        "vanishing_gradient",
        "exploding_gradient",
    }
)


def heal(
    model: Any,
    findings: Record | Finding | Iterable[Finding],
    optimizer: Any = None,
    *,
    how: Literal["recycle", "swap", "rescale"] = "recycle",
    with_: Any = None,
    probe: Any = None,
    seed: int | None = None,
    force: bool = False,
    starts: Mapping[str, float | str] | None = None,
) -> tuple[Receipt, ...]:
    """Give units that never fire a new start, put another rectifier in their place, or repair the scale of the layers.

    ``recycle``: incoming weights are drawn anew (normal, standard deviation gain/√fan-in; He et al. 2015,
    arXiv:1502.01852), the bias is 0, outgoing weights are 0, batch normalisation and the optimizer's state of these
    units start anew (after ReDo, Sokar et al. 2023, arXiv:2302.12902). A unit that gave 0 leaves the outputs as they
    were, bit for bit; where it did not, its mean on the probe goes into the next bias, and the receipt says so.
    ``swap``: the rectifier modules at the sites are replaced.
    ``rescale``: weights and bias of every layer that feeds a rectifier are multiplied, from the first to the last, so
    that its gain is the one that the rectifier needs (:func:`rectifier.gain`): measured as RMS(z) ÷ RMS(x) on the
    probe (after LSUV, Mishkin & Matas 2015, arXiv:1511.06422, who scale to unit variance), or without a probe computed
    from the weights as √fan-in · RMS(W) (He et al. 2015). The outputs change: it is for a network at its start.

    model: a PyTorch model; or a Keras model (``recycle`` and ``swap``), with its optimizer.
    findings: a Record or findings of one. Of a Record the dead and silent units are taken (for ``rescale`` the findings
        about scales), it must be one of the weights as they are, and what cannot be acted on (a place whose neighbours
        cannot be followed, a unit that fires on the probe) is left as it is and told in ``skipped`` of every receipt.
        Findings are done as asked or refused, and for ``recycle`` need a probe.
    optimizer: the one that trains the model, or a tuple of several, each with its own parameters. What it keeps of
        these rows and columns becomes what a new one would hold; counters of steps belong to whole parameters, and
        stay unless all of a parameter starts anew. Adam's second moment, which is read with that counter, becomes the
        mean of the rows that stay: 0 would make steps of up to 6.6 times the step size.
    how: "recycle", "swap" or "rescale".
    with_: for a swap, the name of a rectifier such as "leaky_relu", or a module (copied for each site).
    probe: a batch of inputs, on which the change of the outputs is measured; a unit that fires on it is alive, and
        one whose new weights do not make it fire on it is drawn again, up to 20 times.
    seed: for the new weights; the global random state is neither read nor changed.
    force: act on units that are alive as well (rare, dormant, always open or closed).
    starts: key of the optimizer's state → what these rows and columns are to hold, a number or "mean" (of what stays).
        Needed for an optimizer that is none of torch.optim (``{}`` where it keeps nothing).

    Returns one receipt a site (for ``rescale`` a layer), empty where there is nothing to do; ``receipt.undo()`` takes
    it back bit for bit, the last one first.

    Raises RectifierTypeError or RectifierValueError, before anything is changed: for arguments that cannot be used,
    a record of other weights, units that are alive, an optimizer that does not step them or whose state is not known,
    places whose neighbours cannot be followed (of a Record: where nothing else is left to do), and by ``undo`` where
    what it would put back was changed or replaced since.

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
    _check_arguments(how, with_, seed, starts)
    if starts is not None and (how == "swap" or optimizer is None):
        raise RectifierTypeError(
            f"heal: `starts` must be left out where no optimizer's state starts anew; got {starts!r}. "
            'Pass it with optimizer=, and how="recycle" or "rescale".'
        )
    given = optimizer if isinstance(optimizer, (tuple, list)) else (optimizer,)
    optimizers = tuple(each for each in given if each is not None)
    for each in optimizers:
        adapter.check_optimizer(each, "heal")
    model = adapter.observable(model, "heal")
    _check_starts_used(adapter.acts.kept_by(optimizers), starts)
    if how == "rescale":
        acts, skipped = _rescale(adapter, model, findings, optimizers, probe, starts)
        return receipts_of(how, acts, skipped)
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
        acts, skipped = adapter.acts.recycle(
            model,
            wanted,
            optimizers=optimizers,
            probe=probe,
            generator=adapter.acts.generator_of(seed),
            force=force,
            starts=starts,
        )
    return receipts_of(how, acts, skipped)


def _rescale(
    adapter: Any, model: Any, findings: Any, optimizers: Any, probe: Any, starts: Mapping[str, float | str] | None
) -> tuple[list[Act], tuple[str, ...]]:
    items = chosen(findings, "heal", _SCALES)
    other = next((finding for finding in items if finding.kind not in _SCALES), None)
    if other is not None:
        raise RectifierValueError(
            f'heal: `findings` must be about a scale with how="rescale"; got {other.kind!r} at {other.site!r}. '
            'Pass the record, or how="recycle".'
        )
    if not items:
        return [], ()
    wanted = wanted_of(findings, (), "heal")
    acts, skipped = adapter.acts.rescale(model, wanted, optimizers=optimizers, probe=probe, starts=starts)
    return acts, skipped


def receipts_of(
    how: Literal["recycle", "swap", "rescale"], acts: list[Act], skipped: tuple[str, ...]
) -> tuple[Receipt, ...]:
    """The receipts of the acts of one call, whose undo goes in reverse order."""
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


def _check_arguments(how: Any, with_: Any, seed: Any, starts: Any) -> None:
    if how not in _HOW:
        raise RectifierValueError(
            f'heal: `how` must be "recycle", "swap" or "rescale"; got {how!r}. Pass how="recycle".'
        )
    if how == "swap" and with_ is None:
        raise RectifierTypeError(
            'heal: `with_` must be given with how="swap"; got None. Pass for instance with_="leaky_relu".'
        )
    if how != "swap" and with_ is not None:
        raise RectifierTypeError(f'heal: `with_` must be left out with how="{how}"; got {with_!r}. Pass how="swap".')
    check_starts("heal", starts)
    check_common("heal", seed, None)


def _check_starts_used(kept: set[str], starts: Mapping[str, float | str] | None) -> None:
    """Refuse a key of ``starts`` that no optimizer keeps: a slip would leave what it is about as it is."""
    unknown = sorted(set(starts or {}) - kept) if kept else []
    if unknown:
        raise RectifierValueError(
            f"heal: `starts` must name what the optimizer keeps, {', '.join(sorted(kept))}; got {unknown[0]!r}. "
            "Leave it out, or name one of these."
        )


def check_starts(verb: str, starts: Any) -> None:
    """Refuse what does not map keys of an optimizer's state to numbers."""
    pairs = starts.items() if isinstance(starts, Mapping) else () if starts is None else ((starts, None),)
    if any(not isinstance(key, str) or not (isinstance(v, (int, float)) or v == "mean") for key, v in pairs):
        raise RectifierTypeError(
            f'{verb}: `starts` must map keys of the optimizer\'s state to numbers or "mean"; got {starts!r}. '
            'Pass for instance {"exp_avg": 0.0}.'
        )
