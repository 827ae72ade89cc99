"""Watching a model run: hooks on its modules and a mode that sees its functional calls, turned into plain arrays.

Nothing here changes a value: hooks return None, sums are made on the side, and no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ....checkup.proofs.network import Network
from ....checkup.records import Snapshot
from ..sites import identify, identify_call
from .calls import NOT_ONE, Calls, aside, differs
from .distributed import alone, total
from .flat import identify_flat, identify_flat_call
from .gates import Gates, Open
from .kinds import has_weights, is_activation_like, is_norm
from .layers import see_input, see_layer, see_norm
from .masks import Positions, padding
from .parts import Parts
from .provenance import DROPOUTS, FOREIGN_CALLS, Origin, Origins, name_of
from .reading import Reader
from .recurrent import is_recurrent
from .spellings import spelled
from .tally import LayerTally, SiteTally

__all__ = ["Observer"]

Hook = Callable[..., None]


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
        self.calls_differ: str | None = None
        """Why one trace of the model does not tell what all of its calls computed, or None."""
        self.with_gradients = True
        """Whether the last pass was one with gradients."""
        self.largest_batch = 0
        self.origins = Origins()
        self._reader = Reader(self)
        self._unseen: dict[str, None] = {}
        self._entry: RemovableHandle | None = None
        self._handles: list[RemovableHandle] = []
        self._parts: Parts | None = None
        self._hooks: list[tuple[nn.Module, Hook, Hook]] = []
        self.walks = 0
        """How often other modules than before were found in the model."""
        self._mode: Calls | None = None
        self._stack: list[tuple[str, nn.Module, Open | None, Positions | None]] = []
        self.gates = Gates(self)
        self._eager: Any = None
        self._gathered = False
        self._proofs: tuple[Network, ...] = ()
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
        self._note_changes()

    def stand_by(self) -> None:
        """Count forward passes and call ``on_forward`` before each, without a look inside."""
        # The model's own hooks go round the others: first before, last after.
        if self._entry is None:
            self._entry = self.model.register_forward_pre_hook(self._enter_model, with_kwargs=True)

    def look(self) -> None:
        """Look inside from the next forward pass on (or, called by ``on_forward``, from this one on)."""
        parts = self._found()
        if parts.eager and self._eager is None:
            self._eager = torch.compiler.set_stance("force_eager")
        for inside in parts.insides:
            inside.install()
        for module, before, after in self._hooks:
            self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            # always_call: the stack of modules must come down also when the user's forward raises
            self._handles.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))
        self._handles.append(self.model.register_forward_hook(self._leave_model, with_kwargs=True, always_call=True))

    def rest(self) -> None:
        """Look inside no more; not to be called in the middle of a forward pass."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._parts is not None:
            for inside in self._parts.insides:
                inside.remove()
        if self._eager is not None:
            self._eager.__exit__(None, None, None)
            self._eager = None
        self._stack.clear()
        self._mode_off()
        self._depth = 0

    def _found(self) -> Parts:
        """The model's modules as they are now; where others stand than at the look before, that is told."""
        parts = self._parts
        changed = self._note_changes()
        if parts is None or changed:
            if parts is not None:
                for inside in parts.insides:
                    inside.collect()
                self._reader.forget(changed)
                self.walks += 1
            parts = self._parts = Parts(self)
            self.names = {**self.names, **parts.names}  # what was taken out has sums that are still to be read
            ways = {
                "plain": (self._enter, self._leave),
                "opaque": (self._enter_opaque, self._leave_opaque),
                "hidden": (self._enter_hidden, self._leave_hidden),
            }
            self._hooks = [(module, *self._hook(name, *ways[role])) for name, module, role in parts.roles]
        return parts

    def _note_changes(self) -> list[str]:
        changed = self._parts.changed() if self._parts is not None else []
        for name in changed:
            self._note(f"{name}: replaced or taken out while it was observed; not seen from then to the next look")
        return changed

    def _hook(self, name: str, before: Hook, after: Hook) -> tuple[Hook, Hook]:
        # kwargs: PyTorch leaves them out for a hook taken off by one that ran before it, as ``on_forward`` may do.
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
            if self._looking:
                with aside():
                    before(name, module, args, kwargs or {})

        def leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self._looking:
                with aside():
                    after(name, module, args, kwargs, output)

        return enter, leave

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
        self.with_gradients = torch.is_grad_enabled()
        self._stack.clear()
        self.gates.start()
        self.origins.clear()
        self._hidden = 0
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        for place, value in enumerate(inputs):
            self.origins[value] = Origin(input=len(inputs) == 1, makers=frozenset({f"input {place}"}))
        if len(inputs) == 1:
            self.calls_differ = self.calls_differ or differs(self.model, inputs[0], self.input_shape, args, kwargs)
            self.input_shape = tuple(inputs[0].shape[1:])
            with aside():
                see_input(self, inputs[0])
            self.largest_batch = max(self.largest_batch, *inputs[0].shape[:1])
        else:
            self.calls_differ = self.calls_differ or NOT_ONE
        self._mode_on()
        if resting and self._hooks and self._hooks[0][0] is module:  # too late for PyTorch to call it
            self._hooks[0][1](module, args, kwargs)

    def _leave_model(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
            self.passes += output is not None  # an exception leaves none
            self._mode_off()
            self.origins.clear()

    def _mode_on(self) -> None:
        self._mode = Calls(self._call)
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
        if self._parts is not None and name in self._parts.activations:
            found = identify(module) or identify_flat(module)
            z = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
            if found is not None and z is not None and not self._hidden:
                site = self.gates.open(name or type(module).__name__, found[0], found[1], z)
            self._hidden += 1
        positions = padding(module, args, kwargs, root=module is self.model)
        self._stack.append((name, module, site, positions))

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self._stack or self._stack[-1][1] is not module:
            return
        site = self._stack.pop()[2]
        if self._parts is not None and name in self._parts.activations:
            self._hidden -= 1
        if is_recurrent(module):
            self.gates.recurrent(name, module, output, hidden=self._hidden > 0)
        x = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
        if x is None or not isinstance(output, torch.Tensor):
            return
        if site is not None:
            self.gates.close(site, output)
        elif has_weights(module):
            see_layer(self, name, module, x, output)
        elif is_norm(module):
            see_norm(self, name, module, x, output)
        elif self._is_unknown(module, x, output):
            kind = type(module).__name__
            self._note(f"{name} ({kind}): maps each value and is not known; its gates were not observed")

    def _is_unknown(self, module: nn.Module, x: torch.Tensor, output: torch.Tensor) -> bool:
        if type(module).__module__.startswith(("torch.", "rectifier.")) or module is self.model:
            return False
        leaf = next(module.children(), None) is None and next(module.parameters(), None) is None
        origin = self.origins[output]
        known = origin.site or origin.layer or origin.norm or origin.input or output is x
        return leaf and not known and output.shape == x.shape and x.is_floating_point()

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
                return self.gates.scattered(self._inside("topk"), name, args, kwargs, result)
            found, z, seen = other[:2], other[2], other[3]
        site = self.gates.open(self._inside(found[0]), found[0], found[1], z, seen=seen, call=True)
        past = self.origins[z]
        self._hidden += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self._hidden -= 1
        if site is not None and isinstance(result, torch.Tensor):
            self.gates.close(site, result)
        elif past.picked and isinstance(result, torch.Tensor):
            self.origins[result] = Origin(axis=past.axis, picked=True)
        return result

    def _inside(self, name: str) -> str:
        inside = self._stack[-1][0] if self._stack else ""
        return f"{inside}.{name}" if inside else name

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

    # What was seen

    def take(self, step: int, loss: float | None = None) -> Snapshot | None:
        """What was seen since the last take, and start anew; None where nothing was."""
        self.gather()
        self._gathered = False
        snapshot = self._reader.take(step, loss)
        if self.sharded:
            self._proofs = self._reader.networks(training=self.training_only, deep=False)[0]
        return snapshot

    def gather(self) -> None:
        """Bring the counts together, those of compiled graphs and of other processes, before they are read."""
        if self._gathered:
            return
        self._gathered = True
        for inside in self._parts.insides if self._parts is not None else ():
            inside.collect()
        if self.group is not None:
            # In a training the loss is of a share of the batch, and DDP and FSDP take the mean over the shares.
            total(self, self.group, average=self.training_only)

    def networks(self, *, training: bool, deep: bool) -> tuple[tuple[Network, ...], str | None]:
        """What proofs need: the model as arrays, and why it could not be traced, or None.

        Where its weights are sharded the first layers alone, as they were at the last take: all processes have to be
        there to read them.
        """
        if self.sharded:
            return self._proofs, "it is spread over several processes" if deep else None
        return self._reader.networks(training=training, deep=deep)

    @property
    def sharded(self) -> bool:
        """Whether its weights are spread over several processes."""
        return self.group is not None and any(hasattr(weight, "full_tensor") for weight in self.model.parameters())

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
                for name, kind in (self._parts.activations if self._parts is not None else {}).items()
                if (name or kind) not in labels and (name or kind) not in noted
            ]
        return (*self._unseen, *never, *alone(self.group))
