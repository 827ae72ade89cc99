"""The gates of each site: what goes in is counted before the rectifier runs, and what comes out after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...._family import family
from .flat import see_flat
from .kinds import unit_axis
from .masks import Positions
from .naming import Names, join, recomputing
from .provenance import Held, Origin
from .recurrent import not_seen, outputs_of
from .spellings import JUMP
from .tally import SiteTally

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["Gates", "Open"]


@dataclass(frozen=True)
class Open:
    """A site between its input and its output."""

    site: str
    axis: int
    positions: Positions | None
    before: Held


class Gates:
    """Counts for an observer, in its ``sites``."""

    def __init__(self, observer: Observer) -> None:
        self._o = observer
        self._names = Names()
        self._became: dict[str, str] = {}
        self.plain = True
        """Whether the gates of every site so far are those of all values that one module or call is given."""

    def start(self) -> None:
        """A forward pass begins."""
        self._names.start()

    def open(
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
    ) -> Open | None:
        """Count what comes in. seen: what is counted in place of z; rows: independent samples where they are not the
        first axis. None where nothing can be counted."""
        past = self._o.origins[z]
        if recomputing() or z.numel() == 0:
            return None
        site, again, others = self._names.of(label, past.makers, call=call)
        if z.ndim == 0 or not z.is_floating_point():
            self._o._note(f"{site}: its input has no units (shape {tuple(z.shape)}, {z.dtype})")
            return None
        if past.picked:
            self._o._note(f"{site}: its input was sorted or picked, so its places are ranks, not units; not observed")
            return None
        axis, guessed = unit_axis(z, past.axis)
        if guessed:
            self._o._note(f"the unit axis of {site} was guessed: axis {axis} of a {z.ndim}-D tensor")
        tally = self._o.sites.get(site)
        if tally is None:
            self._became.pop(site, None)
            source = self._o.layers.get(past.layer) if past.layer else None
            upstream = source.upstream if source is not None else None
            kind = "relu" if row == JUMP else row
            tally = SiteTally(kind, parameters, past.layer, past.norm, upstream, axis, z.shape[axis], z.device)
            self._o.sites[site] = tally
        elif tally.units != z.shape[axis]:
            self._o._note(f"{site}: its number of units changed from {tally.units} to {z.shape[axis]} between calls")
            return None
        self._join(site, others)
        if others and past.makers is None:
            self._o._note(f"{site}: more than {len(others)} calls a pass on values not followed; counted as one site")
        if seen is not None or (past.layer, past.norm) != (tally.layer, tally.norm):
            tally.layer = tally.norm = tally.upstream = None  # not the same each time: nothing holds for all
        tally.on_input &= past.on_input and past.layer is not None and past.layer == tally.layer
        positions = self._positions(z, axis)
        self.plain &= not again and positions is None and watch_gradient and row in family and seen is None
        opened = Open(site, axis, positions, Held.now(z))
        rows = 0 if again else rows if rows is not None else self._samples(z, axis)
        self._see(tally, opened, (z if seen is None else seen).detach(), rows)
        if watch_gradient and z.requires_grad and torch.is_grad_enabled():
            z.register_hook(partial(self._gradient, opened, "see_gradient_of_input"))  # type: ignore[no-untyped-call]
        return opened

    def _see(self, tally: SiteTally, opened: Open, z: torch.Tensor, rows: int) -> None:
        chosen = self._chosen(z, opened.positions)
        tally.axis = opened.axis if chosen is z else chosen.ndim - 1
        inputs = tally.inputs + rows  # later turns of a loop are about the same inputs, and a chosen row is a token
        tally.see_input(chosen)
        tally.inputs = inputs
        see_flat(tally, chosen)

    def _samples(self, z: torch.Tensor, axis: int) -> int:
        """Independent samples: the first axis, or the second where an attention layer round it has tokens first."""
        frames = (getattr(frame[1], "self_attn", None) for frame in reversed(self._o._stack))
        attention = next((found for found in frames if found is not None), None)
        tokens_first = getattr(attention, "batch_first", True) is False and z.ndim == 3
        return z.shape[1 if tokens_first else 0] if axis else 1  # units first: one sample without a batch

    @staticmethod
    def _chosen(z: torch.Tensor, positions: Positions | None) -> torch.Tensor:
        return z if positions is None else positions.of(z)

    def _positions(self, z: torch.Tensor, axis: int) -> Positions | None:
        """Where z holds data, as the innermost module that was told, and whose tokens these are, was told."""
        held = (frame[3] for frame in reversed(self._o._stack) if frame[3] is not None)
        return next((positions for positions in held if positions.fits(z, axis)), None)

    def _join(self, site: str, others: list[str]) -> None:
        """A loop was found out: what its turns were counted as becomes one site."""
        for name in others:
            self._became[name] = site
            other = self._o.sites.pop(name, None)
            if other is not None and other.units == self._o.sites[site].units:
                join(self._o.sites[site], other)

    def _tally(self, site: str) -> SiteTally:
        return self._o.sites[self._became.get(site, site)]

    def _gradient(self, opened: Open, method: str, gradient: torch.Tensor) -> None:
        chosen = self._chosen(gradient.detach(), opened.positions)
        getattr(self._tally(opened.site), method)(chosen)

    def close(self, opened: Open, h: torch.Tensor) -> None:
        self._tally(opened.site).see_output(self._chosen(h.detach(), opened.positions))
        if h.requires_grad and torch.is_grad_enabled():
            h.register_hook(partial(self._gradient, opened, "see_gradient_of_output"))  # type: ignore[no-untyped-call]
        label = opened.site.partition("@")[0]
        self._o.origins[h] = Origin(
            site=self._became.get(opened.site, opened.site),
            axis=opened.axis - h.ndim,
            makers=frozenset({label.partition("#")[0]}),
            before=opened.before,
        )

    def recurrent(self, name: str, module: nn.Module, output: Any, *, hidden: bool) -> None:
        """A ReLU inside PyTorch's one call for a recurrent layer: h = relu(z) is seen, z is not."""
        label = name or type(module).__name__
        h, inputs = outputs_of(module, output)
        if h is None or hidden:
            return
        for line in not_seen(label, module):
            self._o._note(line)
        self._o.origins[h] = Origin(axis=-1, makers=frozenset({f"recurrent {label}"}))
        site = self.open(label, "relu", {}, h, rows=inputs, watch_gradient=False)
        if site is not None:
            self._tally(site.site).see_output(self._chosen(h.detach(), site.positions))

    def scattered(self, label: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Any:
        """Zeros into which picked values were scattered: the latents of a TopK autoencoder, open where not 0."""
        index = args[2] if len(args) > 2 else kwargs.get("index")
        if name != "scatter" or not isinstance(index, torch.Tensor) or not isinstance(result, torch.Tensor):
            return result
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if self._o.origins[index].picked and dim in (-1, result.ndim - 1) and result.is_floating_point():
            self._o.origins[result] = Origin(axis=-1)
            site = self.open(label, "relu", {}, result, call=True, watch_gradient=False)
            if site is not None:
                self.close(site, result)
        return result
