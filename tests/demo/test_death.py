"""Act 2: the dead are counted again, from the weights, in NumPy, step by step."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rectifier.demo import DemoResult, death, digits

Weights = list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def weights_of(model: torch.nn.Sequential) -> Weights:
    return [
        (layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
        for layer in model
        if isinstance(layer, torch.nn.Linear)
    ]


def fires(weights: Weights) -> list[npt.NDArray[np.bool_]]:
    """For each hidden layer: does the unit fire on any training image?"""
    h, found = digits.load().x_train.numpy(), []
    for weight, bias in weights[:-1]:
        z = h @ weight.T + bias
        found.append((z > 0).any(axis=0))
        h = np.maximum(z, 0)
    return found


@pytest.fixture(scope="module")
def replay(result: DemoResult) -> list[Weights]:
    """The weights before training and after every step, of a training without watch or camera."""
    data, model = digits.load(), digits.mlp(result.seed)
    optimizer, stream = death.adam(model, result.death.step), death.batch_stream(result.seed)
    states = [weights_of(model)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(result.death.steps):
        x, y = next(stream)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        states.append(weights_of(model))
    torch.set_num_threads(threads)
    assert len(data.x_train) == result.death.examples == 1347
    return states


def test_reported_silent_are_exactly_those_that_never_fire(result: DemoResult) -> None:
    recount = [tuple(np.flatnonzero(~fired).tolist()) for fired in fires(list(result.death.weights))]
    assert list(result.death.silent.values()) == recount
    assert result.death.silent_units == sum(map(len, recount))
    assert result.death.hidden_units == 320


def test_a_tenth_and_more_are_silent(result: DemoResult) -> None:
    assert result.death.share >= 0.10
    assert result.death.accuracy[-1] < result.death.accuracy_small[-1] - 0.02


@pytest.mark.parametrize("seed", range(1, 10))
def test_a_tenth_is_silent_with_any_seed(seed: int) -> None:
    with digits.one_thread():
        model = digits.mlp(seed)
        digits.train(model, death.adam(model, death.STEP), death.batch_stream(seed), death.STEPS)
    silent = sum(int((~fired).sum()) for fired in fires(weights_of(model)))
    assert silent >= 0.10 * 320


def test_watching_changed_no_bit(result: DemoResult, replay: list[Weights]) -> None:
    for (weight, bias), (again, bias_again) in zip(result.death.weights, replay[-1], strict=True):
        assert np.array_equal(weight, again) and np.array_equal(bias, bias_again)


def test_every_death_has_its_step(result: DemoResult, replay: list[Weights]) -> None:
    recount = [fires(state) for state in replay]
    for layer, (site, fired) in enumerate(result.death.fired.items()):
        assert np.array_equal(fired, np.array([state[layer] for state in recount])), site
    layers = {site: layer for layer, site in enumerate(result.death.fired)}
    for each in result.death.deaths:
        history = [state[layers[each.site]][each.unit] for state in recount]
        if each.last_fired is None:
            assert each.push == "born silent" and not any(history)
        else:
            assert history[each.last_fired] and not any(history[each.last_fired + 1 :])
    named = {(each.site, each.unit) for each in result.death.deaths}
    assert named == {(site, unit) for site, units in result.death.silent.items() for unit in units}


def test_pushes_by_hand(result: DemoResult, replay: list[Weights]) -> None:
    def inputs(weights: Weights, layer: int) -> npt.NDArray[np.float32]:
        h = digits.load().x_train.numpy()
        for weight, bias in weights[:layer]:
            h = np.maximum(h @ weight.T + bias, 0)
        return h

    layers = {site: layer for layer, site in enumerate(result.death.fired)}
    seen = set()
    for each in result.death.deaths[::7]:
        if each.last_fired is None:
            continue
        layer, old, new = layers[each.site], replay[each.last_fired], replay[each.last_fired + 1]

        def open_(weights: Weights, source: Weights, layer: int = layer, unit: int = each.unit) -> bool:
            weight, bias = weights[layer]
            return bool((inputs(source, layer) @ weight[unit] + bias[unit] > 0).any())

        own, theirs = open_(new, old), open_(old, new)
        expected = "its own update" if not own else "its inputs" if not theirs else "both together"
        assert each.push == expected
        seen.add(expected)
    assert "its own update" in seen


def test_the_chain_rule_on_one_unit(result: DemoResult, replay: list[Weights]) -> None:
    chain = result.death.chain
    assert chain is not None
    data = digits.load()
    weight, bias = result.death.weights[0]
    z = data.x_train.numpy() @ weight[chain.unit] + bias[chain.unit]
    assert (z < 0).all() and chain.largest_z == pytest.approx(float(z.max()), rel=1e-4)
    assert chain.unit in next(iter(result.death.silent.values()))
    assert chain.open_images == 0
    assert chain.gradient == 0.0 and chain.gradient_autograd == 0.0
    assert chain.asked > 0.0
    assert chain.living_gradient == pytest.approx(chain.living_gradient_autograd, rel=1e-3)
    assert chain.living_gradient > 1e-3
    for row in chain.rows:
        assert row.product == row.d_h * row.slope * row.x == 0.0
        assert row.d_h != 0.0 and row.x > 0.0


def test_the_dead_unit_stands_still_bit_for_bit(result: DemoResult, replay: list[Weights]) -> None:
    chain = result.death.chain
    assert chain is not None and chain.still_from is not None
    rows = [np.append(state[0][0][chain.unit], state[0][1][chain.unit]) for state in replay]
    assert all(row.tobytes() == rows[-1].tobytes() for row in rows[chain.still_from :])
    assert rows[chain.still_from - 1].tobytes() != rows[chain.still_from].tobytes()
    assert chain.still_steps == result.death.steps - chain.still_from > 20
    # Without a gradient Adam's first moment keeps 0.9 of itself a step, the second 0.999; late in training its bias
    # correction hardly counts.
    late = np.array(chain.drift[40:80])
    assert np.all(np.abs(late[1:] / late[:-1] - 0.9 / 0.999**0.5) < 0.02)
