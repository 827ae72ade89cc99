"""Sites in every kind of model: the counts are those of plain PyTorch, and what is not seen is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rectifier
from rectifier.frameworks.torch.observer.naming import LOOP, UNTOLD

from .looking import Plain, fired, only

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("model", [Plain(), nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))])
def test_a_graph_module_is_seen_as_what_was_traced(model: nn.Module) -> None:
    x = torch.randn(50, 4)
    site, traced = only(model, x), only(fx.symbolic_trace(model), x)
    assert (site.site, site.layer, site.fired.tolist()) == (traced.site, traced.layer, traced.fired.tolist())
    assert site.examples == traced.examples == 50


# Transformers


def encoder(**given: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, **{"batch_first": True, **given})


PADDED = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]).bool()


def hidden(layer: nn.TransformerEncoderLayer, x: Tensor, mask: Tensor | None) -> Tensor:
    """Pre-activations of the feed-forward units, by PyTorch's own parts."""
    if layer.norm_first:
        return layer.linear1(layer.norm2(x + layer._sa_block(layer.norm1(x), None, mask)))
    return layer.linear1(layer.norm1(x + layer._sa_block(x, None, mask)))


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given", ["keyword", "place", "added", "none"])
def test_feed_forward_units_of_tokens_that_are_no_padding(norm_first: bool, batch_first: bool, given: str) -> None:
    layer = encoder(norm_first=norm_first, batch_first=batch_first).eval()
    x, mask = torch.randn(3, 5, 8), PADDED
    x = x if batch_first else x.transpose(0, 1)
    batch: Any = {
        "keyword": {"src": x, "src_key_padding_mask": mask},
        "place": ((x, None, mask), None),
        "added": {"src": x, "src_key_padding_mask": torch.zeros(3, 5).masked_fill(mask, -torch.inf)},
        "none": x,
    }[given]
    site = only(layer, batch)
    z = hidden(layer, x, None if given == "none" else torch.zeros(3, 5).masked_fill(mask, -torch.inf))
    z = z if batch_first else z.transpose(0, 1)
    kept = z[~mask] if given != "none" else z
    assert site.fired.tolist() == fired(kept)
    assert (site.examples, site.inputs, site.layer) == (9 if given != "none" else 15, 3, "linear1")


def test_an_encoder_in_evaluation_mode_is_seen_past_its_fused_path() -> None:
    model = nn.TransformerEncoder(encoder(), 2).eval()
    x = torch.randn(3, 5, 8)
    sites = rectifier.check(model, [{"src": x, "src_key_padding_mask": PADDED}]).last.sites
    assert [(s.site, s.layer, s.examples) for s in sites] == [
        ("layers.0.relu#0", "layers.0.linear1", 9),
        ("layers.1.relu#0", "layers.1.linear1", 9),
    ]
    z = hidden(model.layers[0], x, torch.zeros(3, 5).masked_fill(PADDED, -torch.inf))
    assert sites[0].fired.tolist() == fired(z[~PADDED])


def test_gradients_leave_padding_out_too() -> None:
    layer = encoder().eval()
    x = torch.randn(3, 5, 8)
    batch = ({"src": x, "src_key_padding_mask": PADDED}, None)
    site = only(layer, batch, loss=lambda out, _: out[~PADDED].square().sum())
    every = only(layer, x, loss=None)
    assert every.gradient_abs is None and site.gradient_abs is not None
    assert (site.gradient_abs > 0).any()
    gradients = []
    handle = layer.linear1.register_forward_hook(lambda m, a, z: z.register_hook(gradients.append) and None)
    layer(x, src_key_padding_mask=PADDED)[~PADDED].square().sum().backward()
    handle.remove()
    torch.testing.assert_close(
        torch.as_tensor(site.gradient_abs), gradients[0][~PADDED].abs().mean(dim=0).double(), rtol=1e-4, atol=1e-7
    )


class HuggingFaceLike(nn.Module):
    """Takes a dict, as those models do; the older ones fold tokens into the batch before their feed-forward units."""

    def __init__(self, fold: bool) -> None:
        super().__init__()
        self.embed, self.up, self.down, self.fold = nn.Embedding(11, 8), nn.Linear(8, 16), nn.Linear(16, 8), fold

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embed(input_ids)
        if self.fold:
            x = x.reshape(-1, 8)
        return self.down(F.relu(self.up(x)))


@pytest.mark.parametrize("fold", [False, True])
def test_attention_mask_of_a_dict(fold: bool) -> None:
    model, ids = HuggingFaceLike(fold), torch.randint(0, 11, (3, 5))
    site = only(model, {"input_ids": ids, "attention_mask": (~PADDED).long()})
    assert site.examples == 9
    assert site.fired.tolist() == fired(model.up(model.embed(ids))[~PADDED])
    # floating-point numbers may mean either way
    assert only(model, {"input_ids": ids, "attention_mask": (~PADDED).float()}).examples == 15


class ReGLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down, self.both = (nn.Linear(4, n) for n in (6, 6, 4, 12))
        self.down = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(F.relu(self.gate(x)) * self.up(x))
        a, b = self.both(y).chunk(2, dim=-1)
        return self.down(F.relu(a) * b)


def test_gated_units() -> None:
    model, x = ReGLU(), torch.randn(7, 3, 4)
    first, second = rectifier.check(model, [x]).last.sites
    assert (first.layer, first.fired.tolist()) == ("gate", fired(model.gate(x)))
    y = model.down(F.relu(model.gate(x)) * model.up(x))
    assert (second.units, second.fired.tolist()) == (6, fired(model.both(y)[..., :6]))


# Sparse autoencoders


class JumpStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, level: Tensor) -> Tensor:
        ctx.save_for_backward(z, level)
        return z * (z > level)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        z, level = ctx.saved_tensors
        return gradient * (z > level), None


JUMPS: dict[str, Any] = {
    "product": lambda z, level: z * (z > level),
    "other way round": lambda z, level: (level < z) * z,
    "cast": lambda z, level: z * (z > level).to(z.dtype),
    "where": lambda z, level: torch.where(z > level, z, 0.0),
    "where shut": lambda z, level: torch.where(z <= level, torch.zeros_like(z), z),
    "of a relu": lambda z, level: F.relu(z) * (z > level),
    "function": JumpStep.apply,
    "number": lambda z, level: z * (z > 0.25),
}


class Autoencoder(nn.Module):
    def __init__(self, act: Any, level: float = 0.25) -> None:
        super().__init__()
        self.encode, self.decode, self.act = nn.Linear(4, 16), nn.Linear(16, 4), act
        self.level = nn.Parameter(torch.full((16,), level))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.act(self.encode(x), self.level))


@pytest.mark.parametrize("spelling", JUMPS)
def test_jumprelu_thresholds(spelling: str) -> None:
    model, x = Autoencoder(JUMPS[spelling]), torch.randn(200, 4)
    record = rectifier.check(model, [x, -x])
    site = record.last.sites[-1]
    z = model.encode(torch.cat([x, -x]))
    assert site.site == "jumprelu#0" and record.not_observed == ()
    assert site.fired.tolist() == fired(z - 0.25) != fired(z)
    assert site.examples == 400
    torch.testing.assert_close(torch.as_tensor(site.sum_h), (z * (z > 0.25)).double().sum(dim=0), rtol=1e-5, atol=1e-6)


def test_jumprelu_that_is_open_at_its_threshold() -> None:
    class Inclusive(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z * (z >= 0.5)

    assert only(Inclusive(), torch.tensor([[0.5, 0.25, 1.0], [0.5, 0.5, 0.0]])).fired.tolist() == [2, 1, 1]


def test_clamping_by_where_is_no_rectifier() -> None:
    class Clamped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(torch.where(x > 2, 2.0, x))

    record = rectifier.check(Clamped(), [torch.randn(8, 3)])
    assert ([site.site for site in record.last.sites], record.not_observed) == (["relu#0"], ())


def test_picked_values_are_no_units_but_their_latents_are() -> None:
    def top(z: Tensor, level: Tensor) -> Tensor:
        values, places = z.topk(3, dim=-1)
        return torch.zeros_like(z).scatter(-1, places, F.relu(values))

    model, x = Autoencoder(top), torch.randn(100, 4)
    record = rectifier.check(model, [x])
    (site,) = record.last.sites
    assert (site.site, site.units) == ("topk#0", 16)
    assert site.fired.tolist() == fired(top(model.encode(x), model.level))
    assert record.not_observed == (
        "relu#0: its input was sorted or picked, so its places are ranks, not units; not observed",
    )


def test_latents_that_fire_once_in_a_million() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():  # unit k fires where the first input is above its level
        model[0].weight.copy_(torch.tensor([[1.0, 0.0, 0.0]]).expand(6, 3))
        model[0].bias.copy_(-torch.tensor([0.5, 1.5, 2.5, 3.5, 3.5, 4.5]))

    def batches() -> Any:
        for i in range(25):  # 1.25 million examples
            x = torch.zeros(50_000, 3)
            x[: 5000 if i else 4999, 0] = 1.0
            x[5000:5002, 0] = 2.0
            if i == 7:
                x[9, 0], x[77, 0] = 3.0, 4.0
            yield x

    record = rectifier.check(model, batches())
    site = record.last.sites[0]
    assert site.examples == 1_250_000
    assert site.fired.tolist() == [25 * 5002 - 1, 52, 2, 1, 1, 0]
    (rare,) = (finding for finding in record.of("rare") if 3 in finding.units)
    assert rare.measures["rate_bound"] == pytest.approx(
        rectifier.checkup._judge.upper_rate(52, 1_250_000), rel=1e-9
    )  # the widest of those named together
    (silent,) = record.of("dead", "silent")
    assert silent.units == (5,)
    assert silent.measures["rate_bound"] == pytest.approx(1 - 0.05 ** (1 / 1_250_000))
    assert silent.remedy.startswith("resample these latents: encoder rows and decoder columns from inputs")


def test_resampling_is_for_autoencoders_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].bias[2] = -50.0
    (finding,) = rectifier.check(model, [torch.randn(9, 3)]).of("dead")
    assert "resample" not in finding.remedy


# Recurrent


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_units_are_seen_from_the_outputs(batch_first: bool, bidirectional: bool) -> None:
    model = nn.RNN(4, 6, nonlinearity="relu", batch_first=batch_first, bidirectional=bidirectional)
    x = torch.randn(3, 7, 4)
    record = rectifier.check(model, [x])
    (site,) = record.last.sites
    assert site.fired.tolist() == fired(model(x)[0])
    assert (site.examples, site.inputs, site.layer) == (21, 3 if batch_first else 7, None)
    assert record.not_observed == ("RNN (RNN): seen by its outputs; pre-activations below 0 and gradients are not",)


def test_recurrent_layers_below_the_last_and_packed_sequences() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(4, 6, 2, nonlinearity="relu", batch_first=True)

        def forward(self, x: Tensor) -> Any:
            return self.rnn(pack_padded_sequence(x, torch.tensor([7, 4, 1]), batch_first=True))[0].data

    model, x = Packed(), torch.randn(3, 7, 4)
    record = rectifier.check(model, [x])
    (site,) = record.last.sites
    assert (site.fired.tolist(), site.examples, site.inputs) == (fired(model(x)), 12, 3)
    assert record.not_observed[1] == "rnn (RNN): only the last of its 2 layers comes out, the others are unseen"


class Loop(nn.Module):
    """A cell, a module and a call, each in a loop over time."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.into, self.over = nn.RNNCell(4, 6, nonlinearity="relu"), nn.Linear(4, 6), nn.Linear(6, 6)
        self.act, self.seen = nn.ReLU(), []

    def forward(self, x: Tensor) -> Tensor:
        h, g = torch.zeros(len(x), 6), torch.zeros(len(x), 6)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            z = self.into(x[:, t]) + self.over(g)
            g = F.relu(self.over(self.act(z)))
            self.seen.append((h.detach(), z.detach()))
        return g


def test_a_loop_over_the_same_weights_is_one_site() -> None:
    model = Loop()
    sites = rectifier.check(model, [torch.randn(3, 40, 4), torch.randn(3, 25, 4)]).last.sites
    assert [(s.site, s.examples, s.inputs) for s in sites] == [
        ("cell", 195, 6),
        ("act", 195, 6),
        ("relu#0", 195, 6),
    ]
    assert sites[0].fired.tolist() == fired(torch.cat([h for h, _ in model.seen]))
    assert sites[1].fired.tolist() == fired(torch.cat([z for _, z in model.seen]))


def test_gradients_of_a_loop_are_all_counted() -> None:
    model, x = Loop(), torch.randn(3, LOOP + 4, 4)
    site = rectifier.check(model, [(x, None)], lambda out, _: out.sum()).last.sites[1]
    kept: list[Tensor] = []
    model.act.register_forward_pre_hook(lambda m, args: args[0].register_hook(kept.append) and None)
    model(x).sum().backward()
    assert len(kept) == LOOP + 4
    expected = torch.stack(kept).abs().double().mean(dim=(0, 1))
    torch.testing.assert_close(torch.as_tensor(site.gradient_abs), expected, rtol=1e-4, atol=1e-7)


def test_a_short_loop_and_other_weights_keep_one_site_a_call() -> None:
    class Shared(nn.Module):
        """One ReLU for twenty layers, after a sum, as in a residual network."""

        def __init__(self) -> None:
            super().__init__()
            self.layers, self.act = nn.ModuleList(nn.Linear(5, 5) for _ in range(20)), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = self.act(layer(x) + x)
            return x

    sites = rectifier.check(Shared(), [torch.randn(4, 5)]).last.sites
    assert [s.site for s in sites] == ["act", *(f"act@{i}" for i in range(1, 20))]
    short = rectifier.check(Loop(), [torch.randn(3, LOOP, 4)]).last.sites
    assert len([s for s in short if s.site.startswith("act")]) == LOOP


def test_values_that_are_followed_in_part_are_not_taken_for_the_same_units() -> None:
    class Partly(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x
            for _ in range(LOOP + 4):
                y = F.relu(x + torch.fft.fft(y).real)
            return y

    assert len(rectifier.check(Partly(), [torch.randn(4, 6)]).last.sites) == LOOP + 4


def test_a_loop_that_cannot_be_followed_is_told() -> None:
    class Untold(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(UNTOLD + 3):
                x = F.relu(torch.fft.fft(x).real)
            return x

    record = rectifier.check(Untold(), [torch.randn(4, 6)])
    assert [(s.site, s.examples) for s in record.last.sites] == [("relu#0", 4 * (UNTOLD + 3))]
    assert record.not_observed == (
        f"relu#0: more than {UNTOLD - 1} calls a pass on values not followed; counted as one site",
    )
