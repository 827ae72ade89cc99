"""How often the check-up names the right cause: seven causes planted in real trainings, scored per unit and per run.

Every run trains a small network on scikit-learn's 1,797 digits, watched by ``rectifier.watch``, with one cause planted.
The truth about a unit is causal, and asked of all training images, not of what the watch saw. Where the cause is an
event (a step, a change of the data), its victims are the units that fire right before it, not right after it, and not
towards and at the end. Where it acts from the start or little by little, they are the units that it was planted in, or
that the planted input feeds, that do not fire at the end, and do in the twin: the same training without the plant.
Behind a site that the event shut as a whole the right answer is upstream silence. What else is silent is not scored.

    python benchmarks/causes.py                    # 7 causes × 20 seeds, healthy controls, table on standard output
    python benchmarks/causes.py --seeds 2 --json causes.json
    python benchmarks/causes.py --write docs/checkup-causes.md
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import rectifier
import rectifier.torch
from rectifier.checkup import Record
from rectifier.demo import digits

STEPS = 160
#: Looks are taken at these intervals in turn, so that no rule is tuned to one.
EVERY = (4, 8, 16)
#: In words, for the table.
CAUSES = {
    "step": "too large a step",
    "bias": "bias drift",
    "initialisation": "initialisation",
    "upstream": "upstream silence",
    "normalisation": "collapsed normalisation",
    "input": "input scale or shift",
    "zeros": "a data path of zeros",
}


@dataclass
class Run:
    """One training: what a plant may change."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    penalty: Callable[[], torch.Tensor] | None = None
    spike: tuple[int, float] | None = None
    """Step and factor of one step that is too large."""
    change: Callable[[int, torch.Tensor], torch.Tensor] | None = None
    """What becomes of the inputs at a step."""
    event: int | None = None
    """The step at which it happens; None for what acts all along."""
    before: Callable[[], None] | None = None
    """Done to the model at the event, before its step."""
    units: dict[str, list[int]] | None = None
    """Site → units that it is planted in; None for all of them."""


class TwoPaths(nn.Module):
    """The image through one path, a second input through another."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU())
        self.other = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU())
        self.head = nn.Linear(48, 10)

    def forward(self, both: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.image(both[:, :64]), self.other(both[:, 64:])], dim=1))


def mlp(widths: tuple[int, ...] = (64, 48, 32, 10)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, narrow in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


def optimizer_of(model: nn.Module, seed: int) -> torch.optim.Optimizer:
    """SGD with momentum for even seeds, Adam for odd ones, at step sizes that are sound here."""
    if seed % 2:
        return torch.optim.Adam(model.parameters(), lr=2e-3)
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def chosen(total: int, many: int, seed: int) -> torch.Tensor:
    return torch.randperm(total, generator=torch.Generator().manual_seed(1000 + seed))[:many]


# The plants. Each gets the seed and returns a run; ``planted=False`` returns its twin.


def step(seed: int, planted: bool) -> Run:
    """One step of 300 to 3000 times the usual size, wherever it falls between two looks."""
    model = mlp() if seed % 4 < 2 else mlp((64, 32, 32, 32, 10))
    # Adam divides by the size of past gradients, so that its steps grow small as learning ends: it is hit earlier.
    at = 10 + 2 * (seed % 17) if seed % 2 else 40 + 3 * (seed % 17)
    factor = ((300.0, 1000.0, 3000.0), (500.0, 1000.0, 2000.0))[seed % 2][seed % 3]
    return Run(model, optimizer_of(model, seed), spike=(at, factor), event=at)


def bias(seed: int, planted: bool) -> Run:
    """A penalty that pulls the biases of some units down, a little at each step."""
    model = mlp()
    layer: Any = model[0] if seed % 2 else model[2]
    units = chosen(layer.out_features, 8, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    strength = 1.0 if layer is model[0] else 2.0
    penalty = (lambda: strength * layer.bias[units].sum()) if planted else None
    return Run(model, optimizer, penalty, units={"1" if seed % 2 else "3": units.tolist()})


def initialisation(seed: int, planted: bool) -> Run:
    """Biases far below 0, or weights all below 0 where no input is, from before the first step."""
    model = mlp()
    layer: Any = model[0] if seed % 2 else model[2]
    units = chosen(layer.out_features, 8, seed)
    if planted:
        with torch.no_grad():
            if seed % 4 < 2:
                layer.bias[units] = -6.0
            else:
                layer.weight[units] = -layer.weight[units].abs()
                layer.bias[units] = -0.1
    return Run(model, optimizer_of(model, seed), units={"1" if seed % 2 else "3": units.tolist()})


def upstream(seed: int, planted: bool) -> Run:
    """The first site is shut as a whole in mid-training; what is scored is the site behind it."""
    model = mlp()
    first: Any = model[0]

    def before() -> None:
        with torch.no_grad():
            first.bias -= 40.0

    return Run(
        model, optimizer_of(model, seed), event=50 + 4 * (seed % 20), before=before, units={"3": list(range(32))}
    )


def normalisation(seed: int, planted: bool) -> Run:
    """γ of some channels shrinks and β sinks, step by step (a sparsity penalty, as network slimming has it)."""
    model = cnn()
    norm: Any = model[2] if seed % 2 else model[6]
    channels = chosen(norm.num_features, 5, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def penalty() -> torch.Tensor:
        return 0.6 * norm.weight[channels].abs().sum() + 0.3 * norm.bias[channels].sum()

    return Run(model, optimizer, penalty if planted else None, units={"3" if seed % 2 else "7": channels.tolist()})


def input_(seed: int, planted: bool) -> Run:
    """Raw pixels (0 to 255) or a constant added to all, from the start, or a scale that changes in mid-training."""
    model = mlp()
    # Adam divides the gradient by its size, so that large inputs alone hardly hurt: nothing to score.
    run = Run(model, optimizer_of(model, seed if seed % 3 == 0 else 0), units={"1": list(range(48))})
    if seed % 3 == 2:
        at = 40 + 3 * (seed % 17)
        run.change, run.event, run.units = (lambda now, x: x if now < at else 255.0 * x), at, None
    elif planted:
        run.change = (lambda now, x: 255.0 * x) if seed % 3 else (lambda now, x: x + 8.0)
    return run


def zeros(seed: int, planted: bool) -> Run:
    """The second input holds nothing: from the start, or from a step on."""
    model = TwoPaths()
    at = 0 if seed % 2 else 40 + 2 * seed
    run = Run(model, optimizer_of(model, seed), event=at or None)
    run.units = {"other.1": list(range(32)), "other.3": list(range(24))}

    def change(now: int, x: torch.Tensor) -> torch.Tensor:
        other = x.flip(1) if not planted or now < at else torch.zeros_like(x)
        return torch.cat([x, other], dim=1)

    run.change = change
    return run


PLANTS: dict[str, Callable[[int, bool], Run]] = {
    "step": step,
    "bias": bias,
    "initialisation": initialisation,
    "upstream": upstream,
    "normalisation": normalisation,
    "input": input_,
    "zeros": zeros,
}


Fired = dict[str, torch.Tensor]


@dataclass
class Trained:
    """A watched training, with what fires on the training images: site → one truth a unit."""

    record: Record
    run: Run
    end: Fired
    before: Fired
    """Right before the event; empty without one."""
    after: Fired
    later: Fired
    """Twenty steps before the end: what fires there again was no victim."""


def train(cause: str, seed: int, *, planted: bool, steps: int = STEPS) -> Trained:
    data = digits.load()
    torch.manual_seed(seed)
    run = PLANTS[cause](seed, planted)

    def seen(now: int, x: torch.Tensor) -> torch.Tensor:
        return x if run.change is None else run.change(now, x)

    stream = digits.batches(data, torch.Generator().manual_seed(seed))
    usual = [group["lr"] for group in run.optimizer.param_groups]
    before: Fired = {}
    after: Fired = {}
    later: Fired = {}
    with rectifier.watch(run.model, run.optimizer, every=EVERY[seed % len(EVERY)]) as watching:
        for now in range(1, steps + 1):
            if now == run.event:
                before = firing(run.model, seen(now - 1, data.x_train))
                if run.before is not None:
                    run.before()
            x, y = next(stream)
            factor = run.spike[1] if run.spike is not None and run.spike[0] == now else 1.0
            for group, lr in zip(run.optimizer.param_groups, usual, strict=True):
                group["lr"] = factor * lr
            loss = digits.loss(run.model(seen(now, x)), y)
            run.optimizer.zero_grad()
            (loss if run.penalty is None else loss + run.penalty()).backward()
            run.optimizer.step()
            if now == run.event:
                after = firing(run.model, seen(now, data.x_train))
            if now == steps - 20:
                later = firing(run.model, seen(now, data.x_train))
    return Trained(watching.record, run, firing(run.model, seen(steps, data.x_train)), before, after, later)


def firing(model: nn.Module, x: torch.Tensor) -> Fired:
    """Site → units that fire (or are NaN, which is no silence) on one of these inputs or more, in evaluation mode."""
    training = model.training
    model.eval()  # the watch does not look
    fired: Fired = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):

            def look(module: nn.Module, args: Any, output: torch.Tensor, name: str = name) -> None:
                fired[name] = (~(output <= 0)).transpose(0, 1).flatten(1).any(dim=1)

            handles.append(module.register_forward_hook(look))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    model.train(training)
    return fired


@dataclass
class Score:
    """One run."""

    cause: str
    seed: int
    named: Counter[str]
    """What the victims were said to have died of; "not found" for those that no finding names."""
    ran: str
    """The cause named for most victims."""
    dated: tuple[int, int]
    """Victims of an event whose death is dated within the two looks round it, and all that are dated."""


def score(cause: str, seed: int, steps: int = STEPS) -> Score:
    planted = train(cause, seed, planted=True, steps=steps)
    said = {
        (finding.site, unit): str(finding.cause_kind)
        for finding in planted.record.of("dead", "silent")
        for unit in finding.units
    }
    since = {
        (finding.site, unit): step
        for finding in planted.record.of("dead", "silent")
        for unit, step in finding.since.items()
    }
    event, every, dates = planted.run.event, EVERY[seed % len(EVERY)], []
    alive = planted.before or train(cause, seed, planted=False, steps=steps).end
    named: Counter[str] = Counter()
    for name, end in planted.end.items():
        victims = ~end & alive[name]
        if planted.after:
            victims &= ~planted.after[name] & ~planted.later[name]
        wanted = planted.run.units
        for unit in torch.nonzero(victims).flatten().tolist():
            if wanted is None or unit in wanted.get(name, ()):
                key = said.get((name, unit), "not found")
                if event is not None and (name, unit) in since:
                    dates.append(since[name, unit] - 2 * every < event <= since[name, unit])
                named[cause if key == "upstream" and _shut_above(planted, name) else key] += 1
    return Score(cause, seed, named, named.most_common(1)[0][0] if named else "no victim", (sum(dates), len(dates)))


def _shut_above(trained: Trained, site: str) -> bool:
    """Was the site before this one shut as a whole by the event? Then upstream silence is the right answer."""
    names = list(trained.after)
    above = names[names.index(site) - 1] if site in names and names.index(site) else None
    return above is not None and not trained.end[above].any()


# Healthy controls: what sound training leaves is not ill


#: Name, step size, whether it is Adam. The last one is too large by far: its network learns next to nothing.
TRAININGS = (
    ("Adam 0.001", 1e-3, True),
    ("Adam 0.003", 3e-3, True),
    ("Adam 0.01", 1e-2, True),
    ("SGD 0.05", 0.05, False),
    ("SGD 0.1", 0.1, False),
    (RUINED := "ruined: SGD 0.3", 0.3, False),
)


@dataclass
class Control:
    training: str
    silent: float
    """Share of all units."""
    least: float
    """Share of the units of a site: at the site with the smallest."""
    most: float
    accuracy: float
    """On the test images; NaN for a network that was not trained."""
    ill: int
    """Findings that are ill, of watch and check."""


def controls(seeds: int) -> Iterator[Control]:
    data = digits.load()
    for name, rate, adam in TRAININGS:
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = mlp((64, 128, 128, 64, 10))
            optimizer: torch.optim.Optimizer = (
                torch.optim.Adam(model.parameters(), lr=rate)
                if adam
                else torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
            )
            stream = digits.batches(data, torch.Generator().manual_seed(seed))
            with rectifier.watch(model, optimizer, every=EVERY[seed % len(EVERY)]) as watching:
                digits.train(model, optimizer, stream, 210)
            checked = rectifier.check(model, [(data.x_train, data.y_train)], digits.loss)
            shares = [float((site.fired == 0).mean()) for site in checked.last.sites]
            ill = sum(finding.ill for record in (watching.record, checked) for finding in record.findings)
            right = digits.accuracy(model, data.x_test, data.y_test)
            yield Control(name, checked.share("dead", "silent"), min(shares), max(shares), right, ill)
    for rate in (0.08, 0.02):
        for seed in range(seeds):
            yield sparse(rate, seed)


def sparse(rate: float, seed: int) -> Control:
    """Thresholds moved until each unit of each site fires at just this share of the images, at He's initialisation."""
    data = digits.load()
    torch.manual_seed(seed)
    model = mlp((64, 128, 64, 10))
    rectifier.torch.init_(model)
    h = data.x_train
    with torch.no_grad():
        for place in (0, 2):
            layer: Any = model[place]
            layer.bias -= layer(h).quantile(1 - rate, dim=0)
            h = layer(h).relu()
    record = rectifier.check(model, [(data.x_train, data.y_train)], digits.loss)
    shares = [float((site.fired == 0).mean()) for site in record.last.sites]
    ill = sum(finding.ill for finding in record.findings)
    name = f"sparse firing, {rate:.0%}"
    return Control(name, record.share("dead", "silent"), min(shares), max(shares), math.nan, ill)


# The report


def table(scores: list[Score]) -> list[str]:
    """The confusion table: victims of each planted cause by the cause that was named, and the shares that are right."""
    seen = {key for one in scores for key in one.named}
    columns = [*CAUSES, *sorted(seen - set(CAUSES))]
    lines = [
        "| planted | " + " | ".join(columns) + " | victims | right, of victims | right, of runs | dated right |",
        "|---|" + "---|" * (len(columns) + 4),
    ]
    for cause in CAUSES:
        mine = [one for one in scores if one.cause == cause]
        if not mine:
            continue
        total = sum((one.named for one in mine), Counter[str]())
        victims = sum(total.values())
        right = sum(one.ran == cause for one in mine)
        cells = [str(total[key]) if total[key] else "" for key in columns]
        share = f"{total[cause] / victims:.1%}" if victims else "–"
        dated, dates = (sum(one.dated[i] for one in mine) for i in (0, 1))
        when = f"{dated / dates:.1%}" if dates else "–"
        ends = f"{victims} | {share} | {right} of {len(mine)} | {when}"
        lines.append(f"| {CAUSES[cause]} | {' | '.join(cells)} | {ends} |")
    return lines


def control_table(rows: list[Control]) -> list[str]:
    lines = [
        "| training | runs | test accuracy | silent units | at the sites | runs with an ill finding |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.training for row in rows):
        mine = [row for row in rows if row.training == name]
        low, high = min(row.silent for row in mine), max(row.silent for row in mine)
        sites = f"{min(row.least for row in mine):.0%} to {max(row.most for row in mine):.0%}"
        right = statistics.median(row.accuracy for row in mine)
        accuracy = "–" if math.isnan(right) else f"{right:.1%}"
        ill = sum(row.ill > 0 for row in mine)
        lines.append(f"| {name} | {len(mine)} | {accuracy} | {low:.0%} to {high:.0%} | {sites} | {ill} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--causes", default=",".join(CAUSES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this Markdown page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    scores = []
    for cause in given.causes.split(","):
        for seed in range(given.first, given.first + given.seeds):
            scores.append(score(cause, seed))
            print(cause, seed, dict(scores[-1].named), file=sys.stderr)
    rows = list(controls(min(given.seeds, 10)))
    spent = time.perf_counter() - start
    told = [*table(scores), "", *control_table(rows)]
    print("\n".join(told))
    print(f"\n{spent:.0f} s", file=sys.stderr)
    if given.json is not None:
        given.json.write_text(json.dumps([vars(one) for one in scores], indent=1), encoding="utf-8")
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        begin, end = "<!-- causes -->", "<!-- end -->"
        head, tail = page.partition(begin)[0], page.partition(end)[2]
        last = given.first + given.seeds - 1
        call = f"`python benchmarks/causes.py --first {given.first} --seeds {given.seeds} --write {given.write}`"
        made = f"Seeds {given.first} to {last} of each cause, {STEPS} steps; {call}."
        given.write.write_text("\n".join([head + begin, *told, "", made, end]) + tail, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
