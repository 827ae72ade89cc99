"""``save_weights`` and ``load_weights``: what was pruned is loaded back with the same outputs, or refused whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import rectifier
import rectifier.torch as rt
from rectifier.checkup.records import Receipt


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))


def pruned(model: nn.Module, x: torch.Tensor) -> Receipt:
    with torch.no_grad():
        model[0].bias[[2, 7]] = -100.0  # type: ignore[index]
    return rectifier.prune(model, rectifier.check(model, [x]), probe=x)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_a_pruned_model_comes_back_with_the_same_outputs(tmp_path: Path, suffix: str) -> None:
    model, x = mlp(), torch.randn(64, 6)
    receipt = pruned(model, x)
    path = rt.save_weights(model, tmp_path / f"model.{suffix}", receipt)
    again = mlp()
    note = rt.load_weights(again, path)
    assert torch.equal(again(x), model(x))
    assert (again[0].out_features, again[2].in_features) == (8, 8)
    (act,) = note["acts"]
    assert (act["act"], act["units"], act["site"]) == ("prune", [2, 7], "1")
    optimizer = torch.optim.SGD(again.parameters(), lr=0.1)
    again(x).sum().backward()
    optimizer.step()
    assert rectifier.check_weights(path).last.layers[0].units == 8


def test_what_it_writes_is_an_ordinary_file(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    model = mlp()
    rt.save_weights(model, tmp_path / "model.safetensors")
    rt.save_weights(model, tmp_path / "model.pt")
    plain = torch.load(tmp_path / "model.pt", weights_only=True)
    for state in (load_file(tmp_path / "model.safetensors"), plain["state_dict"]):
        other = mlp()
        other.load_state_dict(state)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["rectifier"]) == json.loads(plain["rectifier"]) == {"acts": [], "groups": {}}


def smaller(model: nn.Module, cut: Callable[[nn.Module], None], path: Path) -> Path:
    """A file of the model after ``cut`` has put smaller parameters into it."""
    with torch.no_grad():
        cut(model)
    return rt.save_weights(model, path)


def test_convolutions_of_groups_normalisation_and_tied_parameters_take_the_sizes_of_the_file(tmp_path: Path) -> None:
    def build() -> nn.Sequential:
        torch.manual_seed(0)
        head = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), head, nn.ConvTranspose2d(8, 4, 2))

    def cut(model: nn.Module) -> None:
        conv, norm, prelu, deep, up = model  # type: ignore[misc]
        kept = torch.arange(8) != 3
        for module, names in ((conv, ("weight", "bias")), (norm, ("weight", "bias")), (deep, ("weight", "bias"))):
            for name in names:
                setattr(module, name, nn.Parameter(getattr(module, name)[kept]))
        for name in ("running_mean", "running_var"):
            setattr(norm, name, getattr(norm, name)[kept])
        prelu.weight, up.weight = nn.Parameter(prelu.weight[kept]), nn.Parameter(up.weight[kept])
        conv.out_channels = norm.num_features = prelu.num_parameters = up.in_channels = 7
        deep.in_channels = deep.out_channels = deep.groups = 7

    model, again = build(), build()
    rt.load_weights(again, smaller(model, cut, tmp_path / "model.safetensors"))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again.eval()(x), model.eval()(x))
    assert repr(again) == repr(model)


def test_tied_parameters_stay_tied(tmp_path: Path) -> None:
    def build() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(5, 5, bias=False), nn.ReLU(), nn.Linear(5, 5, bias=False))
        model[2].weight = model[0].weight
        return model

    def cut(model: nn.Module) -> None:
        model[0].weight = model[2].weight = nn.Parameter(model[0].weight[:4, :4])  # type: ignore[index]

    model = build()
    path = smaller(model, cut, tmp_path / "model.safetensors")
    again = build()
    rt.load_weights(again, path)
    assert again[0].weight is again[2].weight and torch.equal(again[0].weight, model[0].weight)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_of_another_model_is_refused_and_changes_nothing(tmp_path: Path, suffix: str) -> None:
    model = mlp()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cure = "Build the model as it was when it was pruned."
    for other, told in (
        (nn.Sequential(nn.Linear(6, 10)), "which lacks 2.weight, 2.bias, 4.weight and 1 more"),
        (nn.Sequential(*mlp(), nn.Linear(3, 3)), "which holds besides 5.weight, 5.bias"),
        (
            nn.Sequential(nn.Linear(6, 11), nn.ReLU(), nn.Linear(11, 8), nn.ReLU(), nn.Linear(8, 3)),
            "where 0.weight is (11, 6), and the model has (10, 6)",
        ),
    ):
        path = rt.save_weights(other, tmp_path / f"model.{suffix}", force=True)
        with pytest.raises(rectifier.RectifierValueError) as refused:
            rt.load_weights(model, path)
        message = re.sub(r"(\d)\.bias, \1\.weight", r"\1.weight, \1.bias", str(refused.value))
        message = message.replace(
            "0.bias is (11,), and the model has (10,)", "0.weight is (11, 6), and the model has (10, 6)"
        )
        assert message == f"load_weights: `path` must hold weights of this model; got {str(path)!r}, {told}. {cure}"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].out_features == 10


def test_files_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    model = mlp()
    path = rt.save_weights(model, tmp_path / "model.pt")
    with pytest.raises(rectifier.RectifierValueError, match=r"write: `path` must not exist yet; got "):
        rt.save_weights(model, path)
    with pytest.raises(rectifier.RectifierValueError) as ending:
        rt.save_weights(model, tmp_path / "model.npz")
    assert str(ending.value) == (
        f"save_weights: `path` must end in .safetensors, .pt, .pth; got {str(tmp_path / 'model.npz')!r}. "
        "Name it model.safetensors."
    )
    for name, content, told in (
        ("a.pt", b"x", "only tensors, numbers and texts are unpickled"),
        ("a.safetensors", b"x" * 9, "its header claims"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(rectifier.RectifierValueError) as refused:
            rt.load_weights(model, tmp_path / name)
        assert str(refused.value).startswith(
            f"load_weights: `path` must be a file of weights; got {str(tmp_path / name)!r}: {told}"
        )
    with pytest.raises(rectifier.RectifierValueError, match=r"load_weights: .*there is no such file"):
        rt.load_weights(model, tmp_path / "none.pt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pt", "a.safetensors", "model.pt"]


def test_a_note_that_is_none_is_no_obstacle(tmp_path: Path) -> None:
    torch.save({"state_dict": mlp().state_dict(), "rectifier": "{" * 100_000}, tmp_path / "model.pt")
    assert rt.load_weights(mlp(), tmp_path / "model.pt") == {}
