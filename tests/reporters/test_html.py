"""Numbers on the page are those of the record, recomputed here from its arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rectifier.checkup.records import Finding, Record, SiteVitals, Snapshot
from rectifier.reporters import charts, html
from rectifier.reporters.page import Figure, Folded, Section


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


def test_the_map_colours_silence_apart(watched: Record) -> None:
    figure = charts.firing_map(watched)
    assert figure is not None
    drawn = np.array(figure.plot.data[0].z)
    assert drawn.shape == (3, 64)
    for row, site in zip(drawn, watched.last.sites, strict=True):
        assert np.isnan(row[site.units :]).all()
        assert set(np.flatnonzero(row < 0)) == set(np.flatnonzero(site.fired == 0))
        fires = site.fired > 0
        np.testing.assert_allclose(row[: site.units][fires], (site.fired / 1437)[fires], rtol=1e-6)
    scale = figure.plot.data[0].colorscale
    assert scale[0][1] == scale[1][1] != scale[2][1]
    # The change of colour lies exactly at a rate of 0.
    assert figure.plot.data[0].zmin + scale[1][0] * (1 - figure.plot.data[0].zmin) == 0


def test_the_histogram_has_every_unit_once(watched: Record) -> None:
    figure = charts.firing_histogram(watched)
    assert figure is not None
    bars = {bar.name: int(np.sum(bar.y)) for bar in figure.plot.data}
    rates = np.concatenate([site.fired / 1437 for site in watched.last.sites])
    assert bars == {
        "never": int((rates == 0).sum()),
        "sometimes": int(((rates > 0) & (rates < 1)).sum()),
        "always": int((rates == 1).sum()),
    }


def test_scales_take_first_and_last_and_say_what_a_log_axis_cannot_show(watched: Record) -> None:
    silent = replace(watched.last.layers[0], gradient_rms=0.0)
    last = replace(watched.last, layers=(silent, *watched.last.layers[1:]))
    gradient, _ = charts.scales_by_depth(replace(watched, snapshots=(*watched.snapshots[:-1], last)))
    assert [line.name for line in gradient.plot.data] == ["step 0", "step 200"]
    assert [list(line.x) for line in gradient.plot.data] == [[0, 1, 2, 3], [1, 2, 3]]
    assert [float(y) for y in gradient.plot.data[0].y] == [layer.gradient_rms for layer in watched.snapshots[0].layers]
    assert "Exactly 0, so without a point: layers.0." in gradient.caption


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
    dead = (Finding("silent", "site.1", (0, 1999), units, "e", "c", "r"),)
    return Record(model="Large", source="watch", snapshots=shots, findings=dead)


def test_a_large_record_stays_small_and_says_what_is_left_out() -> None:
    record = big(2048, 80, 150)
    text = html.render(record)
    assert len(text) < 8_000_000
    figure = charts.firing_map(record)
    assert figure is not None
    assert np.array(figure.plot.data[0].z).shape == (charts.MAX_SITES, charts.MAX_UNITS)
    assert "512 are drawn" in figure.caption and "The last 20 sites are not drawn" in figure.caption
    drawn = figure.plot.data[0].customdata[1, :, 0]
    assert {0, 1999, 2047} <= {int(unit) for unit in drawn}
    maps = charts.firing_over_time(record)
    assert len(maps) == charts.MAX_MAPS
    assert any(figure.caption.startswith("site.1:") for figure in maps)


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
    assert charts.firing_map(record) is None
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
    figures: tuple[Figure, ...] = charts.firing_over_time(record)
    assert [np.array(figure.plot.data[0].z).shape for figure in figures] == [(10, 1)] * 3
