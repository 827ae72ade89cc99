"""Several processes, one record: what each of them counted is summed by PyTorch's collectives.

Which processes: those of a model under DDP or FSDP, else the group that the user names. Counts are whole numbers and
stay exact; sums of values are float64. Every process ends with the same numbers, so each holds the same record.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from ....errors import RectifierTypeError, RectifierValueError
from .tally import LayerTally, SiteTally

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["alone", "gather", "group_of", "leads", "title", "total", "unwrapped"]

#: Whole numbers of a tally that are no counts.
_FIXED = frozenset({"axis", "ndim", "size", "units"})


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that DistributedDataParallel wraps, else the model itself."""
    return unwrapped(model.module) if isinstance(model, nn.parallel.DistributedDataParallel) else model


def title(model: nn.Module) -> str:
    """Name of the class as the user wrote it: FSDP puts a class of its own in front."""
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    kinds = type(model).__mro__
    return (kinds[2] if _is_fsdp(model) else kinds[0]).__name__


def _is_fsdp(module: nn.Module) -> bool:
    if not dist.is_available() or "torch.distributed.fsdp" not in sys.modules:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


def group_of(model: nn.Module, group: Any, verb: str) -> Any:
    """The processes whose counts belong together; None where this one is alone.

    model: as the user gave it. group: what the user named, or None: then that of DDP or FSDP.

    Raises RectifierTypeError for what is no group, and RectifierValueError where FSDP's cannot be told.
    """
    if group is not None and not (dist.is_available() and isinstance(group, dist.ProcessGroup)):
        raise RectifierTypeError(
            f"{verb}: `group` must be a torch.distributed.ProcessGroup or None; got {type(group).__name__}. "
            "Pass torch.distributed.group.WORLD."
        )
    if group is None and dist.is_available() and dist.is_initialized():
        group = _own(model, verb)
    return None if group is None or dist.get_world_size(group) < 2 else group


def _own(model: nn.Module, verb: str) -> Any:
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.process_group
    if not any(_is_fsdp(module) for module in model.modules()):
        return None
    from torch.distributed.tensor import DTensor

    meshes = {p.device_mesh for p in model.parameters() if isinstance(p, DTensor)}
    if len(meshes) == 1 and (mesh := meshes.pop()).ndim == 1:
        return mesh.get_group()
    raise RectifierValueError(
        f"{verb}: `group` must name the processes that see different data where a model is sharded over a mesh of "
        "several dimensions; got None. Pass the group of the data-parallel dimensions."
    )


def alone(group: Any) -> list[str]:
    """What is said where there are other processes whose counts nobody asked for."""
    others = dist.get_world_size() - 1 if group is None and dist.is_available() and dist.is_initialized() else 0
    if not others:
        return []
    return [f"the other processes ({others}): this one counted alone; pass the model under DDP or FSDP, or group="]


def leads(group: Any) -> bool:
    """Whether this process is the first of the group, or alone."""
    return group is None or dist.get_rank(group) == 0


def gather(group: Any, item: Any) -> list[Any]:
    """The item of every process, in the order of their ranks."""
    if group is None:
        return [item]
    found: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(found, item, group=group)
    return found


def total(observer: Observer, group: Any, *, average: bool) -> None:
    """Put in place of what this process counted since its last take what all of them did.

    average: gradients are those of the mean of the processes' losses, as DDP and FSDP make it, so that they are as
    large as one process with all the data would see them.
    """
    mine = {
        "sites": {name: _facts(tally) for name, tally in observer.sites.items()},
        "layers": {name: _facts(tally) for name, tally in observer.layers.items()},
        "ranges": {name: low.shape[0] for name, (low, _) in observer.ranges.items()},
        "unseen": list(observer.notes),
        "gradients": {name: (len(v), float(sum(v))) for name, v in observer.weight_gradients.items()},
        "forwards": observer.forwards,
        "shape": observer.input_shape,
        "differ": observer.calls_differ,
        "batch": observer.largest_batch,
    }
    all_of_them = gather(group, mine)
    device = next((weight.device for weight in observer.model.parameters()), torch.device("cpu"))
    for line in (line for one in all_of_them for line in one["unseen"]):
        observer.notes[line] = None
    observer.forwards = max(one["forwards"] for one in all_of_them)
    observer.largest_batch = max(one["batch"] for one in all_of_them)
    observer.input_shape = next((one["shape"] for one in all_of_them if one["shape"] is not None), None)
    differ = [one["differ"] for one in all_of_them if one["differ"] is not None]
    if len({one["shape"] for one in all_of_them if one["shape"] is not None}) > 1:
        differ.append("it is called with examples of several shapes")
    observer.calls_differ = next(iter(differ), None)
    _weight_gradients(observer, [one["gradients"] for one in all_of_them], device)
    tallies: list[SiteTally | LayerTally] = []
    for kind, make in (("sites", SiteTally), ("layers", LayerTally)):
        mapping: dict[str, Any] = getattr(observer, kind)
        tallies += _together(mapping, [one[kind] for one in all_of_them], make, device, observer.notes)
    ends = _ranges(observer, [one["ranges"] for one in all_of_them], device)
    _reduce(tallies, ends, group, device)
    if average:
        world = len(all_of_them)
        for tally in tallies:
            for name, power in (("gradient_abs", 1), ("square_gradient", 2)):
                if name in tally.sums:
                    tally.sums[name] /= world**power


def _facts(tally: Any) -> dict[str, Any]:
    """All but the tensors, and a dummy in place of a parameter that is one."""
    facts = {f.name: getattr(tally, f.name) for f in fields(tally) if f.name not in ("sums", "device")}
    if "parameters" in facts:
        numbers = {k: v for k, v in facts["parameters"].items() if not isinstance(v, torch.Tensor)}
        facts["parameters"] = numbers
    return {**facts, "sums": sorted(tally.sums)}


def _together(
    mapping: dict[str, Any],
    facts: Sequence[Mapping[str, Any]],
    make: Callable[..., Any],
    device: torch.device,
    notes: dict[str, None],
) -> list[Any]:
    """One tally a name that any process has, all with the same keys; whole numbers are summed at once."""
    order = list(dict.fromkeys(name for one in facts for name in one))
    found = {}
    for name in order:
        known = [one[name] for one in facts if name in one]
        if len({(one["units"], one.get("axis")) for one in known}) > 1:
            notes[f"{name}: its units are not the same in all processes"] = None
            continue
        tally = mapping.get(name)
        if tally is None:
            given = {f.name for f in fields(make) if f.init} - {"sums", "device"}  # type: ignore[arg-type]
            tally = make(**{k: v for k, v in known[0].items() if k in given}, device=device)
        _settle(tally, known)
        for key in sorted({key for one in known for key in one["sums"]}):
            if key not in tally.sums:
                tally.sums[key] = torch.zeros(tally.units, dtype=torch.int64, device=tally.device)
        found[name] = tally
    mapping.clear()
    mapping.update(found)
    return list(found.values())


def _settle(tally: Any, known: Sequence[Mapping[str, Any]]) -> None:
    assert is_dataclass(tally)
    for field in fields(tally):
        values = [one[field.name] for one in known if field.name in one]
        if field.type == "int" and field.name not in _FIXED:
            setattr(tally, field.name, sum(values))
        elif field.type == "float":
            setattr(tally, field.name, max(values))
        elif field.type == "bool":
            setattr(tally, field.name, all(values))
        elif field.type == "str | None" and len(set(values)) > 1:  # not the same everywhere: nothing holds for all
            setattr(tally, field.name, None)


def _weight_gradients(observer: Observer, found: Sequence[Mapping[str, tuple[int, float]]], device: Any) -> None:
    for name in dict.fromkeys(name for one in found for name in one):
        known = [one[name] for one in found if name in one]
        mean = sum(value for _, value in known) / sum(many for many, _ in known)
        observer.weight_gradients[name] = [torch.tensor([mean], dtype=torch.float64, device=device)]


def _ranges(observer: Observer, found: Sequence[Mapping[str, int]], device: Any) -> list[torch.Tensor]:
    """The ends of the input's range as tensors whose minimum over the processes is wanted."""
    ends = []
    for name in dict.fromkeys(name for one in found for name in one):
        sizes = {one[name] for one in found if name in one}
        if len(sizes) > 1:
            observer.ranges.pop(name, None)
            continue
        edge = torch.full((sizes.pop(),), math.inf, dtype=torch.float64, device=device)
        low, high = observer.ranges.get(name, (edge, -edge))
        low, minus = low.to(torch.float64, copy=True), -high.to(torch.float64)
        observer.ranges[name] = (low, minus)
        ends += [low, minus]
    return ends


def _reduce(tallies: Sequence[Any], ends: list[torch.Tensor], group: Any, device: torch.device) -> None:
    """Three collectives: whole numbers, sums of values, and the smallest (of the largest, their negatives)."""
    whole_numbers: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    turned: list[torch.Tensor] = []
    smallest = list(ends)
    for tally in tallies:
        for key in sorted(tally.sums):
            tensor = tally.sums[key]
            if key.startswith("max_"):
                tensor.neg_()
                turned.append(tensor)
                smallest.append(tensor)
            elif key.startswith("min_"):
                smallest.append(tensor)
            else:
                (values if tensor.is_floating_point() else whole_numbers).append(tensor)
    _all_reduce(whole_numbers, dist.ReduceOp.SUM, group, device)
    _all_reduce(values, dist.ReduceOp.SUM, group, device)
    _all_reduce(smallest, dist.ReduceOp.MIN, group, device)
    for tensor in (*turned, *ends[1::2]):
        tensor.neg_()


def _all_reduce(tensors: Sequence[torch.Tensor], op: Any, group: Any, device: torch.device) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1).to(device) for tensor in tensors])
    dist.all_reduce(flat, op=op, group=group)
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].reshape(tensor.shape))
        start += tensor.numel()
