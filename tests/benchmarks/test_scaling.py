"""Growth: the sizes, what happens after a failure, the table and the plots."""

import math
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import contenders, plots, scaling, scaling_table
from benchmarks.reference_worker import description
from benchmarks.rounds import Options
from benchmarks.rows import Row
from benchmarks.scaling_table import Point
from benchmarks.works import Description, Work
from perceiver_jax.errors import UserError

BOTH = [contenders.OURS, contenders.OTHERS["plain"]]


@pytest.mark.parametrize("name", list(scaling.AXES))
def test_the_smallest_size_of_an_axis_is_a_model_of_that_size(name: str) -> None:
    axis = scaling.AXES[name]
    size = axis.sizes[0]
    found = description(Work(axis.model, "forward", axis.batch(size), axis.changes(size)))
    shapes = {
        "inputs": math.prod(found.inputs["inputs"].shape[1:3]),
        "outputs": math.prod(found.targets["outputs"].shape[:-1]),
        "batch": found.inputs["inputs"].shape[0],
        "latents": found.config["encoder"]["num_latents"],
    }
    assert shapes[name] == size
    assert list(axis.sizes) == sorted(axis.sizes)


def test_pixels_are_squares() -> None:
    with pytest.raises(UserError, match="1000"):
        scaling.AXES["inputs"].changes(1000)


class FakeReference:
    """Describes without tracing."""

    def describe(self, work: Work) -> Description:
        return Description(work, 1.0, {}, {}, {}, {}, {})

    def matmul(self) -> float:
        return 1.0


def test_one_that_failed_is_not_tried_at_larger_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def measure(told: Description, chosen: Sequence[contenders.Contender], *rest: Any) -> list[Row]:
        work, found = told.work, []
        for each in chosen:
            tried.append((each.name, work.changes["encoder.num_latents"]))
            row = Row(work.model, work.mode, work.batch, each.name, run_s=1.0)
            if tried[-1] == ("plain", "256"):
                row = Row(work.model, work.mode, work.batch, each.name, error="too much")
            found.append(row)
        return found

    monkeypatch.setattr(scaling, "measure", measure)
    points: list[Point] = []
    scaling.grow(
        "latents", "train", [128, 256, 512], BOTH, {}, Options(), FakeReference(), points.append
    )
    assert [name for name, _ in tried] == ["ours", "plain", "ours", "plain", "ours"]
    assert [(p.size, p.row.contender, p.row.error) for p in points] == [
        (128, "ours", None),
        (128, "plain", None),
        (256, "ours", None),
        (256, "plain", "too much"),
        (512, "ours", None),
        (512, "plain", "not tried, because it failed at 256"),
    ]


def points_of(contender: str, seconds: Sequence[float | None]) -> list[Point]:
    rows = [
        Row("m", "train", 1, contender, run_s=s, peak_bytes=None if s is None else int(s * 1e9))
        for s in seconds
    ]
    return [Point("inputs", 1024 * 4**i, row) for i, row in enumerate(rows)]


POINTS = [*points_of("ours", [1.0, 2.0, 8.0]), *points_of("plain", [2.0, 16.0, None])]


def test_table_compares_with_the_size_before_and_with_plain() -> None:
    lines = [line.split() for line in scaling_table.render(POINTS).splitlines()]
    assert lines[2][-4:] == ["-", "-", "0.50", "0.50"]
    assert lines[3][-4:] == ["2.00", "2.00", "0.12", "0.12"]
    assert lines[4][-4:] == ["4.00", "4.00", "-", "-"]
    assert lines[6][-4:] == ["8.00", "8.00", "1.00", "1.00"]


def test_growth_is_drawn_on_logarithmic_scales(tmp_path: Path) -> None:
    path = tmp_path / "growth.svg"
    plots.write(path, plots.growth(POINTS))
    root = xml.etree.ElementTree.parse(path).getroot()
    lines = [
        [tuple(map(float, point.split(","))) for point in each.attrib["points"].split()]
        for each in root.iter("{http://www.w3.org/2000/svg}polyline")
    ]
    ours = next(line for line in lines if len(line) == 3)
    (x0, y0), (x1, y1), (x2, y2) = ours
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)  # Four times the size, both times.
    assert 2 * (y0 - y1) == pytest.approx(y1 - y2, abs=0.2)  # Twice as long, then four times.
    dots = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(dots) == 2 * 5


def test_nothing_measured_draws_no_lines() -> None:
    drawn = plots.growth(points_of("ours", [None]))
    assert "nothing was measured" in drawn and "polyline" not in drawn


def test_ratios_are_drawn_as_bars() -> None:
    rows = [
        Row("mlm", "train", 1, "ours", run_s=1.0, peak_bytes=10),
        Row("mlm", "train", 1, "plain", run_s=2.0, peak_bytes=40),
        Row("mlm", "train", 1, "huggingface", run_s=0.25, peak_bytes=None),
    ]
    root = xml.etree.ElementTree.fromstring(plots.ratio_bars(rows))
    bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    widths = [float(bar.attrib["width"]) for bar in bars]
    # 0.5 and 0.25 of plain; 4 times the peer, cut off.
    assert widths == pytest.approx([80.0, 40.0, 240.0])
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0.50", "0.25", "4.00", "mlm, train, batch 1: plain"} <= set(texts)
