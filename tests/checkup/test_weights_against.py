"""Two files of one model: what died in between, held to a training in which units are known to get no gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import rectifier


def save(model: nn.Module, path: Path) -> Path:
    save_file({name: value.clone() for name, value in model.state_dict().items()}, path)
    return path


def trained(tmp_path: Path, optimizer: type[torch.optim.Optimizer], **options: Any) -> tuple[Path, Path, set[int]]:
    """A network trained for a while with units 2 and 5 of its first layer shut; those that never fired."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        model[0].bias[[2, 5]] = -50.0
    before = save(model, tmp_path / "before.safetensors")
    fired = torch.zeros(12, dtype=torch.bool)
    stepper = optimizer(model.parameters(), lr=0.01, **options)  # type: ignore[call-arg]
    for _ in range(200):
        x = torch.randn(64, 6)
        hidden = model[:2](x)
        fired |= (hidden > 0).any(dim=0)
        loss = nn.functional.cross_entropy(model[2](hidden), x[:, :3].argmax(dim=1))
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    assert int((~fired).sum()) == 2
    return before, save(model, tmp_path / "after.safetensors"), set(torch.nonzero(~fired).flatten().tolist())


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.Adam, {}),
        (torch.optim.AdamW, {"weight_decay": 0.05}),
        (torch.optim.SGD, {"weight_decay": 0.01}),
    ],
    ids=["SGD", "Adam", "AdamW decays", "SGD decays"],
)
def test_units_that_got_no_gradient_in_between_are_told_and_no_others(
    tmp_path: Path, optimizer: type[torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    before, after, silent = trained(tmp_path, optimizer, **options)
    record = rectifier.check_weights(after, against=before)
    (finding,) = record.of("unmoved")
    assert (finding.site, set(finding.units)) == ("0", silent)
    decayed = "weight_decay" in options
    assert finding.evidence.startswith(
        "weights and bias shrank without turning" if decayed else "weights and bias are the same bit for bit"
    )
    assert [shot.step for shot in record.snapshots] == [0, 1]
    moved = record.last.sites[0].moved
    assert moved is not None and (decayed or set(torch.nonzero(torch.tensor(moved) == 0).flatten().tolist()) == silent)


def test_what_closed_in_between_and_what_drifted_there(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6, 4))
    with torch.no_grad():
        model[1].weight[0], model[1].bias[0] = 0.0, -1.0
    before = save(model, tmp_path / "before.safetensors")
    with torch.no_grad():
        model[0].weight.mul_(1.1)
        model[1].weight[1], model[1].bias[1] = 0.0, -1.0
        model[1].bias[2] = -3.5
        model[1].weight[3] = 0.05
        model[4].bias[2] -= 4 * model[4].weight[2].norm()
        model[4].weight[:2] += 1.0
    record = rectifier.check_weights(save(model, tmp_path / "after.safetensors"), against=before)
    (closed,) = record.of("closed")
    assert (closed.site, closed.units, closed.measures["new"]) == ("1", (0, 1), 1)
    assert closed.evidence.endswith("new since the earlier file: 1")
    drifts = {(finding.site, finding.units): finding.evidence for finding in record.of("drift")}
    assert drifts == {
        ("1", (2,)): "β ÷ |γ| fell by 3.5 or more, in deviations of what is normalised (limit 3)",
        ("1", (1, 3)): "|γ| is a tenth of what it was, or less (0.1)",
        ("4", (2,)): "the bias fell by 4 times ‖w‖ or more (limit 3)",
    }


def test_a_frozen_layer_and_the_same_file_are_no_findings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    before = save(model, tmp_path / "before.safetensors")
    record = rectifier.check_weights(before, against=before)
    assert not record.findings
    assert record.not_observed[-1] == "no layer moved: the two files hold the same weights"
    with torch.no_grad():
        model[2].weight += torch.randn(2, 5)
    record = rectifier.check_weights(save(model, tmp_path / "after.safetensors"), against=before)
    assert not record.findings
    assert record.not_observed[-1] == "layers that did not move at all, so frozen: 0"


def test_another_architecture_is_refused_with_the_first_names_and_shapes_that_differ(tmp_path: Path) -> None:
    one = save(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), tmp_path / "one.safetensors")
    other = save(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.ReLU(), nn.Linear(6, 2)), tmp_path / "other.safetensors")
    with pytest.raises(rectifier.RectifierValueError) as refused:
        rectifier.check_weights(one, against=other)
    assert str(refused.value) == (
        f"check_weights: `against` must be of the same architecture; got {str(other)!r} beside {str(one)!r}: only in "
        "the one: 2.bias, 2.weight; only in the other: 3.bias, 3.weight; of another shape: 0.bias is (5,), was (6,), "
        "0.weight is (5, 4), was (6, 4). Pass two checkpoints of one model."
    )
    with pytest.raises(rectifier.RectifierValueError) as absent:
        rectifier.check_weights(one, against=tmp_path / "none.pt")
    assert str(absent.value) == (
        f"check_weights: `against` must be a file of weights; got {str(tmp_path / 'none.pt')!r}: there is no such "
        "file. Check the path."
    )


def test_files_of_different_formats_can_be_compared(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    before = save(model, tmp_path / "before.safetensors")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "same.pt")
    assert not rectifier.check_weights(tmp_path / "same.pt", against=before).findings
