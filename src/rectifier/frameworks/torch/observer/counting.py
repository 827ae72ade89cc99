"""Counting gates at every step of a training, and nothing else, where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..sites import FUNCTIONS, identify, identify_call
from .calls import Calls, aside
from .kinds import calls_nothing_else
from .popcount import countable

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["Counting"]

Tensor = torch.Tensor
#: The module of our layers, told by name: they load much that a watch of others does not need.
_OURS = "rectifier.torch._layers"
#: From so many values on it takes less time to take over the gate that was kept than to pack it anew.
_LARGE = 1 << 16


class Counting:
    """Counts at every step which units fired: gates are packed, and counted some steps later.

    Where layers of ours are large, the gate that they keep for backward is counted. A NaN is open there and no firing,
    so it is believed where the sum of the outputs is finite, which no NaN leaves it; else the gate is packed anew.

    Calls such as ``F.relu`` are seen by a mode, which PyTorch asks at every call of the forward pass; which module
    makes them is told by hooks.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._handles: list[Any] = []
        self._hooked: tuple[set[str], int] | None = None
        """The sites, and how often modules were replaced, when hooks were put on."""
        self._seen: dict[str, int] = {}
        self._stack: list[str] = []
        self._mode: Calls | None = None
        self._calls = False
        """Whether some of the sites are calls."""
        self._packed = False
        self._depth = self._hidden = 0
        self.lost = False
        """Whether a call was none of the sites that are known."""
        self.paused = False

    @property
    def suffices(self) -> bool:
        """Whether gates of all sites seen so far are those of all values that one module or call at a time is given."""
        return self._observer.gates.plain and not self.lost

    def follow(self, *, inside: bool) -> None:
        """Hook on to the sites seen so far; ``inside`` a forward pass that has begun, or not."""
        sites = {site.partition("@")[0] for site in self._observer.sites}
        if (sites, self._observer.walks) == self._hooked:
            return
        self.detach()
        self._hooked = sites, self._observer.walks
        model = self._observer.model
        self._calls = any("#" in site for site in sites)
        self._handles.append(model.register_forward_pre_hook(self._enter))
        for name, module in self._observer.names.items():
            label = name or type(module).__name__
            if identify(module) is not None:
                self._hook(module, label, known=label in sites)
            elif self._calls and module is not model and (_calls_of(name, sites) or not calls_nothing_else(module)):
                self._handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._stack.append(name)))
                self._handles.append(module.register_forward_hook(lambda *_: self._pop(), always_call=True))
        self._handles.append(model.register_forward_hook(self._leave, always_call=True))
        if inside:
            self._enter(model, ())

    def _hook(self, module: nn.Module, label: str, *, known: bool) -> None:
        """An activation module: counted where it is a site; the calls inside of it are none."""
        tally = self._observer.sites.get(label)
        large = tally is not None and tally.size >= _LARGE
        kept = large and type(module).__module__ == _OURS and not getattr(module, "inplace", False)
        if self._calls:
            self._handles.append(module.register_forward_pre_hook(lambda *_: self._hide(1)))
            self._handles.append(module.register_forward_hook(lambda *_: self._hide(-1), always_call=True))
        if known and kept:
            self._handles.append(module.register_forward_hook(self._counts(label), with_kwargs=True))
        elif known:
            self._handles.append(module.register_forward_pre_hook(self._counts(label), with_kwargs=True))

    def settle(self) -> None:
        """Count the gates that are put aside. A look has seen all sites by now."""
        self.lost = False
        for tally in self._observer.sites.values():
            tally.settle()

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._hooked = None
        self._depth = 0
        self._mode_off()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if self._depth or not self.paused and module.training and torch.is_grad_enabled():
            self._depth += 1
            if self._depth == 1:
                self._seen.clear()
                self._packed = countable()
                if self._calls:
                    self._stack, self._hidden = [""], 0
                    self._mode = Calls(self._call)
                    self._mode.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth = max(0, self._depth - 1)
        if not self._depth:
            self._mode_off()

    def _mode_off(self) -> None:
        if self._mode is not None:
            mode, self._mode = self._mode, None
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _pop(self) -> None:
        if len(self._stack) > 1:
            self._stack.pop()

    def _hide(self, by: int) -> None:
        self._hidden = max(0, self._hidden + by)

    # One module, one call

    def _counts(self, label: str) -> Callable[..., None]:
        # One function where two would be clearer: each takes as long as a third of the packing.
        def hook(module: nn.Module, args: Any, kwargs: Any, h: Any = None) -> None:
            if not self._depth:
                return
            n = self._seen.get(label, 0)
            self._seen[label] = n + 1
            tally = self._observer.sites.get(f"{label}@{n}" if n else label)
            z = args[0] if args else next(iter(kwargs.values()), None)
            if tally is None or not isinstance(z, Tensor):
                return
            if self._mode is None:
                tally.count(z, self._packed, h)
            else:
                with aside():
                    tally.count(z, self._packed, h)

        return hook

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            known = not self._hidden and func in FUNCTIONS
        except TypeError:  # an unhashable callable is none
            known = False
        found = identify_call(func, args, kwargs) if known else None
        if found is None:
            return func(*args, **kwargs)
        inside = self._stack[-1]
        label = f"{inside}.{found[0]}" if inside else found[0]
        n = self._seen.get(label, 0)
        self._seen[label] = n + 1
        tally = self._observer.sites.get(f"{label}#{n}")
        z = args[0] if args else kwargs.get("input", kwargs.get("x"))
        if tally is None:
            self.lost = True
        elif isinstance(z, Tensor):
            tally.count(z, self._packed)
        return func(*args, **kwargs)


def _calls_of(name: str, sites: set[str]) -> bool:
    """Whether a site is a call made by this module itself."""
    start = f"{name}."
    return any(site.startswith(start) and "." not in site[len(start) :].partition("#")[0] for site in sites)
