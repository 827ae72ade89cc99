"""Models with our layers and functions: to which operators they are exported, and what ONNX Runtime makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import rectifier.onnx
import rectifier.torch as rt
from rectifier.errors import RectifierTypeError, RectifierValueError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: Where each is applied by itself: label, layer, its operators.
LAYERS: list[tuple[str, nn.Module, set[str]]] = [
    ("relu", rt.ReLU(at_zero=0.5), {"Relu"}),
    ("relu in place", rt.ReLU(inplace=True), {"Relu"}),
    ("leaky_relu", rt.LeakyReLU(0.2), {"LeakyRelu"}),
    ("leaky_relu 0", rt.LeakyReLU(0.0), {"Relu"}),
    ("prelu of channels", rt.PReLU(4), {"PRelu"}),
    ("prelu", rt.PReLU(save="output"), {"PRelu"}),
    ("abs", rt.Abs(), {"Abs"}),
    ("relu6", rt.ReLU6(ceiling=3.0), {"Clip"}),
    ("squared_relu", rt.SquaredReLU(), {"Relu", "Mul"}),
    ("elu", rt.ELU(1.5, save="output"), {"Elu"}),
    ("celu", rt.CELU(1.5), {"Celu"}),
    ("selu", rt.SELU(), {"Selu"}),
    ("softplus", rt.Softplus(), {"Softplus", "Greater", "Where"}),
    ("softplus 1.3", rt.Softplus(1.3), {"Mul", "Softplus", "Div", "Greater", "Where"}),
]
CURVED = ("elu", "celu", "selu")


class Each(nn.Module):
    """Every layer, and functions whose parameters are tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for _, layer, _ in LAYERS)
        self.slopes = nn.Parameter(torch.tensor([0.1, 0.5, -1.0]))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        positive = self.slopes.detach().abs()
        return [
            *(layer(x.clone()) for layer in self.layers),
            rt.leaky_relu(x, negative_slope=self.slopes),
            rt.relu6(x, ceiling=positive),
            rt.elu(x, alpha=positive),
            rt.softplus(x, beta=positive),
        ]


LABELS = [label for label, _, _ in LAYERS] + ["slopes", "ceilings", "alphas", "betas"]


def values(dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = 10 ** torch.empty(6, 4, 5, 3).uniform_(-9, 1.3, generator=generator)
    x = torch.randn(6, 4, 5, 3, generator=generator) * scale
    x[0, 0, 0] = torch.tensor([torch.nan, -torch.inf, torch.inf])
    x[1, 0, 0] = torch.tensor([-50.0, 30.0, 0.0])
    return x.to(dtype)


def outputs(path: Path, x: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.numpy()})


def ulps(got: np.ndarray, right: np.ndarray) -> float:
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(right))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(right))
    finite = np.isfinite(right)
    g, r = got[finite].astype(np.float64), right[finite].astype(np.float64)
    return float(np.max(np.abs(g - r) / np.spacing(np.abs(right[finite])).astype(np.float64)))


#: The exporter that is PyTorch's default, and the older one, which it calls deprecated.
EXPORTERS: dict[str, dict[str, Any]] = {
    "dynamo": {"dynamic_shapes": {"x": {0: torch.export.Dim("batch")}}},
    "torchscript": {"dynamo": False, "dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]},
}


@pytest.mark.parametrize(
    ("dtype", "exporter"),
    [
        (torch.float32, "dynamo"),
        (torch.float16, "dynamo"),
        (torch.float64, "dynamo"),
        (torch.float32, "torchscript"),
        (torch.float64, "torchscript"),
    ],
    ids=str,
)
def test_every_function_runs_in_onnx_runtime(dtype: torch.dtype, exporter: str, tmp_path: Path) -> None:
    model = Each().eval().to(dtype)
    path = rectifier.onnx.export(model, values(dtype)[:2], tmp_path / "all.onnx", **EXPORTERS[exporter])
    x = values(dtype)
    right = [h.detach().numpy() for h in model(x)]
    worst = {label: ulps(*pair) for label, *pair in zip(LABELS, outputs(path, x), right, strict=True)}
    wrong_near_0 = {label for label, error in worst.items() if error > 1000}
    if dtype is torch.float32 and exporter == "dynamo":
        check_operators(path)
    # By ONNX Runtime's operators, which float64 does not go by.
    assert wrong_near_0 == (set(CURVED) if dtype is torch.float32 else set())
    rest = {label: error for label, error in worst.items() if label not in wrong_near_0}
    # The rounding of βz is multiplied by it: −50, at which softplus is 1e-22.
    assert max(rest.values()) <= 50
    assert max(error for label, error in rest.items() if "softplus" not in label and label != "betas") <= 5


def check_operators(path: Path) -> None:
    graph = onnx.load(path).graph
    makers = {output: node for node in graph.node for output in node.output}
    for (label, _, expected), output in zip(LAYERS, graph.output, strict=False):
        found, todo = set(), [output.name]
        while todo:
            node = makers.get(todo.pop())
            if node is not None:
                found.add(node.op_type)
                todo += node.input
        assert found - {"Identity", "Reshape"} == expected, label


def test_exact_in_the_same_call(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), rt.ELU(), nn.Linear(4, 4), nn.SELU(), rt.CELU(2.0)).eval()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    path = rectifier.onnx.export(model, (x,), tmp_path / "m.onnx", exact=True, input_names=["x"])
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert operators.isdisjoint({"Elu", "Selu", "Celu"})
    np.testing.assert_allclose(outputs(path, x)[0], model(x).detach(), rtol=1e-5, atol=1e-6)
    assert {part.name for part in tmp_path.iterdir()} <= {"m.onnx", "m.onnx.data"}


def test_models_after_swap_and_lean(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Hardtanh(0, 6), nn.Linear(8, 2)).eval()
    rt.lean(model)
    rt.swap(model, {nn.ReLU: rt.LeakyReLU(0.1)})
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    path = rectifier.onnx.export(model, x, tmp_path / "m.onnx", input_names=["x"])
    assert "LeakyRelu" in {node.op_type for node in onnx.load(path).graph.node}
    np.testing.assert_allclose(outputs(path, x)[0], model(x).detach(), rtol=1e-5, atol=1e-6)


KERAS = """
import os, sys, warnings
import numpy as np, keras, onnxruntime, rectifier.onnx
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.ELU(), keras.layers.Dense(2)])
x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
model(x)
path = rectifier.onnx.export(model, None, sys.argv[1], exact=True, verbose=False)
session = onnxruntime.InferenceSession(path)
(h,) = session.run(None, {session.get_inputs()[0].name: x})
np.testing.assert_allclose(h, keras.ops.convert_to_numpy(model(x)), rtol=1e-5, atol=1e-6)
"""


def test_a_keras_model(tmp_path: Path) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "torch"}  # read once, when Keras is imported
    command = [sys.executable, "-c", KERAS, str(tmp_path / "keras.onnx")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_is_written_where_it_cannot_be(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), rt.ReLU()).eval(), torch.zeros(1, 4)
    taken = tmp_path / "taken.onnx"
    taken.write_text("mine", encoding="utf-8")
    with pytest.raises(RectifierValueError, match="`path` must not exist yet"):
        rectifier.onnx.export(model, x, taken)
    with pytest.raises(RectifierValueError, match="must have an Elu, Selu or Celu"):
        rectifier.onnx.export(model, x, tmp_path / "new.onnx", exact=True)
    with pytest.raises(RectifierTypeError) as raised:
        rectifier.onnx.export(lambda x: x, x, tmp_path / "new.onnx")
    assert str(raised.value) == (
        "export: `model` must be a torch.nn.Module or a keras.Model; got function. "
        "For an ONNX model use rectifier.onnx.exact."
    )
    assert taken.read_text(encoding="utf-8") == "mine"
    assert [part.name for part in tmp_path.iterdir()] == ["taken.onnx"]
    rectifier.onnx.export(model, x, taken, force=True)
    onnx.checker.check_model(taken)


def test_onnx_that_is_not_installed() -> None:
    script = "import sys; sys.modules['onnx'] = None\ntry: import rectifier.onnx\nexcept ImportError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        'rectifier.onnx: `onnx` must be installed; it was not found. Run: pip install "rectifier[onnx]"\n'
    )
