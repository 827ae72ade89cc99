"""The data of the tasks, and the average precision of the detector against cases worked out by hand."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import torch

from benchmarks import spoken_digits
from rectifier.claims.tasks import TASKS, images, scenes, speech, tables, text
from rectifier.claims.tasks.control import ActorCritic, Rollout, _advantages, _Carts, _scaled
from rectifier.claims.tasks.detection import _precision
from rectifier.claims.tasks.precision import area, average_precision, overlap, suppress, true_positives
from rectifier.claims.tasks.setup import Setup


def test_so_many_examples_are_tested() -> None:
    """By them an effect is counted, so the number must be that of the data."""
    parts = {"tabular": tables.parts("breast_cancer"), "speech": speech.parts()}
    for name in ("digits-mlp", "digits-cnn", "rows"):
        parts[name] = images.parts()
    assert {name: task.tested for name, task in TASKS.items() if task.tested} == {
        name: len(part["test"][0]) for name, part in parts.items()
    }


@pytest.mark.parametrize("load", [images.parts, scenes.parts, speech.parts, lambda: text.parts(8)])
def test_no_example_is_in_two_parts(load: object) -> None:
    parts = load()  # type: ignore[operator]
    seen = {part: {row.numpy().tobytes() for row in x} for part, (x, _) in parts.items()}
    assert set(parts) == {"train", "validation", "test"}
    if load in (scenes.parts, speech.parts):
        assert sum(map(len, seen.values())) == sum(len(x) for x, _ in parts.values())
        assert not seen["train"] & seen["test"] and not seen["validation"] & seen["test"]


def test_voices_of_the_test_are_unheard_and_all_are_different() -> None:
    voices = spoken_digits.VOICES
    names = [name for part in voices.values() for name in part]
    assert len(set(names)) == len(names) == 28
    x, words = speech.parts()["test"]
    assert x.shape == (210, 24, 40) and torch.equal(words.bincount(), torch.full((10,), 21))
    assert spoken_digits.FILE.stat().st_size < 1_500_000
    assert {float(x.min()), float(x.max())} == {-1.0, 1.0}


def _speaks() -> bool:
    if shutil.which("espeak-ng") is None:
        return False
    told = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    return " 1.51 " in told


@pytest.mark.skipif(not _speaks(), reason="espeak-ng 1.51 is not installed")
def test_the_script_makes_the_stored_features_again() -> None:
    made = spoken_digits.make({"validation": spoken_digits.VOICES["validation"][:1]})
    with np.load(spoken_digits.FILE) as stored:
        for name, array in made.items():
            assert np.array_equal(stored[name][: len(array)], array)


def test_features_of_a_pure_tone() -> None:
    """All the energy in the band round its pitch, from the moment it begins."""
    rate = 22_050
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 4) / rate)
    found = spoken_digits.features(np.concatenate([np.zeros(4000), tone]), rate)
    mel = np.linspace(*(2595 * np.log10(1 + np.array([80, 8000]) / 700)), 26)[1:-1]
    nearest = int(np.abs(mel - 2595 * np.log10(1 + 1000 / 700)).argmin())
    assert found.shape == (40, 24) and set(found[2:12].argmax(axis=1)) == {nearest}
    assert found[0].max() > 20 and found[20:].max() == 0


def test_prose_is_plain_and_named_by_its_digest() -> None:
    prose = text.prose()
    assert set(prose) <= set(text.ALPHABET) and len(prose) > 80_000 and "  " not in prose
    assert len(text.digest()) == 12
    x, y = text.parts(8)["train"]
    assert "".join(text.ALPHABET[i] for i in [*x[0].tolist(), int(y[0])]) == prose[:9]


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes"])
def test_tables_are_standardised_by_their_training_rows(name: str) -> None:
    x, _ = tables.parts(name)["train"]
    torch.testing.assert_close(x.double().mean(dim=0), torch.zeros(x.shape[1]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.double().std(dim=0, correction=0), torch.ones(x.shape[1]).double())


def test_boxes_hold_the_ink_that_was_placed() -> None:
    x, truth = scenes.parts()["test"]
    for scene, cells, corners in zip(x[:50, 0], truth[:50], scenes.boxes(truth[:50, 1:5]), strict=True):
        inside = torch.zeros_like(scene, dtype=torch.bool)
        for x0, y0, x1, y1 in corners[cells[0].flatten() > 0].round().int().tolist():
            assert 0 <= x0 < x1 <= 24 and 0 <= y0 < y1 <= 24
            inside[y0:y1, x0:x1] = True
        # Ink of a quarter and more is in a box; the faint rim of a digit may stand out of it.
        assert float(scene[~inside].max()) < 0.26 < 0.4 < float(scene[inside].max())


def boxes(*corners: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor([corners], dtype=torch.float64)


def test_overlap_by_hand() -> None:
    found = overlap(boxes((0, 0, 2, 2), (5, 5, 6, 6)), boxes((1, 0, 3, 2), (0, 0, 2, 2), (4, 4, 4, 4)))
    torch.testing.assert_close(found, torch.tensor([[[1 / 3, 1, 0], [0, 0, 0]]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("hits", "many", "expected"),
    [
        ([True, True], 2, 1.0),
        ([False, True], 1, 0.5),
        ([True, False, True], 2, 0.5 * 1 + 0.5 * 2 / 3),
        ([False, True, True], 2, 2 / 3),  # precision ½ at recall ½ is lifted to the ⅔ that follows
        ([True, False, False, True], 4, 0.25 * 1 + 0.25 * 0.5),
        ([], 3, 0.0),
    ],
)
def test_area_by_hand(hits: list[bool], many: int, expected: float) -> None:
    scores = np.linspace(0.9, 0.1, len(hits))
    shuffled = np.random.default_rng(0).permutation(len(hits))
    assert area(scores[shuffled], np.array(hits, dtype=bool)[shuffled], many) == pytest.approx(expected)


def test_average_precision_by_hand() -> None:
    """Two classes; one object found twice, one found as the wrong class, one missed, one false alarm."""
    truth = (
        boxes((0, 0, 4, 4), (10, 10, 14, 14), (0, 10, 4, 14)),
        torch.tensor([[True] * 3]),
        torch.tensor([[0, 0, 1]]),
    )
    found = (
        boxes((0, 0, 4, 5), (0, 0, 4, 4), (0, 10, 4, 14), (20, 20, 24, 24), (10, 10, 14, 14), (0, 10, 4, 14)),
        torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.0, 0.5]]),
        torch.tensor([[0, 0, 0, 0, 0, 1]]),
    )
    hits = true_positives(found, truth, 0.5)
    assert hits.tolist() == [[True, False, False, False, False, True]]
    # Class 0: recall ½ at precision 1; the box of score 0 counts as none. Class 1: all.
    assert average_precision(found, truth, 3) == pytest.approx((0.5 + 1.0) / 2)
    assert average_precision(found, truth, 3, least=0.9) == pytest.approx((0.5 * 0.5 + 1.0) / 2)


def test_suppression_by_hand() -> None:
    """The second yields to the first; the third would to the second, which is gone; the fourth is of another class."""
    chain = boxes((0, 0, 4, 4), (1, 0, 5, 4), (2, 0, 6, 4), (0, 0, 4, 4))
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.5]], dtype=torch.float64)
    kept = suppress(chain, scores, torch.tensor([[0, 0, 0, 1]]), 0.4)
    assert kept.tolist() == [[0.9, 0.0, 0.7, 0.5]]


def test_a_perfect_detector_has_precision_1() -> None:
    _, truth = scenes.parts()["validation"]
    outputs = torch.zeros(len(truth), 15, 6, 6)
    outputs[:, 0] = 40 * truth[:, 0] - 20
    outputs[:, 1:5] = truth[:, 1:5]
    outputs[:, 5:].scatter_(1, truth[:, 5:].long(), 20.0)
    assert _precision(outputs, truth) == 1.0
    outputs[:, 5:] = outputs[:, 5:].roll(1, dims=1)
    assert _precision(outputs, truth) < 1e-5


def test_advantages_end_with_their_episode() -> None:
    rewards, values = torch.tensor([[1.0], [1.0], [1.0], [1.0]]), torch.tensor([[2.0], [3.0], [4.0], [5.0], [6.0]])
    ended = torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    rollout = Rollout(torch.zeros(5, 1, 4), torch.zeros(4, 1), rewards, ended, ended, torch.ones(4, 1))
    decay = 0.99 * 0.95
    delta = [1 + 0.99 * 3 - 2, 1 - 3, 1 + 0.99 * 5 - 4, 1 + 0.99 * 6 - 5]
    expected = [delta[0] + decay * delta[1], delta[1], delta[2] + decay * delta[3], delta[3]]
    torch.testing.assert_close(_advantages(rollout, values).flatten(), torch.tensor(expected))


def test_rollouts_mark_what_gymnasium_sets_back() -> None:
    """A cart that is set back takes no action; its episode ended the step before; returns are its lengths."""
    setup = Setup(activation="relu", seed=0, step=0.1, budget=1)
    torch.manual_seed(0)
    carts, model = _Carts(16, setup), ActorCritic("relu", 8)
    first, returns = carts.roll(model)
    second, more = carts.roll(model)
    cut, valid = (torch.cat([getattr(first, name), getattr(second, name)]).bool() for name in ("cut", "valid"))
    assert torch.equal(~valid[1:], cut[:-1]) and bool(cut.any())
    lengths = [int(length) for length in [*returns, *more]]
    assert len(lengths) == int(cut.sum()) and sum(lengths) <= int(valid.sum())
    after = second.seen[1:][~valid[32:]]
    assert float((after / _scaled(np.ones((1, 4), dtype=np.float32))).abs().max()) <= 0.05 + 1e-6
