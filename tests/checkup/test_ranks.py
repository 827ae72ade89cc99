"""Two processes over gloo count what one does: DDP, FSDP2 and a group that the user names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

import rectifier
from rectifier.checkup import Record
from rectifier.frameworks.torch.observer.distributed import _FIXED, _settle
from rectifier.frameworks.torch.observer.tally import LayerTally, SiteTally

WORKER = Path(__file__).with_name("ranks_worker.py")
needs_distributed = pytest.mark.skipif(not dist.is_available(), reason="this PyTorch is built without it")
WAYS = ("DDP", "FSDP2", "group")
LOOKS = ("check", "check with a loss", "watch")
#: What is counted, or is the extreme of values: no rounding comes in.
EXACT = (
    "site",
    "rectifier",
    "layer",
    "upstream",
    "units",
    "examples",
    "inputs",
    "fired",
    "nan",
    "infinite",
    "flat_low",
)


@pytest.fixture(scope="module")
def results(two_processes: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What each process found, and in both what one process finds alone."""
    return two_processes(WORKER)


@needs_distributed
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("look", LOOKS)
def test_two_processes_count_what_one_does(way: str, look: str, results: list[dict[str, Any]]) -> None:
    place = LOOKS.index(look)
    assert results[0][way][place] == results[1][way][place]  # the same record, to the last bit
    record, alone = Record.from_json(results[0][way][place]), Record.from_json(results[0]["alone"][place])
    assert (record.model, record.not_observed) == (alone.model, ())
    if way != "FSDP2":  # there nothing is proved of what lies behind the first layer
        shares = ("at most 32 examples", "at most 64 examples")  # a batch normalisation has its process's share
        assert record.box is not None and record.box.replace(*shares) == alone.box
        found = [(f.kind, f.site, f.units, (f.proof or "").replace(*shares), f.cause) for f in record.findings]
        assert found == [(f.kind, f.site, f.units, f.proof or "", f.cause) for f in alone.findings]
    never = {(f.site, unit) for f in record.of("dead", "silent") for unit in f.units}
    assert {("relu#0", 4), ("act", 2)} <= never  # as planted
    assert [s.step for s in record.snapshots] == [s.step for s in alone.snapshots]
    for mine, theirs in zip(record.snapshots, alone.snapshots, strict=True):
        close(mine.loss, theirs.loss, "loss")
        for a, b in zip(mine.sites, theirs.sites, strict=True):
            for name in EXACT:
                assert np.array_equal(getattr(a, name), getattr(b, name)), (a.site, name)
            if look != "watch":  # there the weights, and so z, differ in the last bits
                assert np.array_equal(a.min_z, b.min_z) and np.array_equal(a.max_z, b.max_z)
            for name in ("min_z", "max_z", "sum_h", "sum_abs_h", "rms_h", "gradient_rms", "gradient_abs", "moved"):
                close(getattr(a, name), getattr(b, name), (a.site, name))
        for c, d in zip(mine.layers, theirs.layers, strict=True):
            for name in ("activation_rms", "gradient_rms", "update_ratio", "input_mean", "input_rms", "values"):
                close(getattr(c, name), getattr(d, name), (c.layer, name))
            if (way, look) != ("FSDP2", "check with a loss"):  # sharded weights get a gradient in backward() alone
                close(c.weight_gradient_rms, d.weight_gradient_rms, c.layer)


def close(a: Any, b: Any, what: Any) -> None:
    assert (a is None) == (b is None), what
    if a is not None:
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=str(what))


@needs_distributed
def test_processes_of_other_speeds_look_at_the_same_steps(results: list[dict[str, Any]]) -> None:
    assert results[0]["paced"] == results[1]["paced"]
    record = Record.from_json(results[0]["paced"])
    assert len(record.snapshots) > 2
    for snapshot in record.snapshots:  # both saw the same batch of 64
        assert [site.examples % 128 for site in snapshot.sites] == [0, 0, 0]
    site = record.last.sites[0]
    assert site.lived is not None and site.lived[4] == 0 and site.lived.max() > 0  # no gradient was refuted


@needs_distributed
def test_a_process_that_fails_is_told_to_all(results: list[dict[str, Any]]) -> None:
    (mine, told), (theirs, raised) = (result["failing"] for result in results)
    assert told is None
    stopped = "process 1: the model or the loss raised RuntimeError at batch 1: mat1 and mat2 must have the same dtype"
    assert raised.startswith(f"check: {stopped}") and raised.endswith("(5 batches) is kept in `.record`.")
    record = Record.from_json(mine)
    assert record.stopped is not None and record.stopped.startswith(stopped)
    assert [site.examples for site in record.last.sites] == [5 * 64] * 3
    assert Record.from_json(theirs).last.sites[0].fired.tolist() == record.last.sites[0].fired.tolist()


@needs_distributed
def test_one_of_several_that_counts_alone_says_so(results: list[dict[str, Any]]) -> None:
    for result in results:
        record = Record.from_json(result["separate"])
        assert record.last.sites[0].examples == 4 * 64
        assert record.not_observed == (
            "the other processes (1): this one counted alone; pass the model under DDP or FSDP, or group=",
        )


def test_every_whole_number_of_a_tally_is_summed() -> None:
    for make, given in (
        (SiteTally, {"rectifier": "relu", "parameters": {}, "layer": "a", "norm": None, "upstream": None, "axis": 1}),
        (LayerTally, {"layer": "a", "first": True, "upstream": None}),
    ):
        tally = make(**given, units=3, device=torch.device("cpu"))  # type: ignore[arg-type]
        numbers = [name for name, value in vars(tally).items() if type(value) is int and name not in _FIXED]
        assert numbers
        known = [{**vars(tally), **dict.fromkeys(numbers, value)} for value in (2, 5)]
        _settle(tally, [known[0], {**known[1], "layer": "b"}])
        assert [getattr(tally, name) for name in numbers] == [7] * len(numbers)
        assert (tally.units, tally.layer) == (3, None if make is SiteTally else "a")


@pytest.mark.parametrize("verb", ["check", "watch"])
def test_what_is_no_group_is_refused(verb: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with pytest.raises(rectifier.RectifierTypeError) as caught:
        if verb == "check":
            rectifier.check(model, [torch.ones(2, 2)], group=2)
        else:
            rectifier.watch(model, group=2)
    assert str(caught.value) == (
        f"{verb}: `group` must be a torch.distributed.ProcessGroup or None; got int. "
        "Pass torch.distributed.group.WORLD."
    )
