"""What one module or call of PyTorch computes, as a step of the check-up's own: the one such table for bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from ....checkup.proofs.curves import KNOWN
from ....checkup.proofs.network import Array, Step
from ..calm import value_of
from ..observer.kinds import computes_plainly, is_pool
from ..sites import identify

__all__ = [
    "FINE",
    "VIEWS",
    "Lowered",
    "array_of",
    "as_steps",
    "dropped",
    "first_layer",
    "hull",
    "next_layer",
    "of_call",
    "of_module",
    "of_rectifier",
]

Shape = tuple[int, ...]

#: More products than this in one convolution, and all its positions share one bound.
FINE = 2_000_000


@dataclass(frozen=True)
class Lowered:
    """A step without its inputs; ``op`` "same" is the input itself."""

    op: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, torch.Tensor | None] = field(default_factory=dict)
    then: Lowered | None = None
    """What reads this one, which keeps the shape of the input."""


_SAME = Lowered("same")
#: Modules that are the identity but for randomness in training.
_PASS = (nn.Identity,)
_SHAPES = (nn.Flatten, nn.Unflatten)
#: Activations that are no rectifier of the family, by class and by call.
_FOREIGN = {nn.SiLU: "silu", nn.GELU: "gelu", nn.Hardswish: "hardswish", nn.Hardsigmoid: "hardsigmoid"}
#: Calls by their bare names.
SAME = frozenset({"contiguous", "clone", "detach"})
VIEWS = frozenset({"view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as"})


def of_module(module: nn.Module, x: Shape, out: Shape, rows: int, *, training: bool) -> Lowered | None:
    """x, out: shapes of one example. rows: most examples in a batch. None where it is not known."""
    rectifier = identify(module)
    if rectifier is not None:
        home = getattr(type(module).forward, "__module__", "")
        plain = "forward" not in module.__dict__ and home.startswith(("torch.nn.modules.", "rectifier."))
        return of_rectifier(*rectifier) if plain and not (isinstance(module, nn.RReLU) and training) else None
    if not computes_plainly(module):
        return None
    if type(module) in _FOREIGN:
        return Lowered("rectifier", {"function": _FOREIGN[type(module)], "parameters": {}})
    if isinstance(module, nn.Hardtanh):
        return of_rectifier("hardtanh", {"low": float(module.min_val), "high": float(module.max_val)})
    if isinstance(module, nn.Linear):
        return _linear(value_of(module, "weight"), value_of(module, "bias"), x)
    if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd):
        weight, bias = value_of(module, "weight"), value_of(module, "bias")
        return _conv(
            weight, bias, module.stride, module.padding, module.dilation, module.groups, module.padding_mode, x, out
        )
    if isinstance(module, (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)):
        return _norm(module, x, rows, training)
    if is_pool(module) and len(x) - 1 != _axes_of(type(module).__name__):
        return None
    if isinstance(module, (_MaxPoolNd, _AvgPoolNd)):
        return _pool_module(module)
    if isinstance(module, (_AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd)):
        return _adaptive("mean" if isinstance(module, _AdaptiveAvgPoolNd) else "max", x, out)
    if isinstance(module, _DropoutNd):
        return _dropout(module, module.p, training)
    if isinstance(module, nn.Upsample) and module.mode == "nearest":
        return hull(range(1, len(x)))
    if isinstance(module, _SHAPES):
        return Lowered("reshape")
    return _SAME if isinstance(module, _PASS) else None


def of_rectifier(row: str, parameters: Mapping[str, Any]) -> Lowered | None:
    """A rectifier of the family; None where its parameters are not numbers, or not the usual ones."""
    slope = parameters.get("negative_slope")
    if row not in KNOWN:
        return None
    if isinstance(slope, torch.Tensor):
        numbers = {key: value for key, value in parameters.items() if key != "negative_slope"}
        return Lowered("rectifier", {"function": row, "parameters": numbers}, {"slope": slope})
    if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in parameters.values()):
        return None
    # The table of curves knows rising ones.
    if any(parameters.get(name, 1.0) <= 0 for name in ("alpha", "beta", "ceiling")):
        return None
    given = {"beta": 1.0, **parameters} if row == "softplus" else dict(parameters)
    return Lowered("rectifier", {"function": row, "parameters": {key: float(value) for key, value in given.items()}})


def of_call(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], x: Shape, out: Shape, rows: int
) -> Lowered | None:
    """A functional call by its bare name; arguments after the input, tensors for weights."""

    def argument(position: int, key: str, default: Any = None) -> Any:
        return args[position] if len(args) > position else kwargs.get(key, default)

    if name == "linear":
        return _linear(argument(0, "weight"), argument(1, "bias"), x)
    if name in ("conv1d", "conv2d", "conv3d"):
        weight, bias = argument(0, "weight"), argument(1, "bias")
        stride, padding, dilation, groups = (argument(i + 2, *each) for i, each in enumerate(_GEOMETRY))
        return _conv(weight, bias, stride, padding, dilation, groups, "zeros", x, out)
    if name in ("layer_norm", "rms_norm"):
        shape, weight, epsilon = argument(0, "normalized_shape"), argument(1, "weight"), {"layer_norm": 1e-5}.get(name)
        bias = argument(2, "bias") if name == "layer_norm" else None
        epsilon = argument(3 if name == "layer_norm" else 2, "eps", epsilon)
        return _last_axes(weight, bias, _each(shape, 1), epsilon, centred=name == "layer_norm")
    if name == "group_norm":
        groups, weight, bias, epsilon = argument(0, "num_groups"), argument(1, "weight"), argument(2, "bias"), 1e-5
        return _channels(weight, bias, x, argument(3, "eps", epsilon), groups=int(groups))
    if "_pool" in name and len(x) - 1 != _axes_of(name):
        return None
    if name.startswith("adaptive_"):
        return _adaptive("mean" if "avg" in name else "max", x, out)
    if name.startswith("max_pool"):
        kernel, stride, padding = argument(0, "kernel_size"), argument(1, "stride"), argument(2, "padding", 0)
        odd = argument(3, "dilation", 1) not in (1, (1, 1)) or argument(4, "ceil_mode", False)
        return _pool("max", kernel, stride, padding, len(x) - 1, zeros=False, odd=bool(odd))
    if name.startswith("avg_pool"):
        kernel, stride, padding = argument(0, "kernel_size"), argument(1, "stride"), argument(2, "padding", 0)
        if argument(5, "divisor_override") is not None:
            return None
        zeros = argument(4, "count_include_pad", True)
        return _pool("mean", kernel, stride, padding, len(x) - 1, zeros=zeros, odd=argument(3, "ceil_mode", False))
    if name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
        return _dropout(None, argument(0, "p", 0.5), argument(1, "training", True))
    if name in VIEWS:
        return Lowered("reshape")
    if name in ("sigmoid", "tanh", "silu", "gelu", "hardswish", "hardsigmoid"):
        return Lowered("rectifier", {"function": name, "parameters": {}})
    return _SAME if name in SAME else None


def _axes_of(name: str) -> int | None:
    """Axes that a pooling of this name is over; values of fewer have no batch in front, or no channels."""
    return int(name[-2]) if name[-1:] == "d" and name[-2:-1].isdigit() else None


_GEOMETRY: tuple[tuple[str, Any], ...] = (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1))


def _linear(weight: Any, bias: Any, x: Shape) -> Lowered | None:
    if not isinstance(weight, torch.Tensor) or not (bias is None or isinstance(bias, torch.Tensor)) or weight.ndim != 2:
        return None
    layer = Lowered("linear", {}, {"weight": weight, "bias": bias})
    uniform = math.prod(x[:-1]) > 1 and math.prod(x[:-1]) * weight.numel() > FINE
    return hull(range(len(x) - 1), then=layer) if uniform else layer


def hull(axes: Sequence[int], *, zero: bool = False, computed: bool = False, then: Lowered | None = None) -> Lowered:
    """What covers all values along these axes: one of them, or where it is computed a weighted mean."""
    return Lowered("hull", {"axes": list(axes), "zero": zero, "computed": computed}, then=then)


def _each(value: Any, n: int) -> list[int]:
    return [int(v) for v in value] if isinstance(value, (tuple, list)) else [int(value)] * n


def _conv(
    weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, mode: str, x: Shape, out: Shape
) -> Lowered | None:
    if not isinstance(weight, torch.Tensor) or not (bias is None or isinstance(bias, torch.Tensor)):
        return None
    n = weight.ndim - 2
    dilations = _each(dilation, n)
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        pairs = [[total // 2, total - total // 2] for total in totals]
    else:
        pairs = [[p, p] for p in _each(padding, n)]
    settings = {
        "stride": _each(stride, n),
        "padding": pairs,
        "mode": mode,
        "dilation": dilations,
        "groups": int(groups),
    }
    layer = Lowered("conv", settings, {"weight": weight, "bias": bias})
    uniform = math.prod(out[1:]) > 1 and math.prod(out[1:]) * weight.numel() > FINE
    return hull(range(1, len(x)), then=layer) if uniform else layer


def _norm(module: Any, x: Shape, rows: int, training: bool) -> Lowered | None:
    weight, bias, epsilon = value_of(module, "weight"), value_of(module, "bias"), module.eps
    if isinstance(module, (nn.RMSNorm, nn.LayerNorm)):
        centred = isinstance(module, nn.LayerNorm)
        return _last_axes(weight, bias, module.normalized_shape, epsilon, centred=centred)
    if isinstance(module, nn.GroupNorm):
        return _channels(weight, bias, x, epsilon, groups=module.num_groups)
    if not (training or module.running_mean is None or module.running_var is None):
        stored = {"mean": value_of(module, "running_mean"), "variance": value_of(module, "running_var")}
        return Lowered("scale", {"epsilon": float(epsilon)}, {"weight": weight, "bias": bias, **stored})
    # PyTorch sums the squares around the mean on a CPU; elsewhere it may update both as it goes.
    device = weight.device if weight is not None else torch.device("cpu")
    batch = (
        None if isinstance(module, _InstanceNorm) else rows * (_ranks() if isinstance(module, nn.SyncBatchNorm) else 1)
    )
    return _channels(weight, bias, x, epsilon, groups=x[0], rows=batch, passes=2 if device.type == "cpu" else 1)


def _channels(
    weight: Any, bias: Any, x: Shape, epsilon: float, *, groups: int, rows: int | None = None, passes: int = 1
) -> Lowered | None:
    """Over groups of channels, of one example or (rows) of a batch of at most so many."""
    count = math.prod(x) // groups * (1 if rows is None else rows)
    settings = {"centred": True, "channels": True, "groups": groups, "rows": rows, "passes": passes, "count": count}
    return Lowered("normalise", {**settings, "epsilon": float(epsilon)}, {"weight": weight, "bias": bias})


def _last_axes(weight: Any, bias: Any, shape: Any, epsilon: Any, *, centred: bool) -> Lowered | None:
    shape = [int(n) for n in shape]
    settings = {"centred": centred, "channels": False, "axes": len(shape), "count": math.prod(shape), "passes": 1}
    # Without a mean the bound does not need it: PyTorch takes what fits the dtype.
    settings["epsilon"] = 0.0 if epsilon is None else float(epsilon)
    return Lowered("normalise", settings, {"weight": weight, "bias": bias})


def _ranks() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _pool_module(module: Any) -> Lowered | None:
    n = int(type(module).__name__[-2])
    if isinstance(module, _MaxPoolNd):
        if module.return_indices:
            return None
        odd = any(d != 1 for d in _each(module.dilation, n)) or module.ceil_mode
        return _pool("max", module.kernel_size, module.stride, module.padding, n, zeros=False, odd=odd)
    if getattr(module, "divisor_override", None) is not None:
        return None
    zeros, odd = module.count_include_pad, module.ceil_mode
    return _pool("mean", module.kernel_size, module.stride, module.padding, n, zeros=zeros, odd=odd)


def _pool(kind: str, kernel: Any, stride: Any, padding: Any, n: int, *, zeros: bool, odd: bool) -> Lowered:
    pads = _each(padding, n)
    # Windows of unequal sizes: the range of the whole channel stands for each of them.
    if odd or (kind == "mean" and any(pads) and not zeros):
        return hull(range(1, n + 1), zero=kind == "mean" and any(pads), computed=kind == "mean")
    kernels = _each(kernel, n)
    # An empty stride (F.max_pool2d(x, 2)) is the kernel's.
    strides = kernels if stride is None or (isinstance(stride, (tuple, list)) and not stride) else _each(stride, n)
    settings = {"kind": kind, "kernel": kernels, "stride": strides, "padding": [[p, p] for p in pads]}
    return Lowered("pool", settings)


def _adaptive(kind: str, x: Shape, out: Shape) -> Lowered | None:
    if len(x) != len(out) or len(x) < 2:
        return None
    if any(a % b for a, b in zip(x[1:], out[1:], strict=True)):
        return hull(range(1, len(x)), computed=kind == "mean")
    kernel = [a // b for a, b in zip(x[1:], out[1:], strict=True)]
    return Lowered("pool", {"kind": kind, "kernel": kernel, "stride": kernel, "padding": [[0, 0]] * len(kernel)})


def _dropout(module: nn.Module | None, p: Any, training: Any) -> Lowered | None:
    if training is False or p == 0:
        return _SAME
    if isinstance(module, (nn.AlphaDropout, nn.FeatureAlphaDropout)) or not isinstance(p, float) or p >= 1:
        return None
    return dropped(p)


def dropped(p: float) -> Lowered:
    """0 or x/(1 − p)."""
    kept = {"coefficients": [1.0 / (1.0 - p)], "constant": 0.0}
    return Lowered("combine", kept, then=hull((), zero=True))


def array_of(name: str, tensor: torch.Tensor) -> Array:
    """The tensor as it is now; bfloat16, which NumPy lacks, as float32."""
    plain = tensor.detach().cpu()
    return Array(name, (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())


def first_layer(module: Any, name: str, features: int) -> list[Step] | None:
    """The input of a Linear or convolution, all its positions taken together, and the layer; None if not known."""
    # Of its attributes, not its weight: that may be computed, and in training mode computing it changes the model.
    kernel = tuple(module.kernel_size) if isinstance(module, _ConvNd) else ()
    lowered = of_module(module, (features, *kernel), (0, *(1 for _ in kernel)), 0, training=False)
    if lowered is None or lowered.op not in ("linear", "conv"):
        return None
    weight = lowered.arrays["weight"]
    assert weight is not None
    units = len(weight)
    if not kernel:
        source = Step("input", (), (features,), layer="the input")
        return [source, *as_steps(lowered, 0, source.shape, (units,), name, {}, 1)]
    # One window stands for each: values of the channels' ranges, and 0 where it is padded.
    dilation, padding = lowered.settings["dilation"], lowered.settings["padding"]
    window = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    source = Step("input", (), (features, *window), layer="the input")
    at_once = {"stride": [1] * len(kernel), "padding": [[0, 0]] * len(kernel), "mode": "zeros"}
    layer = Lowered("conv", {**lowered.settings, **at_once}, lowered.arrays)
    if lowered.settings["mode"] == "zeros" and any(map(any, padding)):
        layer = hull((), zero=True, then=layer)
    out = (units, *(1 for _ in kernel))
    return [source, *as_steps(layer, 0, source.shape, out, name, {}, 1)]


def next_layer(module: nn.Module, name: str, steps: list[Step]) -> list[Step] | None:
    """These steps, and a normalisation in evaluation mode that reads the last of them."""
    shape = steps[-1].shape
    lowered = of_module(module, shape, shape, 0, training=False)
    if lowered is None or lowered.op != "scale":
        return None
    return [*steps, *as_steps(lowered, len(steps) - 1, shape, shape, name, {}, len(steps))]


def as_steps(
    lowered: Lowered, before: int, x: Shape, shape: Shape, layer: str, names: Mapping[int, str], place: int
) -> list[Step]:
    """before: the step that is read, of shape ``x``. names: id of a tensor → its name, where it is not an attribute of
    the layer. place: index that the first of these steps gets."""
    attributes = {"mean": "running_mean", "variance": "running_var", "slope": "weight"}
    prefix = f"{layer}." if layer else ""
    arrays = {
        role: array_of(names.get(id(tensor), f"{prefix}{attributes.get(role, role)}"), tensor)
        for role, tensor in lowered.arrays.items()
        if tensor is not None
    }
    if lowered.then is None:
        return [Step(lowered.op, (before,), shape, lowered.settings, arrays, layer)]
    own = Step(lowered.op, (before,), x, lowered.settings, arrays)
    return [own, *as_steps(lowered.then, place, x, shape, layer, names, place + 1)]
