"""Watching a model run: hooks on its modules and a mode that sees its functional calls, turned into plain arrays.

Nothing here changes a value: hooks return None, sums are made on the side, and no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from ..._family import family
from ...checkup.network import Network
from ...checkup.records import Snapshot
from .distributed import alone, total
from .flat import identify_flat, identify_flat_call, see_flat
from .inside import Inside, look_inside
from .kinds import (
    computes_plainly,
    has_weights,
    is_activation_like,
    is_norm,
    is_opaque,
    unit_axis,
)
from .masks import Positions, padding
from .naming import Names, join, recomputing
from .provenance import DROPOUTS, FOREIGN_CALLS, Held, Origin, Origins, name_of
from .reading import Reader
from .recurrent import is_recurrent, not_seen, outputs_of
from .sites import identify, identify_call
from .spellings import JUMP, spelled
from .tally import LayerTally, SiteTally

__all__ = ["Observer"]

Hook = Callable[..., None]

#: Our own arithmetic in a hook is not a call of the model: the mode need not see it.
_aside = torch._C.DisableTorchFunction


class _Calls(TorchFunctionMode):
    """Hands every call of a PyTorch function made inside the model to the observer."""

    def __init__(self, seen: Callable[..., Any]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._seen(func, args, kwargs or {})


@dataclass(frozen=True)
class _Open:
    """A site between its input and its output."""

    site: str
    axis: int
    positions: Positions | None
    before: Held


class Observer:
    """Sees every site and layer of ``model`` while it runs; :meth:`take` gives what was seen since the last take.

    training_only: look at forward passes in training mode and with gradients only (``watch``), so that a validation
    pass in between is not mixed in.
    group: processes over which every take sums the counts (see :mod:`.distributed`); all of them must take together.
    """

    def __init__(self, model: nn.Module, *, training_only: bool, group: Any = None) -> None:
        self.model = model
        self.training_only = training_only
        self.group = group
        self.forwards = 0
        self.passes = 0
        """Of these, those that were looked at and came to an end."""
        self.on_forward: Callable[[], None] | None = None
        self.names: dict[str, nn.Module] = {}
        self.sites: dict[str, SiteTally] = {}
        self.layers: dict[str, LayerTally] = {}
        self.ranges: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.input_shape: tuple[int, ...] | None = None
        self.largest_batch = 0
        self.origins = Origins()
        self._reader = Reader(self)
        self._unseen: dict[str, None] = {}
        self._entry: RemovableHandle | None = None
        self._handles: list[RemovableHandle] = []
        self._parts: list[tuple[nn.Module, Hook, Hook]] = []
        self._mode: _Calls | None = None
        self._stack: list[tuple[str, nn.Module, _Open | None, Positions | None]] = []
        self._names = Names()
        self._became: dict[str, str] = {}
        self._eager: Any = None
        self._gathered = False
        self.by_modules = True
        """Whether the gates of every site so far are those of all values that one module at a time is given."""
        self._insides: list[Inside] = []
        self._proofs: tuple[Network, ...] = ()
        self._activations: dict[str, str] = {}
        self._hidden = 0
        self._depth = 0

    # Attaching

    def attach(self) -> None:
        """Put the hooks on. Insides of scripted and compiled modules are left alone, and named as not observed."""
        self.stand_by()
        self.look()

    def detach(self) -> None:
        if self._entry is not None:
            self._entry.remove()
            self._entry = None
        self.rest()

    def stand_by(self) -> None:
        """Count forward passes and call ``on_forward`` before each, without a look inside."""
        # The model's own hooks go round the others: first before, last after.
        if self._entry is None:
            self._entry = self.model.register_forward_pre_hook(self._enter_model, with_kwargs=True)

    def look(self) -> None:
        """Look inside from the next forward pass on (or, called by ``on_forward``, from this one on)."""
        if not self._parts:
            self._walk("", self.model)
        for inside in self._insides:
            inside.install()
        for module, before, after in self._parts:
            self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            # always_call: the stack of modules must come down also when the user's forward raises
            self._handles.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))
        self._handles.append(self.model.register_forward_hook(self._leave_model, with_kwargs=True, always_call=True))

    def rest(self) -> None:
        """Look inside no more; not to be called in the middle of a forward pass."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for inside in self._insides:
            inside.remove()
        if self._eager is not None:
            self._eager.__exit__(None, None, None)
            self._eager = None
        self._stack.clear()
        self._mode_off()
        self._depth = 0

    def _walk(self, name: str, module: nn.Module) -> None:
        # Depth first by hand: modules() would go inside what must be left alone.
        if name in self.names or any(known is module for known in self.names.values()):
            return
        reason = is_opaque(module)
        if reason == "compiled" and not self.training_only:
            # One look runs it eagerly: the same weights, and all is seen.
            if self._eager is None:
                self._eager = torch.compiler.set_stance("force_eager")
            inner = getattr(module, "_orig_mod", None)
            if isinstance(inner, nn.Module):
                self._walk(name, inner)
                return
        elif reason is not None:
            inside = look_inside(self, name, module) if reason == "compiled" else None
            if inside is None:
                self._note(f"{name or type(module).__name__}: {reason}, its inside cannot be seen")
            else:
                self._insides.append(inside)
                self.by_modules = False
                self.names |= inside.inner
            if reason == "compiled":
                self._hook(name, module, self._enter_opaque, self._leave_opaque)
            return
        if isinstance(module, ParametrizationList):
            # What makes a weight is no part of the network, whatever functions it calls.
            self._hook(name, module, self._enter_hidden, self._leave_hidden)
            return
        self.names[name] = module
        if identify(module) is not None or identify_flat(module) is not None:
            self._activations[name] = type(module).__name__
        elif is_activation_like(module) and not is_recurrent(module):
            self._note(f"{name or 'the model'} ({type(module).__name__}): not of the rectified-linear family")
        self._hook(name, module, self._enter, self._leave)
        for child, submodule in module.named_children():
            self._walk(f"{name}.{child}" if name else child, submodule)

    def _hook(self, name: str, module: nn.Module, before: Hook, after: Hook) -> None:
        # kwargs: PyTorch leaves them out for a hook taken off by one that ran before it, as ``on_forward`` may do.
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
            if self._looking:
                with _aside():
                    before(name, module, args, kwargs or {})

        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self._looking:
                with _aside():
                    after(name, module, args, kwargs, output)

        self._parts.append((module, enter, leave))

    def _note(self, line: str) -> None:
        self._unseen[line] = None

    # The model as a whole

    @property
    def _looking(self) -> bool:
        return self._depth > 0

    def _enter_model(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.training_only and not (self.model.training and torch.is_grad_enabled()):
            return
        if self._depth:
            self._depth += 1
            return
        resting = not self._handles
        if self.on_forward is not None:
            self.on_forward()
        self.forwards += 1
        if not self._handles:
            return
        self._depth = 1
        self._stack.clear()
        self._names.start()
        self.origins.clear()
        self._hidden = 0
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        for place, value in enumerate(inputs):
            self.origins[value] = Origin(input=len(inputs) == 1, makers=frozenset({f"input {place}"}))
        if len(inputs) == 1:
            self.input_shape = tuple(inputs[0].shape[1:])
            self.largest_batch = max(self.largest_batch, *inputs[0].shape[:1])
        self._mode_on()
        if resting and self._parts and self._parts[0][0] is module:  # too late for PyTorch to call it
            self._parts[0][1](module, args, kwargs)

    def _leave_model(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
            self.passes += output is not None  # an exception leaves none
            self._mode_off()
            self.origins.clear()

    def _mode_on(self) -> None:
        self._mode = _Calls(self._call)
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def _mode_off(self) -> None:
        if self._mode is not None:
            mode, self._mode = self._mode, None
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _enter_opaque(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        # A mode that is on while a graph is compiled would be compiled into it.
        self._mode_off()

    def _leave_opaque(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._mode is None:
            self._mode_on()

    def _enter_hidden(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._hidden += 1

    def _leave_hidden(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._hidden = max(0, self._hidden - 1)

    # One module, one call

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        site = None
        if name in self._activations:
            found = identify(module) or identify_flat(module)
            z = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
            if found is not None and z is not None and not self._hidden:
                site = self._open(name or type(module).__name__, found[0], found[1], z)
            self._hidden += 1
        positions = padding(module, args, kwargs, root=module is self.model)
        self._stack.append((name, module, site, positions))

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self._stack or self._stack[-1][1] is not module:
            return
        site = self._stack.pop()[2]
        if name in self._activations:
            self._hidden -= 1
        if is_recurrent(module):
            self._recurrent(name, module, output)
        x = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
        if x is None or not isinstance(output, torch.Tensor):
            return
        if site is not None:
            self._close(site, output)
        elif has_weights(module):
            self._layer(name, module, x, output)
        elif is_norm(module):
            self._norm(name, module, x, output)
        elif self._is_unknown(module, x, output):
            kind = type(module).__name__
            self._note(f"{name} ({kind}): maps each value and is not known; its gates were not observed")

    def _is_unknown(self, module: nn.Module, x: torch.Tensor, output: torch.Tensor) -> bool:
        if type(module).__module__.startswith(("torch.", "rectifier.")) or module is self.model:
            return False
        leaf = next(module.children(), None) is None and next(module.parameters(), None) is None
        origin = self.origins[output]
        silent = origin.site is None and origin.layer is None and origin.norm is None and not origin.input
        silent = silent and output is not x
        return leaf and silent and output.shape == x.shape and x.is_floating_point()

    def _recurrent(self, name: str, module: nn.Module, output: Any) -> None:
        """A ReLU inside PyTorch's one call for a recurrent layer: h = relu(z) is seen, z is not."""
        label = name or type(module).__name__
        h, inputs = outputs_of(module, output)
        if h is None or self._hidden:
            return
        for line in not_seen(label, module):
            self._note(line)
        self.origins[h] = Origin(axis=-1, makers=frozenset({f"recurrent {label}"}))
        site = self._open(label, "relu", {}, h, rows=inputs, watch_gradient=False)
        if site is not None:
            self._tally(site.site).see_output(self._chosen(h.detach(), site.positions))

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if self._hidden:
            return self.origins.call(func, args, kwargs)
        found = identify_call(func, args, kwargs) or identify_flat_call(func, args, kwargs)
        z = args[0] if args else kwargs.get("input", kwargs.get("x"))
        seen = None
        if found is None or not isinstance(z, torch.Tensor):
            name = name_of(func)
            other = spelled(func, name, args, kwargs, self.origins)
            if not isinstance(other, tuple):
                if other:
                    self._spelled(name)
                self._foreign(name)
                if name in DROPOUTS and isinstance(z, torch.Tensor):
                    dropped = self.sites.get(self.origins[z].site or "")
                    if dropped is not None:
                        dropped.dropout = name
                result = self.origins.call(func, args, kwargs)
                return self._scattered(name, args, kwargs, result)
            found, z, seen = other[:2], other[2], other[3]
        site = self._open(self._inside(found[0]), found[0], found[1], z, seen=seen, call=True)
        past = self.origins[z]
        self._hidden += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self._hidden -= 1
        if site is not None and isinstance(result, torch.Tensor):
            self._close(site, result)
        elif past.picked and isinstance(result, torch.Tensor):
            self.origins[result] = Origin(axis=past.axis, picked=True)
        return result

    def _inside(self, name: str) -> str:
        inside = self._stack[-1][0] if self._stack else ""
        return f"{inside}.{name}" if inside else name

    def _scattered(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Any:
        """Zeros into which picked values were scattered: the latents of a TopK autoencoder, open where not 0."""
        index = args[2] if len(args) > 2 else kwargs.get("index")
        if name != "scatter" or not isinstance(index, torch.Tensor) or not isinstance(result, torch.Tensor):
            return result
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if self.origins[index].picked and dim in (-1, result.ndim - 1) and result.is_floating_point():
            self.origins[result] = Origin(axis=-1)
            site = self._open(self._inside("topk"), "relu", {}, result, call=True, watch_gradient=False)
            if site is not None:
                self._close(site, result)
        return result

    def _spelled(self, name: str) -> None:
        inside, module = self._stack[-1][:2] if self._stack else ("", self.model)
        where = inside or type(module).__name__
        self._note(f"{where}: calls {name}, which may be a rectifier by another name; its gates were not observed")

    def _foreign(self, name: str) -> None:
        if name not in FOREIGN_CALLS:
            return
        inside, module = self._stack[-1][:2] if self._stack else ("", self.model)
        if not is_activation_like(module):
            self._note(f"{inside or type(module).__name__}: calls {name}, which is not of the rectified-linear family")

    # One site

    def _open(
        self,
        label: str,
        row: str,
        parameters: dict[str, Any],
        z: torch.Tensor,
        *,
        seen: torch.Tensor | None = None,
        rows: int | None = None,
        call: bool = False,
        watch_gradient: bool = True,
    ) -> _Open | None:
        """Count what comes in. seen: what is counted in place of z; rows: independent samples where they are not the
        first axis. None where nothing can be counted."""
        past = self.origins[z]
        if recomputing() or z.numel() == 0:
            return None
        site, again, others = self._names.of(label, past.makers, call=call)
        if z.ndim == 0 or not z.is_floating_point():
            self._note(f"{site}: its input has no units (shape {tuple(z.shape)}, {z.dtype})")
            return None
        if past.picked:
            self._note(f"{site}: its input was sorted or picked, so its places are ranks, not units; not observed")
            return None
        axis, guessed = unit_axis(z, past.axis)
        if guessed:
            self._note(f"the unit axis of {site} was guessed: axis {axis} of a {z.ndim}-D tensor")
        tally = self.sites.get(site)
        if tally is None:
            self._became.pop(site, None)
            source = self.layers.get(past.layer) if past.layer else None
            upstream = source.upstream if source is not None else None
            kind = "relu" if row == JUMP else row
            tally = SiteTally(kind, parameters, past.layer, past.norm, upstream, axis, z.shape[axis], z.device)
            self.sites[site] = tally
        elif tally.units != z.shape[axis]:
            self._note(f"{site}: its number of units changed from {tally.units} to {z.shape[axis]} between calls")
            return None
        self._join(site, others)
        if others and past.makers is None:
            self._note(f"{site}: more than {len(others)} calls a pass on values not followed; counted as one site")
        if seen is not None or (past.layer, past.norm) != (tally.layer, tally.norm):
            tally.layer = tally.norm = tally.upstream = None  # not the same each time: nothing holds for all
        tally.on_input &= past.on_input and past.layer is not None and past.layer == tally.layer
        positions = self._positions(z, axis)
        self.by_modules &= not again and positions is None and watch_gradient and row in family
        opened = _Open(site, axis, positions, Held.now(z))
        rows = 0 if again else rows if rows is not None else self._samples(z, axis)
        self._see(tally, opened, (z if seen is None else seen).detach(), rows)
        if watch_gradient and z.requires_grad and torch.is_grad_enabled():
            z.register_hook(partial(self._gradient, opened, "see_gradient_of_input"))  # type: ignore[no-untyped-call]
        return opened

    def _see(self, tally: SiteTally, opened: _Open, z: torch.Tensor, rows: int) -> None:
        chosen = self._chosen(z, opened.positions)
        tally.axis = opened.axis if chosen is z else chosen.ndim - 1
        inputs = tally.inputs + rows  # later turns of a loop are about the same inputs, and a chosen row is a token
        tally.see_input(chosen)
        tally.inputs = inputs
        see_flat(tally, chosen)

    def _samples(self, z: torch.Tensor, axis: int) -> int:
        """Independent samples: the first axis, or the second where an attention layer round it has tokens first."""
        frames = (getattr(frame[1], "self_attn", None) for frame in reversed(self._stack))
        attention = next((found for found in frames if found is not None), None)
        tokens_first = getattr(attention, "batch_first", True) is False and z.ndim == 3
        return z.shape[1 if tokens_first else 0] if axis else 1  # units first: one sample without a batch

    @staticmethod
    def _chosen(z: torch.Tensor, positions: Positions | None) -> torch.Tensor:
        return z if positions is None else positions.of(z)

    def _positions(self, z: torch.Tensor, axis: int) -> Positions | None:
        """Where z holds data, as the innermost module that was told, and whose tokens these are, was told."""
        held = (frame[3] for frame in reversed(self._stack) if frame[3] is not None)
        return next((positions for positions in held if positions.fits(z, axis)), None)

    def _join(self, site: str, others: list[str]) -> None:
        """A loop was found out: what its turns were counted as becomes one site."""
        for name in others:
            self._became[name] = site
            other = self.sites.pop(name, None)
            if other is not None and other.units == self.sites[site].units:
                join(self.sites[site], other)

    def _tally(self, site: str) -> SiteTally:
        return self.sites[self._became.get(site, site)]

    def _gradient(self, opened: _Open, method: str, gradient: torch.Tensor) -> None:
        chosen = self._chosen(gradient.detach(), opened.positions)
        getattr(self._tally(opened.site), method)(chosen)

    def _close(self, opened: _Open, h: torch.Tensor) -> None:
        self._tally(opened.site).see_output(self._chosen(h.detach(), opened.positions))
        if h.requires_grad and torch.is_grad_enabled():
            h.register_hook(partial(self._gradient, opened, "see_gradient_of_output"))  # type: ignore[no-untyped-call]
        label = opened.site.partition("@")[0]
        self.origins[h] = Origin(
            site=self._became.get(opened.site, opened.site),
            axis=opened.axis - h.ndim,
            makers=frozenset({label.partition("#")[0]}),
            before=opened.before,
        )

    def _layer(self, name: str, module: nn.Module, x: torch.Tensor, z: torch.Tensor) -> None:
        if not z.is_floating_point() or not x.is_floating_point() or recomputing():
            return
        past = self.origins[x]
        tally = self.layers.get(name)
        if tally is None:
            axis = self._axis_of(module)
            tally = LayerTally(name, z.shape[axis], past.input, past.site, z.device)
            self.layers[name] = tally
        tally.see(x.detach(), z.detach())
        if past.input:
            self._range(name, module, x.detach())
        if z.requires_grad and torch.is_grad_enabled():
            # Detached: the gradient may have one itself, and its graph must not be kept.
            z.register_hook(lambda gradient: tally.see_gradient(gradient.detach()))  # type: ignore[no-untyped-call]
        # A forward of another make, or a hook that put something else in place, is no longer W·x + b.
        exact = computes_plainly(module) and self.origins[z].made
        self.origins[z] = Origin(
            layer=name if exact else None,
            on_input=exact and past.input,
            axis=self._axis_of(module),
            makers=frozenset({f"layer {name}"}),
        )

    def _norm(self, name: str, module: nn.Module, x: torch.Tensor, z: torch.Tensor) -> None:
        past, seen = self.origins[x], self.origins[z]
        if not (seen.made and computes_plainly(module)):
            return
        # Units of the layer and channels of the normalisation must be the same.
        same = past.norm is None and past.axis == 1 - x.ndim
        layer = past.layer if same else None
        on_input = layer is not None and past.on_input
        self.origins[z] = replace(seen, layer=layer, norm=name, on_input=on_input, made=False)

    @staticmethod
    def _axis_of(module: nn.Module) -> int:
        return -1 if isinstance(module, nn.Linear) else -1 - len(module.kernel_size)  # type: ignore[arg-type]

    def _range(self, name: str, module: nn.Module, x: torch.Tensor) -> None:
        if x.numel() == 0 or not x.is_floating_point():
            return
        axis = x.ndim + self._axis_of(module)
        others = tuple(d for d in range(x.ndim) if d != axis)
        low, high = (x.amin(dim=others), x.amax(dim=others)) if others else (x, x)
        # NaN goes through to the ends, so on a CPU they tell; elsewhere asking would wait for the device.
        if x.device.type != "cpu" or bool(torch.isnan(low).any()):
            nan = torch.isnan(x)
            low, high = x.masked_fill(nan, torch.inf), x.masked_fill(nan, -torch.inf)
            low, high = (low.amin(dim=others), high.amax(dim=others)) if others else (low, high)
        if name in self.ranges:
            low, high = torch.minimum(low, self.ranges[name][0]), torch.maximum(high, self.ranges[name][1])
        self.ranges[name] = (low, high)

    # What was seen

    def take(self, step: int, loss: float | None = None) -> Snapshot | None:
        """What was seen since the last take, and start anew; None where nothing was."""
        self.gather()
        self._gathered = False
        snapshot = self._reader.take(step, loss)
        if self.group is not None:
            self._proofs = self._reader.networks(training=self.training_only, deep=False)[0]
        return snapshot

    def gather(self) -> None:
        """Bring the counts together, those of compiled graphs and of other processes, before they are read."""
        if self._gathered:
            return
        self._gathered = True
        for inside in self._insides:
            inside.collect()
        if self.group is not None:
            # In a training the loss is of a share of the batch, and DDP and FSDP take the mean over the shares.
            total(self, self.group, average=self.training_only)

    def networks(self, *, training: bool, deep: bool) -> tuple[tuple[Network, ...], str | None]:
        """What proofs need: the model as arrays, and why it could not be traced, or None.

        With several processes the first layers alone, as they were at the last take: sharded weights can only be read
        by all at once.
        """
        if self.group is not None:
            return self._proofs, None
        return self._reader.networks(training=training, deep=deep)

    @property
    def notes(self) -> dict[str, None]:
        """What was noted as not observed, in order."""
        return self._unseen

    @property
    def weight_gradients(self) -> dict[str, list[torch.Tensor]]:
        """layer → mean squares of ∂loss/∂W since the last take."""
        return self._reader._gradients

    def measure_update(self) -> Callable[[], None]:
        """Call before a step; what it returns, after: the next take then has the update ratio."""
        return self._reader.measure_update()

    def see_weight_gradients(self, gradients: Mapping[str, torch.Tensor] | None = None) -> None:
        """Take ∂loss/∂W from these (layer → gradient), or from ``.grad``."""
        self._reader.see_weight_gradients(gradients)

    @property
    def not_observed(self) -> tuple[str, ...]:
        """What could not be seen, one line each."""
        never = []
        if self.forwards:
            labels = {site.partition("@")[0] for site in self.sites}
            noted = {line.split(":")[0].split(" (")[0] for line in self._unseen}
            never = [
                f"{name} ({kind}): not called on what was seen"
                for name, kind in self._activations.items()
                if (name or kind) not in labels and (name or kind) not in noted
            ]
        return (*self._unseen, *never, *alone(self.group))
