"""Units over tokens and over time: the feed-forward layers of transformers, and recurrent cells."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.patients.case import Case, Label, Patient, Place
from benchmarks.patients.planting import MARGIN, bounds, dealt, generator, images, plant

Tensor = torch.Tensor
WIDTH, HIDDEN, TOKENS, CLASSES = 16, 48, 10, 4


class Gated(nn.Module):
    """The gated feed-forward layer of Shazeer 2020 (ReGLU, arXiv:2002.05202): W·(relu(Gx) ⊙ Vx), behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.gate, self.value = nn.Linear(WIDTH, HIDDEN), nn.Linear(WIDTH, HIDDEN)
        self.out = nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.out(F.relu(self.gate(y)) * self.value(y))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, HIDDEN, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.gated = Gated()
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        y = self.gated(self.encoder(x, src_key_padding_mask=padding))
        if padding is None:
            return self.head(y.mean(1))
        kept = (~padding).to(y.dtype)[:, :, None]
        return self.head((y * kept).sum(1) / kept.sum(1))


def _attended(layer: Any, x: Tensor, padding: Tensor | None) -> Tensor:
    """norm1(x + attention(x)), written out."""
    part = layer.self_attn
    q, k, v = (F.linear(x, part.in_proj_weight, part.in_proj_bias)).chunk(3, dim=-1)
    batch, tokens, _ = x.shape
    q, k, v = (y.view(batch, tokens, part.num_heads, -1).transpose(1, 2) for y in (q, k, v))
    score = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if padding is not None:
        score = score.masked_fill(padding[:, None, None, :], -torch.inf)
    mixed = (score.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1)
    return layer.norm1(x + part.out_proj(mixed))


def _transformer_z(net: Any, x: Any, upto: int = 3) -> dict[str, Tensor]:
    """Of real tokens alone where a padding mask is given. ``upto``: places wanted."""
    x, padding = (x["x"], x["padding"]) if isinstance(x, dict) else (x, None)
    keep = slice(None) if padding is None else ~padding.flatten()
    found = {}
    for place, layer in enumerate(net.encoder.layers[:upto]):
        x = _attended(layer, x, padding)
        z = layer.linear1(x)
        found[f"encoder.layers.{place}.relu#0"] = z.flatten(0, 1)[keep]
        x = layer.norm2(x + layer.linear2(z.relu()))
    if upto > 2:
        found["gated.relu#0"] = net.gated.gate(net.gated.norm(x)).flatten(0, 1)[keep]
    return found


def sentences(n: int, source: torch.Generator) -> Tensor:
    return torch.randn(n, TOKENS, WIDTH, generator=source)


def padded(n: int, source: torch.Generator) -> dict[str, Tensor]:
    """Sentences of 4 to 10 tokens; the rest is padding, a fixed vector that no real token is like."""
    x = sentences(n, source)
    length = torch.randint(4, TOKENS + 1, (n,), generator=source)
    padding = torch.arange(TOKENS)[None, :] >= length[:, None]
    x[padding] = 6.0 * torch.linspace(-1, 1, WIDTH)
    return {"x": x, "padding": padding}


def _plant_behind_norm(layer: nn.Linear, norm: nn.LayerNorm, x: Tensor, labels: tuple[Label, ...], seed: int) -> Tensor:
    """A value that a layer normalisation gives is at most √(d − 1)·|γ| + |β|: the box, whatever the input. The box of
    ``plant`` is non-negative, so it is told of z with x shifted by the box's corner."""
    reach = (WIDTH - 1) ** 0.5 * norm.weight.detach().abs() + norm.bias.detach().abs()
    with torch.no_grad():
        plant(layer, x, tuple("live" if label == "dead" else label for label in labels), -reach, reach, generator(seed))
        top = bounds(layer, -reach, reach)[1]
        for order, unit in enumerate(unit for unit, label in enumerate(labels) if label == "dead"):
            if order % 3 == 2:
                layer.weight[unit], layer.bias[unit] = 0.0, -0.1
            else:
                layer.bias[unit] -= float(top[unit]) + (MARGIN if order % 3 == 0 else 30.0)
    return bounds(layer, -reach, reach)[1]


def transformer(seed: int, small: bool = False, padding: bool = False) -> Case:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer()
    source = generator(seed + 1)
    draw: Any = padded if padding else sentences
    sample = draw(2000, source)
    names = ("encoder.layers.0.relu#0", "encoder.layers.1.relu#0", "gated.relu#0")
    labels = {name: dealt(HIDDEN, source, dead=6, rare=1) for name in names}
    model.eval()
    ceiling = {}
    layers = (*model.encoder.layers, model.gated)
    for place, (name, layer) in enumerate(zip(names, layers, strict=True)):
        linear, norm = (layer.gate, layer.norm) if place == 2 else (layer.linear1, layer.norm1)
        seen: list[Tensor] = []
        handle = linear.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        with torch.no_grad():
            _transformer_z(model, sample)
        handle.remove()
        x = seen[0].flatten(0, 1)
        if padding:
            x = x[~sample["padding"].flatten()]
        ceiling[name] = _plant_behind_norm(linear, norm, x, labels[name], seed + 3 + place)
    if padding:
        labels = _only_on_padding(model, sample, labels)
        ceiling = {}
    model.train()
    many, size, source = 8, 25 if small else 50, generator(seed + 101)
    data = [(draw(size, source), torch.randint(CLASSES, (size,), generator=source)) for _ in range(many)]
    made = ("encoder.layers.0.linear1", "encoder.layers.1.linear1", "gated.gate")
    places = tuple(Place(name, layer) for name, layer in zip(names, made, strict=True))
    return Case(model, data, F.cross_entropy, places, labels, _transformer_z, draw, ceiling=ceiling)


@torch.no_grad()
def _only_on_padding(model: Transformer, sample: Any, labels: dict[str, tuple[Label, ...]]) -> Any:
    """Turn three live units of the first layer towards the padding, out of reach of every real token."""
    layer = model.encoder.layers[0]
    x = _attended(layer, sample["x"], sample["padding"]).flatten(0, 1)
    real, pad = x[~sample["padding"].flatten()], x[sample["padding"].flatten()]
    direction = pad.mean(0) / pad.mean(0).norm()
    name = "encoder.layers.0.relu#0"
    changed = list(labels[name])
    for unit in [unit for unit, label in enumerate(changed) if label == "live"][:3]:
        layer.linear1.weight[unit] = direction
        between = (float((real @ direction).max()) + float((pad @ direction).min())) / 2
        layer.linear1.bias[unit] = -between
        changed[unit] = "dead"
    return {**labels, name: tuple(changed)}


class Recurrent(nn.Module):
    """A cell that is called at each step in Python, then a layer that runs through time in one call."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(8, 24, nonlinearity="relu")
        self.rnn = nn.RNN(24, 24, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h, states = x.new_zeros(x.shape[0], 24), []
        for step in range(x.shape[1]):
            h = self.cell(x[:, step], h)
            states.append(h)
        return self.head(self.rnn(torch.stack(states, 1))[0][:, -1])


def _recurrent_z(net: Any, x: Tensor) -> dict[str, Tensor]:
    found = {}
    cells = (("cell", net.cell, ""), ("rnn", net.rnn, "_l0"))
    for name, part, end in cells:
        w, u, b, c = (getattr(part, f"{kind}{end}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h, steps = x.new_zeros(x.shape[0], 24), []
        for step in range(x.shape[1]):
            z = F.linear(x[:, step], w, b) + F.linear(h, u, c)
            h = z.relu()
            steps.append(z)
        found[name] = torch.stack(steps, 1).flatten(0, 1)
        x = torch.stack([z.relu() for z in steps], 1)
    return found


def time_series(n: int, source: torch.Generator) -> Tensor:
    return images(n, source, TOKENS, 8)


@torch.no_grad()
def recurrent(seed: int, small: bool = False) -> Case:
    """Dead: incoming and recurrent weights that are never positive, behind inputs that are never negative, b < 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Recurrent()
    source = generator(seed + 1)
    sample = time_series(2000, source)
    labels = {}
    for name, part, end in (("cell", model.cell, ""), ("rnn", model.rnn, "_l0")):
        w, u, b, c = (getattr(part, f"{kind}{end}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        labels[name] = dealt(24, source, dead=6)
        u.mul_(0.5)
        c.zero_()
        for unit, label in enumerate(labels[name]):
            if label == "dead":
                w[unit], u[unit] = -w[unit].abs(), -u[unit].abs()
                b[unit] = -0.1
        for _ in range(4):  # each unit's bias moves the others': a few rounds settle it
            z = _recurrent_z(model, sample)[name]
            for unit, label in enumerate(labels[name]):
                if label == "live":
                    b[unit] -= float(z[:, unit].quantile(0.5))
    many, size, source = 8, 25 if small else 50, generator(seed + 101)
    data = [(time_series(size, source), torch.randint(CLASSES, (size,), generator=source)) for _ in range(many)]
    places = (Place("cell", "cell", module="cell"), Place("rnn", "rnn", module="rnn"))
    return Case(model, data, F.cross_entropy, places, labels, _recurrent_z, time_series)


PATIENTS = (
    Patient("transformer", "two encoder layers and a gated one (ReGLU); 18 dead feed-forward units", transformer),
    Patient(
        "padding",
        "the same with padded sentences; 3 more units fire on padding alone, which the model masks",
        lambda seed, small=False: transformer(seed, small, padding=True),
    ),
    Patient("recurrent", "`RNNCell` called step by step, then `RNN`, both with ReLU; 12 dead units", recurrent),
)
