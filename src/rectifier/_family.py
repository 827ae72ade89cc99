"""The family: one row per function, from which functions, layers, tests, documentation and ``rectifier show`` derive.

A row holds what is *said* about a function; the arithmetic is in ``native/kernels/<name>.hpp`` (NumPy) and in
``frameworks/`` (the others). A test fails where the three disagree.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _conventions

__all__ = ["FRAMEWORKS", "SELU_ALPHA", "SELU_SCALE", "Domain", "Kink", "Parameter", "Row", "family"]

#: λ and α of SELU (Klambauer et al. 2017): the fixed point at mean 0 and variance 1.
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


#: Frameworks that a preset may be asked for.
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnx")


# Domain and Parameter are told apart by identity: their hash, asked for at every call with a number, is then cheap.
@dataclass(frozen=True, eq=False)
class Domain:
    """The values a parameter may take."""

    rule: str
    """Completes the sentence "`alpha` …"."""
    example: str
    low: float
    """The smallest value that it holds; as float64, in which every float32 has its place too."""
    high: float

    def holds(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        wide = np.asarray(values, np.float64)
        return np.asarray((wide >= self.low) & (wide <= self.high))


_LEAST, _MOST = math.ulp(0.0), sys.float_info.max
FINITE = Domain("must be finite", "0.01", -_MOST, _MOST)
POSITIVE = Domain("must be finite and greater than 0", "1.0", _LEAST, _MOST)
POSITIVE_SLOPE = Domain("must be finite and greater than 0 for a function that is one to one", "0.01", _LEAST, _MOST)
CEILING = Domain(POSITIVE.rule, "6.0", _LEAST, _MOST)
SHARE = Domain("must lie in [0, 1]", "0.5", 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Parameter:
    name: str
    default: float | None
    """None: it must be given."""
    domain: Domain
    meaning: str
    of: Literal["value", "derivative"] = "value"
    """``derivative``: the function does not depend on it, only the convention at its kink does."""


@dataclass(frozen=True)
class Kink:
    """A point where the derivative does not exist, and what is returned there."""

    at: str
    derivative: str


@dataclass(frozen=True)
class Row:
    """All that is said about one function."""

    name: str
    title: str
    layer: str | None
    """Name of its layer in ``rectifier.torch``; None for the functions that are here for comparison."""
    formula: str
    derivative: str
    range: str
    negative_part: Literal["none", "linear", "saturating"]
    """What is left of it below zero: nothing (units can die), a line, or a curve that levels off."""
    citation: str
    strengths: tuple[str, ...]
    faults: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    kinks: tuple[Kink, ...] = ()
    inverse: bool = False
    integers: bool = False
    """True: integer arrays stay integers; False: they promote as in ``np.exp``."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """framework → what no measurement tells of it."""
    comparison: bool = False
    error_bound: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"float16": 0.5, "bfloat16": 0.5, "float32": 0.5, "float64": 1.0})
    )
    """dtype → largest error of value and derivative at default parameters, in ulp; 0.5: correctly rounded."""

    @property
    def conventions(self) -> Mapping[str, str]:
        """framework → its defaults and conventions and its worst error, as ``rectifier compare`` measured them."""
        return _conventions.conventions(self.name, self.notes)

    @property
    def presets(self) -> Mapping[str, Mapping[str, float | None]]:
        """framework (one of ``FRAMEWORKS``) → arguments of the layer that give its defaults, from the same record; None
        for one that has none and must be given. A framework without the function, or without a default, is not there.
        """
        return _conventions.presets(self.name)

    def parameter(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)


AT_ZERO = Parameter("at_zero", 0.0, SHARE, "the derivative returned at z = 0", of="derivative")
ALPHA = Parameter("alpha", 1.0, POSITIVE, "−α is the limit for z → −∞")

_RELU = Row(
    name="relu",
    title="ReLU",
    layer="ReLU",
    formula="max(0, z)",
    derivative="z > 0: 1, z < 0: 0",
    range="[0, ∞)",
    negative_part="none",
    parameters=(AT_ZERO,),
    kinks=(Kink("0", "at_zero = 0"),),
    integers=True,
    notes={
        "ONNX Runtime": "ThresholdedRelu makes 0 of NaN",
        "NumPy idiom": "this is np.maximum(x, 0); x * (x > 0), copied often, gives NaN at −∞",
    },
    strengths=(
        "gradient 1 where it fires: it does not vanish through a chain of layers",
        "costs a comparison",
        "about half of the activations are exactly 0 at initialisation",
    ),
    faults=(
        "a unit that never fires gets no gradient and never learns again",
        "no upper bound: activations and gradients can explode",
        "no derivative at 0: a convention fills it",
    ),
    citation="Nair & Hinton 2010, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML; "
    "Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks, AISTATS",
)

_LEAKY_RELU = Row(
    name="leaky_relu",
    title="Leaky ReLU",
    layer="LeakyReLU",
    formula="z > 0: z, else s·z",
    derivative="z > 0: 1, else s",
    range="(−∞, ∞) for s > 0",
    negative_part="linear",
    parameters=(Parameter("negative_slope", 0.01, FINITE, "slope s below zero; −1 gives |z|; an array broadcasts"),),
    kinks=(Kink("0", "s"),),
    inverse=True,
    notes={"PyTorch": "float16 is rounded twice"},
    strengths=(
        "a unit that never fires still gets a gradient, so it can come back",
        "costs a comparison and a product",
    ),
    faults=(
        "no exact zeros, so no sparse activations",
        "the slope is one more choice, and each framework made another",
        "unbounded in both directions",
    ),
    citation="Maas, Hannun & Ng 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, ICML WDLASL",
)

_PRELU = Row(
    name="prelu",
    title="PReLU",
    layer="PReLU",
    formula="z > 0: z, else s·z, with s learned",
    derivative="∂/∂z: z > 0: 1, else s;  ∂/∂s: min(0, z)",
    range="(−∞, ∞) for s > 0",
    negative_part="linear",
    parameters=(
        Parameter("negative_slope", None, FINITE, "slope s below zero, learned: one, per channel or per element"),
    ),
    kinks=(Kink("0", "s"),),
    notes={
        "PyTorch": "one slope, or one per channel",
        "Keras": "one slope an element (shared_axes)",
        "JAX": "Flax's",
        "ONNX Runtime": "the slope is an input",
    },
    strengths=("the network finds the slope it needs", "a unit that never fires still gets a gradient"),
    faults=("weight decay pulls the slope to 0, and with it back to ReLU", "no exact zeros"),
    citation="He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers, ICCV, arXiv:1502.01852",
)

_ABS = Row(
    name="abs",
    title="Absolute value",
    layer="Abs",
    formula="|z|",
    derivative="z > 0: 1, z < 0: −1",
    range="[0, ∞)",
    negative_part="linear",
    kinks=(Kink("0", "0"),),
    integers=True,
    notes={"NumPy idiom": "the smallest integer of a signed type wraps to itself"},
    strengths=("the gradient is never 0: no unit dies", "invariant to the sign of its input"),
    faults=("even, so it tells z from −z nowhere", "not monotone: no inverse"),
    citation="Jarrett, Kavukcuoglu, Ranzato & LeCun 2009, What is the Best Multi-Stage Architecture for "
    "Object Recognition?, ICCV",
)

_RELU6 = Row(
    name="relu6",
    title="ReLU6",
    layer="ReLU6",
    formula="min(max(0, z), c)",
    derivative="0 < z < c: 1, else 0",
    range="[0, c]",
    negative_part="none",
    parameters=(Parameter("ceiling", 6.0, CEILING, "upper bound c"),),
    kinks=(Kink("0", "0"), Kink("ceiling", "0")),
    integers=True,
    strengths=("bounded: activations fit few bits", "as cheap as ReLU"),
    faults=("no gradient above the ceiling either", "units can die as with ReLU"),
    citation="Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10; "
    "Howard et al. 2017, MobileNets, arXiv:1704.04861",
)

_SQUARED_RELU = Row(
    name="squared_relu",
    title="Squared ReLU",
    layer="SquaredReLU",
    formula="max(0, z)²",
    derivative="2·max(0, z)",
    range="[0, ∞)",
    negative_part="none",
    notes={
        "PyTorch": "no function of its own: relu(x).square()",
        "JAX": "no function of its own (jax.nn.squareplus is another one)",
    },
    strengths=("no kink: the derivative is continuous", "sparser and often better in transformers' feed-forward units"),
    faults=("grows as a square: explodes sooner", "float16 overflows beyond 255", "units can die as with ReLU"),
    citation="So et al. 2021, Primer: Searching for Efficient Transformers for Language Modeling, "
    "NeurIPS, arXiv:2109.08668",
)

_ELU = Row(
    name="elu",
    title="ELU",
    layer="ELU",
    formula="z > 0: z, else α(eᶻ − 1)",
    derivative="z > 0: 1, else αeᶻ",
    range="(−α, ∞)",
    negative_part="saturating",
    parameters=(ALPHA,),
    kinks=(Kink("0", "α (no kink for α = 1)"),),
    inverse=True,
    strengths=("mean activation nearer to 0", "a gradient below zero, so units can come back", "smooth for α = 1"),
    faults=("costs an exponential", "saturates: far below zero the gradient is nearly 0", "no exact zeros"),
    citation="Clevert, Unterthiner & Hochreiter 2016, Fast and Accurate Deep Network Learning by Exponential "
    "Linear Units, ICLR, arXiv:1511.07289",
)

_CELU = Row(
    name="celu",
    title="CELU",
    layer="CELU",
    formula="z > 0: z, else α(e^(z/α) − 1)",
    derivative="z > 0: 1, else e^(z/α)",
    range="(−α, ∞)",
    negative_part="saturating",
    parameters=(ALPHA,),
    inverse=True,
    strengths=("continuous derivative for every α", "mean activation nearer to 0"),
    faults=("costs an exponential and a quotient", "saturates far below zero", "no exact zeros"),
    citation="Barron 2017, Continuously Differentiable Exponential Linear Units, arXiv:1704.07483",
)

_SELU = Row(
    name="selu",
    title="SELU",
    layer="SELU",
    formula="λ·(z > 0: z, else α(eᶻ − 1)), λ = 1.0507…, α = 1.6733…",
    derivative="z > 0: λ, else λαeᶻ",
    range="(−λα, ∞)",
    negative_part="saturating",
    kinks=(Kink("0", "λα"),),
    inverse=True,
    notes={"PyTorch": "init.calculate_gain gives 3/4"},
    strengths=(
        "mean 0 and variance 1 are a fixed point: activations keep their scale through many layers",
        "a gradient below zero, so units can come back",
    ),
    faults=(
        "only under its conditions: LeCun initialisation, plain chains of layers, alpha dropout",
        "costs an exponential",
        "a kink at 0: the slope jumps from λα to λ",
    ),
    citation="Klambauer, Unterthiner, Mayr & Hochreiter 2017, Self-Normalizing Neural Networks, NeurIPS, "
    "arXiv:1706.02515",
)

_SOFTPLUS = Row(
    name="softplus",
    title="Softplus",
    layer="Softplus",
    formula="log(1 + e^(βz))/β",
    derivative="1/(1 + e^(−βz))",
    range="(0, ∞)",
    negative_part="saturating",
    parameters=(Parameter("beta", 1.0, POSITIVE, "sharpness: softplus tends to ReLU as β grows"),),
    inverse=True,
    notes={"PyTorch": "past the threshold z itself"},
    strengths=("smooth everywhere; its derivative is the sigmoid", "the gradient is never exactly 0"),
    faults=(
        "costs an exponential and a logarithm",
        "never 0: not sparse; f(0) = 0.69, so activations are not centred",
        "the gradient is nearly 0 far below zero",
    ),
    citation="Dugas, Bengio, Bélisle, Nadeau & Garcia 2001, Incorporating Second-Order Functional Knowledge for "
    "Better Option Pricing, NeurIPS",
)

_SIGMOID = Row(
    name="sigmoid",
    title="Sigmoid",
    layer=None,
    formula="1/(1 + e^(−z))",
    derivative="σ(z)(1 − σ(z)), at most 0.25",
    range="(0, 1)",
    negative_part="saturating",
    strengths=("bounded; reads as a probability",),
    faults=("the gradient is at most 0.25: it vanishes through a chain of layers", "not centred"),
    citation="Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors, Nature 323, "
    "doi:10.1038/323533a0",
    comparison=True,
)

_TANH = Row(
    name="tanh",
    title="Tanh",
    layer=None,
    formula="(eᶻ − e⁻ᶻ)/(eᶻ + e⁻ᶻ)",
    derivative="1 − tanh²(z)",
    range="(−1, 1)",
    negative_part="saturating",
    strengths=("bounded and centred",),
    faults=("saturates on both sides: the gradient vanishes where |z| is large",),
    citation="LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, doi:10.1007/3-540-49430-8_2",
    comparison=True,
)

_THRESHOLD = Row(
    name="threshold",
    title="Threshold",
    layer=None,
    formula="z > 0: 1, else 0",
    derivative="0",
    range="{0, 1}",
    negative_part="none",
    kinks=(Kink("0", "0"),),
    strengths=("one bit: what the gate of a rectifier says",),
    faults=("the derivative is 0 wherever it exists: gradient descent learns nothing",),
    citation="McCulloch & Pitts 1943, A logical calculus of the ideas immanent in nervous activity, "
    "doi:10.1007/BF02478259",
    comparison=True,
)

#: name → row, in the order in which tables list them.
family: Mapping[str, Row] = MappingProxyType(
    {
        row.name: row
        for row in (
            _RELU,
            _LEAKY_RELU,
            _PRELU,
            _ABS,
            _RELU6,
            _SQUARED_RELU,
            _ELU,
            _CELU,
            _SELU,
            _SOFTPLUS,
            _SIGMOID,
            _TANH,
            _THRESHOLD,
        )
    }
)
