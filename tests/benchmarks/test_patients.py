"""The benchmark of planted faults: its truth holds, its scores count right, and its command does what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.patients import page, run
from benchmarks.patients.case import Answer, Case, Patient, Visit
from benchmarks.patients.cases import PATIENTS
from benchmarks.patients.score import Score, failed, score
from benchmarks.patients.tools import TOOLS
from benchmarks.patients.truth import problems

PAGE = Path(__file__).parents[2] / "docs" / "checkup-benchmark.md"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mlp() -> Case:
    return PATIENTS["mlp"].build(0)


# Truth


@pytest.mark.parametrize("name", PATIENTS)
def test_truth_holds(name: str) -> None:
    assert problems(PATIENTS[name].build(0, small=True), times=10) == []


@pytest.mark.parametrize("name", ["mlp", "transformer", "ddp", "cause-step"])
def test_truth_holds_for_another_seed(name: str) -> None:
    case, first = PATIENTS[name].build(1, small=True), PATIENTS[name].build(0, small=True)
    assert problems(case, times=10) == []
    assert not torch.equal(case.batches[0][0], first.batches[0][0])


def test_a_patient_is_the_same_each_time() -> None:
    one, two = mlp(), mlp()
    assert one.truth == two.truth
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(one.batches, two.batches, strict=True))


@pytest.mark.parametrize("label", ["dead", "rare", "dormant", "open", "live"])
def test_the_truth_check_sees_a_wrong_label(label: str) -> None:
    case = mlp()
    labels = list(case.truth["1"])
    unit = next(unit for unit, other in enumerate(labels) if other != label)
    wrong = [*labels[:unit], label, *labels[unit + 1 :]]
    found = problems(replace(case, truth={**case.truth, "1": tuple(wrong)}), times=2)
    assert any(line.startswith(f"1: unit {unit} is said to be {label}, but fired at ") for line in found)


def test_what_is_planted_is_what_the_names_promise() -> None:
    case = mlp()
    assert [len(units) for units in case.planted().values()] == [20, 20]
    net: Any = PATIENTS["cnn"].build(0).model
    pairs = zip(net.bn1.weight.tolist(), net.bn1.bias.tolist(), strict=True)
    assert (1.0, -150.0) in pairs


def test_two_processes_see_other_units_dead_each() -> None:
    case = PATIENTS["ddp"].build(0)
    for rank in (0, 1):
        half = torch.cat([inputs for inputs, _ in case.batches[rank::2]])
        silent = {unit for unit, fired in enumerate((case.z(case.model, half)["1"] > 0).any(0).tolist()) if not fired}
        live = {unit for unit, label in enumerate(case.truth["1"]) if label == "live"}
        assert len(silent & live) == 6


# Scores


def test_scores_count_right() -> None:
    case = mlp()
    dead = case.planted()
    live = [unit for unit, label in enumerate(case.truth["1"]) if label == "live"]
    rare = next(unit for unit, label in enumerate(case.truth["3"]) if label == "rare")
    some = set(sorted(dead["1"])[:5])
    answer = Answer(
        dead={"1": some | set(live[:2]), "3": dead["3"] | {rare}},
        proved={"1": some | {live[0]}},
        others={"rare": {"3": {rare, live[0]}}},
        scales=frozenset({"exploding"}),
        alarms=("one", "two"),
    )
    found = score("fake", PATIENTS["mlp"], case, answer)
    assert (found.planted, found.found, found.false) == (40, 25, 3)
    assert (found.proved, found.proved_false) == (5, 1)
    assert found.others == {"rare": (6, 1, 1)}
    assert (found.scales, found.scales_said, len(found.alarms)) == ((), ("exploding",), 2)
    assert found.named and found.counts_exact is None and found.outcome == "wrong"


def test_numbers_without_names_get_the_benefit_of_the_doubt() -> None:
    found = score("fake", PATIENTS["mlp"], mlp(), Answer(counts={"1": 26, "3": 15}))
    assert (found.found, found.false, found.named) == (35, 6, False)


def test_outcomes() -> None:
    case = mlp()
    dead = case.planted()

    def outcome(answer: Answer) -> str:
        return score("fake", PATIENTS["mlp"], case, answer).outcome

    assert outcome(Answer(dead)) == "found"
    assert outcome(Answer()) == "0 dead"
    assert outcome(Answer(unseen=frozenset(dead))) == "not observed"
    assert outcome(Answer({"1": dead["1"]}, unseen=frozenset({"3"}))) == "found in part, the rest not observed"
    assert outcome(Answer({"1": dead["1"]})) == "wrong"
    assert failed("fake", PATIENTS["mlp"], case, "ValueError: no").outcome == "error"


def test_units_that_nobody_planted_are_not_scored_where_they_rest() -> None:
    case = PATIENTS["healthy-digits"].build(0)
    idle, alive = case.planted("idle"), case.planted("alive")
    assert any(idle.values())
    patient = PATIENTS["healthy-digits"]
    assert score("fake", patient, case, Answer(idle)).false == 0
    assert score("fake", patient, case, Answer({"1": {min(alive["1"])}})).false == 1


def test_counts_are_exact_or_not() -> None:
    case = mlp()
    x = torch.cat([inputs for inputs, _ in case.batches])
    fired = {name: tuple((z > 0).sum(0).tolist()) for name, z in case.z(case.model, x).items()}
    assert score("fake", PATIENTS["mlp"], case, Answer(fired=fired)).counts_exact is True
    live = case.truth["1"].index("live")
    off = tuple(n + 3 * (unit == live) for unit, n in enumerate(fired["1"]))
    assert score("fake", PATIENTS["mlp"], case, Answer(fired={**fired, "1": off})).counts_exact is False


def test_causes_are_scored_by_unit() -> None:
    patient = PATIENTS["cause-upstream"]
    case = patient.build(0)
    told = {name: dict.fromkeys(range(32), "initialisation") for name in ("1", "3")}
    found = score("fake", patient, case, Answer(causes=told))
    assert (found.causes, found.causes_right) == (64, 32)


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError, match=r"score: the answer of fake names '7', which is no place of mlp"):
        score("fake", PATIENTS["mlp"], mlp(), Answer({"7": {0}}))


# Tools


@pytest.mark.parametrize("name", TOOLS)
def test_adapters_keep_to_the_protocol(name: str) -> None:
    tool = TOOLS[name]
    assert tool.name == name and isinstance(tool.live, bool)
    assert tool.version() is None or isinstance(tool.version(), str)


@pytest.mark.parametrize("name", [name for name, tool in TOOLS.items() if tool.version() is not None])
def test_installed_tools_answer(name: str) -> None:
    found = run.examine(TOOLS[name], PATIENTS["mlp"], seed=0)
    assert found.error is None
    assert found.found == 40 and (found.proved_false, found.unseen) == (0, 0)


def test_a_tool_that_looks_at_the_end_sees_the_trained_model() -> None:
    assert run.examine(TOOLS["ReDo's rule, τ = 0"], PATIENTS["cause-step"], seed=0).found == 8
    case = PATIENTS["cause-step"].build(0)  # before the training they live
    assert not TOOLS["ReDo's rule, τ = 0"].diagnose(case.visit()).dead


def test_each_of_two_processes_answers_for_its_part() -> None:
    found = run.examine(TOOLS["ReDo's rule, τ = 0"], PATIENTS["ddp"], seed=0)
    assert found.error is None and found.found == 40
    assert found.false >= 6


class Crash:
    name, live = "crash", False

    def version(self) -> str | None:
        return "1.0"

    def diagnose(self, visit: Visit) -> Answer:
        raise RuntimeError("out of luck\nand more")


class Absent(Crash):
    name = "absent"

    def version(self) -> str | None:
        return None


def test_a_crash_is_recorded_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = {"crash": Crash(), "absent": Absent()}
    monkeypatch.setattr(run, "TOOLS", fakes)
    found = run.result(fakes.values(), [PATIENTS["leaky"], PATIENTS["mlp"]], 0, small=True)
    assert [(one.patient, one.error) for one in found["scores"]] == [
        ("leaky", "RuntimeError: out of luck"),
        ("mlp", "RuntimeError: out of luck"),
    ]
    assert found["tools"] == {"crash": "1.0", "absent": None}
    assert "absent: not installed" in page.terminal(found)


def test_a_truth_that_does_not_hold_stops_the_run() -> None:
    def wrong(seed: int, small: bool = False) -> Case:
        case = mlp()
        return replace(case, truth={**case.truth, "1": ("dead",) * 80})

    with pytest.raises(
        RuntimeError, match=r"patients: the truth of wrong does not hold at seed 0: 1: unit \d+ is said"
    ):
        run.result([Crash()], [Patient("wrong", "", wrong)], 0)


# The command


@pytest.mark.parametrize(("option", "names"), [("--tool", TOOLS), ("--patient", PATIENTS)])
def test_unknown_names_are_refused_with_the_list(
    option: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run.main([option, "nobody"])
    assert stopped.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"argument {option}: invalid choice: 'nobody' (choose from" in told
    assert all(repr(name)[1:-1] in told for name in names)


def test_a_page_needs_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--page", "x.md", "--tool", "torchdiag"])
    assert "--page shows every tool and every patient; leave out --tool and --patient" in capsys.readouterr().err


def test_the_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scores.json"
    assert run.main(["--tool", "zeros in one batch", "--patient", "leaky", "--seed", "3", "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    assert written["seed"] == 3 and written["machine"]["torch"] == torch.__version__
    assert [(one["tool"], one["patient"], one["outcome"]) for one in written["scores"]] == [
        ("zeros in one batch", "leaky", "–")
    ]
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[0] == "leaky" and f"Wrote {file}" in told.err


def test_the_page_is_made_of_the_scores() -> None:
    names = ("rectifier.check", "counter")
    fields: dict[str, Any] = {"planted": 3, "found": 3, "proved": 1}
    scores = [
        Score(tool, patient.name, healthy=patient.healthy, **fields) for tool in names for patient in PATIENTS.values()
    ]
    found = {"machine": {"torch": "2"}, "seed": 0, "tools": dict.fromkeys(names, "1"), "scores": scores}
    lines = page.markdown(found, list(PATIENTS.values())).splitlines()
    heads = [line for line in lines if line.startswith("| tool | mlp (3) |")]
    assert len(heads) == 2
    many = heads[0].count(" (3)")
    assert f"| counter | {' | '.join(['3'] * many)} |" in lines
    total = 3 * len(PATIENTS)
    assert "|  | bar | **rectifier.check** |" in lines
    assert (
        f"| planted dead units found / others called dead, over all patients | all / 0 | {total} of {total} / 0 |"
        in lines
    )


def test_the_page_in_the_documentation_is_of_these_patients_and_tools() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in PATIENTS if f"| `{name}` |" not in text] == []
    assert [name for name in TOOLS if f"| {name} |" not in text] == []
