"""Act 4: what is cut was silent, the outputs stay, and the counts add up."""

from rectifier.demo import DemoResult


def parameters(hidden: tuple[int, ...]) -> int:
    widths = (64, *hidden, 10)
    return sum((inputs + 1) * units for inputs, units in zip(widths, widths[1:], strict=False))


def test_parameters_follow_from_the_widths(result: DemoResult) -> None:
    cut = result.cut
    assert cut.hidden == (128, 128, 64) and cut.parameters == parameters(cut.hidden)
    for each in (cut.proved, cut.silent_cut):
        assert each.parameters == parameters(each.hidden) < cut.parameters


def test_exactly_the_silent_units_are_cut(result: DemoResult) -> None:
    cut = result.cut
    assert 0 < cut.proved.units < cut.silent
    assert cut.proved.units + cut.silent_cut.units == cut.silent
    assert sum(cut.silent_cut.hidden) == 320 - cut.silent
    assert cut.silent_before == result.death.silent_units
    assert cut.returned >= cut.silent_before - cut.silent


def test_outputs_stay(result: DemoResult) -> None:
    cut = result.cut
    # Sums of fewer terms may round differently: some 300 terms at most, of half a unit in the last place each.
    bound = 300 * 2.0**-24 * cut.largest_output
    assert cut.proved.change_train <= bound and cut.proved.change_test <= bound
    assert cut.silent_cut.change_train <= bound
    assert cut.proved.accuracy == cut.accuracy


def test_timings_are_of_all_batch_sizes(result: DemoResult) -> None:
    assert [timing.batch for timing in result.cut.timings] == [1, 64, 1347]
    assert all(timing.before > 0 and timing.after > 0 for timing in result.cut.timings)
    assert result.cut.timings[-1].speedup > 1.0
