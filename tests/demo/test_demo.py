"""The demonstration as a whole: words, JSON, page, progress, and what it leaves behind."""

import dataclasses
import json
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import rectifier.demo
from rectifier.demo import DemoResult, page
from rectifier.demo.findings import dated
from rectifier.errors import RectifierTypeError, RectifierValueError


def test_summary_says_what_died_why_and_what_helps(result: DemoResult) -> None:
    text, death, cut = result.summary(), result.death, result.cut
    assert text.startswith(f"Too large a step size silenced {death.silent_units} of 320 hidden units")
    for site, (units, total) in enumerate(zip(death.silent.values(), (128, 128, 64), strict=True), start=1):
        assert f"{len(units)} of {total} in layer {site}" in text
    assert f"{death.pushed('its own update')} by an update of their own weights" in text
    assert f"Test accuracy: {100 * death.accuracy[-1]:.1f} %" in text
    best = result.cure.best(result.cure.small_step)
    fresh = " (a fresh start)" if best.remedy == "He initialisation" else ""
    assert f"{best.remedy}{fresh} {100 * best.gain:+.1f}".replace("-", "−") in text
    assert f"{cut.parameters:,} → {cut.silent_cut.parameters:,} parameters" in text
    assert "changed by exactly 0" in text
    assert sum(death.causes.values()) == death.silent_units
    assert max(map(len, text.split("\n\n"))) < 900


def test_json_holds_the_numbers(result: DemoResult) -> None:
    document = json.loads(result.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["schema"] == "rectifier-demo/1"
    assert document["death"]["silent"] == {site: list(units) for site, units in result.death.silent.items()}
    lives = document["death"]["fired"]["layer 1"]
    assert len(lives) == 128 and {len(life) for life in lives} == {211}
    silent = {unit for unit, life in enumerate(lives) if life[-1] == "0"}
    assert silent == set(result.death.silent["layer 1"])
    assert document["death"]["checked"]["schema"] == "rectifier-record/1"
    assert "weights" not in document["death"]
    assert len(document["cure"]["arms"]) == 12


def test_page_is_written_once(result: DemoResult, tmp_path: Path) -> None:
    path = result.write_html(tmp_path / "demo.html")
    text = path.read_text(encoding="utf-8")
    for section in result.sections():
        assert section.title.split(":")[0] in text
    assert f"{result.death.silent_units} of 320" in text
    assert "too large a step" in text
    with pytest.raises(RectifierValueError, match="must not exist yet"):
        result.write_html(path)
    result.write_html(path, force=True)


def test_sections_name_every_silent_unit(result: DemoResult) -> None:
    table = next(section for section in result.sections() if section.title.startswith("2.")).tables[0]
    for row, (site, units) in zip(table.rows, result.death.silent.items(), strict=True):
        total = result.death.fired[site].shape[1]
        told = row[2].removeprefix("all but ")
        named = {int(unit) for unit in told.split(", ")}
        assert (set(range(total)) - named if row[2].startswith("all but") else named) == set(units)
        assert sum(map(int, row[3:])) == len(units)


def test_the_page_tells_the_check_ups_findings_of_the_units_of_act_2(result: DemoResult) -> None:
    death = result.death
    record = dated(death.checked, death.watched)
    named = {
        site: sorted(unit for f in record.of("silent", "dead") if f.site == site for unit in f.units)
        for site in death.silent
    }
    assert named == {site: list(units) for site, units in death.silent.items()}
    proved = sum(len(finding.units) for finding in record.of("dead"))
    assert proved == sum(len(finding.units) for finding in death.checked.of("dead")) > 0
    by_watch = {(f.site, unit): f for f in death.watched.of("silent", "dead") for unit in f.units}
    dated_units = 0
    for finding in record.of("silent", "dead"):
        site = next(site for site in record.last.sites if site.site == finding.site)
        assert f"largest z seen {site.max_z[list(finding.units)].max():.4g};" in finding.evidence
        for unit in finding.units:
            if seen := by_watch.get((finding.site, unit)):
                assert (finding.cause, finding.since.get(unit)) == (seen.cause, seen.since.get(unit))
                dated_units += unit in finding.since
    assert dated_units > 0.9 * death.silent_units
    section = result.sections()[-1]
    assert section.title == "What the check-up found in the network of act 2"
    assert len(section.cards) == len([f for f in record.findings if f.kind not in ("rare", "always_open")])


def test_the_words_of_the_page(result: DemoResult, tmp_path: Path) -> None:
    text = result.summary() + result.write_html(tmp_path / "demo.html").read_text(encoding="utf-8").split("<script")[0]
    text += " ".join(
        " ".join([*section.paragraphs, *section.notes, *(told for card in section.cards for _, told in card.parts)])
        + " ".join(table.caption for table in section.tables)
        for section in result.sections()[:-1]
    )
    for word in (r"(same|smaller) step(?! size)", r"\bsite ", "is not 0 on 0", "after step 0", "dead can be cut"):
        assert not re.search(word, text), word
    assert [section.title for section in result.sections()][4] == "4. Cut: what stays silent is pruned"


@pytest.mark.parametrize("change", [0.0, 1e-6])
def test_rounding_is_told_only_where_an_output_changed(result: DemoResult, change: float) -> None:
    cut = dataclasses.replace(
        result.cut,
        proved=dataclasses.replace(result.cut.proved, change_train=0.0, change_test=0.0),
        silent_cut=dataclasses.replace(result.cut.silent_cut, change_train=0.0, change_test=change),
    )
    caption = page._cut(cut).tables[0].caption
    assert ("round differently" in caption) == bool(change)


def test_when_the_unit_last_fired(result: DemoResult) -> None:
    chain = result.death.chain
    assert chain is not None
    for last, told in ((0, "It last fired before training."), (3, "It last fired after update 3.")):
        parts = dict(page._chain(dataclasses.replace(chain, last_fired=last)).cards[0].parts)
        assert parts["The weights"].startswith(told)
        assert "f'(z) is 0 on all 1,347 images." in parts["The factor 0"]


def test_progress_rises_to_one(result: DemoResult, progress: list[tuple[str, float]]) -> None:
    shares = [share for _, share in progress]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    assert list(dict.fromkeys(act for act, _ in progress)) == ["depth", "death", "cure", "cut"]


def test_same_seed_same_numbers_in_any_number_of_processes_and_nothing_left_behind() -> None:
    def numbers(processes: int) -> dict[str, object]:
        result = rectifier.demo.run(seed=7, _seeds=2, _steps=12, _processes=processes)
        document = json.loads(result.to_json())
        del document["seconds"], document["cut"]["timings"]
        return dict(document)

    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    numpy_state, python_state = np.random.get_state(), random.getstate()
    once = numbers(1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))
    assert random.getstate() == python_state
    assert once == numbers(2)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        ("0", RectifierTypeError, "demo.run: `seed` must be an integer; got '0'. Pass a number such as 0."),
        (True, RectifierTypeError, "demo.run: `seed` must be an integer; got True. Pass a number such as 0."),
        (-1, RectifierValueError, "demo.run: `seed` must be from 0 to 4294966296; got -1. Pass a number such as 0."),
        (
            2**32,
            RectifierValueError,
            "demo.run: `seed` must be from 0 to 4294966296; got 4294967296. Pass a number such as 0.",
        ),
    ],
)
def test_bad_seeds(seed: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        rectifier.demo.run(seed=seed)  # type: ignore[arg-type]
    assert caught.value.args == (message,)


def test_infinities_become_text() -> None:
    assert rectifier.demo._plain({"a": (math.inf, 1.0)}) == {"a": ["inf", 1.0]}
