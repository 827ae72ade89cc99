"""The structure of a model as far as the names and shapes of its weights tell it, and what its config adds.

Nothing here is certain but shapes: what is read out of a name is stated wherever a finding depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .stored import Tensor, Weights

__all__ = ["Layer", "Structure", "structure_of"]

Role = Literal["linear", "conv", "batchnorm", "norm", "attention", "embedding"]

#: Leaf of a name → what it is in a layer; those of Keras and Flax as well.
_PARTS = {
    "weight": "weight",
    "kernel": "weight",
    "embedding": "weight",
    "scale": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "running_mean": "mean",
    "moving_mean": "mean",
    "mean": "mean",
    "running_var": "variance",
    "moving_variance": "variance",
    "var": "variance",
}
#: Batches counted, positions and masks: no weights.
_COUNTERS = ("num_batches_tracked", "position_ids", "token_type_ids", "relative_position_index")
_ATTENTION = re.compile(
    r"attn|attention|(^|[._/])((q|k|v|o|out|qkv|query|key|value|in)_proj|to_(q|k|v|qkv|out)|qkv|query|key|value|"
    r"query_key_value)([._/]|$)",
    re.IGNORECASE,
)
_EMBEDDING = re.compile(r"embed|(^|[._/])(wte|wpe|emb|shared|tokens?)([._/]|$)", re.IGNORECASE)
#: Names of a normalisation and of the layer before it, of one number: conv1 and bn1.
_NORM_NAME = re.compile(r"^(bn|norm|batch_?norm|normalization)(\d*)$", re.IGNORECASE)
_CONV_NAMES = ("conv{}", "convolution{}", "fc{}", "linear{}")

#: model_type of a config → (its key for the function, layers that it follows): what those models' code does.
_MLP: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("bert", "roberta", "electra", "vit", "deit", "beit", "xlm-roberta", "camembert"),
        ("hidden_act", ("intermediate.dense",)),
    ),
    **dict.fromkeys(
        ("opt", "bart", "mbart", "pegasus", "marian", "blenderbot", "m2m_100", "whisper", "xglm"),
        ("activation_function", ("fc1",)),
    ),
    **dict.fromkeys(("gpt2", "imagegpt"), ("activation_function", ("mlp.c_fc",))),
    "openai-gpt": ("afn", ("mlp.c_fc",)),
    "distilbert": ("activation", ("ffn.lin1",)),
    "gpt_neox": ("hidden_act", ("mlp.dense_h_to_4h",)),
    "t5": ("feed_forward_proj", ("DenseReluDense.wi",)),
    "mt5": ("feed_forward_proj", ("DenseReluDense.wi",)),
    "llama": ("hidden_act", ("mlp.gate_proj",)),
}
#: Models whose Linear layers keep their weights transposed (transformers' Conv1D: inputs, units).
_TRANSPOSED = ("gpt2", "imagegpt", "openai-gpt", "decision_transformer")
#: A config's name for a function → ours; another is no rectifier that is 0 below 0.
_FUNCTIONS = {"relu": "relu", "relu6": "relu6", "relu2": "squared_relu", "relu_squared": "squared_relu"}


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's tensors."""

    name: str
    role: Role
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None = None
    variance: Tensor | None = None
    units: int = 0
    axis: int = 0
    """Of the weight: the one with an entry a unit."""
    rectifier: str | None = None
    """The function behind it: a row's name, "other" for one that is no rectifier, None where nothing tells."""
    follows: str | None = None
    """Of a batch normalisation: the layer before it, as the names tell."""

    @property
    def unitwise(self) -> bool:
        """Are its units places where a rectifier could be?"""
        return self.role in ("linear", "conv", "batchnorm")


@dataclass(frozen=True, eq=False)
class Structure:
    """The layers, and the tensors that are of none."""

    layers: tuple[Layer, ...]
    loose: tuple[Tensor, ...]
    known: str | None
    """The config's model_type, where which function follows which layer is known of it."""


def structure_of(weights: Weights) -> Structure:
    """Layers from the names of tensors: "conv1.weight" and "conv1.bias" are of one."""
    parts: dict[str, dict[str, Tensor]] = {}
    loose: list[Tensor] = []
    for name, tensor in weights.tensors.items():
        place, leaf = _split(name)
        if leaf in _COUNTERS:
            continue
        if leaf in _PARTS and _PARTS[leaf] not in parts.get(place, {}):
            parts.setdefault(place, {})[_PARTS[leaf]] = tensor
        else:
            loose.append(tensor)
    config = weights.config
    kind = config.get("model_type")
    kind = kind if isinstance(kind, str) else None
    found = []
    for place in parts if weights.ordered else sorted(parts, key=_natural):
        layer = _layer(place, parts[place], kind)
        if layer is None:
            loose += parts[place].values()
        else:
            found.append(replace(layer, rectifier=_function_behind(layer, kind, config)))
    known = kind if kind in _MLP else None
    return Structure(tuple(_paired(found, ordered=weights.ordered)), tuple(loose), known)


def _split(name: str) -> tuple[str, str]:
    cut = max(name.rfind("."), name.rfind("/"))
    return name[: max(cut, 0)], name[cut + 1 :]


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Numbers in a name by their value: layer 10 comes after layer 9."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d{1,18})", name) if part]


def _layer(name: str, parts: Mapping[str, Tensor], kind: str | None) -> Layer | None:
    weight, bias = parts.get("weight"), parts.get("bias")
    mean, variance = parts.get("mean"), parts.get("variance")
    if mean is not None and variance is not None and mean.shape == variance.shape and len(mean.shape) == 1:
        if all(part is None or part.shape == mean.shape for part in (weight, bias)):
            return Layer(name, "batchnorm", weight, bias, mean, variance, units=mean.shape[0])
        return None
    if weight is None or mean is not None or variance is not None or 0 in weight.shape:
        return None
    if len(weight.shape) == 1:
        if bias is None or bias.shape != weight.shape:
            return None
        return Layer(name, "norm", weight, bias, units=weight.shape[0])
    if len(weight.shape) < 2 or (bias is not None and len(bias.shape) != 1):
        return None
    axis = _axis(weight, bias, kind)
    if axis is None:
        return None
    role: Role = "linear" if len(weight.shape) == 2 else "conv"
    if _ATTENTION.search(name):
        role = "attention"
    elif role == "linear" and (weight.name.endswith("embedding") or (bias is None and _EMBEDDING.search(name))):
        role = "embedding"
    return Layer(name, role, weight, bias, units=weight.shape[axis], axis=axis)


def _axis(weight: Tensor, bias: Tensor | None, kind: str | None) -> int | None:
    """The axis of the units: the first, and the last of a kernel as Keras, Flax and transformers' Conv1D keep it.

    A transposed convolution has its units on axis 1, which a bias tells where the two differ. None where no axis fits.
    """
    last = len(weight.shape) - 1
    first = last if weight.name.endswith("kernel") or (kind in _TRANSPOSED and last == 1) else 0
    if bias is None or bias.shape[0] == weight.shape[first]:
        return first
    return next((axis for axis in (0, 1, last) if weight.shape[axis] == bias.shape[0]), None)


def _function_behind(layer: Layer, kind: str | None, config: Mapping[str, Any]) -> str | None:
    if kind is None or kind not in _MLP or not layer.unitwise:
        return None
    key, places = _MLP[kind]
    if not any(layer.name == place or layer.name.endswith(f".{place}") for place in places):
        return "other"
    function = config.get(key, "relu" if kind == "t5" else None)
    return _FUNCTIONS.get(function, "other") if isinstance(function, str) else None


def _paired(layers: list[Layer], *, ordered: bool) -> Iterable[Layer]:
    """Each batch normalisation with the layer before it: by the order in the file, or by their names and sizes."""
    by_name = {layer.name: layer for layer in layers}
    for place, layer in enumerate(layers):
        if layer.role != "batchnorm":
            yield layer
            continue
        named = by_name.get(_before(layer.name, by_name))
        if named is None and ordered and place:
            named = layers[place - 1]
        fits = named is not None and named.role in ("linear", "conv") and named.units == layer.units
        # Where the file tells the order, a layer made after its normalisation does not come before it.
        if fits and named is not None and not (ordered and layers.index(named) > place):
            yield replace(layer, follows=named.name)
        else:
            yield layer


def _before(name: str, known: Mapping[str, Layer]) -> str:
    parent, leaf = _split(name)
    stem = f"{parent}." if parent else ""
    if leaf.isdecimal() and len(leaf) < 18:
        return f"{stem}{int(leaf) - 1}"
    match = _NORM_NAME.match(leaf)
    names = [stem + form.format(match[2]) for form in _CONV_NAMES] if match else []
    return next((other for other in names if other in known), "")
