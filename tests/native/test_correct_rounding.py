"""What the numbers promise, on every instruction set: a stratified sample, all 16-bit values, every hard case known."""

import threading

import numpy as np
import pytest

from rectifier import _native, _verify, oracle
from rectifier.verify import inputs, make_plan, subjects, verify
from rectifier.verify.plan import DTYPES

ISAS = _native.supported_isas()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_promise_is_kept_on_every_instruction_set(dtype):
    proof = verify(make_plan(dtypes=[dtype], sample=12_000), [subjects.Kernel(isa) for isa in ISAS], jobs=1)
    assert {result.subject for result in proof.results} == set(ISAS)
    assert len(proof.results) == len(ISAS) * len(make_plan(dtypes=[dtype]))
    if dtype in ("float16", "bfloat16"):
        assert {result.visited for result in proof.results} == {65_536}
    assert not proof.broken


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "kind"), inputs.HARD)
def test_hard_inputs_round_right(name, kind, isa):
    x = np.array([float.fromhex(h) for h in inputs.HARD[name, kind]], np.float32)
    x = np.concatenate([x, -x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(9))])
    _native.use_isa(isa)
    parameter = oracle.DEFAULTS[oracle.EXACT[name, kind][0][0]] if oracle.EXACT[name, kind][0] else None
    got = subjects.kernel(name, kind, "float32", parameter)(x)
    assert np.array_equal(got.view(np.uint32), oracle.results(kind, name, x, np.float32).view(np.uint32))


def _subnormal_work(dtype):
    """Inputs that are subnormal, and inputs whose results are."""
    digits, low, _ = oracle.FORMATS[dtype]
    kind = inputs.dtype_of(dtype)
    tiny = np.ldexp([1.0, 3.0, 2.0 ** (digits - 1) - 1], low - digits + 1)
    tails = np.linspace(low * np.log(2) - 2, low * np.log(2), 5) if dtype != "float16" else np.linspace(-16, -10, 5)
    with np.errstate(all="ignore"):
        return np.concatenate([tiny, -tiny, tails, -tails, np.sqrt(tiny)]).astype(kind)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_stay_right_where_the_caller_flushes_them(dtype, isa):
    _native.use_isa(isa)
    x = _subnormal_work(dtype)
    cases = [case for case in make_plan(dtypes=[dtype], others=False) if case.kind in ("value", "derivative")]
    functions = [subjects.kernel(case.function, case.kind, dtype, case.parameter) for case in cases]
    results, was_on = [], []

    def flushing():
        before = _verify.flush_to_zero(True)
        try:
            with np.errstate(all="ignore"):
                results.extend(function(x) for function in functions)
        finally:
            was_on.append(_verify.flush_to_zero(before))

    thread = threading.Thread(target=flushing)
    thread.start()
    thread.join()
    # The caller's setting comes back as it was.
    assert was_on == [True]
    bits = f"uint{8 * x.dtype.itemsize}"
    for case, got in zip(cases, results, strict=True):
        want = oracle.results(case.kind, case.function, x, x.dtype)
        if dtype == "float64":
            assert (oracle.ulp_error(got, case.function, x, kind=case.kind) <= 1).all(), case.label
        else:
            assert np.array_equal(got.view(bits), want.view(bits)), case.label


def test_the_flush_is_real():
    # Without it the test above would prove nothing.
    seen = []

    def flushing():
        before = _verify.flush_to_zero(True)
        seen.append(float(np.multiply(np.float32(1e-30), np.float32(1e-10))))
        _verify.flush_to_zero(before)

    thread = threading.Thread(target=flushing)
    thread.start()
    thread.join()
    assert seen == [0.0]
