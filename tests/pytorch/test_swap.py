"""``swap``: every kind of site, what it keeps, what it refuses, and the way back."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import rectifier
import rectifier.torch as rt


class Block(nn.Module):
    """Calls of every spelling, a function as an attribute, and layers that make the same calls inside."""

    def __init__(self, shared: nn.Module) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.act, self.shared = nn.ReLU(), shared
        self.function = F.elu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.b(self.act(F.relu(self.a(x)) - 0.3)))
        x = self.shared(x).relu() + torch.clamp_min(x - 0.1, 0.0)
        return self.function((F.leaky_relu(x - 1, 0.3) + 0.5).clamp(min=0) - x.clip(0, 1))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shared = nn.ReLU6()
        self.blocks = nn.ModuleList([Block(shared), Block(shared)])
        self.tail = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return torch.relu(self.tail(x))


def by_hand(net: Net, x: torch.Tensor) -> torch.Tensor:
    """What ``net`` is to compute when ReLU has become LeakyReLU(0.5) and all else ELU(0.7)."""
    leaky, elu = nn.LeakyReLU(0.5), nn.ELU(0.7)
    for block in net.blocks:
        x = leaky(block.b(leaky(leaky(block.a(x)) - 0.3)))
        x = leaky(elu(x)) + leaky(x - 0.1)
        x = elu(leaky(elu(x - 1) + 0.5) - x.clip(0, 1))
    return leaky(net.tail(x))


RULES: dict[Any, Any] = {nn.ReLU: nn.LeakyReLU(0.5), "*": nn.ELU(0.7)}


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(32, 4, generator=torch.Generator().manual_seed(1))


def test_every_kind_of_site_and_the_way_back(net: Net, x: torch.Tensor) -> None:
    modules, outputs = dict(net.named_modules()), net(x)
    classes = {name: type(module) for name, module in modules.items()}
    state = list(net.state_dict())
    expected = by_hand(net, x)
    receipt = rt.swap(net, RULES)
    assert torch.equal(net(x), expected)
    assert [str(change) for change in receipt.changed if "1" not in change.site.partition("#")[0]] == [
        "relu#0: nn.ReLU() → nn.LeakyReLU(negative_slope=0.5)",
        "blocks.0.act: nn.ReLU() → nn.LeakyReLU(negative_slope=0.5)",
        "blocks.0.shared: nn.ReLU6() → nn.ELU(alpha=0.7)",
        *(f"blocks.0.relu#{n}: nn.ReLU() → nn.LeakyReLU(negative_slope=0.5)" for n in range(4)),
        "blocks.0.leaky_relu#0: nn.LeakyReLU(negative_slope=0.3) → nn.ELU(alpha=0.7)",
        "blocks.0.relu#4: nn.ReLU() → nn.LeakyReLU(negative_slope=0.5)",
        "blocks.0.elu#0: nn.ELU(alpha=1.0) → nn.ELU(alpha=0.7)",
    ]
    assert receipt.missed == () and receipt.parameters == ()
    assert list(net.state_dict()) == state
    assert net.blocks[0].shared is net.blocks[1].shared  # still one layer, as before
    assert net.blocks[0].act is not net.blocks[1].act  # and a copy each, as before
    assert isinstance(net, Net) and repr(type(net)) == repr(Net)
    for module in net.blocks[0].children():
        assert module in set(net.modules())
    receipt.undo()
    receipt.undo()
    assert torch.equal(net(x), outputs)
    after = dict(net.named_modules())
    assert after.keys() == modules.keys()
    assert all(after[name] is modules[name] and type(after[name]) is classes[name] for name in modules)
    assert net.blocks[0].function is F.elu and list(net.blocks[0]._modules) == ["a", "b", "act", "shared"]
    assert not any(name.startswith("_rectifier") for module in net.modules() for name in vars(module))


def test_copies_pickles_replicas_and_graphs_take_it_along(net: Net, x: torch.Tensor) -> None:
    rt.swap(net, RULES)
    expected = net(x)
    saved = io.BytesIO()
    torch.save(net, saved)
    saved.seek(0)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), torch.load(saved, weights_only=False)):
        assert type(twin) is type(net) and torch.equal(twin(x), expected)
        twin.blocks[0]._modules["leaky_relu#0"].alpha = 9.0  # its own layers, not those of the first
        assert torch.equal(net(x), expected) and not torch.equal(twin(x), expected)
    replica = net._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
    replica._modules["relu#0"] = nn.Identity()
    assert not torch.equal(replica(x), expected) and torch.equal(net(x), expected)
    assert torch.equal(torch.compile(net, fullgraph=True, backend="eager")(x), expected)
    assert torch.equal(torch.export.export(net, (x,)).module()(x), expected)
    assert torch.equal(torch.func.functional_call(net, dict(net.named_parameters()), (x,)), expected)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        torch.fx.symbolic_trace(net)
    assert str(caught.value) == (
        "swap: Block's forward must be traced by torch.fx without swapped methods, which it records as they were; got "
        "relu#2, relu#4. Write them as torch.relu(x) and the like, or undo the swap."
    )


def test_what_is_not_a_method_can_be_traced() -> None:
    torch.manual_seed(0)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(F.relu(self.a(x)))

    model, x = nn.Sequential(Plain()), torch.randn(20, 4)
    rt.swap(model, {"*": rt.LeakyReLU(0.5)})
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))
    assert [entry.rectifier for entry in rt.init_(model)] == ["leaky_relu", None]
    rt.swap(model, {"*": rt.ReLU()})
    with torch.no_grad():
        model[0].a.bias[1] = -50.0
    (receipt,) = rectifier.heal(model, rectifier.check(model, [x]), probe=x, seed=0)
    assert (receipt.site, receipt.units, receipt.output_change) == ("0.relu#0", (1,), 0.0)


def test_checkpointed_modules_repeat_what_was_swapped(net: Net, x: torch.Tensor) -> None:
    rt.swap(net, RULES)
    weights = list(net.blocks[0].parameters())
    expected = torch.autograd.grad(net.blocks[0](x).square().sum(), weights)
    outputs = checkpoint(net.blocks[0], x, use_reentrant=False)
    got = torch.autograd.grad(outputs.square().sum(), weights)
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_the_checkup_sees_the_new_rectifiers(net: Net, x: torch.Tensor) -> None:
    rt.swap(net, RULES)
    sites = rectifier.check(net, [x]).snapshots[-1].sites
    assert {site.rectifier for site in sites} == {"leaky_relu", "elu", "gelu"}
    assert {"relu#0", "blocks.0.relu#3", "blocks.1.leaky_relu#0", "blocks.1.elu#0"} <= {site.site for site in sites}
    receipt = rt.swap(net, {"blocks.0.relu#0": rt.SELU()})  # by now a layer of that name
    assert [str(change) for change in receipt.changed] == [
        "blocks.0.relu#0: nn.LeakyReLU(negative_slope=0.5) → rt.SELU()"
    ]


@pytest.mark.parametrize(
    ("rules", "changed"),
    [
        ({nn.ReLU: rt.SELU()}, 13),
        ({nn.LeakyReLU: rt.SELU}, 2),
        ({nn.GELU: rt.ReLU}, 1),
        ({"blocks.0.*": nn.Identity()}, 9),
        ({"relu#?": rt.SELU()}, 1),
        ({lambda name, layer: name.startswith("blocks.1") and isinstance(layer, nn.ReLU): rt.SELU()}, 6),
        ({"*.act": lambda name, layer: rt.LeakyReLU(float(name[7]))}, 2),
    ],
)
def test_rules(net: Net, x: torch.Tensor, rules: Any, changed: int) -> None:
    outputs = net(x)
    receipt = rt.swap(net, rules)
    assert len(receipt.changed) == changed
    assert not torch.equal(net(x), outputs)
    receipt.undo()
    assert torch.equal(net(x), outputs)


def test_undo_in_order(net: Net) -> None:
    first = rt.swap(net, {"*.act": rt.SELU()})
    second = rt.swap(net, {nn.SELU: rt.ELU()})
    with pytest.raises(rectifier.RectifierValueError) as caught:
        first.undo()
    assert str(caught.value) == (
        "undo: the model must be as the swap left it; got another layer at 'blocks.0.act'. "
        "Undo what was done after it first."
    )
    second.undo()
    first.undo()
    assert type(net.blocks[0].act) is nn.ReLU


def test_a_part_of_the_calls_at_a_time(net: Net, x: torch.Tensor) -> None:
    block, outputs = net.blocks[0], net(x)
    first = rt.swap(net, {"blocks.0.relu#1": nn.Identity()})
    part = net(x)
    second = rt.swap(net, {"blocks.0.relu#0": nn.Identity(), "blocks.0.leaky_relu#0": nn.Identity()})
    y = block.b(block.act(block.a(x) - 0.3))
    y = block.shared(y).relu() + (y - 0.1).relu()
    torch.testing.assert_close(block(x), F.elu((y - 0.5).relu() - y.clip(0, 1)))
    second.undo()
    assert torch.equal(net(x), part)
    first.undo()
    assert torch.equal(net(x), outputs)


def test_place_mode_device_and_hooks_are_kept() -> None:
    model = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64), nn.ReLU(inplace=True), nn.Linear(2, 1).double())
    model[1].eval()
    seen: list[str] = []
    handle = model[1].register_forward_hook(lambda module, args, out: seen.append(type(module).__name__))
    receipt = rt.swap(model, {nn.ReLU: rt.PReLU(2)})
    assert not model[1].training and model[0].training
    assert model[1].weight.dtype is torch.float64
    assert [id(p) for p in receipt.parameters] == [id(model[1].weight)]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "2.weight", "2.bias"]
    model(torch.ones(3, 2, dtype=torch.float64))
    handle.remove()
    model(torch.ones(3, 2, dtype=torch.float64))
    assert seen == ["PReLU"]
    receipt.undo()
    rt.swap(model, {nn.ReLU: rt.LeakyReLU(0.1)})
    assert model[1].inplace  # as the old one was


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.a(x)
        F.relu_(z)  # the result is looked for in the input
        y = 2 * z - 1
        F.relu(y, inplace=True)
        return y


@pytest.mark.parametrize("new", [rt.ELU(0.5), nn.Softplus(), rt.LeakyReLU(0.1)])
def test_calls_in_place_stay_in_place(new: nn.Module, x: torch.Tensor) -> None:
    torch.manual_seed(0)
    model, z = InPlace(), x[:, :3]
    expected = copy.deepcopy(new)(2 * copy.deepcopy(new)(model.a(z)) - 1)
    (want,) = torch.autograd.grad(expected.sum(), model.a.weight)
    rt.swap(model, {nn.ReLU: new})
    assert torch.equal(model(z), expected)
    (got,) = torch.autograd.grad(model(z).sum(), model.a.weight)
    torch.testing.assert_close(got, want)


def test_prelu_gets_the_channels_where_they_are_known() -> None:
    torch.manual_seed(0)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
            self.b = nn.Conv2d(6, 6, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.norm(self.a(x)))
            return F.max_pool2d(self.act(self.b(x) + x), 2)

    model = nn.Sequential(Residual(), nn.PReLU(6))
    receipt = rt.swap(model, {"*": rt.PReLU})
    assert {change.new for change in receipt.changed} == {"rt.PReLU(num_parameters=6)"}
    assert [tuple(p.shape) for p in receipt.parameters] == [(6,)] * 3
    assert "0.relu#0.weight" in model.state_dict()
    model(torch.randn(2, 3, 4, 4)).sum().backward()
    assert all(p.grad is not None for p in receipt.parameters)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # which the encoder makes of a mask
def test_transformer_layers_leave_their_fused_path() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(3, 5, 8)
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 5])
    with torch.no_grad():
        outputs = model(x, src_key_padding_mask=mask)
    receipt = rt.swap(model, {nn.ReLU: nn.LeakyReLU(0.5)})
    with torch.no_grad():
        fused = model(x, src_key_padding_mask=mask)
    assert torch.allclose(fused[0], model(x, src_key_padding_mask=mask)[0], atol=1e-6)  # with gradients: the slow path
    assert not torch.allclose(fused[0], outputs[0], atol=1e-3)
    receipt.undo()
    assert model.layers[0].activation is F.relu and model.use_nested_tensor and not hasattr(layer, "_rectifier_calls")
    with torch.no_grad():
        assert torch.equal(model(x, src_key_padding_mask=mask), outputs)
    decoder = nn.TransformerDecoderLayer(8, 2, 16, activation=nn.ReLU())
    assert [str(change) for change in rt.swap(decoder, {nn.ReLU: rt.SELU}).changed] == [
        "activation: nn.ReLU() → rt.SELU()"
    ]


class Unreachable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 3, nonlinearity="relu")
        self.acts = [nn.ReLU()]
        self.slope = nn.Parameter(torch.tensor([0.3]))
        self.branch = Branch()
        self.repeated = Repeated()
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = rt.relu(F.prelu(self.act(x), self.slope))
        return F.leaky_relu(y, self.slope.item() if not isinstance(y, torch.fx.Proxy) else y.mean())


class Branch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x) if x.sum() > 0 else x


class Repeated(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(F.relu, x, use_reentrant=False)


def test_what_cannot_be_reached_is_told() -> None:
    receipt = rt.swap(Unreachable(), {nn.ReLU: rt.SELU()})
    assert [change.site for change in receipt.changed] == ["act"]
    assert sorted(map(str, receipt.missed)) == [
        "acts: not changed, kept in a plain list; make it a torch.nn.ModuleList",
        "branch: not changed, a call in a forward that torch.fx cannot follow (TraceError: symbolically traced "
        "variables cannot be used as inputs to control flow)",
        "leaky_relu#0: not changed, its parameter is computed; make it a layer",
        "prelu#0: not changed, its slope is not its own; make it a torch.nn.PReLU",
        "relu#0: not changed, a call of rectifier.torch.relu, which a compiled graph does not show; make it a layer",
        "repeated.relu#0: not changed, inside torch.utils.checkpoint, which repeats it outside the forward; "
        "make it a layer",
        "rnn: not changed, a ReLU inside RNN, which computes it in one piece",
    ]


def test_more_calls_than_there_were_are_said() -> None:
    class Longer(nn.Module):
        def forward(self, x: torch.Tensor, twice: bool = False) -> torch.Tensor:
            x = F.relu(x)
            return F.relu(x - 1) if twice else x

    model = Longer()
    rt.swap(model, {nn.ReLU: nn.Identity()})
    assert model(torch.tensor([-1.0])).item() == -1
    with pytest.warns(UserWarning) as caught:
        assert model(torch.tensor([-1.0]), twice=True).item() == 0
    assert str(caught[0].message) == (
        "swap: Longer made a call 'relu#1' that was not there when its rectifiers were swapped; it is left as it is. "
        "Make it a layer, and swap again."
    )


def test_a_partial_and_an_exception_inside() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = functools.partial(F.leaky_relu, negative_slope=0.2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not isinstance(x, torch.fx.Proxy) and x.ndim > 1:
                raise RuntimeError("too many axes")
            return self.act(F.relu(x) - 1)

    model = Odd()
    receipt = rt.swap(model, {"*": nn.Identity()})
    assert [change.old for change in receipt.changed] == ["nn.ReLU()", "nn.LeakyReLU(negative_slope=0.2)"]
    with pytest.raises(RuntimeError, match="too many axes"):
        model(torch.ones(1, 1))
    assert model(torch.tensor([-1.0])).item() == -2
    assert F.relu(torch.tensor([-1.0])).item() == 0  # outside nothing is caught


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_in_wrappers(net: Net, x: torch.Tensor, group: None) -> None:
    expected = by_hand(net, x)
    for wrapped in (nn.DataParallel(net), nn.parallel.DistributedDataParallel(net)):
        receipt = rt.swap(wrapped, RULES)
        assert "blocks.0.act" in {change.site for change in receipt.changed}
        assert torch.equal(wrapped(x), expected)
        wrapped(x).sum().backward()
        receipt.undo()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rt.swap(wrapped, {"*": rt.PReLU()})
    assert str(caught.value) == (
        "swap: `model` must not gain or lose parameters once it is in DistributedDataParallel, which has counted them; "
        "got rectifiers with learned slopes. Swap first, then wrap it."
    )


SMALL = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rt.swap(SMALL, {nn.ReLU: rt.SELU(), "encoder.*": rt.ELU()}),
            "swap: `rules` must match rectifiers of the model; got 'encoder.*', which matches none; in it are 1 "
            "(ReLU). Correct the rule, or leave it out.",
        ),
        (
            lambda: rt.swap(nn.Sequential(nn.RNN(2, 2, nonlinearity="relu")), {nn.ReLU: rt.SELU()}),
            "swap: `rules` must match rectifiers of the model; got ReLU, which matches none; there is none that can be "
            "reached; 0 cannot be reached: a ReLU inside RNN, which computes it in one piece. "
            "Correct the rule, or leave it out.",
        ),
        (
            lambda: rt.swap("model", {}),
            "swap: `model` must be a torch.nn.Module; got str. Pass the whole model.",
        ),
        (
            lambda: rt.swap(SMALL, {}),
            "swap: `rules` must map what is replaced to what it is replaced by; got an empty mapping. "
            "Pass for instance {torch.nn.ReLU: rectifier.torch.LeakyReLU(0.01)}.",
        ),
        (
            lambda: rt.swap(SMALL, {3: rt.SELU()}),
            "swap: `rules` must have a class of layers, a pattern of names or a predicate on the left; got 3. "
            "Pass for instance torch.nn.ReLU.",
        ),
        (
            lambda: rt.swap(SMALL, {nn.ReLU: "leaky_relu"}),
            "swap: `rules` must have a layer, a class of layers or a callable that makes one on the right; got "
            "'leaky_relu' for ReLU. Pass for instance rectifier.torch.LeakyReLU(0.01).",
        ),
        (
            lambda: rt.swap(SMALL, {nn.ReLU: nn.Linear}),
            "swap: `rules` must give a class that needs no arguments; got Linear (Linear.__init__() missing 2 required "
            "positional arguments: 'in_features' and 'out_features'). Pass a layer of it, made with its arguments.",
        ),
        (
            lambda: rt.swap(SMALL, {nn.ReLU: lambda name, layer: F.relu}),
            "swap: `rules` must give callables that return a torch.nn.Module; got function for '1'. "
            "Return the new layer.",
        ),
        (
            lambda: rt.swap(SMALL, {nn.ReLU: rt.PReLU}),
            "swap: `rules` must give PReLU as a layer where the channels (axis 1) are not known; got the class at '1', "
            "where the layers before it do not tell (a Linear has its units on the last axis). "
            "Pass PReLU(n) for n channels, or PReLU() for one slope.",
        ),
        (
            lambda: rt.swap(torch.compile(SMALL, backend="eager"), {nn.ReLU: rt.SELU()}),
            "swap: `model` must run eagerly, module by module; got a compiled OptimizedModule. "
            "Pass the model that was compiled.",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text
    assert type(SMALL[1]) is nn.ReLU
