"""Places in a model that torch.fx cannot trace as a whole: the module round the site is traced alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...errors import RectifierValueError
from .calm import undisturbed
from .checkup import arguments
from .tracing.graph import Graph, Place, Tracer
from .tracing.owners import shared

__all__ = ["Parts"]


class _Shallow(Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


class _Part(Graph):
    tracer = _Shallow


class Parts:
    """The places of a model, of the whole graph where it can be traced, else of the module round each site.

    Of a part nothing tells how often the rest of the model calls it, so that a run of the probe counts the calls.

    Raises RectifierValueError where the model cannot be traced and parts of it will not do (pruning, or no probe).
    """

    def __init__(self, model: nn.Module, verb: str, probe: Any) -> None:
        self.model, self.verb = model, verb
        self._graph: Graph | None = None
        self._calls: Counter[nn.Module] = Counter()
        self._error: RectifierValueError | None = None
        try:
            self._graph = Graph(model, verb)
        except RectifierValueError as error:
            if verb != "heal" or probe is None:
                raise
            self._error = error
            self._count(probe)

    def place(self, site: str) -> Place:
        """What stands before and behind a site. Raises RectifierValueError where it cannot be followed."""
        if self._graph is not None:
            return self._graph.place(site)
        reason: RectifierValueError | None = None
        name = site.partition("@")[0]
        while name:
            name = name.rpartition(".")[0]
            prefix = f"{name}." if name else ""
            own = site.removeprefix(prefix)
            try:
                place = _Part(self.model.get_submodule(name), self.verb).place(own)
            except AttributeError:  # a call inside a module that is none of the model's
                continue
            except RectifierValueError as error:
                reason = reason or self._of(error, site, own)
                continue
            return self._checked(_renamed(place, site, prefix))
        assert self._error is not None
        raise reason or self._error

    def _of(self, error: RectifierValueError, site: str, own: str) -> RectifierValueError:
        """What the module nearest to the site said, with the site's name."""
        if error.__cause__ is None:
            return RectifierValueError(str(error).replace(repr(own), repr(site), 1))
        why = f"{type(error.__cause__).__name__}: {str(error.__cause__).partition('.')[0]}"
        return RectifierValueError(
            f"{self.verb}: {site!r} must stand in a module that torch.fx can follow; got one where tracing raised "
            f"{why}. Leave this site out."
        )

    def _count(self, probe: Any) -> None:
        args, kwargs = arguments(probe, f"{self.verb}: `probe` must be a tensor, or a tuple or dict of them")
        handles = [
            module.register_forward_pre_hook(lambda module, _: self._calls.update([module]))
            for module in self.model.modules()
        ]
        try:
            with undisturbed(self.model), torch.no_grad():
                self.model(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()

    def _checked(self, place: Place) -> Place:
        for name, module in place.modules:
            why = None
            if self._calls[module] != 1:
                why = f"{name} is called {self._calls[module]} times"
            both = shared(self.model, module)
            if both is not None:
                why = f"{name} shares its {both[0]} with {both[1]}"
            if why is not None:
                raise self._refuse(place.site, why)
        return place

    def _refuse(self, site: str, why: str) -> RectifierValueError:
        return RectifierValueError(
            f"{self.verb}: {site!r} must stand between layers that are used once; got a place where {why}. "
            "Leave this site out."
        )


def _renamed(place: Place, site: str, prefix: str) -> Place:
    return replace(
        place,
        site=site,
        layer_name=prefix + place.layer_name,
        norm_name=None if place.norm_name is None else prefix + place.norm_name,
        consumers=tuple(replace(consumer, name=prefix + consumer.name) for consumer in place.consumers),
    )
