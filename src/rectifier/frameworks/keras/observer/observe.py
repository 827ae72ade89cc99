"""Watching a Keras model run: its layers and the calls that rectify, turned into plain arrays.

Nothing here changes a value, no variable is written (:class:`keras.StatelessScope`), and no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers

from ....checkup.proofs.network import Network
from ....checkup.records import Snapshot
from ..sites import Site, computes_plainly, identify, identify_function, keeps_values
from .kinds import (
    DROPOUTS,
    ELEMENTWISE,
    RESHAPES,
    as_array,
    channels_axis,
    guessed_axis,
    has_weights,
    is_norm,
    is_pool,
)
from .names import Turns, named
from .origins import Origin, Origins
from .patches import Patches
from .reading import Reader
from .tally import LayerTally, SiteTally
from .taps import Taps

__all__ = ["Observer"]


@dataclass
class _Frame:
    """A layer whose call has begun."""

    name: str
    layer: Any
    x: Any
    mask: Any = None
    z: bool = False
    """Whether the pre-activation of this layer with weights was seen."""
    sites: int = 0
    """Sites seen inside."""


class Observer:
    """Sees every site and layer of ``model`` in a pass by :meth:`forward`; :meth:`take` gives what was seen since.

    training_only: passes are those of a training (batch normalisation by the batch, dropout), else of an evaluation.
    """

    def __init__(self, model: Any, *, training_only: bool, group: Any = None) -> None:
        self.model, self.training_only, self.group = model, training_only, group
        self.forwards = 0
        self.names: dict[str, Any] = {}
        self.sites: dict[str, SiteTally] = {}
        self.layers: dict[str, LayerTally] = {}
        self.range: tuple[Any, Any] | None = None
        """Of each value of the model's one input."""
        self.input_shape: tuple[int, ...] | None = None
        self.several = False
        """Whether it was called with several inputs, with whole numbers, or with examples of several shapes."""
        self.means: dict[str, Any] | None = None
        """Where it is a dict: layer with weights → mean of each feature or channel that it reads, at the last call."""
        self.taps = Taps()
        self.origins = Origins()
        self._name_of: dict[int, str] = {}
        self._turns = Turns()
        self._unseen: dict[str, None] = {}
        self._traced: set[str] = set()
        self._stack: list[_Frame] = []
        self._hidden = 0
        self._counting = False
        self._patches: Patches | None = None
        self._reader = Reader(self)

    # Attaching

    def attach(self) -> None:
        """Passes are seen from now on."""
        self.names = named(self.model)
        self._name_of = {id(layer): name for name, layer in self.names.items()}
        if self._patches is None:
            self._patches = Patches(self._layer_call, self._function_call)
            self._patches.put()

    def detach(self) -> None:
        if self._patches is not None:
            self._patches.take_off()
            self._patches = None

    def note(self, line: str) -> None:
        self._unseen[line] = None

    # One pass

    def forward(self, inputs: Any, *, count: bool = True, values: Sequence[Any] | None = None) -> Any:
        """Run the model on tensors and return its outputs; no variable is written.

        count: False where the same pass was counted already. values: in place of the trainable variables' own.
        """
        mapping = [] if values is None else list(zip(self.model.trainable_variables, values, strict=True))
        kwargs = {"training": self.training_only} if self.model._call_has_training_arg else {}
        self._start(inputs, count)
        try:
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
                return self.model(inputs, **kwargs)
        finally:
            self._stack.clear()
            self._hidden = 0
            self.origins.clear()

    def _start(self, inputs: Any, count: bool) -> None:
        self.origins.clear()
        self._turns.start()
        self._stack.clear()
        self._hidden, self._counting = 0, count
        tensors = [value for value in keras.tree.flatten(inputs) if keras.ops.is_tensor(value)]
        for tensor in tensors:
            self.origins[tensor] = Origin(input=len(tensors) == 1)
        if not count:
            return
        self.forwards += 1
        self.several |= len(tensors) != 1 or not _is_float(tensors[0])
        if not self.several:
            self._see_input(as_array(tensors[0]))

    def _see_input(self, x: Any) -> None:
        shape = tuple(x.shape[1:])
        self.several |= self.input_shape not in (None, shape)
        self.input_shape = shape
        if not shape or not len(x) or self.several:
            return
        nan = np.isnan(x)
        low, high = np.where(nan, np.inf, x).min(axis=0), np.where(nan, -np.inf, x).max(axis=0)
        if self.range is not None:
            low, high = np.minimum(low, self.range[0]), np.maximum(high, self.range[1])
        self.range = low.astype(np.float64), high.astype(np.float64)

    @property
    def _inside(self) -> bool:
        return bool(self._stack)

    # One layer

    def _layer_call(
        self, original: Callable[..., Any], layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if (layer is not self.model and not self._inside) or self._hidden:
            return original(layer, *args, **kwargs)
        x = next((v for v in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(v)), None)
        name = self._name_of.get(id(layer), layer.name)
        above = self._stack[-1] if self._stack else None
        if above is not None and getattr(above.layer, "activation", None) is layer and has_weights(above.layer):
            x = self._see_layer(above, x)
            args = (x, *args[1:])
        frame = _Frame(name, layer, x, keras.src.backend.get_keras_mask(x) if x is not None else None)
        if above is not None and frame.mask is None:
            frame.mask = above.mask
        self._stack.append(frame)
        try:
            return self._called(original, frame, args, kwargs)
        finally:
            if self._stack and self._stack[-1] is frame:
                self._stack.pop()
                if above is not None:
                    above.sites += frame.sites

    def _called(
        self, original: Callable[..., Any], frame: _Frame, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        layer, x = frame.layer, frame.x
        found = identify(layer)
        if found is not None and x is not None and args and args[0] is x:
            return self._through(
                frame.name, found, x, lambda z: original(layer, z, *args[1:], **kwargs), frame.mask, call=False
            )
        if has_weights(layer) and x is not None:
            return self._weighted(original, frame, args, kwargs)
        foreign = _foreign(layer)
        if foreign is not None:
            self.note(f"{frame.name} ({type(layer).__name__}): {foreign}, its inside was not observed")
            self._hidden += 1
        try:
            output = original(layer, *args, **kwargs)
        finally:
            self._hidden -= foreign is not None
        if x is not None and keras.ops.is_tensor(output):
            self._carry(frame, args, kwargs, output)
        custom = not computes_plainly(layer) and foreign is None
        if custom and not frame.sites and output is not x and self._counting:
            self.note(
                f"{frame.name or 'the model'} ({type(layer).__name__}): no rectifier of Keras's was called in its own "
                "code; others, such as a maximum with 0, were not observed"
            )
        return output

    def _weighted(
        self, original: Callable[..., Any], frame: _Frame, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        layer = frame.layer
        activation = vars(layer).get("activation")
        plain = isinstance(activation, keras.layers.Layer) or keeps_values(activation)
        if plain or activation is None:
            output = original(layer, *args, **kwargs)
        else:
            # Keras looks it up at the layer when it has z.
            vars(layer)["activation"] = lambda z: self._activation(frame, activation, z)
            try:
                output = original(layer, *args, **kwargs)
            finally:
                vars(layer)["activation"] = activation
        return output if frame.z else self._see_layer(frame, output)

    def _activation(self, frame: _Frame, activation: Any, z: Any) -> Any:
        z = self._see_layer(frame, z)
        found = identify_function(activation)
        if found is not None:
            label = f"{frame.name}.{found[0]}" if frame.name else found[0]
            return self._through(label, found, z, activation, frame.mask, call=True)
        before = frame.sites
        h = activation(z)
        if frame.sites == before and self._counting:
            told = getattr(activation, "__name__", type(activation).__name__)
            self.note(f"{frame.name}: its activation {told} is not of the rectified-linear family, or not known")
        return h

    def _see_layer(self, frame: _Frame, z: Any) -> Any:
        """Add one call of a layer with weights to the scales; returns z to go on with."""
        frame.z = True
        name, layer, x = frame.name, frame.layer, frame.x
        past = self.origins[x]
        axis = channels_axis(layer, len(z.shape))
        if self._concrete(name, z) and _is_float(z):
            tally = self.layers.get(name)
            if tally is None:
                tally = self.layers[name] = LayerTally(int(z.shape[axis]), past.input, past.site)
            if self._counting:
                given = as_array(x)
                tally.see(given, as_array(z), str(keras.backend.standardize_dtype(z.dtype)))
                if self.means is not None:
                    own = channels_axis(layer, given.ndim)
                    others = tuple(d for d in range(given.ndim) if d != own)
                    self.means[name] = given.astype(np.float64).mean(axis=others)
            z = self.taps(z, tally.see_gradient)
        self.origins[z] = Origin(layer=name, on_input=past.input, axis=axis)
        return z

    def _carry(self, frame: _Frame, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """What stays true of the values behind a layer without a rectifier."""
        layer, x = frame.layer, frame.x
        past = self.origins[x]
        if isinstance(layer, tuple(DROPOUTS)):
            self._dropped(past, layer)
        if output is x or output in self.origins:
            return
        plain = computes_plainly(layer)
        if is_norm(layer):
            axis = channels_axis(layer, len(output.shape))
            same = past.norm is None and past.axis == axis
            made = past.layer if same else None
            on_input = made is not None and past.on_input
            self.origins[output] = Origin(layer=made, norm=frame.name, on_input=on_input, axis=axis)
        elif is_pool(layer):
            self.origins[output] = Origin(site=past.site, axis=channels_axis(layer, len(output.shape)))
        elif isinstance(layer, tuple(DROPOUTS)) and plain:
            self.origins[output] = replace(past, input=False, layer=None, norm=None)
        elif isinstance(layer, RESHAPES) and plain:
            kept = past.axis if len(output.shape) == len(x.shape) else None
            self.origins[output] = replace(past, layer=None, norm=None, on_input=False, axis=kept)
        elif isinstance(layer, layers.Permute) and plain:
            self.origins[output] = Origin(site=past.site)
        elif isinstance(layer, (*ELEMENTWISE, layers.Concatenate)) and plain:
            tensors = [v for v in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(v)]
            axes = {self.origins[v].axis for v in tensors}
            if len(axes) == 1 and len(output.shape) == len(x.shape):
                self.origins[output] = Origin(axis=axes.pop())

    def _dropped(self, past: Origin, layer: Any) -> None:
        tally = self.sites.get(past.site or "")
        if tally is not None:
            tally.dropout = next(name for kind, name in DROPOUTS.items() if isinstance(layer, kind))

    # One site

    def _function_call(
        self, found: Site, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        z = args[0] if args else None
        if self._hidden or not self._inside or not keras.ops.is_tensor(z) or not _is_float(z):
            return original(*args, **kwargs)
        inside = self._stack[-1]
        label = f"{inside.name}.{found[0]}" if inside.name else found[0]
        return self._through(label, found, z, lambda z: original(z, *args[1:], **kwargs), inside.mask, call=True)

    def _through(
        self, label: str, found: Site, z: Any, function: Callable[[Any], Any], mask: Any, *, call: bool
    ) -> Any:
        """Count what goes into a rectifier and what comes out of it."""
        if self._stack:
            self._stack[-1].sites += 1
        site = self._turns.of(label, call=call)
        past = self.origins[z]
        tally, axis = self._open(site, found, z, past)
        if tally is None:
            self._hidden += 1
            try:
                return function(z)
            finally:
                self._hidden -= 1
        chosen = _Chosen(axis, mask if self._counting else None, tuple(z.shape))
        if self._counting:
            tally.see_input(chosen(as_array(z)), int(z.shape[0]) if axis else 1)
        z = self.taps(z, lambda gradient: tally.see_gradient_of_input(chosen(gradient)))
        self._hidden += 1
        try:
            h = function(z)
        finally:
            self._hidden -= 1
        if self._counting:
            tally.see_output(chosen(as_array(h)))
        h = self.taps(h, lambda gradient: tally.see_gradient_of_output(chosen(gradient)))
        self.origins[h] = Origin(site=site, axis=axis)
        return h

    def _open(self, site: str, found: Site, z: Any, past: Origin) -> tuple[SiteTally | None, int]:
        ndim = len(z.shape)
        if not self._concrete(site, z):
            return None, 0
        if ndim == 0 or not _is_float(z) or 0 in tuple(z.shape):
            self.note(f"{site}: its input has no units (shape {tuple(z.shape)}, {z.dtype})")
            return None, 0
        axis, guessed = (past.axis, False) if past.axis is not None and past.axis < ndim else guessed_axis(ndim)
        if guessed:
            self.note(f"the unit axis of {site} was guessed: axis {axis} of a {ndim}-D tensor")
        units = int(z.shape[axis])
        tally = self.sites.get(site)
        if tally is None:
            source = self.layers.get(past.layer or "")
            upstream = source.upstream if source is not None else None
            tally = self.sites[site] = SiteTally(*found, past.layer, past.norm, upstream, axis, units)
        elif tally.units != units:
            self.note(f"{site}: its number of units changed from {tally.units} to {units} between calls")
            return None, 0
        if (past.layer, past.norm) != (tally.layer, tally.norm):
            tally.layer = tally.norm = tally.upstream = None  # not the same each time: nothing holds for all
        return tally, axis

    def _concrete(self, name: str, tensor: Any) -> bool:
        """Whether there are values to be counted: not inside a loop or function that the backend compiles."""
        if not self._counting:
            return name not in self._traced
        if not _is_symbolic(tensor):
            return True
        if name not in self._traced:
            self._traced.add(name)
            self.note(f"{name}: runs inside a function that {keras.backend.backend()} compiles; not observed")
        return False

    # What was seen

    def take(self, step: int, loss: float | None = None) -> Snapshot | None:
        """What was seen since the last take, and start anew; None where nothing was."""
        return self._reader.take(step, loss)

    def measure_update(self) -> Callable[[], None]:
        """Call before a step; what it returns, after: the next take then has the update ratio."""
        return self._reader.measure_update()

    def networks(self, *, training: bool, deep: bool) -> tuple[tuple[Network, ...], str | None]:
        """What proofs need: the model as arrays, and why it could not be read as a graph, or None."""
        return self._reader.networks(training=training, deep=deep)

    @property
    def not_observed(self) -> tuple[str, ...]:
        """What could not be seen, one line each."""
        never = []
        if self.forwards:
            labels = {site.partition("@")[0] for site in self.sites}
            noted = {line.split(":")[0].split(" (")[0] for line in self._unseen}
            never = [
                f"{name} ({type(layer).__name__}): not called on what was seen"
                for name, layer in self.names.items()
                if identify(layer) is not None and name not in labels and name not in noted
            ]
        return (*self._unseen, *never)


class _Chosen:
    """An array with its units on the last axis, and without the positions that a mask hides."""

    def __init__(self, axis: int, mask: Any, shape: tuple[int, ...]) -> None:
        self._axis, self._mask = axis, None
        if mask is not None and keras.ops.is_tensor(mask) and not _is_symbolic(mask):
            held = np.asarray(keras.ops.convert_to_numpy(mask)).astype(bool)
            if held.shape == shape[:-1] and axis == len(shape) - 1:
                self._mask = held

    def __call__(self, x: Any) -> Any:
        x = np.moveaxis(x, self._axis, -1)
        return x if self._mask is None else x[self._mask]


def _is_float(tensor: Any) -> bool:
    return "float" in str(keras.backend.standardize_dtype(tensor.dtype))


def _is_symbolic(tensor: Any) -> bool:
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return isinstance(tensor, jax.core.Tracer)
    return backend == "tensorflow" and not hasattr(tensor, "numpy")


def _foreign(layer: Any) -> str | None:
    """Why the inside of a layer cannot be looked at, or None."""
    if isinstance(layer, keras.layers.RNN):
        return "a recurrent layer"
    if type(layer).__name__ in ("TorchModuleWrapper", "JaxLayer", "FlaxLayer", "NnxLayer", "TFSMLayer"):
        return "a model of another framework"
    if getattr(layer, "quantization_mode", None) is not None:
        return "quantised"
    return None
