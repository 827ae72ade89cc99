"""What one layer of Keras computes, as steps of the check-up's own: the one such table for bounds.

The steps have channels first, as the proofs' convolution has; where a layer has them last, they are moved, and moved
back. What is not known here becomes a step that may give anything.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from ...checkup.proofs.curves import KNOWN
from ...checkup.proofs.network import Array, Network, Site, Step
from .graph import Graph, Node, applies_nothing, graph_of
from .observer.kinds import as_array, channels_axis, has_weights, is_norm, is_plain_convolution, is_pool
from .sites import computes_plainly, identify_function

__all__ = ["network_of"]

Shape = tuple[int, ...]

#: More products than this in one convolution, and all its positions share one bound.
FINE = 2_000_000
_SHORT = ("float16", "bfloat16")


def network_of(
    model: Any,
    shape: Shape | None,
    axes: Mapping[str, int],
    formats: Collection[str],
    *,
    training: bool,
    seen: tuple[Any, Any] | None,
) -> Network | str:
    """The model as a network for proofs; or why it cannot be read as one.

    shape: of one example; None: the one that the model says. axes: site → axis of its units in one example.
    formats: number formats of the layers.
    seen: the range of each value of the input.
    """
    graph = graph_of(model)
    if isinstance(graph, str):
        return graph
    sources = [node for node in graph.nodes if node.layer is None]
    if len(sources) != 1:
        return f"it has {len(sources)} inputs"
    shape = tuple(sources[0].shape if shape is None else shape)
    if any(size is None for node in graph.nodes for size in node.shape) or sources[0].shape != shape:
        return f"its shapes are not fixed to {shape}, in which it was called"
    steps = _Steps(graph, training)
    infos = [_info(name) for name in formats] or [np.finfo(np.float32)]
    condition = ", with batch normalisation in evaluation mode" if any(s.op == "scale" for s in steps.steps) else ""
    return Network(
        steps=tuple(steps.steps),
        sites=tuple(Site(name, row, step, axes[name]) for name, (row, step) in steps.reads.items() if name in axes),
        roundoff=max(_roundoff(model, name) for name in formats or ("float32",)),
        smallest=max(float(info.tiny) for info in infos),
        largest=min(float(info.max) for info in infos),
        condition=", in training mode" if training else condition,
        training=training,
        input_shape=shape,
        observed=seen,
    )


def _info(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo(name)  # type: ignore[no-untyped-call]
    return np.finfo(name)


def _roundoff(model: Any, name: str) -> float:
    """Unit roundoff of a product as the backend may compute it: accelerators pass coarser ones unasked."""
    own = float(_info(name).eps) / 2
    if name in _SHORT:  # weights and inputs were rounded as well, and each product is of two of them
        return 4 * own
    return own if name == "float64" or _on_cpu(model) else max(own, 2.0**-8)


def _on_cpu(model: Any) -> bool:
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    if backend == "tensorflow":
        import tensorflow as tf

        return not (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))
    return all(v.value.device.type == "cpu" for v in model.variables)


class _Steps:
    """Goes through the nodes once; ``of`` holds the step of each."""

    def __init__(self, graph: Graph, training: bool) -> None:
        self.steps: list[Step] = []
        self.of: list[int] = []
        self.reads: dict[str, tuple[str, int]] = {}
        self._training = training
        self._mixed = any(getattr(node.layer, "compute_dtype", "") in _SHORT for node in graph.nodes)
        for node in graph.nodes:
            self.of.append(self._node(node))

    def _add(self, op: str, inputs: tuple[int, ...], shape: Any, layer: str, **rest: Any) -> int:
        self.steps.append(Step(op, inputs, tuple(int(n) for n in shape), layer=layer, **rest))
        return len(self.steps) - 1

    def _node(self, node: Node) -> int:
        if node.layer is None:
            source = self._add("input", (), node.shape, "the input")
            # Rounded to 16 bits, a value may leave the range that the input was seen in.
            cast = {"coefficients": [1.0], "constant": 0.0}
            return self._add("combine", (source,), node.shape, "cast", settings=cast) if self._mixed else source
        given = [self.of[i] for i in node.inputs]
        found = self._lowered(node, given) if node.plain and computes_plainly(node.layer) else None
        if found is not None and self.steps[found].shape == tuple(node.shape):
            return found
        return self._add("unknown", (), node.shape, node.name)

    def _lowered(self, node: Node, given: list[int]) -> int | None:
        layer, x = node.layer, given[0] if given else 0
        if has_weights(layer):
            made = self._weighted(node, x)
            if made is None or applies_nothing(layer):
                return made
            return self._rectified(node, made, identify_function(layer.activation))
        if node.site is not None:
            return self._rectified(node, x, (node.site.rectifier, node.site.parameters))
        if isinstance(layer, layers.Activation):
            found = identify_function(layer.activation)
            return x if applies_nothing(layer) else self._rectified(node, x, found)
        if is_norm(layer):
            return self._scaled(node, x)
        if is_pool(layer):
            return self._pooled(node, x)
        if isinstance(layer, (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D)):
            return self._dropped(node, x)
        if isinstance(layer, layers.Identity):
            return x
        return self._moved(node, given)

    # Layers with weights

    def _weighted(self, node: Node, x: int) -> int | None:
        layer, name = node.layer, node.name
        kernel = as_array(layer.kernel) if hasattr(layer, "kernel") else None
        bias = {} if getattr(layer, "bias", None) is None else {"bias": Array(f"{name}.bias", as_array(layer.bias))}
        if isinstance(layer, layers.Dense) and kernel is not None:
            arrays = {"weight": Array(f"{name}.kernel", np.ascontiguousarray(kernel.T)), **bias}
            shape = self.steps[x].shape
            if math.prod(shape[:-1]) > 1 and math.prod(shape[:-1]) * kernel.size > FINE:
                x = self._hull(x, range(len(shape) - 1), node)
            return self._add("linear", (x,), node.shape, name, arrays=arrays)
        if not is_plain_convolution(layer) or kernel is None:
            return None
        n = kernel.ndim - 2
        weight = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))
        x, back = self._channels_first(x, layer, node)
        source = self.steps[x].shape
        out = (node.shape[-1], *node.shape[:-1]) if back else tuple(node.shape)
        settings = {
            "stride": _each(layer.strides, n),
            "padding": _padding(layer, source[1:], n),
            "mode": "zeros",
            "dilation": _each(layer.dilation_rate, n),
            "groups": int(layer.groups),
        }
        if math.prod(out[1:]) > 1 and math.prod(out[1:]) * weight.size > FINE:
            x = self._hull(x, range(1, len(source)), node)
        arrays = {"weight": Array(f"{name}.kernel", weight), **bias}
        made = self._add("conv", (x,), out, name, settings=settings, arrays=arrays)
        return self._back(made, node) if back else made

    def _hull(self, x: int, over: Any, node: Node, **how: bool) -> int:
        settings = {"axes": list(over), "zero": how.get("zero", False), "computed": how.get("computed", False)}
        return self._add("hull", (x,), self.steps[x].shape, node.name, settings=settings)

    def _channels_first(self, x: int, layer: Any, node: Node) -> tuple[int, bool]:
        """The step with its channels in front, and whether they had to be moved there."""
        shape = self.steps[x].shape
        if len(shape) < 2 or channels_axis(layer, len(shape) + 1) == 1:
            return x, False
        order = [len(shape) - 1, *range(len(shape) - 1)]
        return self._add("permute", (x,), [shape[i] for i in order], node.name, settings={"axes": order}), True

    def _back(self, x: int, node: Node) -> int:
        shape = self.steps[x].shape
        order = [*range(1, len(shape)), 0]
        return self._add("permute", (x,), [shape[i] for i in order], node.name, settings={"axes": order})

    # The rest

    def _rectified(self, node: Node, x: int, found: Any) -> int | None:
        if found is None or found[0] not in KNOWN:
            return None
        row, parameters = found
        if node.site is not None:
            self.reads[node.site.name] = row, x
        if not all(isinstance(value, float) and math.isfinite(value) for value in parameters.values()):
            return None
        if any(parameters.get(name, 1.0) <= 0 for name in ("alpha", "beta", "ceiling")):
            return None
        given = {"beta": 1.0, **parameters} if row == "softplus" else dict(parameters)
        settings = {"function": row, "parameters": given}
        return self._add("rectifier", (x,), self.steps[x].shape, node.name, settings=settings)

    def _scaled(self, node: Node, x: int) -> int | None:
        layer, name = node.layer, node.name
        if self._training and layer.trainable:
            return None  # how far its moments can be rounded is not known for all backends
        roles = {"weight": "gamma", "bias": "beta", "mean": "moving_mean", "variance": "moving_variance"}
        held = {role: getattr(layer, key) for role, key in roles.items()}
        arrays = {r: Array(f"{name}.{roles[r]}", as_array(v)) for r, v in held.items() if v is not None}
        x, back = self._channels_first(x, layer, node)
        made = self._add(
            "scale", (x,), self.steps[x].shape, name, settings={"epsilon": float(layer.epsilon)}, arrays=arrays
        )
        return self._back(made, node) if back else made

    def _pooled(self, node: Node, x: int) -> int | None:
        layer, kind = node.layer, "max" if "Max" in type(node.layer).__name__ else "mean"
        whole = "Global" in type(layer).__name__
        x, back = self._channels_first(x, layer, node)
        source = self.steps[x].shape
        n = len(source) - 1
        if whole:
            kernel = strides = list(source[1:])
        else:
            kernel, strides = _each(layer.pool_size, n), _each(layer.strides or layer.pool_size, n)
        out = (source[0], *(1 for _ in kernel)) if whole else _rolled(node.shape, back)
        if not whole and layer.padding != "valid":
            return None
        settings = {"kind": kind, "kernel": kernel, "stride": strides, "padding": [[0, 0]] * n}
        made = self._add("pool", (x,), out, node.name, settings=settings)
        if whole:
            return self._add("reshape", (made,), node.shape, node.name)
        return self._back(made, node) if back else made

    def _dropped(self, node: Node, x: int) -> int:
        rate = float(node.layer.rate)
        if not self._training or rate == 0:
            return x
        kept = {"coefficients": [1.0 / (1.0 - rate)], "constant": 0.0}
        more = self._add("combine", (x,), node.shape, node.name, settings=kept)
        return self._hull(more, (), node, zero=True)

    def _moved(self, node: Node, given: list[int]) -> int | None:
        layer, x = node.layer, given[0] if given else 0
        if isinstance(layer, layers.Flatten):
            shape = self.steps[x].shape
            if len(shape) > 1 and layer.data_format == "channels_first":  # Keras flattens them with channels last
                x = self._back(x, node)
            return self._add("reshape", (x,), node.shape, node.name)
        if isinstance(layer, layers.Reshape):
            return self._add("reshape", (x,), node.shape, node.name)
        if isinstance(layer, layers.Permute):
            order = [axis - 1 for axis in layer.dims]
            return self._add("permute", (x,), node.shape, node.name, settings={"axes": order})
        if isinstance(layer, layers.Rescaling):
            if not all(isinstance(value, (int, float)) for value in (layer.scale, layer.offset)):
                return None
            settings = {"coefficients": [float(layer.scale)], "constant": float(layer.offset)}
            return self._add("combine", (x,), node.shape, node.name, settings=settings)
        same = all(self.steps[i].shape == tuple(node.shape) for i in given)
        if isinstance(layer, (layers.Add, layers.Subtract)) and same:
            signs = [1.0, *([-1.0 if isinstance(layer, layers.Subtract) else 1.0] * (len(given) - 1))]
            settings = {"coefficients": signs, "constant": 0.0}
            return self._add("combine", tuple(given), node.shape, node.name, settings=settings)
        if isinstance(layer, layers.Concatenate):
            axis = layer.axis % (len(node.shape) + 1) - 1
            return self._add("cat", tuple(given), node.shape, node.name, settings={"axis": axis}) if axis >= 0 else None
        return None


def _rolled(shape: Any, back: bool) -> tuple[Any, ...]:
    return (shape[-1], *shape[:-1]) if back else tuple(shape)


def _each(value: Any, n: int) -> list[int]:
    return [int(v) for v in value] if isinstance(value, (tuple, list)) else [int(value)] * n


def _padding(layer: Any, sizes: Any, n: int) -> list[list[int]]:
    """Zeros in front and behind; "same" depends on the stride in Keras, and puts the odd one behind."""
    if layer.padding == "valid":
        return [[0, 0]] * n
    kernels, strides = _each(layer.kernel_size, n), _each(layer.strides, n)
    pairs = []
    for size, kernel, stride, dilation in zip(sizes, kernels, strides, _each(layer.dilation_rate, n), strict=True):
        reach = (kernel - 1) * dilation
        if layer.padding == "causal":
            pairs.append([reach, 0])
            continue
        total = max((math.ceil(size / stride) - 1) * stride + reach + 1 - size, 0)
        pairs.append([total // 2, total - total // 2])
    return pairs
