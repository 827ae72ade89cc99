"""The functions of the family on PyTorch tensors, differentiable; ``rectifier.torch`` hands them out.

:func:`apply` is what ``rectifier.relu(tensor)`` and the others call. Code that watches calls (``__torch_function__``,
``torch.fx``) sees the public function below with the tensor as first argument, whichever way it was called.
"""

from __future__ import annotations

from typing import Any

import torch

from .dispatch import PUBLIC, apply, call
from .leaky import leaky_average

__all__ = [
    "ARRAY",
    "AS_NUMPY",
    "GRADIENT",
    "PUBLIC",
    "WITHOUT_OUT",
    "abs",
    "apply",
    "celu",
    "elu",
    "leaky_average",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "softplus",
    "squared_relu",
]

#: How messages name an array of this framework, what makes a NumPy array of it, what differentiates, and why ``out`` is
#: refused.
ARRAY = "a Tensor"
AS_NUMPY = "x.detach().numpy()"
GRADIENT = "the framework's own autograd"
WITHOUT_OUT = "they are NumPy's. Assign the result instead."

Parameter = float | torch.Tensor


def relu(
    x: torch.Tensor, /, *, at_zero: Parameter = 0.0, inplace: bool = False, save: str | None = None
) -> torch.Tensor:
    """ReLU: max(0, z).

    Derivative: 1 where z > 0, 0 where z < 0, ``at_zero`` at 0; NaN at NaN.

    x: a tensor of any shape and device, floating (integers stay integers, bool
        promotes to the default dtype).
    at_zero: the derivative returned at z = 0, in [0, 1]
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Nair & Hinton 2010 (ICML); Glorot, Bordes & Bengio 2011 (AISTATS).

    >>> relu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 3.])
    """
    return call("relu", x, at_zero, inplace, save)


def leaky_relu(
    x: torch.Tensor, /, *, negative_slope: Parameter = 0.01, inplace: bool = False, save: str | None = None
) -> torch.Tensor:
    """Leaky ReLU: z where z > 0, else s·z.

    Derivative: 1 where z > 0, else s; NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    negative_slope: s, any finite number, or a tensor that broadcasts with x; it gets a gradient where one is taken
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Maas, Hannun & Ng 2013 (ICML WDLASL).

    >>> leaky_relu(torch.tensor([-2.0, 0.0, 3.0]), negative_slope=0.1)
    tensor([-0.2000,  0.0000,  3.0000])
    """
    return call("leaky_relu", x, negative_slope, inplace, save)


def prelu(
    x: torch.Tensor, /, *, negative_slope: Parameter, inplace: bool = False, save: str | None = None
) -> torch.Tensor:
    """PReLU: z where z > 0, else s·z, with s learned.

    Derivative: 1 where z > 0, else s; ∂/∂s = min(0, z); NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    negative_slope: s, a number or a tensor that broadcasts with x by the usual rule, from the last axis (only layers
        place a channel axis); it gets a gradient where one is taken
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    >>> prelu(torch.tensor([-2.0, 0.0, 3.0]), negative_slope=torch.tensor(0.25))
    tensor([-0.5000,  0.0000,  3.0000])
    """
    return call("prelu", x, negative_slope, inplace, save)


def abs(x: torch.Tensor, /, *, inplace: bool = False, save: str | None = None) -> torch.Tensor:
    """Absolute value: |z|.

    Derivative: ±1, 0 at 0; NaN at NaN.

    x: a tensor of any shape and device, floating (integers stay integers, bool
        promotes to the default dtype).
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: Jarrett, Kavukcuoglu, Ranzato & LeCun 2009 (ICCV).

    >>> abs(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([2., 0., 3.])
    """
    return call("abs", x, 0.0, inplace, save)


def relu6(
    x: torch.Tensor, /, *, ceiling: Parameter = 6.0, inplace: bool = False, save: str | None = None
) -> torch.Tensor:
    """ReLU6: min(max(0, z), c).

    Derivative: 1 where 0 < z < c, else 0, at both kinks as well; NaN at NaN.

    x: a tensor of any shape and device, floating (integers stay integers under a whole ceiling, bool
        promotes to the default dtype).
    ceiling: c, greater than 0
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Krizhevsky 2010; Howard et al. 2017, arXiv:1704.04861.

    >>> relu6(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 3.])
    """
    return call("relu6", x, ceiling, inplace, save)


def squared_relu(x: torch.Tensor, /, *, inplace: bool = False, save: str | None = None) -> torch.Tensor:
    """Squared ReLU: max(0, z)².

    Derivative: 2·max(0, z); NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: So et al. 2021, arXiv:2109.08668.

    >>> squared_relu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0., 0., 9.])
    """
    return call("squared_relu", x, 0.0, inplace, save)


def elu(x: torch.Tensor, /, *, alpha: Parameter = 1.0, inplace: bool = False, save: str | None = None) -> torch.Tensor:
    """ELU: z where z > 0, else α(eᶻ − 1).

    Derivative: 1 where z > 0, else αeᶻ: α at 0; NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    alpha: α, greater than 0
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289.

    >>> elu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-0.8647,  0.0000,  3.0000])
    """
    return call("elu", x, alpha, inplace, save)


def celu(x: torch.Tensor, /, *, alpha: Parameter = 1.0, inplace: bool = False, save: str | None = None) -> torch.Tensor:
    """CELU: z where z > 0, else α(e^(z/α) − 1).

    Derivative: 1 where z > 0, else e^(z/α): no kink; NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    alpha: α, greater than 0
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Barron 2017, arXiv:1704.07483.

    >>> celu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-0.8647,  0.0000,  3.0000])
    """
    return call("celu", x, alpha, inplace, save)


def selu(x: torch.Tensor, /, *, inplace: bool = False, save: str | None = None) -> torch.Tensor:
    """SELU: λz where z > 0, else λα(eᶻ − 1), with λ = 1.0507009873554805, α = 1.6732632423543772.

    Derivative: λ where z > 0, else λαeᶻ: λα at 0; NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x that
    cannot be used.
    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, arXiv:1706.02515.

    >>> selu(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.5202,  0.0000,  3.1521])
    """
    return call("selu", x, 0.0, inplace, save)


def softplus(
    x: torch.Tensor, /, *, beta: Parameter = 1.0, inplace: bool = False, save: str | None = None
) -> torch.Tensor:
    """Softplus: log(1 + e^(βz))/β, exact everywhere, so without a threshold.

    Derivative: 1/(1 + e^(−βz)); NaN at NaN.

    x: a tensor of any shape and device, floating (else it promotes to the default dtype).
    beta: β, greater than 0; softplus tends to ReLU as it grows
    inplace: write the result into x
    Returns a tensor of x's shape and dtype. Raises RectifierTypeError, RectifierValueError for an x or a parameter that
    cannot be used.
    Source: Dugas, Bengio, Bélisle, Nadeau & Garcia 2001 (NeurIPS).

    >>> softplus(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0.1269, 0.6931, 3.0486])
    """
    return call("softplus", x, beta, inplace, save)


def _enter(*functions: Any) -> None:
    PUBLIC.update({function.__name__: function for function in functions})


_enter(relu, leaky_relu, prelu, abs, relu6, squared_relu, elu, celu, selu, softplus)
