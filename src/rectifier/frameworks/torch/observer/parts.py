"""The modules of a model: what is known of each by its name, and whether they are still those that were found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from ..sites import identify
from .flat import identify_flat
from .inside import Inside, look_inside
from .kinds import is_activation_like, is_opaque
from .recurrent import is_recurrent

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["Parts", "Role"]

#: "plain": to be looked at. "opaque": left alone, as its graph is its own. "hidden": makes a weight, and is no part of
#: the network whatever functions it calls.
Role = Literal["plain", "opaque", "hidden"]


class Parts:
    """What a walk through the model finds; insides of scripted and compiled modules are left alone, and noted."""

    def __init__(self, observer: Observer) -> None:
        self._o = observer
        self.names: dict[str, nn.Module] = {}
        self.activations: dict[str, str] = {}
        """Name → class of the modules that are rectifiers or have flat parts."""
        self.insides: list[Inside] = []
        self.roles: list[tuple[str, nn.Module, Role]] = []
        self.eager = False
        """Whether compiled parts are to be run eagerly."""
        self._seen: set[int] = set()
        self._children: list[tuple[str, nn.Module, dict[str, nn.Module | None]]] = []
        self._walk("", observer.model)

    def changed(self) -> list[str]:
        """Names at which another module is now, or none, or one where none was."""
        found = []
        for name, module, before in self._children:
            now = module._modules
            if now.keys() != before.keys() or any(now[child] is not before[child] for child in before):
                found += [
                    _joined(name, child) for child in {**before, **now} if before.get(child) is not now.get(child)
                ]
        return found

    def _walk(self, name: str, module: nn.Module) -> None:
        # Depth first by hand: modules() would go inside what must be left alone.
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        reason = is_opaque(module)
        if reason == "compiled" and not self._o.training_only:
            # One look runs it eagerly: the same weights, and all is seen.
            self.eager = True
            inner = getattr(module, "_orig_mod", None)
            if isinstance(inner, nn.Module):
                self._walk(name, inner)
                return
        elif reason is not None:
            self._leave_alone(name, module, reason)
            return
        if isinstance(module, ParametrizationList):
            self.roles.append((name, module, "hidden"))
            return
        self.names[name] = module
        if identify(module) is not None or identify_flat(module) is not None:
            self.activations[name] = type(module).__name__
        elif is_activation_like(module) and not is_recurrent(module):
            self._o._note(f"{name or 'the model'} ({type(module).__name__}): not of the rectified-linear family")
        self.roles.append((name, module, "plain"))
        self._children.append((name, module, dict(module._modules)))
        for child, submodule in module.named_children():
            self._walk(_joined(name, child), submodule)

    def _leave_alone(self, name: str, module: nn.Module, reason: str) -> None:
        inside = look_inside(self._o, name, module) if reason == "compiled" else None
        if inside is None:
            self._o._note(f"{name or type(module).__name__}: {reason}, its inside cannot be seen")
        else:
            self.insides.append(inside)
            self._o.gates.plain = False
            self.names |= inside.inner
        if reason == "compiled":
            self.roles.append((name, module, "opaque"))


def _joined(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child
