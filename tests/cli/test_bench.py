"""``rectifier bench`` with every framework that is installed, at sizes that take no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier.bench import Benchmark, peers
from rectifier.bench.machine import cores

Run = Callable[..., Any]


def test_every_peer_is_timed_or_listed(rectifier: Run, folder: Path) -> None:
    files = ["--json", "bench.json", "--chart", "bench.html"]
    few = ["--size", "1K", "--dtype", "float32", "--threads", "1", "--seconds", "0"]
    result = rectifier("bench", "softplus", *few, *files)
    assert (result.exit_code, result.stderr.splitlines()[-2:]) == (0, ["Wrote bench.json", "Wrote bench.html"])
    found = Benchmark.read(folder / "bench.json")
    timed = {timing.peer for timing in found.timings}
    missing = {peer for peer in peers.MODULES if not peers.installed(peer)}
    assert timed == {"rectifier", "copy", *peers.MODULES} - missing
    assert {absent.candidate for absent in found.absent} == missing
    for timing in found.timings:
        assert timing.values == 1024
        assert 0 < timing.low <= timing.ns <= timing.high
        assert timing.rounds >= 5
    if "torch" in timed:
        labels = {timing.candidate for timing in found.timings}
        assert {"PyTorch out=", "PyTorch allocating", "PyTorch compiled", "PyTorch allocating, huge pages"} <= labels
    titles = [line.split("  ")[0] for line in result.stdout.splitlines() if line.startswith("softplus")]
    assert titles == ["softplus, float32, 1 thread"]
    assert (folder / "bench.html").read_text(encoding="utf-8").count("<svg") == 1


def test_several_tables(rectifier: Run) -> None:
    arguments = [
        "--size",
        "16",
        "--kind",
        "value,backward",
        "--peer",
        "numpy,scipy",
        "--threads",
        "1",
        "--seconds",
        "0",
    ]
    result = rectifier("bench", "relu", "tanh", *arguments, "--json", "-")
    assert result.exit_code == 0
    found = Benchmark.from_json(result.stdout)
    assert {(t.function, t.kind, t.dtype) for t in found.timings} == {
        (name, kind, dtype)
        for name in ("relu", "tanh")
        for kind in ("value", "backward")
        for dtype in ("float32", "bfloat16")
    }
    assert "relu backward, bfloat16, 1 thread" in result.stderr
    assert "Not timed: scipy: no such function (relu, tanh)." in result.stderr
    assert found.machine["cores"] == str(cores())


def test_a_ratio_is_the_peers_time_over_ours(rectifier: Run) -> None:
    result = rectifier(
        "bench", "elu", "--size", "4K", "--peer", "numpy", "--threads", "1", "--dtype", "float32", "--json", "-"
    )
    by_name = {entry["candidate"]: entry for entry in json.loads(result.stdout)["timings"]}
    for name, mine in (("NumPy", "rectifier allocating"), ("NumPy out=", "rectifier out=")):
        assert by_name[name]["ratio"] == pytest.approx(by_name[name]["ns"] / by_name[mine]["ns"], rel=1e-6)


def test_a_peer_that_is_not_installed_is_listed(rectifier: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "installed", lambda peer: peer == "numpy")
    few = ["--size", "16", "--threads", "1", "--dtype", "float32", "--seconds", "0"]
    result = rectifier("bench", "relu", *few, "--peer", "numpy,jax")
    assert result.exit_code == 0
    assert "Not timed: jax: not installed.\n" in result.stdout


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_charts(rectifier: Run, folder: Path, suffix: str) -> None:
    few = ["--size", "16", "--threads", "1", "--dtype", "float32", "--seconds", "0", "--peer", "numpy"]
    result = rectifier("bench", "relu", *few, "--chart", f"a.{suffix}")
    assert result.exit_code == 0
    begin = (folder / f"a.{suffix}").read_bytes()[:5]
    assert begin in (b"\x89PNG\r", b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["gelu"],
            "bench: `NAME` must be of relu, leaky_relu, prelu, abs, relu6, squared_relu, elu, celu, selu, softplus, "
            "sigmoid, tanh, threshold; got 'gelu'. Did you mean 'elu' or 'selu'? Leave it out for the usual.",
        ),
        (
            ["--dtype", "int8"],
            "bench: `--dtype` must be of float32, bfloat16, float16, float64; got 'int8'. Leave it out for the usual.",
        ),
        (
            ["--kind", "derivative"],
            "bench: `--kind` must be of value, backward; got 'derivative'. Leave it out for the usual.",
        ),
        (
            ["--peer", "pytorch"],
            "bench: `--peer` must be of numpy, scipy, torch, jax, tensorflow, onnxruntime; got 'pytorch'. "
            "Did you mean 'torch'? Leave it out for the usual.",
        ),
        (
            ["--size", "1.5K"],
            "bench: `--size` must be counts of values from 1 to 16G; got '1.5K'. Write them as 1K,128K,4M,64M.",
        ),
        (
            ["--size", "0"],
            "bench: `--size` must be counts of values from 1 to 16G; got '0'. Write them as 1K,128K,4M,64M.",
        ),
        (
            ["--threads", "9999"],
            f"bench: `--threads` must be whole numbers from 1 to {cores()}, the cores there are; got '9999'. "
            "Leave it out for the usual.",
        ),
        (
            ["--chart", "speed.pdf"],
            "bench: `--chart` must end in .html, .png, .svg; got 'speed.pdf'. Write it as --chart speed.html.",
        ),
        (["--peer", ","], "bench: `--peer` must name one at least; got ','. Leave it out."),
        (["--size", ""], "bench: `--size` must name one at least; got ''. Leave it out."),
        (["--json", ""], "bench: `--json` must name a file; got ''. Name one, or leave --json out."),
        (
            ["--force"],
            "bench: `--force` must come with an output file; got none to overwrite. "
            "Add --json FILE or --chart FILE, or leave --force out.",
        ),
    ],
)
def test_refusals(rectifier: Run, arguments: list[str], message: str) -> None:
    result = rectifier("bench", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {message}\n")


def test_a_file_that_exists_is_refused_before_the_run(rectifier: Run, folder: Path) -> None:
    (folder / "a.json").write_text("{}", encoding="utf-8")
    result = rectifier("bench", "--json", "a.json")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (folder / "a.json").read_text(encoding="utf-8") == "{}"
