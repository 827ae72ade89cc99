"""Leaky units: layers that remember, each unit for a time of its own that it learns."""

from __future__ import annotations

import math
import numbers

import torch
from torch import nn

from .._family import family
from ..errors import RectifierTypeError, RectifierValueError
from ..frameworks.torch import ops

__all__ = ["LeakyAverage", "LeakyCell"]

Tensor = torch.Tensor
_FUNCTIONS = tuple(name for name, row in family.items() if row.layer is not None and name != "prelu")


class _Leaky(nn.Module):
    """α of each unit, learned as its logit, which keeps it between 0 and 1."""

    logit: Tensor

    def __init__(self, units: int, alpha: float, learn: bool) -> None:
        super().__init__()
        layer = type(self).__name__
        if isinstance(units, bool) or not isinstance(units, numbers.Integral) or units < 1:
            raise RectifierValueError(
                f"{layer}: the number of units must be a whole number, 1 or more; got {units!r}. "
                "Pass how many there are."
            )
        if not isinstance(alpha, numbers.Real) or isinstance(alpha, bool):
            raise RectifierTypeError(f"{layer}: `alpha` must be a number; got {alpha!r}. Pass a number such as 0.9.")
        if not 0.0 < alpha < 1.0:
            raise RectifierValueError(
                f"{layer}: `alpha` must lie between 0 and 1, where it can be learned; got {alpha}. "
                "Pass a number such as 0.9, or call rectifier.torch.leaky_average, which takes 0 and 1 too."
            )
        logit = torch.full((int(units),), math.log(alpha) - math.log1p(-alpha))
        if not 0.0 < torch.sigmoid(logit[0]) < 1.0:  # its gradient would be 0 for good
            raise RectifierValueError(
                f"{layer}: `alpha` must lie between 0 and 1 in {logit.dtype} too, where it can be learned; got "
                f"{alpha}. Pass a number such as 0.999."
            )
        if learn:
            self.logit = nn.Parameter(logit)
        else:
            self.register_buffer("logit", logit)

    @property
    def alpha(self) -> Tensor:
        """α of each unit, shape (units,)."""
        return torch.sigmoid(self.logit)


class LeakyAverage(_Leaky):
    """Each unit's running average over time, μ_t = α·μ_{t−1} + (1 − α)·v_t, with its own learned α.

    Input and output: (…, time, units). μ is 0 before the first step, or ``initial``, shape (…, units).

    units: how many
    alpha: where α begins, between 0 and 1; about 1/(1 − α) steps are remembered
    learn: False keeps α as it is (a buffer)
    Raises RectifierTypeError, RectifierValueError for other values.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure").

    >>> LeakyAverage(2, alpha=0.5)(torch.ones(3, 2))[:, 0].detach()
    tensor([0.5000, 0.7500, 0.8750])
    """

    def __init__(self, units: int, alpha: float = 0.9, *, learn: bool = True) -> None:
        super().__init__(units, alpha, learn)

    def forward(self, input: Tensor, initial: Tensor | None = None) -> Tensor:
        units = self.logit.shape[0]
        if not isinstance(input, Tensor):
            raise RectifierTypeError(
                f"LeakyAverage: `input` must be a torch.Tensor; got {type(input).__name__}. "
                "Pass torch.as_tensor(input)."
            )
        if input.ndim < 2 or input.shape[-1] != units:
            raise RectifierValueError(
                f"LeakyAverage: `input` must have the shape (…, time, {units}); got {tuple(input.shape)}. "
                "Move the axes with input.movedim."
            )
        return ops.leaky_average(input, self.alpha, axis=-2, initial=0.0 if initial is None else initial)

    def extra_repr(self) -> str:
        return f"{self.logit.shape[0]}, learn={isinstance(self.logit, nn.Parameter)}"


class LeakyCell(_Leaky):
    """A recurrent cell of leaky units: h ← α·h + (1 − α)·f(W x + U h + b), with a learned α for each unit.

    Input: x of shape (batch, input_size) and h of shape (batch, hidden_size), 0 where left out; returns the new h.
    The gradient through k steps holds the factor α^k whatever f does, so units with α near 1 carry it far.

    nonlinearity: f, by its name in ``rectifier.family``
    alpha, learn: as in LeakyAverage
    W and U begin uniform within ±1/√hidden_size, as in ``torch.nn.RNNCell``, b at 0.
    Raises RectifierTypeError, RectifierValueError for other values.
    Source: Jaeger et al. 2007, doi:10.1016/j.neunet.2007.04.016 (leaky-integrator units); Goodfellow, Bengio &
    Courville 2016, Deep Learning, section 10.9.2.

    >>> LeakyCell(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, nonlinearity: str = "relu", alpha: float = 0.9, learn: bool = True
    ) -> None:
        super().__init__(hidden_size, alpha, learn)
        if nonlinearity not in _FUNCTIONS:
            raise RectifierValueError(
                f"LeakyCell: `nonlinearity` must be one of {', '.join(_FUNCTIONS)}; got {nonlinearity!r}. "
                "Pass one of these names."
            )
        self.nonlinearity = nonlinearity
        self.input = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        bound = 1 / math.sqrt(hidden_size)
        with torch.no_grad():
            self.input.weight.uniform_(-bound, bound)
            self.recurrent.weight.uniform_(-bound, bound)
            self.input.bias.zero_()

    def forward(self, input: Tensor, hidden: Tensor | None = None) -> Tensor:
        if hidden is None:
            hidden = input.new_zeros(*input.shape[:-1], self.logit.shape[0])
        value = getattr(ops, self.nonlinearity)(self.input(input) + self.recurrent(hidden))
        return ops.leaky_average(value.unsqueeze(-1), self.alpha, initial=hidden).squeeze(-1)

    def extra_repr(self) -> str:
        return f"nonlinearity={self.nonlinearity!r}, learn={isinstance(self.logit, nn.Parameter)}"
