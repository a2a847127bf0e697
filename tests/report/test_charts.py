"""Charts: where lines, ticks and dots come to lie."""

import numpy as np
import pytest

from perceiver_jax.report.charts import Series, chart, nice_ticks, thinned
from perceiver_jax.report.numbers import compact, plain
from tests.report.runs import Element, parse


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0, 600, 5, [0, 200, 400, 600]),
        (0, 0.003, 5, [0, 0.001, 0.002, 0.003]),
        (0.13, 0.94, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3, 11, 4, [-5, 0, 5, 10, 15]),
        (7, 7, 3, [5, 10, 15]),
    ],
)
def test_ticks_are_round_and_span_the_values(
    low: float, high: float, count: int, ticks: list[float]
) -> None:
    assert nice_ticks(low, high, count) == ticks


def _points(figure: Element) -> list[list[tuple[float, float]]]:
    lines = [each.attributes["points"].split() for each in figure.all("polyline")]
    return [[tuple(map(float, point.split(","))) for point in line] for line in lines]  # type: ignore


def test_a_line_lies_where_its_values_are() -> None:
    steps = np.array([0, 50, 200])
    page = parse(chart("loss", [Series("a", steps, np.array([0.0, 1.0, 4.0]), 3)]))
    # 200 steps across 1000 units; the axis goes from 0 to 4, upwards.
    assert _points(page) == [[(0, 1000), (250, 750), (1000, 0)]]
    assert [each.attributes["class"] for each in page.all("polyline")] == ["c3"]
    (values,) = page.all("div", "values")
    shown = {each.text(): each.attributes["style"] for each in values.all("span")}
    assert shown == {str(n): f"bottom:{25 * n:.2f}%" for n in range(5)}
    (below,) = page.all("div", "steps")
    assert [each.text() for each in below.all("span")] == ["0", "50", "100", "150", "200"]


def test_a_logarithmic_axis() -> None:
    values = np.array([0.01, 0.1, 1.0])
    (line,) = _points(parse(chart("loss", [Series("", np.arange(3), values)], log=True)))
    ys = [y for _, y in line]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
    # What is not above 0 has no logarithm: the axis becomes a plain one.
    (line,) = _points(parse(chart("loss", [Series("", np.arange(3), values - 0.01)], log=True)))
    assert line[1] == (500, pytest.approx(1000 - 90))


def test_a_narrow_logarithmic_axis_has_round_numbers_too() -> None:
    values = np.array([2.39, 2.32])
    page = parse(chart("loss", [Series("", np.arange(2), values)], log=True))
    ticks = [float(each.text()) for each in page.all("div", "values")[0].all("span")]
    assert len(ticks) >= 2 and all(2.2 < tick < 2.5 for tick in ticks)


def test_what_is_not_finite_is_left_out() -> None:
    values = np.array([1.0, np.nan, 2.0, np.inf])
    (line,) = _points(parse(chart("loss", [Series("", np.arange(4), values)])))
    assert [x for x, _ in line] == [0, 1000]
    page = parse(chart("loss", [Series("", np.arange(2), np.full(2, np.nan))]))
    assert not page.all("svg") and "nothing was logged yet" in page.text()


def test_a_single_value_is_a_dot_and_evaluations_are_named() -> None:
    page = parse(chart("loss", [Series("test", np.array([7]), np.array([0.5]), 1, "dots")]))
    assert not page.all("polyline")
    (dot,) = page.all("path", "dot")
    assert dot.all("title")[0].text() == "test, step 7: 0.5"


def test_the_legend_names_what_has_a_name() -> None:
    series = [Series(name, np.arange(2), np.arange(2), i) for i, name in enumerate(("a", "", "b"))]
    (legend,) = parse(chart("loss", series)).all("span", "legend")
    assert [each.text() for each in legend.all("span", "key")] == ["a", "b"]
    assert not parse(chart("loss", series[:2])).all("span", "legend")
    assert not parse(chart("loss", series, with_legend=False)).all("span", "legend")


def test_long_lines_keep_their_spikes() -> None:
    values = np.zeros(100_000)
    values[12_345], values[77_777] = 9.0, -9.0
    steps, kept = thinned(np.arange(100_000), values, 600)
    assert len(kept) <= 600
    assert {12_345, 77_777} <= set(steps) and {9.0, -9.0} <= set(kept)
    assert list(steps) == sorted(steps)
    np.testing.assert_array_equal(thinned(np.arange(5), values[:5], 600)[0], np.arange(5))


def test_numbers() -> None:
    found = [compact(each) for each in (0, 0.003, 1200, 20_000, 1.5e6, 2e-5, -0.5)]
    assert found == ["0", "0.003", "1200", "20k", "1.5M", "2e-5", "-0.5"]
    assert [plain(each) for each in (71792, 0.35249, 12345.6, "–", float("nan"))] == [
        "71,792", "0.3525", "12,346", "–", "nan"
    ]  # fmt: skip
