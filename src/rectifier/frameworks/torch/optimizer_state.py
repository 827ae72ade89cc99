"""What an optimizer keeps of some rows of a parameter, and what a new optimizer would hold for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from ...errors import RectifierValueError
from .surgery import Edit

__all__ = ["Held", "check_known", "kept_by", "state_edits"]


def _initial_sum(group: Mapping[str, Any], edit: Edit) -> Any:
    return group.get("initial_accumulator_value", 0.0)


def _step_size(group: Mapping[str, Any], edit: Edit) -> Any:
    return float(group["lr"])


def _weights(group: Mapping[str, Any], edit: Edit) -> Any:
    # A new ASGD copies the weights at its first step, as its μ is 1 there; μ is shared by the rows, and may be less.
    return edit.value


def _one(group: Mapping[str, Any], edit: Edit) -> Any:
    return 1.0


#: Key of a state of torch.optim's → what a new optimizer holds there: 0, except where noted. The optimizers agree on
#: the meaning of a key. Adam and its kin divide their second moment by 1 − β₂^step, and the step is one number for all
#: rows: a new optimizer's 0 at step 0 says that nothing is known, but 0 at step 1000 says that gradients are tiny, and
#: steps come out up to 6.6 times as long as any of a new Adam. What the rows that stay have is the nearest to "not
#: known": docs/healing.md has the measurements.
_STARTS: Mapping[str, float | str | Callable[[Mapping[str, Any], Edit], Any]] = {
    **dict.fromkeys(("momentum_buffer", "exp_avg", "max_exp_avg_sq", "exp_inf"), 0.0),
    "exp_avg_sq": "mean",
    **dict.fromkeys(("square_avg", "grad_avg", "acc_delta", "prev", "row_var", "col_var", "variance"), 0.0),
    "sum": _initial_sum,  # Adagrad
    "step_size": _step_size,  # Rprop
    "ax": _weights,  # ASGD
}

#: Numbers that belong to a whole parameter: they stay, unless all of its rows (or columns) start anew.
_COUNTERS: Mapping[str, Callable[[Mapping[str, Any], Edit], Any]] = {
    "step": lambda group, edit: 0.0,
    "mu_product": _one,  # NAdam
    "mu": _one,  # ASGD
    "eta": _step_size,
}

_KNOWN = tuple(
    kind
    for kind in vars(torch.optim).values()
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
)


_ANEW = {
    "heal": "Leave `optimizer` out and make a new one afterwards.",
    "recycling": "Train with another, or call rectifier.heal and make a new one.",
}


@dataclass
class Held(Edit):
    """An edit of a tensor that somebody holds: taken back only where it is still that tensor."""

    here: Callable[[], Any] = lambda: None

    @property
    def replaced(self) -> bool:
        """Has another tensor been put where this one was?"""
        return self.saved is not None and self.here() is not self.tensor


class Whole(Held):
    """An edit of a number, or of all of a tensor."""

    def _at(self) -> tuple[Any, ...]:
        return (...,)


def owner_of(optimizers: Sequence[Optimizer], tensor: torch.Tensor, name: str) -> Optimizer | None:
    """The optimizer that steps a parameter; None without one where it is frozen, or where none was given.

    Raises RectifierValueError where none of those given would train what starts anew.
    """
    for optimizer in optimizers:
        if any(tensor is parameter for group in optimizer.param_groups for parameter in group["params"]):
            return optimizer
    if optimizers and tensor.requires_grad:
        kinds = " and ".join(type(optimizer).__name__ for optimizer in optimizers)
        raise RectifierValueError(
            f"heal: `optimizer` must step the parameters that are given a new start; got {kinds} without the one of "
            f"layer {name}. Make it from model.parameters()."
        )
    return None


def check_known(optimizer: Optimizer, starts: Mapping[str, float | str] | None, verb: str = "heal") -> None:
    """Refuse an optimizer of which nothing is known, and one whose state mixes all parameters."""
    optimizer = _inner(optimizer)
    if isinstance(optimizer, torch.optim.LBFGS):
        raise RectifierValueError(
            f"{verb}: `optimizer` must keep a state of each parameter; got LBFGS, whose history mixes all of them. "
            + _ANEW[verb]
        )
    if not isinstance(optimizer, _KNOWN) and starts is None:
        raise RectifierValueError(
            f"{verb}: `optimizer` must be one of torch.optim, or what a new one holds told in `starts`; got "
            f'{type(optimizer).__name__}. Pass for instance starts={{"exp_avg": 0.0}}, or {{}} where it keeps nothing.'
        )


def kept_by(optimizers: Sequence[Optimizer]) -> set[str]:
    """Names of what the optimizers keep by now."""
    return {str(key) for each in optimizers for state in _inner(each).state.values() for key in state}


def state_edits(
    optimizers: Sequence[Optimizer], edit: Edit, name: str, starts: Mapping[str, float | str] | None
) -> list[Held]:
    """Edits that give the optimizer's state of a slice of a parameter what a new optimizer holds there.

    A state has the shape of its parameter, or 1 along axes over which it is shared (the factors of Adafactor): what is
    shared with rows that stay is left alone. starts: key → start, a number or "mean" (over what stays), before what
    torch.optim has.

    Raises RectifierValueError where none of the optimizers steps the parameter, where the state cannot be told row from
    row, or what a new one holds is not known.
    """
    optimizer = _inner(owner_of(optimizers, edit.tensor, name))
    if optimizer is None:
        return []
    check_known(optimizer, starts)
    known: Mapping[str, Any] = {**(_STARTS if isinstance(optimizer, _KNOWN) else {}), **(starts or {})}
    whole = edit.index.numel() == edit.tensor.shape[edit.axis]
    made: list[Held] = []
    for key, state in optimizer.state.get(edit.tensor, {}).items():
        if not isinstance(state, torch.Tensor):
            if isinstance(state, (list, tuple, dict)) and state:
                raise _shapeless(optimizer, edit, key, f"a {type(state).__name__}")
            continue
        group = next(g for g in optimizer.param_groups if any(p is edit.tensor for p in g["params"]))
        here = _reader(optimizer, edit.tensor, key)
        if state.ndim == 0 or (state.numel() == 1 and edit.tensor.numel() > 1 and key not in known):
            if whole and key in _COUNTERS and isinstance(optimizer, _KNOWN):
                made.append(Whole(state, 0, edit.index, _COUNTERS[key](group, edit), here=here))
            continue
        if not _fits(state, edit.tensor):
            raise _shapeless(optimizer, edit, key, f"shape {tuple(state.shape)}")
        if key not in known:
            raise RectifierValueError(
                f"heal: `starts` must tell what a new optimizer holds; got nothing for {key!r}, which "
                f"{type(optimizer).__name__} keeps of layer {name}. Pass for instance starts={{{key!r}: 0.0}}."
            )
        if state.shape[edit.axis] == edit.tensor.shape[edit.axis]:
            start = known[key]
            value = start(group, edit) if callable(start) else _mean(state, edit) if start == "mean" else start
            made.append(Held(state, edit.axis, edit.index, value, here=here))
    return made


def _fits(state: torch.Tensor, parameter: torch.Tensor) -> bool:
    pairs = zip(state.shape, parameter.shape, strict=False)
    return state.ndim == parameter.ndim and all(mine in (1, its) for mine, its in pairs)


def _mean(state: torch.Tensor, edit: Edit) -> float:
    """Over the rows that stay; 0 where none does."""
    stay = torch.ones(state.shape[edit.axis], dtype=torch.bool)
    stay[edit.index] = False
    left = state.detach().index_select(edit.axis, stay.nonzero().flatten().to(state.device))
    return float(left.to(torch.float64).mean()) if left.numel() else 0.0


def _reader(optimizer: Optimizer, parameter: torch.Tensor, key: str) -> Callable[[], Any]:
    return lambda: optimizer.state.get(parameter, {}).get(key)


def _inner(optimizer: Any) -> Any:
    """The optimizer inside one that wraps it under the same interface, as trainers do."""
    inner = getattr(optimizer, "optimizer", None)
    wraps = isinstance(inner, Optimizer) and not isinstance(optimizer, _KNOWN)
    return _inner(inner) if wraps else optimizer


def _shapeless(optimizer: Optimizer, edit: Edit, key: str, got: str) -> RectifierValueError:
    return RectifierValueError(
        f"heal: `optimizer` must keep state of the shape of its parameter, {tuple(edit.tensor.shape)}; got {key!r} "
        f"of {got} in {type(optimizer).__name__}. Leave `optimizer` out and make a new one afterwards."
    )
