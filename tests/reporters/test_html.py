"""Numbers on the page are those of the record, recomputed here from its arrays."""

from __future__ import annotations

import base64
import json
import math
import zlib
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from rectifier.checkup.records import Finding, Record, SiteVitals, Snapshot
from rectifier.reporters import charts, html, maps
from rectifier.reporters.page import Chart, Folded, Section

LAYERS = ("layers.0", "layers.2", "layers.4", "layers.6")


def section(record: Record, title: str) -> Section:
    return next(section for section in html.sections(record) if section.title == title)


def test_facts_are_the_totals(watched: Record) -> None:
    values = {fact.label: fact.value for fact in html.facts(watched)}
    never = sum(int(np.count_nonzero(site.fired == 0)) for site in watched.last.sites)
    assert values == {
        "units at 3 sites": "160",
        "proved dead": "2",
        "silent on all examples seen": str(never - 2),
        "rarely firing": "1",
        "other faults": "1",
        "examples a unit": "1,437",
    }


def test_the_table_of_sites_is_the_last_snapshot(watched: Record) -> None:
    rows = html.site_rows(watched)
    assert [row[0] for row in rows] == ["layers.1", "layers.3", "layers.5"]
    for row, site in zip(rows, watched.last.sites, strict=True):
        assert len(row) == len(html.SITE_COLUMNS)
        assert int(row[2]) == len(site.fired)
        assert int(row[4]) == sum(1 for fired in site.fired if fired == 0)
        assert int(row[6]) == sum(1 for fired in site.fired if fired == 1437)
        assert float(row[7].removesuffix(" %")) == float(f"{100 * np.median(site.fired / 1437):.3g}")
    assert [row[5] for row in rows] == ["0", "1", "0"]


def test_a_long_list_of_units_is_whole_on_the_page(watched: Record) -> None:
    units = tuple(range(0, 60, 2))
    findings = (replace(watched.of("silent")[0], units=units), replace(watched.of("rare")[0], units=units))
    record = watched.with_findings(findings)
    found = section(record, "What was found")
    whole = f"{', '.join(map(str, units))} (30 of 64)"
    short = f"{', '.join(map(str, units[:24]))}, … (30 of 64)"
    for told in (dict(found.cards[0].parts)["Units"], found.tables[0].rows[0][2]):
        assert isinstance(told, Folded)
        assert (told, told.whole) == (short, whole)
    assert html.render(record).count(f"<details><summary>{short}</summary>{whole}</details>") == 2
    one = section(watched.with_findings((replace(watched.of("silent")[0], units=(3,)),)), "What was found")
    assert dict(one.cards[0].parts)["Unit"] == "3 (1 of 64)"


def test_every_finding_is_told_once(watched: Record) -> None:
    found = section(watched, "What was found")
    assert [card.title for card in found.cards] == [
        "Proved dead at layers.1: too large a step",
        "Silent at layers.1: too large a step",
        "Silent at layers.3: too large a step",
        "Vanishing gradient at layers.0",
    ]
    assert [row[:3] for row in found.tables[0].rows] == [
        ("layers.3", "Rarely firing", "1 (1 of 64)"),
        ("layers.3", "Always open", "0 (1 of 64)"),
    ]
    parts: dict[str, str] = dict(found.cards[1].parts)
    assert parts["Units"] == "3, 7–12, 40 (8 of 64)"
    assert parts["Silent since"] == ("3, 10 from step 40; 7, 11 from step 80; 8, 12 from step 120; 9, 40 from step 160")
    assert parts["Evidence"] == "fired at none of 1,437 examples (true rate below 0.21 %)"


def test_more_findings_than_cards_are_still_told(healthy: Record) -> None:
    many = tuple(Finding("silent", f"site {n}", (n,), 64, "e", "c", "r") for n in range(100))
    found = section(healthy.with_findings(many), "What was found")
    assert len(found.cards) == html.MAX_CARDS
    assert len(found.tables[0].rows) == 100 - html.MAX_CARDS


def titles(chart: Chart | None) -> list[str]:
    """What a chart's bars and points say when they are pointed at."""
    assert chart is not None
    tree = ElementTree.fromstring(f"<div>{chart.svg}</div>")
    return [title.text or "" for title in tree.iter("title")]


class Drawn:
    """What the page's script is given, unpacked as the script does it."""

    def __init__(self, record: Record) -> None:
        found = maps.unit_maps(record)
        assert found is not None
        self.document = json.loads(json.dumps(found.document))
        packed = zlib.decompress(base64.b64decode(self.document["arrays"]))
        self.sites = self.document["sites"]
        at = 0

        def take(dtype: str, *shape: int) -> Any:
            nonlocal at
            part = np.frombuffer(packed, dtype, int(np.prod(shape)), at).reshape(shape)
            at += part.nbytes
            return part

        mapped = [site for site in self.sites if "mapped" in site]
        for site in self.sites:
            site["units"] = take("<u4", site["drawn"])
        for site in mapped:
            site["map_units"] = take("<u4", site["mapped"])
        for site in self.sites:
            site["fired"] = take("<f4", site["drawn"])
        for site in self.sites:
            site["levels"] = take("u1", site["drawn"])
        for site in mapped:
            site["map_levels"] = take("u1", site["mapped"], len(site["steps"]))
        assert at == len(packed)


def test_the_maps_are_the_record(watched: Record) -> None:
    for place, site in enumerate(Drawn(watched).sites):
        last = watched.last.sites[place]
        assert (site["name"], site["examples"], site["steps"]) == (last.site, 1437, [0, 40, 80, 120, 160, 200])
        np.testing.assert_array_equal(site["units"], np.arange(last.units))
        np.testing.assert_array_equal(site["fired"], last.fired)
        np.testing.assert_array_equal(site["levels"], site["map_levels"][:, -1])
        for look, shot in enumerate(watched.snapshots):
            fired = shot.sites[place].fired
            drawn = site["map_levels"][:, look]
            np.testing.assert_array_equal(drawn == maps.NEVER, fired == 0)
            np.testing.assert_array_equal(drawn == maps.ALWAYS, fired == 1437)
            some = (fired > 0) & (fired < 1437)
            assert np.abs((drawn[some].astype(float) - 3) / 250 - fired[some] / 1437).max() <= 0.002


def test_the_maps_know_every_finding_by_its_number(watched: Record) -> None:
    told = Drawn(watched).document["findings"]
    assert [(one["title"], one["site"], one["units"]) for one in told] == [
        ("Proved dead at layers.1", "layers.1", [3, 3, 40, 40]),
        ("Silent at layers.1", "layers.1", [3, 3, 7, 12, 40, 40]),
        ("Silent at layers.3", "layers.3", [20, 42]),
        ("Vanishing gradient at layers.0", "layers.0", []),
        ("Rarely firing at layers.3", "layers.3", [1, 1]),
        ("Always open at layers.3", "layers.3", [0, 0]),
    ]
    assert told[1]["since"] == [
        [40, [3, 3, 10, 10]],
        [80, [7, 7, 11, 11]],
        [120, [8, 8, 12, 12]],
        [160, [9, 9, 40, 40]],
    ]
    found = section(watched, "What was found")
    marks = [card.mark for card in found.cards] + list(found.tables[0].marks)
    assert [(mark.number, mark.site) for mark in marks if mark] == [
        (number, one["site"]) for number, one in enumerate(told, 1)
    ]
    assert [mark.units for mark in marks if mark] == [2, 8, 23, 0, 1, 1]


def test_a_unit_whose_gradient_proves_life_is_not_drawn_as_silent(healthy: Record) -> None:
    site = healthy.last.sites[0]
    quiet = replace(site, fired=np.zeros(64, dtype=np.int64), lived=np.arange(64), recent=9, graded=20)
    drawn = Drawn(replace(healthy, snapshots=(replace(healthy.last, sites=(quiet,)),))).sites[0]["levels"]
    assert drawn.tolist() == [maps.NEVER] * 10 + [maps.PROVED] * 54


def test_the_histogram_has_every_unit_once(watched: Record) -> None:
    told = [title.removesuffix(" units").rsplit(": ", 1) for title in titles(charts.firing_histogram(watched))]
    bars = {name: int(many) for name, many in told}
    rates = np.concatenate([site.fired / 1437 for site in watched.last.sites])
    assert bars.pop("never") == int((rates == 0).sum())
    assert bars.pop("always") == int((rates == 1).sum())
    assert len(bars) == 20 and list(bars)[1] == "5 % to 10 %"
    assert sum(bars.values()) == int(((rates > 0) & (rates < 1)).sum())
    assert bars["50 % to 55 %"] == int(((rates >= 0.5) & (rates < 0.55)).sum())


def test_silence_over_time_is_counted_at_every_look(watched: Record) -> None:
    assert titles(charts.silence_over_time(watched)) == [
        f"{name}, step {shot.step}: {sum(1 for fired in site.fired if fired == 0)}"
        for name in ("layers.1", "layers.3", "layers.5")
        for shot in watched.snapshots
        for site in shot.sites
        if site.site == name
    ]


def test_scales_take_first_and_last_and_say_what_a_log_axis_cannot_show(watched: Record) -> None:
    silent = replace(watched.last.layers[0], gradient_rms=0.0)
    last = replace(watched.last, layers=(silent, *watched.last.layers[1:]))
    gradient, _ = charts.scales_by_depth(replace(watched, snapshots=(*watched.snapshots[:-1], last)))
    assert titles(gradient) == [
        *(f"step 0, {name}: {value}" for name, value in zip(LAYERS, ("0.0001", "0.001", "0.01", "0.1"), strict=True)),
        *(f"step 200, {name}: {value}" for name, value in zip(LAYERS[1:], ("1e−05", "0.001", "0.1"), strict=True)),
    ]
    assert "Exactly 0, so without a point: layers.0." in gradient.caption


def test_a_loss_that_is_not_finite_is_said(watched: Record) -> None:
    chart = charts.losses(replace(watched, snapshots=(*watched.snapshots, replace(watched.last, loss=math.nan))))
    assert chart is not None and len(titles(chart)) == 6
    assert chart.caption.endswith("to NaN at step 200. NaN or infinite, so without a point, at 1 of them.")


def test_no_loss_is_a_dash_and_no_figure(healthy: Record) -> None:
    shot = healthy.last
    bare = replace(
        shot,
        loss=None,
        sites=tuple(replace(site, gradient_rms=None, gradient_abs=None) for site in shot.sites),
        layers=tuple(replace(layer, gradient_rms=None, activation_rms=None) for layer in shot.layers),
    )
    record = replace(healthy, snapshots=(bare,))
    assert charts.scales_by_depth(record) == ()
    assert {row[-1] for row in html.site_rows(record)} == {"–"}


def big(units: int, sites: int, steps: int) -> Record:
    def vitals(name: str) -> SiteVitals:
        zeros = np.zeros(units)
        fired = np.arange(units, dtype=np.int64)
        return SiteVitals(
            name,
            "relu",
            {},
            None,
            units,
            fired,
            np.zeros(units, dtype=np.int64),
            zeros,
            zeros,
            zeros,
            zeros,
            1.0,
        )

    shots = tuple(Snapshot(step, tuple(vitals(f"site.{n}") for n in range(sites)), ()) for step in range(steps))
    dead = tuple(Finding("silent", f"site.{n}", (0, 1999), units, "e", "c", "r") for n in (1, sites - 1))
    return Record(model="Large", source="watch", snapshots=shots, findings=dead)


def test_a_large_record_stays_small_and_says_what_is_left_out() -> None:
    record = big(2048, 300, 40)
    text = html.render(record)
    assert len(text) < 2_000_000
    firing = section(record, "Which units fire")
    assert "512 are drawn" in firing.paragraphs[1] and "44 sites with fewer" in firing.paragraphs[2]
    assert [row.name for row in firing.strip][:2] == ["site.0", "site.1"]
    assert len(firing.strip) == maps.MAX_SITES
    told = section(record, "How it came about")
    assert len(told.maps) == maps.MAX_MAPS and "192 are drawn" in told.paragraphs[0]
    assert told.paragraphs[1] == "Maps of the 24 sites with the most faults; 276 sites not drawn."
    assert "site.299" in [each.name for each in told.maps], "a site with a fault has a map, wherever it stands"
    site = Drawn(record).sites[1]
    assert {0, 1999, 2047} <= set(site["units"].tolist()) and {0, 1999, 2047} <= set(site["map_units"].tolist())


def test_a_record_without_a_snapshot_shows_its_error(stopped: Record) -> None:
    assert [section.title for section in html.sections(stopped)] == [
        "What was found",
        "What was not observed",
        "How it was measured",
    ]
    assert ("Stopped by", "ValueError: the loader broke") in section(stopped, "How it was measured").tables[0].rows
    assert html.facts(stopped) == ()


def test_a_site_that_saw_no_example_is_not_called_silent(healthy: Record) -> None:
    unseen = replace(healthy.last.sites[0], examples=0, fired=np.zeros(64, dtype=np.int64))
    record = replace(healthy, snapshots=(replace(healthy.last, sites=(unseen,)),))
    assert html.site_rows(record)[0][4:8] == ("–", "–", "–", "–")
    assert maps.unit_maps(record) is None
    assert charts.firing_histogram(record) is None
    assert html.render(record)


def test_how_it_was_measured(watched: Record) -> None:
    rows = dict(section(watched, "How it was measured").tables[0].rows)
    assert rows["Target"] == "digits"
    assert rows["Looks"] == "6, step 0 to 200"
    assert rows["Seed"] == "7"
    assert rows["Box of the proofs"] == "the range observed: each of 64 inputs in [0, 16]"
    assert rows["Version of torch"] == "2.13.0"
    assert section(watched, "What was not observed").notes == watched.not_observed


def test_a_site_whose_unit_count_changed_is_drawn_where_it_can_be_compared(watched: Record) -> None:
    pruned = tuple(
        replace(
            site,
            **{name: getattr(site, name)[:10] for name in ("fired", "nan", "sum_h", "sum_abs_h", "min_z", "max_z")},
        )
        for site in watched.last.sites
    )
    record = replace(watched, snapshots=(*watched.snapshots, replace(watched.last, step=240, sites=pruned)))
    assert [(site["steps"], site["map_levels"].shape) for site in Drawn(record).sites] == [([240], (10, 1))] * 3
