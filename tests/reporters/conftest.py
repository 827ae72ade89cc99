"""Records made by hand, so that the reports are tested without any framework."""

from __future__ import annotations

import numpy as np
import pytest

from rectifier.checkup.records import Finding, LayerVitals, Record, SiteVitals, Snapshot

EXAMPLES = 1437
UNITS = {"layers.1": 64, "layers.3": 64, "layers.5": 32}
SILENT = {"layers.1": (3, 7, 8, 9, 10, 11, 12, 40), "layers.3": tuple(range(20, 43)), "layers.5": ()}
STEPS = (0, 40, 80, 120, 160, 200)


def site(name: str, step: int, *, label: str | None = None) -> SiteVitals:
    """Silent units die one after another from step 40 on; unit 0 of layers.3 is always open, unit 1 is rare."""
    random = np.random.default_rng([step, len(name), UNITS[name]])
    units = UNITS[name]
    fired = random.integers(40, EXAMPLES, units)
    for place, unit in enumerate(SILENT[name]):
        if step >= STEPS[1 + place % 4]:
            fired[unit] = 0
    if name == "layers.3":
        fired[0], fired[1] = EXAMPLES, 2
    return SiteVitals(
        site=label or name,
        rectifier="relu",
        parameters={},
        layer=name.replace("1", "0"),
        examples=EXAMPLES,
        fired=fired.astype(np.int64),
        nan=np.zeros(units, dtype=np.int64),
        sum_h=random.random(units) * 900,
        sum_abs_h=random.random(units) * 900,
        min_z=-random.random(units) * 9,
        max_z=random.random(units) * 9,
        rms_h=1.25,
        gradient_rms=3.4e-4,
        gradient_abs=random.random(units) * 1e-4,
    )


def layer(name: str, depth: int, step: int) -> LayerVitals:
    return LayerVitals(
        layer=name,
        fan_in=64,
        units=64,
        weight_rms=0.125,
        activation_rms=1.0 + 0.4 * depth + step / 100,
        gradient_rms=10.0 ** (-1 - (3 - depth) * (1 + step / 200)),
        weight_gradient_rms=2e-3,
        update_ratio=1.5e-2 if step else None,
    )


def snapshot(step: int, **labels: str) -> Snapshot:
    names = ("layers.0", "layers.2", "layers.4", "layers.6")
    return Snapshot(
        step=step,
        sites=tuple(site(name, step, label=labels.get(name.replace(".", "_"))) for name in UNITS),
        layers=tuple(layer(name, depth, step) for depth, name in enumerate(names)),
        loss=2.3 - step / 100,
    )


def findings() -> tuple[Finding, ...]:
    cause = "too large a step: one step moved the weights by 31 % of their norm"
    remedy = "recycle them (rectifier.heal) and train with a smaller step, or swap in leaky_relu"
    since = {unit: STEPS[1 + place % 4] for place, unit in enumerate(SILENT["layers.1"])}
    return (
        Finding(
            "rare",
            "layers.3",
            (1,),
            64,
            "fired at 2 of 1,437 examples (true rate below 0.5 %)",
            "not known",
            "look again with more examples",
        ),
        Finding(
            "always_open",
            "layers.3",
            (0,),
            64,
            "fired at all 1,437 examples",
            "a large positive bias",
            "nothing: the unit is linear",
        ),
        Finding(
            "dead",
            "layers.1",
            (3, 40),
            64,
            "z is at most −0.21 over the box",
            cause,
            remedy,
            proof="w⁺·upper + w⁻·lower + b ≤ −0.21 for every input in [0, 16]⁶⁴",
        ),
        Finding(
            "silent",
            "layers.1",
            SILENT["layers.1"],
            64,
            "fired at none of 1,437 examples (true rate below 0.21 %)",
            cause,
            remedy,
            since=since,
        ),
        Finding(
            "silent",
            "layers.3",
            SILENT["layers.3"],
            64,
            "fired at none of 1,437 examples (true rate below 0.21 %)",
            cause,
            remedy,
        ),
        Finding(
            "vanishing_gradient",
            "layers.0",
            (),
            0,
            "∂loss/∂z falls by a factor of 12 a layer, from 0.1 to 1e−7",
            "upstream silence",
            "initialise with rectifier.torch.init_",
        ),
    )


@pytest.fixture
def watched() -> Record:
    return Record(
        model="MLP",
        source="watch",
        snapshots=tuple(snapshot(step) for step in STEPS),
        findings=findings(),
        not_observed=("attention.softmax: an unknown call inside a compiled graph",),
        seed=7,
        versions={"rectifier": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0"},
        box="the range observed: each of 64 inputs in [0, 16]",
        name="digits",
    )


@pytest.fixture
def checked(watched: Record) -> Record:
    return Record(
        model="MLP",
        source="check",
        snapshots=watched.snapshots[-1:],
        findings=findings(),
        versions=watched.versions,
    )


@pytest.fixture
def healthy() -> Record:
    return Record(model="MLP", source="check", snapshots=(snapshot(0),))


@pytest.fixture
def stopped() -> Record:
    return Record(model="MLP", source="check", snapshots=(), stopped="ValueError: the loader broke")


@pytest.fixture
def hostile() -> Record:
    """Names and texts with markup of HTML, Rich and Plotly."""
    evil = "<script>alert(1)</script>"
    return Record(
        model=f"</title>{evil}",
        source="watch",
        snapshots=tuple(snapshot(step, layers_1=f"{evil}[bold]</figcaption>") for step in STEPS[-2:]),
        findings=(
            Finding(
                "silent",
                evil,
                (1, 2),
                64,
                f"{evil}[red]",
                '"><img src=https://example.org/x onerror=alert(1)>',
                "<a href='https://example.org'>x</a>",
            ),
        ),
        not_observed=(evil, "[/]"),
        seed=1,
        versions={evil: evil},
        name="</script><script>alert(2)</script>",
    )
