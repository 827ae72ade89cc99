"""Finds every framework's observer and holds its counts, unit by unit, against counts by hand on the patients.

An observer is the ``Observer`` of an adapter, ``rectifier.frameworks.<name>`` or its module ``checkup``. A new one must
be given patients here: without, :func:`test_every_observer_is_covered` fails.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rectifier
from benchmarks.patients.case import Case
from benchmarks.patients.cases import PATIENTS
from benchmarks.patients.tools.ours import place_of, told
from benchmarks.patients.truth import ROUNDING
from rectifier import frameworks
from rectifier.checkup.adapters import adapter_for

#: Framework → patients whose every place its observer must see. What brings several processes, or padding that only the
#: model's own mask tells, is tested where that is built.
COVERED: dict[str, tuple[str, ...]] = {
    "torch": (
        "mlp",
        "functional",
        "leaky",
        "healthy-2",
        "cnn",
        "resnet",
        "transformer",
        "vanishing",
        "exploding",
        "healthy-digits",
        "compiled",
    ),
}
#: Patients of which a place may be out of its sight: then it must be named as not observed.
PARTLY: dict[str, tuple[str, ...]] = {"torch": ("compiled-part", "recurrent")}


#: Framework → what holds its observer against the truth in a process of its own: Keras keeps the backend that it is
#: imported with.
APART = {"keras": "keras_models/suite/test_checkup.py"}


def observers() -> set[str]:
    """The frameworks whose adapter has an observer; read, not imported."""
    found: set[str] = set()
    for child in pkgutil.iter_modules(frameworks.__path__):
        name = f"{frameworks.__name__}.{child.name}"
        spec = importlib.util.find_spec(f"{name}.checkup" if child.ispkg else name)
        if spec is None or spec.origin is None:
            continue
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        taken = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        if "Observer" in defined | taken:
            found.add(child.name)
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pairs(covered: dict[str, tuple[str, ...]]) -> list[Any]:
    return [pytest.param(name, patient, id=f"{name}-{patient}") for name in covered for patient in covered[name]]


def test_every_observer_is_covered() -> None:
    assert observers() == {*COVERED, *APART}
    assert all((Path(__file__).parents[1] / file).exists() for file in APART.values())


def test_an_observer_that_is_added_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abacus").mkdir()
    (tmp_path / "abacus" / "__init__.py").touch()
    (tmp_path / "abacus" / "checkup.py").write_text("class Observer: ...\n", encoding="utf-8")
    monkeypatch.setattr(frameworks, "__path__", [*frameworks.__path__, str(tmp_path)])
    assert observers() == {*COVERED, *APART, "abacus"}
    with pytest.raises(AssertionError):
        test_every_observer_is_covered()


def by_hand(case: Case, training: bool) -> dict[str, list[np.ndarray]]:
    """place → z of each batch, (examples, units), from the formulas and not from the model's run."""
    found: dict[str, list[np.ndarray]] = {}
    case.model.train(training)
    with torch.no_grad():
        for inputs, _ in case.batches:
            for name, z in case.z(case.model, inputs).items():
                found.setdefault(name, []).append(z.numpy())
    return found


def assert_counts(record: rectifier.Record, case: Case, training: bool, values: bool = True) -> set[str]:
    """What was seen is what is so. Returns the places seen. values: the values too, and not the counts alone; while a
    model trains they are read at some steps only."""
    expected = {name: np.concatenate(z) for name, z in by_hand(case, training).items()}
    seen: dict[str, list[Any]] = {}
    for snapshot in record.snapshots:
        for site in snapshot.sites:
            place = place_of(site.site, site.layer, case.places)
            assert place is not None, f"{site.site} is no place of the patient"
            seen.setdefault(place.name, []).append(site)
    for name, sites in seen.items():
        z = expected[name]
        edge = ROUNDING * float(np.abs(z[np.isfinite(z)]).mean())
        fired, nan = (sum(getattr(site, what) for site in sites) for what in ("fired", "nan"))
        assert sum(site.examples for site in sites) == z.shape[0], name
        np.testing.assert_array_equal(nan, np.isnan(z).sum(axis=0), err_msg=name)
        assert ((z > edge).sum(axis=0) <= fired).all(), name
        assert (fired <= ((z > -edge) & (z != 0)).sum(axis=0)).all(), name
        if values and not training:
            assert_values(sites[0], z, name)
    return set(seen)


def assert_values(site: Any, z: np.ndarray, name: str) -> None:
    """The extremes of z and the sum of h."""
    scale = float(np.nanmax(np.abs(z)))
    near = {"rtol": 1e-4, "atol": 1e-5 * scale, "err_msg": name}
    np.testing.assert_allclose(site.max_z, np.nanmax(z, axis=0), **near)
    np.testing.assert_allclose(site.min_z, np.nanmin(z, axis=0), **near)
    if site.rectifier == "relu":
        total = np.where(z > 0, z, 0).mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(site.sum_h / len(z), total, **near)


def watched(case: Case) -> rectifier.Record:
    """The record of one epoch in which nothing moves, with every gate counted."""
    visit = case.visit()
    with rectifier.watch(visit.model, visit.optimizer, every=len(case.batches)) as watching:
        visit.train(None)
    return watching.record


@pytest.mark.parametrize(("framework", "patient"), pairs(COVERED))
def test_check_counts_what_is_counted_by_hand(framework: str, patient: str) -> None:
    case = PATIENTS[patient].build(0, small=True)
    visit = case.visit()
    assert adapter_for(visit.model, "check").__name__ == f"rectifier.frameworks.{framework}.checkup"
    record = rectifier.check(visit.model, case.batches)
    assert assert_counts(record, case, training=False) == set(case.truth)


@pytest.mark.parametrize(("framework", "patient"), [p for p in pairs(COVERED) if p.values[1] != "compiled"])
def test_watch_counts_what_is_counted_by_hand(framework: str, patient: str) -> None:
    case = PATIENTS[patient].build(0, small=True)
    assert assert_counts(watched(case), case, training=True) == set(case.truth)


@pytest.mark.parametrize(("framework", "patient"), pairs(PARTLY))
def test_a_place_out_of_sight_is_named(framework: str, patient: str) -> None:
    case = PATIENTS[patient].build(0, small=True)
    visit = case.visit()
    try:
        record = rectifier.check(visit.model, case.batches)
    except rectifier.RectifierError as error:  # nothing at all was in sight: refused, with the reason
        assert "Not observed: " in str(error)
        return
    # A recurrent layer hands out max(z, 0), and not z.
    seen = assert_counts(record, case, training=False, values=False)
    for place in case.places:
        assert place.name in seen or told(place, record), place


def test_nan_is_counted_apart() -> None:
    case = PATIENTS["mlp"].build(0, small=True)
    for inputs, _ in case.batches[:3]:
        inputs[:2, 5] = torch.nan
    record = rectifier.check(case.model, case.batches)
    assert assert_counts(record, case, training=False) == set(case.truth)
    assert sum(int(site.nan.sum()) for site in record.last.sites) > 0


def test_a_wrong_count_is_seen() -> None:
    case = PATIENTS["mlp"].build(0, small=True)
    record = rectifier.check(case.model, case.batches)
    record.last.sites[0].fired[case.truth["1"].index("live")] += 3
    with pytest.raises(AssertionError):
        assert_counts(record, case, training=False)
