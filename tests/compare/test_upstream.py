"""What installed frameworks do today is what the package says of them: a release that changes a convention is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rectifier._conventions import PATH
from rectifier.compare import Comparison, changes, compare, make_plan
from rectifier.compare.changes import REFRESH
from rectifier.compare.plan import FRAMEWORKS, SAMPLES, missing

#: Compiling takes longer than all else, and its conventions are followed by the full record.
HERE = [name for name, one in FRAMEWORKS.items() if name != "torch-compiled" and missing(one.modules) is None]


@pytest.fixture(scope="module")
def shipped() -> Comparison:
    return Comparison.read(PATH)


def test_no_framework_has_changed_a_convention(shipped: Comparison) -> None:
    plan = make_plan(frameworks=HERE, samples=0)
    # Ours have tests of their own; here the first of them shows that the record is not an old one.
    upstream = [one for one in plan.candidates if one.framework != "rectifier" or one.label == "rectifier"]
    now = compare(replace(plan, candidates=tuple(upstream)), jobs=1)
    assert {one.framework for one in now.measured} == set(HERE)
    told = "\n".join(changes(shipped, now))
    assert not told, f"{told}\nIf that is right, write the record and the page anew: {REFRESH}"


def test_the_record_is_whole(shipped: Comparison) -> None:
    assert not shipped.failed and not shipped.absent
    plan = make_plan(frameworks=HERE)
    assert {one.candidate for one in shipped.measured} >= {candidate.label for candidate in plan.candidates}
    assert shipped.functions == plan.functions
    assert shipped.samples == SAMPLES


def changed(shipped: Comparison, function: str, candidate: str, **parts: object) -> Comparison:
    measured = tuple(
        replace(one, **parts) if (one.function, one.candidate) == (function, candidate) else one
        for one in shipped.measured
    )
    return replace(shipped, measured=measured)


def test_a_changed_convention_is_told_with_versions_and_values(shipped: Comparison) -> None:
    (elu,) = (one for one in shipped.of("elu") if one.candidate == "PyTorch")
    (leaky,) = (one for one in shipped.of("leaky_relu") if one.candidate == "Keras on JAX")
    before = changed(
        shipped, "elu", "PyTorch", probes={**elu.probes, "derivative": {**elu.probes["derivative"], "nan": ["0"]}}
    )
    before = changed(before, "leaky_relu", "Keras on JAX", defaults={**leaky.defaults, "keras.layers.LeakyReLU": None})
    before = replace(before, versions={**before.versions, "torch": "2.12.0"})
    torch, keras, jax = (shipped.versions[name] for name in ("torch", "keras", "jax"))
    assert changes(before, shipped) == [
        f"Keras on JAX (keras {keras} → {keras}, jax {jax} → {jax}): leaky_relu, defaults keras.layers.LeakyReLU: "
        "was not there, is {'negative_slope': 0.3}",
        f"PyTorch (torch 2.12.0 → {torch}): elu, probes derivative nan: was 0, is 1 or nan",
    ]
    assert changes(shipped, shipped) == []


def test_errors_alone_are_no_change_and_what_was_not_asked_is_none(shipped: Comparison) -> None:
    (elu,) = (one for one in shipped.of("elu") if one.candidate == "PyTorch")
    assert changes(changed(shipped, "elu", "PyTorch", errors={}), shipped) == []
    assert changes(shipped, replace(shipped, measured=(elu,))) == []


def test_a_function_that_is_gone_or_new_or_a_framework_that_fails_is_told(shipped: Comparison) -> None:
    without = tuple(one for one in shipped.measured if (one.function, one.candidate) != ("selu", "JAX"))
    jax = shipped.versions["jax"]
    fewer = replace(shipped, measured=without)
    assert changes(shipped, fewer) == [f"JAX (jax {jax} → {jax}): selu: not there any more"]
    assert changes(fewer, shipped) == [f"JAX (jax {jax} → {jax}): selu: new"]
    failed = replace(shipped, measured=without, failed={"JAX": "its process ended with SIGSEGV: it said nothing"})
    assert changes(shipped, failed) == [f"JAX (jax {jax} → {jax}): its process ended with SIGSEGV: it said nothing"]
