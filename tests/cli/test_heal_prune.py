"""``rectifier heal`` and ``rectifier prune``: a new file that holds what was done, and refusals that leave nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import rectifier as library  # noqa: E402
import rectifier.torch as rt  # noqa: E402

Run = Callable[..., Any]

TARGET = """
import torch
from torch import nn

torch.set_num_threads(1)

def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        model[0].bias[3] = -100.0  # proved dead
        model[0].bias[5] = -3.5  # silent: over the box it might fire
    return model

def data():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(64, 8, generator=generator) for _ in range(4)]

def build():
    print("building")
    return net(), data()

def deep():
    torch.manual_seed(0)
    layers = [part for _ in range(6) for part in (nn.Linear(8, 8), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(8, 2))
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.mul_(0.05)
            layer.bias.zero_()
    return model, [(x, None) for x in data()], lambda outputs, targets: outputs.square().mean()

def cnn():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
        nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    ).eval()
    with torch.no_grad():
        model[1].weight[[2, 6]] = 0.0
        model[1].bias[[2, 6]] = -0.5
        model[3].bias[[2, 6]] = -0.1
    generator = torch.Generator().manual_seed(1)
    return model, [torch.randn(4, 3, 8, 8, generator=generator) for _ in range(2)]

def streamed():
    return net(), (batch for batch in data())

def pairs():
    return net(), [(x, x.argmax(dim=1) % 2) for x in data()], nn.functional.cross_entropy

def healthy():
    model = net()
    with torch.no_grad():
        model[0].bias.fill_(0.5)
    return model, data()

def empty():
    return net(), []

def raises():
    def batches():
        raise OSError("the disk is gone")
        yield
    return net(), batches()

def leaves():
    def batches():
        raise SystemExit(0)
        yield
    return net(), batches()
"""


@pytest.fixture
def target(folder: Path) -> Any:
    (folder / "train.py").write_text(TARGET, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(TARGET, names)
    return names


@pytest.mark.parametrize("function", ["build", "streamed", "pairs"])
def test_healing_writes_a_file_whose_outputs_are_those_of_before(
    rectifier: Run, target: Any, folder: Path, function: str
) -> None:
    result = rectifier("heal", f"train.py:{function}", "--out", "healed.safetensors", "--seed", "0", "--json", "r.json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Recycled at site 1, units 3, 5\n")
    assert "outputs on the probe moved by 0 at most" in result.stdout
    assert result.stderr.endswith("Wrote healed.safetensors\nWrote r.json\n")
    before, after = target["net"](), target["net"]()
    note = rt.load_weights(after, folder / "healed.safetensors")
    x = torch.cat(target["data"]())
    assert torch.equal(after(x), before(x))
    assert not library.check(after, [x]).of("dead", "silent")
    told = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert told["acts"] == note["acts"] and told["acts"][0]["units"] == [3, 5]
    assert (told["target"], told["out"], told["shapes"]) == (f"train.py:{function}", "healed.safetensors", {})


def test_the_same_seed_gives_the_same_file(rectifier: Run, target: Any, folder: Path) -> None:
    for name in ("a.pt", "b.pt"):
        assert rectifier("heal", "train.py:build", "--out", name, "--seed", "7").exit_code == 0
    one, other = (torch.load(folder / name)["state_dict"] for name in ("a.pt", "b.pt"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_swap_changes_no_weights_and_says_what_was_put_where(rectifier: Run, target: Any, folder: Path) -> None:
    result = rectifier("heal", "train.py:build", "--how", "swap", "--with", "leaky_relu", "--out", "swapped.pt")
    assert result.exit_code == 0
    assert result.stdout.startswith("Swapped at site 1")
    note = rt.load_weights(target["net"](), folder / "swapped.pt")
    assert note["acts"][0]["act"] == "swap" and "LeakyReLU" in note["acts"][0]["change"]
    assert "swap the model likewise before loading it" in result.stderr


def test_pruning_cuts_what_is_proved_and_with_silent_what_was_only_seen(
    rectifier: Run, target: Any, folder: Path
) -> None:
    x = torch.cat(target["data"]())
    for options, units in (((), [3]), (("--silent",), [3, 5])):
        result = rectifier("prune", "train.py:build", *options, "--out", "pruned.safetensors", "--json", "-", "--force")
        assert result.exit_code == 0, result.stderr
        told = json.loads(result.stdout)
        assert told["acts"][0]["units"] == units
        left = 16 - len(units)
        assert told["shapes"] == {
            "0.weight": {"before": [16, 8], "after": [left, 8]},
            "0.bias": {"before": [16], "after": [left]},
            "2.weight": {"before": [2, 16], "after": [2, left]},
        }
        assert f"0.weight 16 × 8 → {left} × 8" in result.stderr
        before, after = target["net"](), target["net"]()
        assert rt.load_weights(after, folder / "pruned.safetensors")["shapes"] == told["shapes"]
        torch.testing.assert_close(after(x), before(x), rtol=0, atol=1e-6)
        assert after[0].out_features == left


def test_units_of_several_sites_are_counted_not_mixed_up(rectifier: Run, folder: Path) -> None:
    (folder / "two.py").write_text(
        "import torch\nfrom torch import nn\n\ndef build():\n"
        "    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))\n"
        "    with torch.no_grad():\n"
        "        [p.fill_(1.0) for p in model.parameters()]\n"
        "        model[0].bias[[1, 3]] = -100.0\n"
        "        model[2].bias[[1, 3, 6]] = -100.0\n"
        "    return model, [torch.rand(16, 4)]\n",
        encoding="utf-8",
    )
    result = rectifier("prune", "two.py:build", "--out", "new.pt")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(
        "Cut: units 1, 3 of site 1; units 1, 3, 6 of site 3\n  layer 0: 8 → 6 units; layer 2: 8 → 5 units."
    )


def test_pruning_by_a_certificate_needs_no_look_and_holds_it_to_the_weights(
    rectifier: Run, target: Any, folder: Path
) -> None:
    assert rectifier("check", "train.py:build", "--certificate", "proof.json").exit_code == 0
    result = rectifier("prune", "train.py:build", "--certificate", "proof.json", "--out", "new.pt", "--json", "r.json")
    assert result.exit_code == 0, result.stderr
    assert "Examining" not in result.stderr and "Proved: each unit that was cut gives 0" in result.stdout
    act = json.loads((folder / "r.json").read_text(encoding="utf-8"))["acts"][0]
    assert (act["units"], act["proved"]) == ([3], True)
    for arguments, told in (
        (
            ("train.py:healthy", "--certificate", "proof.json"),
            "'0.bias' is another tensor than the one it was made for",
        ),
        (("train.py:build", "--certificate", "train.py"), "it is malformed"),
        (("train.py:build", "--certificate", "no.json"), "got 'no.json': there is no such file"),
        (("train.py:build", "--certificate", "proof.json", "--silent"), "holds proofs alone; got both"),
    ):
        refused = rectifier("prune", *arguments, "--out", "other.pt")
        assert refused.exit_code == 2 and told in refused.stderr, refused.stderr
        assert "Error: prune: `--" in refused.stderr
    assert not (folder / "other.pt").exists()


def test_a_pruned_convolution_of_groups_behind_batch_normalisation_is_loaded_back(
    rectifier: Run, target: Any, folder: Path
) -> None:
    result = rectifier("prune", "train.py:cnn", "--out", "cnn.safetensors")
    assert result.exit_code == 0, result.stderr
    (before, batches), (after, _) = target["cnn"](), target["cnn"]()
    note = rt.load_weights(after, folder / "cnn.safetensors")
    assert note["shapes"]["0.weight"] == {"before": [8, 3, 3, 3], "after": [6, 3, 3, 3]}
    assert (after[3].groups, after[3].in_channels, after[5].in_channels, after[1].num_features) == (6, 6, 6, 6)
    torch.testing.assert_close(after(batches[0]), before(batches[0]), rtol=0, atol=1e-6)


def test_rescaling_repairs_a_scale_that_vanishes(rectifier: Run, target: Any, folder: Path) -> None:
    result = rectifier("heal", "train.py:deep", "--how", "rescale", "--out", "scaled.safetensors")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Rescaled at ")
    model, batches, _ = target["deep"]()
    rt.load_weights(model, folder / "scaled.safetensors")
    sick, _, _ = target["deep"]()
    scales = {"sick": sick, "scaled": model}
    found = {name: library.check(each, batches).of("vanishing_activation") for name, each in scales.items()}
    assert found["sick"] and not found["scaled"]


def test_where_there_is_nothing_to_do_no_file_is_written(rectifier: Run, target: Any, folder: Path) -> None:
    for verb in ("heal", "prune"):
        result = rectifier(verb, "train.py:healthy", "--out", "new.pt", "--json", "-")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["out"] is None
        assert result.stderr.endswith(f"Nothing to {verb}: new.pt was not written.\n")
    assert not (folder / "new.pt").exists()


REFUSED = [
    (
        ("--out", "old.pt"),
        "`--out` must not exist yet; got 'old.pt', which does. Pass --force to replace it, or another name.",
    ),
    (("--out", "new.npz"), "`--out` must end in .safetensors, .pt, .pth; got 'new.npz'. Name it model.safetensors."),
    (("--out", "-"), "`--out` must name a file; got '-'. Name one."),
    (("--out", ""), "`--out` must name a file; got ''. Name one."),
    (
        ("--out", "new.pt", "--json", "new.pt"),
        "`--out` and `--json` must name two files; got 'new.pt' twice. Name another.",
    ),
    (("--out", "new.pt", "--json", ""), "`--json` must name a file; got ''. Name one."),
    (
        ("--out", "no/new.pt"),
        "`--out` must lie in a folder that exists; got 'no/new.pt'. Create 'no' first.",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: " ".join(value)[:24])
@pytest.mark.parametrize("verb", ["heal", "prune"])
def test_files_that_could_not_be_written_are_refused_before_anything_runs(
    rectifier: Run, target: Any, folder: Path, verb: str, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "old.pt").write_bytes(b"mine")
    result = rectifier(verb, "train.py:build", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {verb}: {message}\n")
    assert (folder / "old.pt").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("check", "train.py:build", "--json", "train.py"), "the file of TARGET"),
        (("heal", "train.py:build", "--out", "new.pt", "--json", "./train.py"), "the file of TARGET"),
        (("prune", "train.py:build", "--out", "new.pt", "--json", "train.py"), "the file of TARGET"),
        (
            ("prune", "train.py:build", "--out", "new.pt", "--certificate", "p.json", "--json", "p.json"),
            "the certificate that is read",
        ),
    ],
)
def test_what_is_read_is_not_written_over_even_with_force(
    rectifier: Run, target: Any, folder: Path, arguments: tuple[str, ...], what: str
) -> None:
    (folder / "p.json").write_text("{}", encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    result = rectifier(*arguments, "--force")
    told = f"Error: {arguments[0]}: `--json` must not name {what}; got {arguments[-1]!r}. Name another.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--how", "cure"), "`--how` must be recycle, swap or rescale; got 'cure'. Leave it out to recycle."),
        (
            ("--how", "swap"),
            "`--with` must name a rectifier where --how is swap; got no rectifier. Add --with leaky_relu.",
        ),
        (
            ("--with", "elu"),
            "`--with` must name a rectifier where --how is swap; got 'elu' with --how recycle. Leave it out, or add "
            "--how swap.",
        ),
        (
            ("--how", "rescale", "--also", "rare"),
            "`--also` must be left out with --how rescale, which is about layers; got 'rare'. Leave it out.",
        ),
        (
            ("--also", "rare,dead"),
            "`--also` must be of rare, dormant, always_open, always_closed; got 'dead'. Leave it out.",
        ),
    ],
)
def test_options_of_heal_that_do_not_fit(rectifier: Run, target: Any, arguments: tuple[str, ...], message: str) -> None:
    result = rectifier("heal", "train.py:build", "--out", "new.pt", *arguments)
    assert (result.exit_code, result.stderr) == (2, f"Error: heal: {message}\n")


@pytest.mark.parametrize("verb", ["heal", "prune"])
def test_the_users_own_failures_are_told_as_theirs_and_leave_no_file(
    rectifier: Run, target: Any, folder: Path, verb: str
) -> None:
    for function, told in (
        ("absent", f"{verb}: `TARGET` must name a function of train.py; it has no 'absent'."),
        ("raises", f"{verb}: the batches raised an error of their own.\nTraceback (your frames only"),
        ("leaves", f"{verb}: the batches raised an error of their own."),
        ("empty", f"{verb}: `TARGET` must give one batch at least; got none."),
    ):
        result = rectifier(verb, f"train.py:{function}", "--out", "new.pt")
        assert result.exit_code == 2 and result.stderr.startswith(f"Error: {told}"), result.stderr
    assert not list(folder.glob("*new.pt*"))


def test_what_was_only_seen_silent_is_not_cut_unasked(rectifier: Run, folder: Path) -> None:
    text = TARGET.replace("model[0].bias[3] = -100.0", "pass")
    (folder / "train.py").write_text(text, encoding="utf-8")
    result = rectifier("prune", "train.py:build", "--out", "new.pt")
    assert result.exit_code == 2
    assert "got a record with none, and 1 that are only seen silent" in result.stderr
    assert "Pass --silent to cut those" in result.stderr
    assert not (folder / "new.pt").exists()
