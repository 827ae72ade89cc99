"""What a call of a PyTorch function does to channels, by its bare name. What is not named here holds its channels."""

from __future__ import annotations

__all__ = ["ASKS", "BINARY", "ELEMENTWISE", "MOVES", "PIECES", "REDUCES", "RESHAPES", "SPATIAL"]

_DIMS = (1, 2, 3)

#: One tensor, element by element, 0 at least where the framework says so: the value decides, not this table.
ELEMENTWISE = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "celu", "selu", "prelu", "softplus", "rrelu", "threshold", "hardtanh"}
    | {"sigmoid", "tanh", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "softsign", "logsigmoid", "squared_relu"}
    | {
        "abs",
        "neg",
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "square",
        "sin",
        "cos",
        "erf",
        "pow",
    }
    | {"clamp", "clip", "clamp_min", "clamp_max", "clone", "contiguous", "detach", "to", "float", "double", "half"}
    | {"bfloat16", "type_as", "cpu", "cuda", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"}
    | {"leaky_average", "rrelu", "requires_grad", "alias"}
)
#: Two tensors, or one and a number.
BINARY = frozenset(
    {"add", "sub", "mul", "multiply", "subtract", "div", "divide", "true_divide", "truediv", "itruediv", "radd", "rsub"}
    | {"rmul", "rdiv", "rtruediv", "maximum", "minimum"}
)
#: The same values in the same order.
RESHAPES = frozenset(
    {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel"}
)
#: The same axes in another order.
MOVES = frozenset({"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint"})
#: Some of the places, or each several times.
PIECES = frozenset(
    {
        "chunk",
        "split",
        "split_with_sizes",
        "tensor_split",
        "unbind",
        "narrow",
        "select",
        "getitem",
        "expand",
        "expand_as",
    }
    | {"broadcast_to", "repeat", "tile", "flip", "roll", "cat", "concat", "concatenate"}
)
#: name → how many axes at the end are positions, whose channel is that of the axis before them.
SPATIAL = {
    **{f"{start}{kind}_pool{n}d": n for start in ("", "adaptive_") for kind in ("max", "avg") for n in _DIMS},
    **{f"lp_pool{n}d": n for n in _DIMS},
    "interpolate": None,
    "upsample": None,
    "pad": None,
}
REDUCES = frozenset({"mean", "sum", "amax", "amin"})
#: Answers that are values of a tensor: Python can then go one way or another.
ASKS = frozenset(
    {"bool", "item", "tolist", "int", "float", "index", "equal", "allclose", "numpy", "is_nonzero", "contains", "array"}
)
