"""What saved weights alone prove: held to what the network does when it is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from torch import nn

import rectifier
from rectifier.checkup.records import Finding, Record

Arrays = Mapping[str, Any]


def check(folder: Path, arrays: Arrays, **options: Any) -> Record:
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)
    return rectifier.check_weights(path, **options)


def found(record: Record) -> dict[tuple[str, str], set[int]]:
    """(kind, site) → units."""
    units: dict[tuple[str, str], set[int]] = {}
    for finding in record.findings:
        units.setdefault((finding.kind, finding.site), set()).update(finding.units)
    return units


def only(record: Record, kind: str) -> Finding:
    (finding,) = record.of(kind)
    return finding


def linear(units: int, inputs: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "weight": (random.standard_normal((units, inputs)) / np.sqrt(inputs)).astype(np.float32),
        "bias": random.standard_normal(units).astype(np.float32),
    }


def norm(units: int) -> dict[str, Any]:
    return {
        "weight": np.ones(units, np.float32),
        "bias": np.full(units, 0.1, np.float32),
        "running_mean": np.zeros(units, np.float32),
        "running_var": np.ones(units, np.float32),
    }


def named(**layers: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{layer}.{part}": value for layer, parts in layers.items() for part, value in parts.items()}


def test_a_row_of_zeros_is_closed_where_its_bias_is_not_positive_and_constant_where_it_is(tmp_path: Path) -> None:
    fc = linear(6, 5)
    fc["weight"][[1, 2, 3]] = 0.0
    fc["bias"][[1, 2, 3]] = -0.5, 0.0, 0.5
    record = check(tmp_path, named(fc=fc))
    assert found(record) == {("closed", "fc"): {1, 2}, ("constant", "fc"): {3}}
    closed = only(record, "closed")
    assert closed.evidence == (
        "all incoming weights are exactly 0, so z is the bias, -0.5 to 0, for every finite input; dead if a ReLU reads "
        "it directly"
    )
    assert closed.proof == "z ≤ 0 for every finite input"
    assert (closed.severity, closed.fault, closed.ill) == ("note", False, False)
    assert not record.of("dead")


def test_weights_that_are_nearly_zero_prove_nothing(tmp_path: Path) -> None:
    fc = linear(4, 5)
    fc["weight"][1] = 1e-30  # whose square is 0 in float32
    fc["weight"][2] = 0.0
    fc["weight"][2, 4] = -1e-45
    fc["bias"][:] = -1.0
    assert found(check(tmp_path, named(fc=fc))) == {}


def test_a_layer_without_a_bias_is_closed_by_zeros_alone(tmp_path: Path) -> None:
    fc = linear(4, 5)
    fc["weight"][2] = 0.0
    record = check(tmp_path, {"fc.weight": fc["weight"]})
    assert found(record) == {("closed", "fc"): {2}}


@pytest.mark.parametrize("values", [8, 50, 5000])
def test_a_channel_called_closed_gives_nothing_above_zero_in_any_batch_of_that_many_values(
    tmp_path: Path, values: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm1d(40)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(40, generator=generator))
        # From well inside the bound to well beyond it.
        layer.bias.copy_(-layer.weight.abs() * torch.linspace(0.1, 2.0, 40) * (values - 1) ** 0.5)
        layer.weight[7], layer.bias[7] = 0.0, -0.1
    save_torch(layer.state_dict(), tmp_path / "model.safetensors")
    record = rectifier.check_weights(tmp_path / "model.safetensors", values=values)
    closed = found(record)["closed", ""]
    assert 5 < len(closed) < 35 and 7 in closed
    spike = torch.zeros(values, 40)
    spike[0] = 1e3 * torch.sign(layer.weight.detach())  # one value as far above the others as a batch allows
    for batch in (spike, torch.randn(values, 40, generator=generator), 1e4 + torch.randn(values, 40)):
        z = layer.train()(batch)
        assert not set(torch.nonzero((z > 0).any(dim=0)).flatten().tolist()) & closed
    opened = set(torch.nonzero((layer(spike) > 0).any(dim=0)).flatten().tolist())
    assert len(opened) >= 15  # the bound is not far from what one spike reaches
    assert f"batches of M ≤ {_least(record):,} values a channel" in (record.of("closed")[-1].proof or "")


def _least(record: Record) -> int:
    return int(record.of("closed")[-1].measures["values"])


def test_the_share_of_a_batch_that_a_rare_channel_lets_through_is_never_more_than_told(tmp_path: Path) -> None:
    layer = nn.BatchNorm1d(1)
    with torch.no_grad():
        layer.weight.fill_(0.1)
        layer.bias.fill_(-1.5)
    save_torch(layer.state_dict(), tmp_path / "model.safetensors")
    record = rectifier.check_weights(tmp_path / "model.safetensors")
    rare = only(record, "rare")
    assert rare.evidence.startswith(
        "−β/|γ| is 15 or more: in training at most 1 in 221 of a batch's values can exceed 0"
    )
    batch = torch.zeros(10_000, 1)
    worst = 0.0
    for spikes in range(1, 200):
        batch[:spikes] = 1.0
        worst = max(worst, float((layer(batch) > 0).float().mean()))
    assert 0.9 / 226 < worst <= rare.measures["rate_bound"]


def test_a_batch_norm_behind_a_layer_of_zeros_is_closed_only_where_both_modes_give_nothing_above_zero(
    tmp_path: Path,
) -> None:
    conv, bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
    model = nn.Sequential()
    model.add_module("conv1", conv)
    model.add_module("bn1", bn)
    with torch.no_grad():
        conv.weight[:4] = 0.0
        conv.bias.zero_()
        bn.bias.copy_(torch.tensor([-0.1, -0.1, 0.1, -0.1, 0.2, 0.2]))
        bn.running_mean.copy_(torch.tensor([0.0, -5.0, 0.0, 1.0, 0.0, 0.0]))
        conv.bias[3] = 0.9
    save_torch(model.state_dict(), tmp_path / "model.safetensors")
    record = rectifier.check_weights(tmp_path / "model.safetensors")
    assert found(record) == {("closed", "bn1"): {0, 3}, ("constant", "bn1"): {1, 2}}
    assert record.of("closed")[0].proof == "z ≤ 0 for every finite input if layer conv1 comes before it"
    assert [(site.site, site.layer, site.units) for site in record.last.sites] == [("bn1", "conv1", 6)]
    images = torch.randn(8, 3, 8, 8)
    for mode in (model.train(), model.eval()):
        z = mode(images).movedim(1, 0).flatten(1)
        assert not bool((z[[0, 3]] > 0).any())


def test_a_residual_branch_that_starts_at_zero_is_not_called_dead(tmp_path: Path) -> None:
    """γ = β = 0 in the last normalisation of every block, as torchvision's zero_init_residual has it."""
    bn = norm(8)
    bn["weight"][:] = bn["bias"][:] = 0.0
    record = check(tmp_path, named(bn2=bn))
    finding = only(record, "closed")
    assert (finding.severity, record.of("dead")) == ("warning", ())
    assert "a residual branch starts so" in finding.severity_reason


def test_numbers_that_are_none_are_told_wherever_they_are(tmp_path: Path) -> None:
    fc, bn = linear(4, 3), norm(4)
    fc["weight"][1, 2] = np.nan
    fc["bias"][2] = -np.inf
    bn["running_var"][0] = np.inf
    arrays = named(fc=fc, bn=bn, token_embedding={"weight": np.full((9, 2), np.nan, np.float32)})
    record = check(tmp_path, {**arrays, "scale_of_all": np.array([np.inf, 1.0], np.float32)})
    assert found(record) == {
        ("nan", "fc"): {1},
        ("infinite", "fc"): {2},
        ("infinite", "bn"): {0},
        ("nan", "token_embedding"): set(),
        ("infinite", "scale_of_all"): set(),
    }
    assert all(finding.ill for finding in record.findings)
    assert record.of("nan")[1].evidence == "18 of its numbers are NaN"


def test_scales_far_off_and_units_alike_are_told(tmp_path: Path) -> None:
    small, large, bn, twins = linear(6, 100), linear(6, 100, 1), norm(6), linear(6, 4, 2)
    small["weight"] *= 1e-4
    large["weight"] *= 1e4
    bn["weight"][2], bn["running_var"][3] = 1e-5, 0.0
    twins["weight"][[3, 5]], twins["bias"][[3, 5]] = twins["weight"][1], twins["bias"][1]
    twins["weight"][0], twins["bias"][0] = twins["weight"][2], twins["bias"][2] + 1
    record = check(tmp_path, named(small=small, large=large, bn=bn, twins=twins))
    assert found(record) == {
        ("scale", "small"): set(),
        ("scale", "large"): set(),
        ("scale", "bn"): {2, 3},
        ("duplicate", "twins"): {3, 5},
    }


FORMATS = {
    "F64": np.float64,
    "F16": np.float16,
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


@pytest.mark.parametrize("dtype", FORMATS.values(), ids=FORMATS)
def test_every_number_format_gives_the_same_findings(tmp_path: Path, dtype: Any) -> None:
    import ml_dtypes

    kept = getattr(ml_dtypes, dtype) if isinstance(dtype, str) else dtype
    fc = linear(6, 5)
    fc["weight"][1] = 0.0
    fc["bias"][1] = -0.5
    fc["weight"][3, 1] = np.nan
    arrays = {name: value.astype(kept) for name, value in named(fc=fc).items()}
    save_file(arrays, tmp_path / "model.safetensors")
    assert found(rectifier.check_weights(tmp_path / "model.safetensors")) == {
        ("closed", "fc"): {1},
        ("nan", "fc"): {3},
    }


def test_large_layers_are_read_block_by_block_with_nothing_lost(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((700, 1000)).astype(np.float32)
    weight[[0, 261, 262, 523, 699]] = 0.0
    kernel = random.standard_normal((3, 3, 300, 700)).astype(np.float32)  # as Keras and Flax keep it
    kernel[..., [5, 699]] = 0.0
    for suffix in ("safetensors", "npz"):
        arrays = {"fc.weight": weight, "conv/kernel": kernel}
        path = tmp_path / f"model.{suffix}"
        save_file(arrays, path) if suffix == "safetensors" else np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        record = rectifier.check_weights(path)
        assert found(record) == {("closed", "fc"): {0, 261, 262, 523, 699}, ("closed", "conv"): {5, 699}}
        (fc,) = (layer for layer in record.last.layers if layer.layer == "fc")
        assert fc.weight_rms == pytest.approx(float(np.sqrt(np.mean(weight.astype(np.float64) ** 2))), rel=1e-6)


def test_a_transposed_convolution_is_read_by_its_bias(tmp_path: Path) -> None:
    layer = nn.ConvTranspose2d(3, 5, 2)
    with torch.no_grad():
        layer.weight[:, 4] = 0.0
        layer.bias[4] = -1.0
    save_torch(layer.state_dict(), tmp_path / "model.safetensors")
    assert found(rectifier.check_weights(tmp_path / "model.safetensors")) == {("closed", ""): {4}}


def test_a_config_says_what_is_dead_and_attention_is_never(tmp_path: Path) -> None:
    parts = {
        "model.layers.0.fc1": linear(8, 4),
        "model.layers.0.fc2": linear(4, 8, 1),
        "model.layers.0.self_attn.q_proj": linear(4, 4, 2),
    }
    for part in parts.values():
        part["weight"][1] = 0.0
        part["bias"][1] = -1.0
    arrays = {f"{layer}.{leaf}": value for layer, part in parts.items() for leaf, value in part.items()}
    assert found(check(tmp_path, arrays)) == {
        ("closed", "model.layers.0.fc1"): {1},
        ("closed", "model.layers.0.fc2"): {1},
    }
    config = {"model_type": "opt", "activation_function": "relu", "architectures": ["OPTForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    record = check(tmp_path, arrays)
    assert found(record) == {("dead", "model.layers.0.fc1"): {1}, ("constant", "model.layers.0.fc2"): {1}}
    assert (record.model, [site.site for site in record.last.sites]) == ("OPTForCausalLM", ["model.layers.0.fc1"])
    (tmp_path / "config.json").write_text(json.dumps({**config, "activation_function": "gelu"}), encoding="utf-8")
    record = check(tmp_path, arrays)
    assert {kind for kind, _ in found(record)} == {"constant"} and not record.last.sites


def test_linear_layers_that_a_model_keeps_transposed_are_read_so(tmp_path: Path) -> None:
    fc = linear(6, 6)  # square: no shape tells the axis
    fc["weight"][:, 2] = 0.0
    fc["bias"][2] = -1.0
    arrays = {f"transformer.h.0.mlp.c_fc.{leaf}": value for leaf, value in fc.items()}
    assert found(check(tmp_path, arrays)) == {}
    config = {"model_type": "gpt2", "activation_function": "relu"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert found(check(tmp_path, arrays)) == {("dead", "transformer.h.0.mlp.c_fc"): {2}}


def test_a_record_of_weights_goes_through_json_and_through_every_report(tmp_path: Path) -> None:
    from rectifier.reporters import html

    fc = linear(6, 5)
    fc["weight"][1] = 0.0
    fc["bias"][1] = -0.5
    record = check(tmp_path, named(fc=fc))
    again = Record.from_json(record.to_json())
    assert again.source == "weights" and found(again) == found(record)
    page = html.render(again)
    assert "Saved weights of" in page and "nothing was run" in page
    assert record.share("closed") == 1 / 6


def test_arguments_that_cannot_be_used(tmp_path: Path) -> None:
    save_file({"fc.weight": np.eye(2)}, tmp_path / "a.safetensors")
    path = tmp_path / "a.safetensors"
    with pytest.raises(rectifier.RectifierValueError) as refused:
        rectifier.check_weights(path, values=1)
    assert str(refused.value) == (
        "check_weights: `values` must be a whole number, 2 or more; got 1. Pass batch × positions."
    )
    with pytest.raises(rectifier.RectifierTypeError) as wrong:
        rectifier.check_weights(path, limits=0.5)  # type: ignore[arg-type]
    assert str(wrong.value) == (
        "check_weights: `limits` must be Thresholds; got float. Pass rectifier.checkup.Thresholds(rare=0.01)."
    )
    with pytest.raises(rectifier.RectifierTypeError) as other:
        rectifier.check_weights(3)  # type: ignore[arg-type]
    assert str(other.value).startswith("check_weights: `path` must be the path of a file or a folder; got int. Pass a ")
