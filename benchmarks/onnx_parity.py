"""Digits and times of exported models in ONNX Runtime, with its operators and with the exact composition.

Run: python -m benchmarks.onnx_parity [--sample N] [--page docs/onnx.md]

Values as ``rectifier verify`` judges them: of float32 and float64 a sample that holds each exponent, each edge and each
hard case, of 16 bits all patterns, at the parameters that it tries. Errors are told of inputs that are not 0 or NaN;
whether NaN, the infinities and the sign of 0 come through is told apart.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnxruntime
import torch

import rectifier
import rectifier.onnx
import rectifier.torch as rt
from rectifier import _verify
from rectifier._machine import processor
from rectifier.verify import inputs
from rectifier.verify.plan import Case, make_plan

BEGIN, END = "<!-- parity: written by benchmarks/onnx_parity.py -->", "<!-- end of parity -->"
CURVED = ("elu", "celu", "selu")
NAMES = ("relu", "leaky_relu", "abs", "relu6", "squared_relu", *CURVED, "softplus")
DTYPES = ("float32", "float16", "float64", "bfloat16")
SIZES, WIDTH, ROUNDS = (1 << 14, 1 << 22), 512, 5


class Functions(torch.nn.Module):
    """One output for each case."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__()
        self.cases = cases

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [getattr(rt, case.function)(x, **case.parameters) for case in self.cases]


def exported(cases: list[Case], folder: Path) -> onnx.ModelProto:
    dtype = getattr(torch, cases[0].dtype)
    path = folder / f"{cases[0].dtype}.onnx"
    example = torch.zeros(4, dtype=dtype)
    shapes = {"x": {0: torch.export.Dim("n")}}
    rectifier.onnx.export(Functions(cases).eval(), example, path, dynamic_shapes=shapes, force=True)
    return onnx.load(path)


def session(model: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(ready: onnxruntime.InferenceSession, name: str, x: np.ndarray) -> np.ndarray:
    if x.dtype != ml_dtypes.bfloat16:
        return ready.run([name], {"x": x})[0]
    value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(x.view(np.uint16), onnx.TensorProto.BFLOAT16)
    binding = ready.io_binding()
    binding.bind_ortvalue_input("x", value)
    # Its Python interface gives no bfloat16 back but through memory that is handed to it.
    out = np.empty_like(x)
    binding.bind_output(name, "cpu", 0, onnx.TensorProto.BFLOAT16, out.shape, out.ctypes.data)
    ready.run_with_iobinding(binding)
    return out


def judge(case: Case, ready: onnxruntime.InferenceSession, name: str) -> tuple[float, bool]:
    """The largest error in ulp, and whether NaN, ±∞ and ±0 come through."""
    x = inputs.patterns(case.dtype, 0, 1 << 16) if case.count is None else inputs.sample(case)
    with np.errstate(invalid="ignore"):
        judged = x[~np.isnan(x) & (x != 0) & np.isfinite(x)]
    wide: Any = np.float64 if case.dtype == "float64" else np.float32
    given = {key: float(wide(value)) for key, value in case.parameters.items()}
    function, got = getattr(rectifier, case.function), run(ready, name, judged)
    with np.errstate(all="ignore"):
        right = function(judged, **given)
    got = np.where((got == 0) & (right == 0), right, got)  # the sign of 0 is told apart
    bits = f"uint{8 * x.dtype.itemsize}"
    parameter = next(iter(given.values()), 0.0)
    worst = _verify.compare(case.function, "value", case.dtype, judged.view(bits), got.view(bits), parameter)[1]
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0]).astype(x.dtype)
    right, got = function(special, **given), run(ready, name, special)
    same = np.array_equal(right.astype(float), got.astype(float), equal_nan=True)
    return float(worst), same and bool((np.signbit(right) == np.signbit(got))[1:].all())


def judged(dtype: str, sample: int, folder: Path) -> dict[tuple[str, str], dict[bool, tuple[float, bool]]]:
    """Function and way → whether it is the default parameter → the largest error, and what comes through."""
    names = CURVED if dtype == "bfloat16" else NAMES
    cases = list(make_plan(names, (dtype,), sample=sample, kinds=("value",)))
    model = exported(cases, folder)
    ways = {} if dtype == "bfloat16" else {"operator": model}
    if dtype != "float64":  # there the composition is what is exported
        ways |= {"exact": rectifier.onnx.exact(model), "exact32": rectifier.onnx.exact(model, compute="float32")}
    found: dict[tuple[str, str], dict[bool, tuple[float, bool]]] = {}
    for way, made in ways.items():
        ready = session(made)
        for case, output in zip(cases, model.graph.output, strict=True):
            if way == "operator" or case.function in CURVED:
                worst, kept = judge(case, ready, output.name)
                cell = found.setdefault((case.function, way), {})
                before = cell.get(case.default, (0.0, True))
                cell[case.default] = max(before[0], worst), before[1] and kept
    if dtype == "float64":
        found |= {(name, "exact"): judged_node(name, sample) for name in CURVED}
    return found


def judged_node(name: str, sample: int) -> dict[bool, tuple[float, bool]]:
    """The composition in float64, of the operator at its default."""
    (case,) = make_plan((name,), ("float64",), sample=sample, kinds=("value",), others=False)
    text = f'<ir_version: 8, opset_import: ["": 17]> g (double[N] x) => (double[N] y) {{y = {name.capitalize()}(x)}}'
    return {True: judge(case, session(rectifier.onnx.exact(onnx.parser.parse_model(text))), "y")}


def timed_graphs() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Label, body of the graph, and shape of x."""
    for name in ("Elu", "Selu"):  # Celu is Elu, under the default
        for size in SIZES:
            yield name, f"y = {name}(x)", (size,)
    yield "Gemm, Elu", "z = MatMul(x, w) y = Elu(z)", (256, WIDTH)


def times() -> list[list[str]]:
    """Nanoseconds a value, in float32."""
    rows = []
    rng = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(rng.standard_normal((WIDTH, WIDTH)).astype(np.float32), "w")
    for label, body, shape in timed_graphs():
        dims = ", ".join(map(str, shape))
        text = f'<ir_version: 8, opset_import: ["": 17]> g (float[{dims}] x) => (float[{dims}] y) {{{body}}}'
        model = onnx.parser.parse_model(text)
        if "w" in body:
            model.graph.initializer.append(weights)
        ways = [model, rectifier.onnx.exact(model), rectifier.onnx.exact(model, compute="float32")]
        x = rng.standard_normal(shape).astype(np.float32)
        for threads in (1, 2):
            medians = interleaved([session(way, threads) for way in ways], x)
            told = (f"{each:.1f} ({each / medians[0]:.1f}×)" for each in medians[1:])
            rows.append([label, f"{x.size:,}", str(threads), f"{medians[0]:.1f}", *told])
    return rows


def interleaved(ready: list[onnxruntime.InferenceSession], x: np.ndarray) -> list[float]:
    taken: list[list[float]] = [[] for _ in ready]
    calls = max(1, (1 << 17) // x.size)
    for turn in range(ROUNDS + 1):
        for one, into in zip(ready, taken, strict=True):
            start = perf_counter()
            for _ in range(calls):
                one.run(None, {"x": x})
            if turn:  # the first warms up
                into.append((perf_counter() - start) / calls / x.size * 1e9)
    return [statistics.median(each) for each in taken]


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def told_of(cell: dict[bool, tuple[float, bool]] | None) -> str:
    if cell is None:
        return "–"
    errors = [cell[default][0] for default in (True, False) if default in cell]
    numbers = [f"{each:.2f}" if each < 1e4 else f"{each:.1e}" for each in errors]
    lost = "" if all(kept for _, kept in cell.values()) else "*"
    return numbers[0] + (f" ({numbers[1]})" if len(numbers) > 1 else "") + lost


def page(sample: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        found = {dtype: judged(dtype, sample, Path(folder)) for dtype in DTYPES}
    ways = [(dtype, way) for dtype in DTYPES for way in ("exact", "exact32") if (dtype, way) != ("float64", "exact32")]
    plain = [[name, *(told_of(found[dtype].get((name, "operator"))) for dtype in DTYPES[:3])] for name in NAMES]
    exact = [[name, *(told_of(found[dtype].get((name, way))) for dtype, way in ways)] for name in CURVED]
    heads = [dtype if way == "exact" else "in float32" for dtype, way in ways]
    return "\n\n".join(
        (
            f"ONNX Runtime {onnxruntime.__version__} on a CPU ({processor()}), exported with PyTorch "
            f"{torch.__version__.partition('+')[0]}. Largest error in ulp at the default parameter (and at the others "
            f"that `rectifier verify` tries), {sample:,} inputs a case, all of 16 bits. A star: NaN, an infinity or "
            "the sign of a 0 is not kept at some parameter.",
            "As exported:",
            table(["function", *DTYPES[:3]], plain),
            'After `exact`, and after `exact` with `compute="float32"`; float64 at the default parameter alone:',
            table(["function", *heads], exact),
            f"Times in float32, ns a value of the result, the median of {ROUNDS} interleaved rounds; Gemm is of "
            f"{WIDTH} × {WIDTH} weights:",
            table(["graph", "values", "threads", "operator", "exact", "exact in float32"], times()),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=100_000)
    parser.add_argument("--page", type=Path, help="the page whose tables are replaced")
    given = parser.parse_args()
    text = page(given.sample)
    print(text)
    if given.page is not None:
        before, _, rest = given.page.read_text(encoding="utf-8").partition(BEGIN)
        given.page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
