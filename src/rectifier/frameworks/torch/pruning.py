"""The act of ``prune`` on a PyTorch model. It is planned and refused before anything is changed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...checkup.plan import NOTHING_BELOW, Wanted
from ...errors import RectifierValueError
from .answers import answer
from .calm import undisturbed
from .checkup import arguments
from .cut import Cut, kept_of
from .folding import fold, proved_open
from .prunable import check_mode, check_model, digests, example, running_statistics
from .surgery import Look, count_parameters, look, output_change
from .targets import check_fresh, same_norm
from .tracing.follow import twin
from .tracing.follower import Follower, followed

__all__ = [
    "Pruned",
    "check_fresh",
    "check_mode",
    "check_model",
    "digests",
    "proved_open",
    "prune",
    "running_statistics",
]

_RULE = "prune: `probe` must be a tensor, or a tuple or dict of them"
#: Runs of each of the two models, and the seconds after which no more are started.
_ROUNDS, _SECONDS = 21, 1.0


@dataclass(frozen=True)
class Pruned:
    """What was cut."""

    site: str
    units: dict[str, tuple[int, ...]]
    change: str
    skipped: tuple[str, ...]
    output_change: float | None
    parameters: tuple[int, int]
    flops: tuple[int, int] | None
    seconds: tuple[float, float] | None
    undo: Callable[[], None]
    folded: tuple[str, ...] = ()
    """Sites whose rectifier did nothing, and whose layers are one now."""


@dataclass
class _Plan:
    """What is to go, and why the rest stays."""

    follower: Follower
    removed: set[int] = field(default_factory=set)
    cut: dict[str, list[int]] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    """site → what is said of it in the receipt."""
    refused: list[RectifierValueError] = field(default_factory=list)
    asked: dict[str, list[int]] = field(default_factory=dict)

    @property
    def left(self) -> dict[str, list[int]]:
        """Of what was asked, the units that stay, by the numbers that they have after the cut."""
        found = {}
        for site, units in self.asked.items():
            roots = self.follower.channels.roots(self.follower.units[site])
            kept = [unit for unit, root in enumerate(roots) if root not in self.removed]
            found[site] = [place for place, unit in enumerate(kept) if unit in units]
        return found


def prune(
    model: nn.Module,
    wanted: Wanted,
    *,
    probe: Any,
    optimizer: torch.optim.Optimizer | None,
    shape: Sequence[int] | None,
    constants: bool,
    open_sites: Sequence[str],
) -> Pruned:
    """Cut units out: smaller parameters in the same modules.

    shape: of one example, where the probe does not tell. constants: those other than 0 may go into the next bias.
    open_sites: where the rectifier does nothing, so that the layers round it can become one.
    """
    _check_stepped(model, optimizer)
    before = look(model, probe, [], "prune") if probe is not None else None
    total = count_parameters(model)
    if probe is None and not wanted.record and wanted.units:
        raise RectifierValueError(
            "prune: `probe` must be given with findings that come without their record; got None, so nothing shows "
            "that they still hold. Pass a batch of inputs, or the record itself."
        )
    if not wanted.units and not open_sites:
        moved = None if before is None else 0.0
        return Pruned("", {}, "nothing to cut", (), moved, (total, total), None, None, _nothing)
    args, kwargs = arguments(probe, _RULE) if probe is not None else ((), {})
    whole, flops = twin(model), _flops(model, args, kwargs) if before is not None else None
    plan, cut = None, Cut(model, optimizer)
    if wanted.units:
        inputs = (args, kwargs) if probe is not None else ((example(model, shape),), {})
        plan = _try(model, wanted, before, cut, constants, inputs)
    folded = fold(model, open_sites, None if probe is None else look(model, probe, [], "prune"), optimizer)
    after = None if before is None else look(model, probe, [], "prune")
    changed = bool(folded.sites or (plan is not None and plan.removed))
    sites = ", ".join((*(() if plan is None else plan.cut), *folded.sites))

    def undo() -> None:
        cut.check_left(sites, folded.replaced)
        folded.check(sites)
        folded.put_back()
        cut.put_back()

    return Pruned(
        site=sites,
        units={} if plan is None else {site: tuple(units) for site, units in plan.cut.items() if units},
        change=_change([*(() if plan is None else plan.told.values()), *folded.told], optimizer),
        skipped=(*(() if plan is None else (*_lines(plan.refused), *_uncalled(plan))), *folded.skipped),
        output_change=None if before is None or after is None else output_change(before, after),
        parameters=(total, count_parameters(model)),
        flops=None if flops is None else (flops, _flops(model, args, kwargs)),
        seconds=_times(whole, model, args, kwargs) if changed and before is not None else None,
        undo=undo,
        folded=tuple(folded.sites),
    )


def _check_stepped(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
    """Refuse an optimizer of another model: it would go on with none of the smaller parameters."""
    if optimizer is None:
        return
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if stepped.isdisjoint(map(id, model.parameters())):
        raise RectifierValueError(
            f"prune: `optimizer` must step parameters of the model; got {type(optimizer).__name__} with none of them. "
            "Make it from model.parameters(), or leave it out and make a new one afterwards."
        )


def _nothing() -> None:
    return None


def _try(
    model: nn.Module,
    wanted: Wanted,
    before: Look | None,
    cut: Cut,
    constants: bool,
    inputs: tuple[tuple[Any, ...], Mapping[str, Any]],
) -> _Plan:
    """Cut, and see whether the model still runs and gives the same; where it does not, without what is in the way."""
    wrong = ""
    for sized in (True, False):
        plan = _planned(model, wanted, before, constants, inputs, sized=sized)
        kept = kept_of(plan.follower.channels, plan.removed)
        cut.check(kept)
        # Without a probe nothing says which inputs leave them shut: they are held shut, before the cut and after it.
        expected = before.outputs if before is not None else _answer(model, inputs, plan.asked)
        if isinstance(expected, str):
            raise RectifierValueError(
                "prune: `probe` must be given where the model does not take numbers that were made up; got None, and "
                f"{type(model).__name__} {expected}. Pass a batch of inputs."
            )
        cut.make(kept)
        wrong = _wrong(expected, _answer(model, inputs, {} if before is not None else plan.left))
        if not wrong:
            return plan
        cut.put_back()
    raise RectifierValueError(
        f"prune: `model` must be one that can be followed; got {type(model).__name__}, which after the cut {wrong}. It "
        "was put back as it was. Leave out the sites where sizes are written into the code."
    )


def _answer(
    model: nn.Module, inputs: tuple[tuple[Any, ...], Mapping[str, Any]], shut: Mapping[str, Sequence[int]]
) -> tuple[torch.Tensor, ...] | str:
    """The model's outputs where these units give 0, or what it raises."""
    try:
        return answer(model, *inputs, shut)
    except Exception as error:  # the user's forward with other sizes
        return f"raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _wrong(before: tuple[torch.Tensor, ...], after: tuple[torch.Tensor, ...] | str) -> str:
    """What a smaller model does that it should not; empty where it does nothing of the kind."""
    if isinstance(after, str):
        return after
    if [t.shape for t in after] != [t.shape for t in before]:
        return "gives outputs of another shape"
    moved = output_change(Look(before, None, {}), Look(after, None, {}))
    floats = [t for t in before if t.is_floating_point() and t.numel()]
    largest = max((float(t[torch.isfinite(t)].abs().amax()) for t in floats if torch.isfinite(t).any()), default=0.0)
    rounding = max((math.sqrt(torch.finfo(t.dtype).eps) for t in floats), default=0.0)
    # Sums of fewer values are rounded another way: a small part of the digits, not a half of them.
    return f"gives outputs that are off by {moved:.4g}" if moved > rounding * largest else ""


# What is to go


def _planned(
    model: nn.Module,
    wanted: Wanted,
    before: Look | None,
    constants: bool,
    inputs: tuple[tuple[Any, ...], Mapping[str, Any]],
    *,
    sized: bool,
) -> _Plan:
    shut, refused = _shut(wanted, before)
    follower = followed(model, *inputs, shut, "prune")
    plan = _Plan(follower, refused=refused)
    channels = follower.channels
    if not sized:
        for ids, reason in follower.moves.sized:
            channels.hold(ids, reason)
    wants = plan.asked
    for site, units in shut.items():
        error = _unfit(follower, site, units, wanted)
        if error is None:
            wants[site] = units
        else:
            _refuse(plan, error, wanted)
    roots = {
        site: dict(zip(units, channels.roots(follower.units[site][units]), strict=True))
        for site, units in wants.items()
    }
    every = list(dict.fromkeys(root for found in roots.values() for root in found.values()))
    reasons = channels.why_not(every, constants=constants)
    plan.removed, uneven, spared = channels.balanced(
        set(every) - set(reasons), {root: place for place, root in enumerate(every)}
    )
    for site, found in roots.items():
        _tell(plan, site, found, {**reasons, **uneven}, spared, wanted)
    if not plan.removed and plan.refused and not plan.told:
        _nothing_left(plan.refused)
    return plan


def _tell(
    plan: _Plan,
    site: str,
    found: Mapping[int, int],
    reasons: Mapping[int, str],
    spared: set[int],
    wanted: Wanted,
) -> None:
    why: dict[str, list[int]] = {}
    for unit, root in found.items():
        if root in reasons:
            why.setdefault(reasons[root], []).append(unit)
    for reason, units in why.items():
        _refuse(plan, _stay(site, units, reason), wanted)
    cut = [unit for unit, root in found.items() if root in plan.removed]
    if cut:
        plan.cut[site] = cut
    one = any(root in spared for root in found.values())
    if cut or one:
        total = len(plan.follower.units[site])
        layer = plan.follower.sites[site].layer
        name = f"layer {layer}" if layer is not None else site
        note = (
            " (one is kept, so that the layer stays)" if len(cut) < len(found) and spared & set(found.values()) else ""
        )
        plan.told[site] = f"{name}: {total} → {total - len(cut)} units{note}"


def _refuse(plan: _Plan, error: RectifierValueError, wanted: Wanted) -> None:
    if not wanted.record:
        raise error
    plan.refused.append(error)


def _nothing_left(refused: Sequence[RectifierValueError]) -> None:
    if len(refused) == 1:
        raise refused[0]
    lines = " ".join(_lines(refused))
    raise RectifierValueError(
        f"prune: `findings` must name units that can be cut; got {len(refused)} places where none can. {lines}"
    )


def _stay(site: str, units: Sequence[int], reason: str) -> RectifierValueError:
    return RectifierValueError(
        f"prune: `findings` must name units that can be cut; got units {list(units)} of {site!r}, where {reason}. "
        "Leave them out."
    )


def _shut(wanted: Wanted, before: Look | None) -> tuple[dict[str, list[int]], list[RectifierValueError]]:
    """Units that do not fire on the probe, and what is said of the others."""
    shut: dict[str, list[int]] = {}
    refused = []
    for site, units in wanted.units.items():
        vitals = None if before is None else before.site(site)
        live = [unit for unit in units if vitals is not None and unit < vitals.units and vitals.fired[unit] > 0]
        if live:
            error = RectifierValueError(
                f"prune: `findings` must name units that do not fire; got units {live} of {site!r}, which fire on the "
                "probe. Leave them out."
            )
            if not wanted.record:
                raise error
            refused.append(error)
        if len(live) < len(units):
            shut[site] = [unit for unit in units if unit not in live]
    return shut, refused


def _unfit(follower: Follower, site: str, units: Sequence[int], wanted: Wanted) -> RectifierValueError | None:
    """Why a site is none of this model's, or its units may give something else than 0."""
    tally = follower.sites.get(site)
    if tally is None or site not in follower.units:
        return RectifierValueError(
            f"prune: `findings` must name sites of this model; got {site!r}. Its sites are "
            f"{', '.join(follower.units) or 'none'}."
        )
    other = next((total for total in wanted.totals[site] if total != tally.units), None)
    if other is not None:
        return RectifierValueError(
            f"prune: `findings` must be about this model; got {other} units at {site!r}, which has {tally.units}. "
            "Check the model as it is now."
        )
    if any(not 0 <= unit < tally.units for unit in units):
        return RectifierValueError(
            f"prune: `findings` must name units of this model; got units {list(units)} of {site!r}, which has "
            f"{tally.units}. Check the model as it is now."
        )
    vitals, norm = wanted.vitals.get(site), follower.names.get(tally.norm or "")
    if vitals is not None and norm is not None and not same_norm(norm, vitals):
        return RectifierValueError(
            f"prune: `findings` must be a record of the model as it is; got one where γ or β of layer {tally.norm!r}, "
            f"before {site!r}, were others. Run rectifier.check again."
        )
    if tally.rectifier not in NOTHING_BELOW:
        return _stay(site, units, f"{tally.rectifier} does not give 0 where it is shut")
    return None


def _uncalled(plan: _Plan) -> tuple[str, ...]:
    """What a training may call and this pass did not, told where something was cut."""
    layers = plan.follower.owners.not_met if plan.removed else []
    if not layers:
        return ()
    return (
        f"{', '.join(layers)}: not called in evaluation mode; where a training calls them on what was cut, they no "
        "longer fit",
    )


def _lines(refused: Sequence[RectifierValueError]) -> tuple[str, ...]:
    return tuple(str(error).removeprefix("prune: ") for error in refused)


def _change(told: Sequence[str], optimizer: Any) -> str:
    if not told:
        return "nothing to cut"
    if optimizer is not None:
        kept = "the optimizer has those that it steps, with the state of what stays"
        return f"{'; '.join(told)}. Parameters are new objects; {kept}"
    return f"{'; '.join(told)}. Parameters are new objects: make a new optimizer"


# What it saves


def _flops(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one call for a whole layer, whose products are not counted
    try:
        with undisturbed(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*args, **kwargs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())


def _times(
    before: nn.Module, after: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[float, float]:
    """Median seconds of one forward pass of each, by turns, in evaluation mode."""
    spent: tuple[list[float], list[float]] = ([], [])
    with undisturbed(before), undisturbed(after), torch.no_grad():
        end = time.perf_counter() + _SECONDS
        for turn in range(_ROUNDS + 1):
            for place in (0, 1) if turn % 2 else (1, 0):
                seconds = _time((before, after)[place], args, kwargs)
                if turn:  # the first one warms up
                    spent[place].append(seconds)
            if turn >= 3 and time.perf_counter() > end:
                break
    return statistics.median(spent[0]), statistics.median(spent[1])


def _time(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    _wait()
    start = time.perf_counter()
    model(*args, **kwargs)
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        with suppress(RuntimeError):
            torch.cuda.synchronize()
