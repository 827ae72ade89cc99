"""Watching a model run: hooks on its modules and a mode that sees its functional calls, turned into plain arrays.

Nothing here changes a value: hooks return None, sums are made on the side, and no random number is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from ...checkup.network import Network
from ...checkup.records import Snapshot
from .provenance import (
    FOREIGN_CALLS,
    Origin,
    Origins,
    computes_plainly,
    has_weights,
    is_activation_like,
    is_norm,
    is_opaque,
    name_of,
    unit_axis,
)
from .reading import Reader
from .sites import identify, identify_call
from .spellings import spelled
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


class Observer:
    """Sees every site and layer of ``model`` while it runs; :meth:`take` gives what was seen since the last take.

    training_only: look at forward passes in training mode only (``watch``), so that a validation pass in between
    is not mixed in.
    """

    def __init__(self, model: nn.Module, *, training_only: bool) -> None:
        self.model = model
        self.training_only = training_only
        self.forwards = 0
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
        self._handles: list[RemovableHandle] = []
        self._mode: _Calls | None = None
        self._stack: list[tuple[str, nn.Module, str | None]] = []
        self._counts: Counter[str] = Counter()
        self._activations: dict[str, str] = {}
        self._hidden = 0
        self._depth = 0

    # Attaching

    def attach(self) -> None:
        """Put the hooks on. Insides of scripted and compiled modules are left alone, and named as not observed."""
        # The model's own hooks go round the others: first before, last after.
        self._handles.append(self.model.register_forward_pre_hook(self._enter_model, with_kwargs=True))
        self._walk("", self.model)
        self._handles.append(self.model.register_forward_hook(self._leave_model, with_kwargs=True, always_call=True))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._stack.clear()
        self._mode_off()
        self._depth = 0

    def _walk(self, name: str, module: nn.Module) -> None:
        # Depth first by hand: modules() would go inside what must be left alone.
        if name in self.names or any(known is module for known in self.names.values()):
            return
        reason = is_opaque(module)
        if reason is not None:
            self._note(f"{name or type(module).__name__}: {reason}, its inside cannot be seen")
            if reason == "compiled":
                self._hook(name, module, self._enter_opaque, self._leave_opaque)
            return
        if isinstance(module, ParametrizationList):
            # What makes a weight is no part of the network, whatever functions it calls.
            self._hook(name, module, self._enter_hidden, self._leave_hidden)
            return
        self.names[name] = module
        if identify(module) is not None:
            self._activations[name] = type(module).__name__
        elif is_activation_like(module):
            self._note(f"{name or 'the model'} ({type(module).__name__}): not of the rectified-linear family")
        self._hook(name, module, self._enter, self._leave)
        for child, submodule in module.named_children():
            self._walk(f"{name}.{child}" if name else child, submodule)

    def _hook(self, name: str, module: nn.Module, before: Hook, after: Hook) -> None:
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._looking:
                with _aside():
                    before(name, module, args, kwargs)

        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self._looking:
                with _aside():
                    after(name, module, args, kwargs, output)

        self._handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        # always_call: the stack of modules must come down also when the user's forward raises
        self._handles.append(module.register_forward_hook(leave, with_kwargs=True, always_call=True))

    def _note(self, line: str) -> None:
        self._unseen[line] = None

    # The model as a whole

    @property
    def _looking(self) -> bool:
        return self._depth > 0

    def _enter_model(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.training_only and not self.model.training:
            return
        self._depth += 1
        if self._depth > 1:
            return
        if self.on_forward is not None:
            self.on_forward()
        self.forwards += 1
        self._stack.clear()
        self._counts.clear()
        self.origins.clear()
        self._hidden = 0
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        if len(inputs) == 1:
            self.origins[inputs[0]] = Origin(input=True)
            self.input_shape = tuple(inputs[0].shape[1:])
            self.largest_batch = max(self.largest_batch, *inputs[0].shape[:1])
        self._mode_on()

    def _leave_model(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
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
            found = identify(module)
            z = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
            if found is not None and z is not None and not self._hidden:
                label = name or type(module).__name__
                site = self._open(self._nth(label), found[0], found[1], z)
            self._hidden += 1
        self._stack.append((name, module, site))

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self._stack or self._stack[-1][1] is not module:
            return
        site = self._stack.pop()[2]
        if name in self._activations:
            self._hidden -= 1
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

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        found = None if self._hidden else identify_call(func, args, kwargs)
        z = args[0] if args else kwargs.get("input", kwargs.get("x"))
        if found is None or not isinstance(z, torch.Tensor):
            name = name_of(func)
            other = False if self._hidden else spelled(func, name, args, kwargs, self.origins)
            if not isinstance(other, tuple):
                if other:
                    self._spelled(name)
                self._foreign(name)
                return self.origins.call(func, args, kwargs)
            found, z = other[:2], other[2]
        inside = self._stack[-1][0] if self._stack else ""
        label = f"{inside}.{found[0]}" if inside else found[0]
        site = self._open(self._nth(label, always=True), found[0], found[1], z)
        self._hidden += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self._hidden -= 1
        if site is not None and isinstance(result, torch.Tensor):
            self._close(site, result)
        return result

    def _spelled(self, name: str) -> None:
        inside, module = self._stack[-1][:2] if self._stack else ("", self.model)
        where = inside or type(module).__name__
        self._note(f"{where}: calls {name}, which may be a rectifier by another name; its gates were not observed")

    def _foreign(self, name: str) -> None:
        if name not in FOREIGN_CALLS or self._hidden:
            return
        inside, module = self._stack[-1][:2] if self._stack else ("", self.model)
        if not is_activation_like(module):
            self._note(f"{inside or type(module).__name__}: calls {name}, which is not of the rectified-linear family")

    def _nth(self, label: str, *, always: bool = False) -> str:
        n = self._counts[label]
        self._counts[label] += 1
        if always:
            return f"{label}#{n}"
        return label if n == 0 else f"{label}@{n}"

    def _open(self, site: str, row: str, parameters: dict[str, Any], z: torch.Tensor) -> str | None:
        if z.ndim == 0 or not z.is_floating_point():
            self._note(f"{site}: its input has no units (shape {tuple(z.shape)}, {z.dtype})")
            return None
        if z.numel() == 0:
            return None
        past = self.origins[z]
        axis, guessed = unit_axis(z, past.axis)
        if guessed:
            self._note(f"the unit axis of {site} was guessed: axis {axis} of a {z.ndim}-D tensor")
        tally = self.sites.get(site)
        if tally is None:
            source = self.layers.get(past.layer) if past.layer else None
            upstream = source.upstream if source is not None else None
            tally = SiteTally(row, parameters, past.layer, past.norm, upstream, axis, z.shape[axis], z.device)
            self.sites[site] = tally
        elif tally.units != z.shape[axis]:
            self._note(f"{site}: its number of units changed from {tally.units} to {z.shape[axis]} between calls")
            return None
        tally.axis = axis
        if (past.layer, past.norm) != (tally.layer, tally.norm):  # not the same each time: nothing holds for all
            tally.layer = tally.norm = tally.upstream = None
        tally.on_input &= past.on_input and past.layer is not None and past.layer == tally.layer
        seen = z.detach()
        tally.see_input(seen)
        if z.requires_grad and torch.is_grad_enabled():
            z.register_hook(tally.see_gradient_of_input)  # type: ignore[no-untyped-call]
        return site

    def _close(self, site: str, h: torch.Tensor) -> None:
        tally = self.sites[site]
        tally.see_output(h.detach())
        if h.requires_grad and torch.is_grad_enabled():
            h.register_hook(tally.see_gradient_of_output)  # type: ignore[no-untyped-call]
        self.origins[h] = Origin(site=site, axis=tally.axis - h.ndim)

    def _layer(self, name: str, module: nn.Module, x: torch.Tensor, z: torch.Tensor) -> None:
        if not z.is_floating_point() or not x.is_floating_point():
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
            z.register_hook(tally.see_gradient)  # type: ignore[no-untyped-call]
        # A forward of another make, or a hook that put something else in place, is no longer W·x + b.
        exact = computes_plainly(module) and self.origins[z].made
        self.origins[z] = Origin(
            layer=name if exact else None, on_input=exact and past.input, axis=self._axis_of(module)
        )

    def _norm(self, name: str, module: nn.Module, x: torch.Tensor, z: torch.Tensor) -> None:
        past, seen = self.origins[x], self.origins[z]
        if not (seen.made and computes_plainly(module)):
            return
        # Units of the layer and channels of the normalisation must be the same.
        same = past.norm is None and past.axis == 1 - x.ndim
        layer = past.layer if same else None
        self.origins[z] = Origin(layer=layer, norm=name, on_input=layer is not None and past.on_input, axis=seen.axis)

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
        return self._reader.take(step, loss)

    def networks(self, *, training: bool, deep: bool) -> tuple[tuple[Network, ...], str | None]:
        """What proofs need: the model as arrays, and why it could not be traced, or None."""
        return self._reader.networks(training=training, deep=deep)

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
        return (*self._unseen, *never)
