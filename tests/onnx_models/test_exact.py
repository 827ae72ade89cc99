"""exact: what it puts in the place of Elu, Selu and Celu, and where it looks for them."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import rectifier
import rectifier.onnx
from rectifier import _verify
from rectifier.errors import RectifierError, RectifierTypeError, RectifierValueError
from rectifier.verify import inputs
from rectifier.verify.plan import Case

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0]
#: Operator and attributes → the row and its parameter.
NODES = {
    "Elu": ("elu", None),
    "Elu <alpha: float = 2.5>": ("elu", 2.5),
    "Celu": ("celu", None),
    "Celu <alpha: float = 0.1>": ("celu", 0.1),
    "Selu": ("selu", None),
}
TYPES = {"float32": "float", "float16": "float16", "float64": "double", "bfloat16": "bfloat16"}


def model_of(body: str, kind: str = "float", head: str = HEAD) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{head} g ({kind}[N] x) => ({kind}[N] y) {{ {body} }}")


def run(model: onnx.ModelProto, x: np.ndarray, **more: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    if x.dtype != ml_dtypes.bfloat16:
        return session.run(None, {"x": x, **more})[0]
    out = np.empty_like(x)
    value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(x.view(np.uint16), TensorProto.BFLOAT16)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("y", "cpu", 0, TensorProto.BFLOAT16, out.shape, out.ctypes.data)
    session.run_with_iobinding(binding)
    return out


def operators(scope: onnx.GraphProto | onnx.FunctionProto) -> list[str]:
    return [node.op_type for node in scope.node]


def worst(row: str, parameter: float | None, x: np.ndarray, got: np.ndarray) -> float:
    """The largest error in ulp."""
    name, bits = x.dtype.name, f"uint{8 * x.dtype.itemsize}"
    number = 0.0 if parameter is None and row == "selu" else 1.0 if parameter is None else parameter
    number = float(np.float32(number))
    return float(_verify.compare(row, "value", name, x.view(bits), got.view(bits), number)[1])


@pytest.mark.parametrize(("compute", "bound"), [("float64", 0.75), ("float32", 6.0)])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("node", NODES)
def test_right_for_all_kinds_of_input(node: str, dtype: str, compute: str, bound: float) -> None:
    row, parameter = NODES[node]
    x = inputs.sample(Case(row, "value", dtype, parameter, parameter is None, 20_000))
    with np.errstate(invalid="ignore"):  # converting a signalling NaN
        x = np.concatenate([x[~np.isnan(x)], np.array(SPECIAL[1:]).astype(x.dtype)])
    right = rectifier.onnx.exact(model_of(f"y = {node} (x)", TYPES[dtype]), compute=compute)
    error = worst(row, parameter, x, run(right, x))  # infinite where a zero has the other sign
    assert error <= (5.0 if dtype == "float64" else 0.51 if x.itemsize == 2 else bound)
    assert np.isnan(run(right, np.array([np.nan, 1.0]).astype(x.dtype))).tolist() == [True, False]


def test_the_operator_is_wrong_there() -> None:
    x = np.array([-1e-7, -1e-8], np.float32)
    assert worst("elu", None, x, run(model_of("y = Elu(x)"), x)) > 1e6


def test_another_evaluator_agrees() -> None:
    x = np.array([-1e-8, -0.3, -20.0, 3.0, *SPECIAL], np.float32)
    right = rectifier.onnx.exact(model_of("y = Selu(x)"))
    (got,) = ReferenceEvaluator(right).run(None, {"x": x})
    np.testing.assert_array_equal(got, rectifier.selu(x))


def test_the_model_given_is_not_changed_and_all_else_stays() -> None:
    model = model_of('[first] a = Abs(x) [e] b = Elu(a) "b/Elu/Exp" = Neg(b) y = ThresholdedRelu("b/Elu/Exp")')
    before = model.SerializeToString()
    right = rectifier.onnx.exact(model)
    assert model.SerializeToString() == before
    kept = [node for node in right.graph.node if not node.name.startswith("b/Elu/") or node.op_type == "Neg"]
    assert kept == [node for node in model.graph.node if node.op_type != "Elu"]
    x = np.array([-2.0, 3.0], np.float32)
    np.testing.assert_array_equal(run(right, x), run(model, x))


def test_attributes_of_selu_other_than_its_own() -> None:
    x = np.array([-1e-8, -1.0, 2.0], np.float32)
    right = rectifier.onnx.exact(model_of("y = Selu <gamma: float = 2.0, alpha: float = 0.5> (x)"))
    np.testing.assert_array_equal(run(right, x), 2 * np.where(x > 0, x, 0.5 * np.expm1(x)))


def test_branches_of_subgraphs_with_types_of_their_own() -> None:
    """Both branches call what they make r; one is of float16 before it is cast."""
    text = f"""{HEAD} g (float[N] x, bool c) => (float[N] y) {{
        k = Mul(x, x)
        y = If (c) <
            then_branch = a () => (float[N] q) {{ r = Elu(x) q = Identity(r) }},
            else_branch = b () => (float[N] q) {{ h = Cast <to = 10> (k) n = Neg(h) r = Elu(n) q = Cast <to = 1> (r) }}
        >
    }}"""
    right = rectifier.onnx.exact(onnx.parser.parse_model(text))
    x = np.array([-1e-4, -1.0, 2.0], np.float32)
    np.testing.assert_array_equal(run(right, x, c=np.array(True)), rectifier.elu(x))
    half = rectifier.elu(-((x * x).astype(np.float16)))
    np.testing.assert_array_equal(run(right, x, c=np.array(False)), half.astype(np.float32))
    inner = right.graph.node[1].attribute[1].g
    assert [node.attribute[0].i for node in inner.node if node.op_type == "Cast"] == [10, 11, 10, 1]


def test_functions_of_the_model_whose_attribute_is_the_callers() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "d": 1]>
        g (float[N] x) => (float[N] y) { y = d.F <a: float = 1.5> (x) }
        <opset_import: ["": 17], domain: "d"> F <a> (v) => (w) {
            u = Elu <alpha: float = @a> (v) t = Celu <alpha: float = @a> (u) w = Selu <gamma: float = @a> (t) }"""
    model = onnx.parser.parse_model(text)
    x = np.array([-1e-8, -1.0, -50.0, 2.0, *SPECIAL], np.float32)
    right = rectifier.onnx.exact(model)
    assert operators(right.functions[0]).count("CastLike") == 3
    z = rectifier.celu(rectifier.elu(x, alpha=1.5), alpha=1.5).astype(np.float64)
    alpha = 1.67326319217681884765625
    expected = (1.5 * np.where(z > 0, z, alpha * np.expm1(z))).astype(np.float32)
    np.testing.assert_array_equal(run(right, x), expected)


def test_a_type_that_is_not_known_is_taken_from_the_input() -> None:
    head = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>'
    right = rectifier.onnx.exact(model_of("a = com.microsoft.QuickGelu(x) y = Elu(a)", head=head))
    assert operators(right.graph)[-1] == "CastLike"
    x = np.array([-1e-6, -1.0, 2.0], np.float32)
    np.testing.assert_allclose(run(right, x), rectifier.elu(x / (1 + np.exp(-1.702 * x))), rtol=1e-6)


def test_large_weights_are_not_what_types_are_inferred_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are inferred within protobuf's limit of 2 GB, and weights may have more."""
    sizes = []
    infer = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", lambda m: sizes.append(m.ByteSize()) or infer(m))
    model = model_of("z = Add(x, w) y = Elu(z)")
    model.graph.initializer.append(numpy_helper.from_array(np.ones(100_000, np.float32), "w"))
    right = rectifier.onnx.exact(model)
    assert sizes[0] < 5000
    assert right.graph.initializer == model.graph.initializer
    assert "CastLike" not in operators(right.graph)


def test_the_first_opset_that_will_do() -> None:
    x = np.array([-1e-8, -1.0, 2.0], np.float32)
    old = model_of("y = Elu(x)", head='<ir_version: 4, opset_import: ["": 9]>')
    np.testing.assert_array_equal(run(rectifier.onnx.exact(old), x), rectifier.elu(x))


# Files ---------------------------------------------------------------------------------------------------------------


def saved_apart(folder: Path) -> Path:
    """A model whose weights are in a file of their own."""
    model = model_of("z = Add(x, w) y = Elu(z)")
    model.graph.initializer.append(numpy_helper.from_array(np.full(2000, -1e-3, np.float32), "w"))
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
    return folder / "model.onnx"


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    source = saved_apart(tmp_path)
    (tmp_path / "there").mkdir()
    x = np.linspace(-1e-3, 1e-3, 2000, dtype=np.float32)
    for target in (tmp_path / "beside.onnx", tmp_path / "there" / "other.onnx"):
        assert rectifier.onnx.exact(str(source), target) == target
        session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], rectifier.elu(x + np.float32(-1e-3)))
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "beside.onnx",
        "model.data",
        "model.data",
        "model.onnx",
        "other.onnx",
    ]
    with pytest.raises(RectifierValueError, match=r"'.*model\.data', which does"):
        rectifier.onnx.exact(source, tmp_path / "there" / "again.onnx")
    assert not (tmp_path / "there" / "again.onnx").exists()
    rectifier.onnx.exact(source, tmp_path / "there" / "again.onnx", force=True)


def test_weights_in_another_folder_stay_with_their_model(tmp_path: Path) -> None:
    source = saved_apart(tmp_path)
    model = onnx.load(source, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../model.data"
    source.write_bytes(model.SerializeToString())
    (tmp_path / "there").mkdir()
    with pytest.raises(RectifierValueError) as raised:
        rectifier.onnx.exact(source, tmp_path / "there" / "new.onnx")
    assert str(raised.value) == (
        "exact: `model` must have its weights in files beside it, to be written to another folder; got "
        f"'../model.data' for {str(source)!r}. Write the new file beside the model."
    )


def messages(tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """Message → model, path, options."""
    plain, elu = model_of("y = Relu(x)"), model_of("y = Elu(x)")
    function = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "d": 1]> g (float[N] x) => (float[N] y) { y = d.F(x) }'
        '<opset_import: ["": 13], domain: "d"> F (v) => (w) { w = Elu(v) }'
    )
    later = onnx.ModelProto()
    later.CopyFrom(function)
    later.functions[0].opset_import[0].version = 17
    text, file = tmp_path / "text.onnx", tmp_path / "elu.onnx"
    text.write_text("no model\n", encoding="utf-8")
    onnx.save(elu, file)
    new = tmp_path / "new.onnx"
    return {
        "exact: `model` must have an Elu, Selu or Celu, which are what is wrong near 0; got none. Use it as it is.": (
            plain,
        ),
        "exact: `compute` must be 'float64' or 'float32'; got 'double'. Leave it out for 'float64'.": (
            elu,
            None,
            {"compute": "double"},
        ),
        "exact: `model` must have opset 9 or later; got 8, for the Elu that makes 'y'. "
        "Convert it with onnx.version_converter.convert_version.": (
            model_of("y = Elu(x)", head='<ir_version: 4, opset_import: ["": 8]>'),
        ),
        "exact: `model` must have opset 15 or later where a type is not known; got 13, for the Elu that makes 'w'. "
        "Convert it with onnx.version_converter.convert_version.": (function,),
        "exact: `compute` must be 'float64' where a type is not known; got 'float32', for the Elu that makes 'w'. "
        "Leave it out, or put functions in their places with onnx.inliner.inline_local_functions.": (
            later,
            None,
            {"compute": "float32"},
        ),
        "exact: `model` must be an onnx.ModelProto or the path of a file; got int. "
        "Export it first, with rectifier.onnx.export(…, exact=True).": (3,),
        f"exact: `path` must be given with the path of a model; got none for {str(file)!r}. "
        "Say where the new file goes.": (file,),
        "exact: `path` must come with the path of a model; got an onnx.ModelProto. "
        "Leave it out, and give the result to onnx.save.": (elu, new),
        "exact: `force` must come with the path of a model; got an onnx.ModelProto. "
        "Leave it out, and give the result to onnx.save.": (elu, None, {"force": True}),
        f"exact: `model` must be an ONNX model; got {str(text)!r}. Pass a file of one.": (text, new),
        f"exact: `model` must be a file that exists; got {str(tmp_path / 'no.onnx')!r}. "
        "Pass the path of an ONNX model.": (tmp_path / "no.onnx", new),
        f"write: `path` must not exist yet; got {str(text)!r}, which does. "
        "Pass force=True (--force) to replace it, or another name.": (file, text),
        f"exact: `path` must be another file than the model; got {str(file)!r}. Pick another name.": (
            file,
            file,
            {"force": True},
        ),
    }


def test_messages(tmp_path: Path) -> None:
    for message, (model, *more) in messages(tmp_path).items():
        path, options = (*more, None, None)[:2]
        with pytest.raises(RectifierError, match=f"^{re.escape(message)}$") as raised:
            rectifier.onnx.exact(model, *([] if path is None else [path]), **(options or {}))
        assert isinstance(raised.value, RectifierTypeError if model == 3 else RectifierValueError)
    assert not (tmp_path / "new.onnx").exists()


def test_the_checks_can_fail() -> None:
    """A composition that computes Exp(x) − 1 in float32 is told."""
    wrong = model_of(
        "e = Exp(x) o = Constant <value = float {1.0}> () z = Constant <value = float {0.0}> ()"
        "s = Sub(e, o) c = Less(x, z) y = Where(c, s, x)"
    )
    x = np.array([-1e-7, -1e-8], np.float32)
    assert worst("elu", None, x, run(wrong, x)) > 1e6
