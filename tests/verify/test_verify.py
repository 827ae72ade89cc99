"""The verifier itself: it must see what is wrong."""

import json
import math

import numpy as np
import pytest

from rectifier import _verify, oracle
from rectifier.errors import RectifierValueError
from rectifier.verify import Proof, inputs, make_plan, subjects, verify
from rectifier.verify.plan import DTYPES, Case, known_isas
from rectifier.verify.records import promised
from rectifier.verify.table import error, markdown


class Spoiled:
    """The kernels with one result changed."""

    name = "spoiled"
    judged_at_nan = True

    def __init__(self, spoil):
        self.spoil = spoil

    def promise(self, case):
        return promised(case.function, case.kind, case.dtype, case.default)

    def function(self, case):
        right = subjects.kernel(case.function, case.kind, case.dtype, case.parameter)

        def wrong(x):
            got = right(x).copy()
            self.spoil(x, got)
            return got

        return wrong


def verdict(spoil, function="elu", dtype="float16", kind="value"):
    (result,) = verify(make_plan([function], [dtype], kinds=[kind], others=False), [Spoiled(spoil)], jobs=1).results
    return result


def at(x, value):
    return np.flatnonzero((x == value) & (np.signbit(x) == np.signbit(value)))


def next_up(x, got):
    got[at(x, -1.0)] = np.nextafter(got[at(x, -1.0)], got.dtype.type(0))


def test_one_wrong_last_place_is_found():
    result = verdict(next_up)
    assert (result.misrounded, result.worst_input, result.kept) == (1, -1.0, False)
    assert 0.5 < result.max_error < 1.5
    assert result.visited == 65_536


@pytest.mark.parametrize(
    ("value", "wrong"), [(-0.0, 0.0), (-math.inf, math.nan), (math.inf, 65504.0), (1.0, math.inf), (math.nan, 0.0)]
)
def test_a_result_of_the_wrong_kind_is_found(value, wrong):
    def spoil(x, got):
        got[np.flatnonzero(np.isnan(x))[0] if math.isnan(value) else at(x, value)] = wrong

    result = verdict(spoil)
    assert (result.misrounded, result.max_error, result.kept) == (1, math.inf, False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_those_of_the_oracle(dtype):
    rng = np.random.default_rng(0)
    bits = f"uint{8 * inputs.dtype_of(dtype).itemsize}"
    for name, kind in oracle.EXACT:
        (case,) = make_plan([name], [dtype], sample=4000, kinds=[kind], others=False)
        x = rng.choice(inputs.sample(Case(name, kind, dtype, case.parameter, True, 4000)), 40)
        with np.errstate(all="ignore"):
            got = subjects.kernel(name, kind, dtype, case.parameter)(x)
        got = (got.view(bits) + rng.integers(0, 3, x.size).astype(bits)).view(x.dtype)
        want = oracle.ulp_error(got, name, x, kind=kind)
        parameter = case.parameter or 0.0
        if dtype != "float64":
            parameter = float(np.float32(parameter))
        for i, value in enumerate(want):
            one = slice(i, i + 1)
            misrounded, worst, _, near = _verify.compare(
                name, kind, dtype, x[one].view(bits), got[one].view(bits), parameter
            )
            if not near:
                # Just below a power of two the reference may be that power, whose last place is twice as large.
                significand = abs(math.frexp(float(got[i]) if math.isfinite(got[i]) else 1.0)[0])
                close = [pytest.approx(v, rel=1e-2, abs=2e-3) for v in (value, value / 2)]
                near_power = significand < 0.52
                assert worst == close[0] or (near_power and worst == close[1]), (name, kind, x[i], got[i])
                right = oracle.results(kind, name, x[one], x.dtype)
                same = right.view(bits) == got[one].view(bits) or (math.isnan(right[0]) and math.isnan(got[i]))
                assert misrounded == (not same), (name, kind, x[i])


def test_an_input_next_to_a_tie_is_left_to_more_digits():
    x = np.array([2.0**-23], np.float32)
    bits = x.view(np.uint32)
    half = np.array([0.5], np.float32).view(np.uint32)
    assert _verify.compare("sigmoid", "value", "float32", bits, half, 0.0) == (0, -1.0, -1, [0])

    def spoil(x, got):
        got[at(x, np.float32(2.0**-23))] += np.float32(2.0**-23)

    plan = make_plan(["sigmoid"], ["float32"], sample=5000, kinds=["value"])
    assert verify(plan, [Spoiled(spoil)], jobs=1).results[0].misrounded == 1
    assert verify(plan, [Spoiled(lambda x, got: None)], jobs=1).results[0].misrounded == 0


def test_processes_find_the_same():
    plan = make_plan(["elu"], ["float32", "bfloat16"], sample=5000)
    one, two = (verify(plan, [subjects.Kernel("baseline")], jobs=jobs) for jobs in (1, 2))

    def findings(proof):
        return [(r.function, r.misrounded, r.max_error, r.worst_input, r.near_ties) for r in proof.results]

    assert findings(one) == findings(two)


def test_json_comes_back(tmp_path):
    proof = verify(make_plan(["relu", "elu"], ["float32"], sample=2000), [Spoiled(next_up)], jobs=1)
    path = tmp_path / "proof.json"
    path.write_text(proof.to_json())
    assert Proof.read(path) == Proof(**{**vars(proof), "seconds": round(proof.seconds, 1)})
    json.loads(proof.to_json(), parse_constant=pytest.fail)
    path.write_text("{}")
    with pytest.raises(RectifierValueError, match="verify: `path` must be a file written with verify --json; got .*"):
        Proof.read(path)


def test_a_sample_is_reproducible_and_holds_the_hard_cases():
    (case,) = make_plan(["softplus"], ["float32"], kinds=["value"], sample=3000, others=False)
    x = inputs.sample(case)
    assert x.size == 3000
    assert np.unique(x.view(np.uint32)).size > 2990
    assert np.array_equal(x.view(np.uint32), inputs.sample(case).view(np.uint32))
    assert np.float32(float.fromhex("0x1.d483ap-12")) in x
    assert {np.inf, -np.inf, np.float32(1e-45)} <= set(x.tolist())
    assert np.isnan(x).any()


def test_names_that_are_not_there():
    with pytest.raises(RectifierValueError) as caught:
        make_plan(["elo"])
    assert str(caught.value) == (
        "verify: `NAME` must be a function of the family; got 'elo'. Did you mean 'elu'? Known: relu, leaky_relu, "
        "prelu, abs, relu6, squared_relu, elu, celu, selu, softplus, sigmoid, tanh, threshold."
    )
    with pytest.raises(RectifierValueError) as caught:
        make_plan(dtypes=["int8"])
    assert str(caught.value) == (
        "verify: `--dtype` must be of float32, float16, bfloat16, float64; got 'int8'. Pass float32."
    )
    with pytest.raises(RectifierValueError) as caught:
        make_plan(kinds=["integral"])
    assert str(caught.value) == (
        "verify: `--kind` must be of value, derivative, slope_derivative, inverse; got 'integral'. Pass value."
    )
    with pytest.raises(RectifierValueError, match=r"verify: `--isa` must be all or one of .*baseline on this machine"):
        known_isas(["mmx"])
    assert make_plan(["prelu"]) == make_plan(["leaky_relu"])


def test_gradients_of_pytorch_are_the_derivatives():
    plan = make_plan(sample=3000, kinds=["derivative"], others=False)
    proof = verify(plan, [subjects.Gradient()], jobs=1)
    assert {result.function for result in proof.results} >= {"relu", "leaky_relu", "elu", "celu", "selu", "softplus"}
    assert not proof.broken


def test_a_peer_is_measured_without_a_promise_and_an_absent_one_is_named(monkeypatch):
    monkeypatch.setitem(subjects.peers.MODULES, "jax", "no_such_module")
    peers = [subjects.Peer("torch"), subjects.Peer("jax")]
    proof = verify(make_plan(["softplus"], ["float64"], sample=3000, kinds=["value"]), peers, jobs=1)
    assert proof.absent == ("jax: no_such_module is not installed",)
    (result,) = proof.results
    # PyTorch's threshold at 20.
    assert result.max_error > 1e5
    assert result.kept


def test_the_table():
    assert (error(0.5), error(0.50004), error(0.0), error(math.inf)) == ("0.5000", "0.5001", "0", "wrong kind")
    proof = verify(make_plan(["relu"], ["float16"], others=False), [subjects.Kernel("baseline")], jobs=1)
    assert markdown(proof.results).splitlines()[2] == ("| `relu` | value | baseline | 65,536 (all) | 0 | 0 |  |")


def test_gradients_from_what_is_kept() -> None:
    pytest.importorskip("torch")
    plan = make_plan(
        ["softplus", "squared_relu", "elu", "relu"], ["float32", "float16"], kinds=["derivative"], sample=3000
    )
    who = [subjects.Gradient(), subjects.Gradient("input"), subjects.Gradient("output")]
    proof = verify(plan, who, jobs=1)
    assert not proof.broken
    by_subject = {name: {r.function for r in proof.results if r.subject == name} for name in (w.name for w in who)}
    assert "relu" in by_subject["torch gradient"]
    assert by_subject["torch gradient from the output"] == {"softplus", "squared_relu", "elu"}
    lost = [r for r in proof.results if r.subject == "torch gradient from the output" and r.function == "elu"]
    assert lost
    assert all(r.promise is None and r.max_error > 100 for r in lost)
