"""Crops: inside the image, of the sizes and with the frequencies that the definition gives."""

from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from perceiver_jax.data.images.crop import RandomCrop, central_box
from perceiver_jax.errors import ConfigError
from tests.golden_cases import GOLDEN


def _boxes(count: int, width: int, height: int, **fields: object) -> np.ndarray:  # [count, 4]
    crop, rng = RandomCrop(**fields), np.random.default_rng(0)  # type: ignore[arg-type]
    return np.array([crop.draw(width, height, rng) for _ in range(count)])


def test_area_and_aspect_stay_in_range() -> None:
    width, height = 500, 375
    left, top, right, bottom = _boxes(4000, width, height).T
    columns, rows = right - left, bottom - top
    area = columns * rows / (width * height)
    # A tenth must be covered (`min_covered`), so that the least area of 0.08 is never seen.
    assert 0.1 <= area.min() < 0.105 and 0.97 < area.max() <= 1
    # The aspect is drawn before the width is rounded: half a pixel of a row's width either way.
    assert ((columns + 0.5) / rows >= 3 / 4).all() and ((columns - 0.5) / rows <= 4 / 3).all()
    assert columns.min() / rows[columns.argmin()] > 0.7
    # Aspects are uniform, though not quite: flat boxes that are too small are drawn again.
    quarters = np.histogram(columns / rows, np.linspace(3 / 4, 4 / 3, 5))[0] / 4000
    np.testing.assert_allclose(quarters, 0.25, atol=0.03)


def test_heights_are_uniform_whole_numbers() -> None:
    # A square of aspect 1: heights from sqrt(0.25 * 1600) = 20 to 40 are equally likely, 1/21 each.
    boxes = _boxes(21_000, 40, 40, area=(0.25, 1.0), aspect=(1.0, 1.0))
    heights = Counter((boxes[:, 3] - boxes[:, 1]).tolist())
    assert sorted(heights) == list(range(20, 41))
    assert all(abs(count - 1000) < 5 * 31 for count in heights.values())  # 5 deviations
    np.testing.assert_array_equal(boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0])


def test_the_area_is_not_uniform() -> None:
    # Of uniform heights h in 20..40 the mean area is E[h^2] / 1600 = 0.5854, not 0.625.
    boxes = _boxes(20_000, 40, 40, area=(0.25, 1.0), aspect=(1.0, 1.0))
    area = (boxes[:, 3] - boxes[:, 1]) ** 2 / 1600
    expected = np.mean(np.arange(20, 41) ** 2) / 1600
    np.testing.assert_allclose(area.mean(), expected, atol=4 * area.std() / np.sqrt(20_000))


def test_places_are_uniform_and_leave_out_the_last() -> None:
    # As in the released pipeline: 5 columns to spare give the places 0 to 4.
    boxes = _boxes(5_000, 25, 20, area=(0.79, 0.81), aspect=(1.0, 1.0))
    assert (boxes[:, 1] == 0).all()
    lefts = Counter(boxes[:, 0].tolist())
    assert sorted(lefts) == [0, 1, 2, 3, 4]
    assert all(abs(count - 1000) < 5 * 29 for count in lefts.values())


def test_a_box_that_covers_too_little_is_drawn_again() -> None:
    without = _boxes(3000, 100, 100, min_covered=0.0)
    area = (without[:, 2] - without[:, 0]) * (without[:, 3] - without[:, 1]) / 1e4
    assert 0.08 <= area.min() < 0.1
    boxes = _boxes(3000, 100, 100, min_covered=0.6)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 1e4
    assert area.min() >= 0.6


@hypothesis.given(
    width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 2**32 - 1)
)
@hypothesis.settings(max_examples=300)
def test_never_outside(width: int, height: int, seed: int) -> None:
    left, top, right, bottom = RandomCrop().draw(width, height, np.random.default_rng(seed))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    for keep in (0.875, 1.0, 0.01):
        left, top, right, bottom = central_box(width, height, keep)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert right - left == bottom - top == max(1, int(keep * min(width, height)))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_images(width: int, height: int) -> None:
    boxes = {tuple(box) for box in _boxes(200, width, height).tolist()}
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if max(width, height) > 100 or width == height == 1:
        # No box of a twelfth of 1 x 500 has an aspect between 3/4 and 4/3: all of it is taken.
        assert boxes == {(0, 0, width, height)}


def test_the_central_crop_by_hand() -> None:
    # 0.875 * 100 = 87.5 -> 87; what is left over, odd, is one larger before than after it.
    assert central_box(150, 100) == (32, 7, 119, 94)
    assert central_box(256, 256) == (16, 16, 240, 240)
    assert central_box(100, 50, 1.0) == (25, 0, 75, 50)
    # Half as high as wide: the largest such part of 100 x 100 is 50 high.
    assert central_box(100, 100, 1.0, (1, 2)) == (0, 25, 100, 75)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"area": (0.0, 1.0)}, r"^crop.area=\(0.0, 1.0\) must be .* 0 < least"),
        ({"area": (0.5, 0.4)}, "^crop.area"),
        ({"area": (0.5, 1.1)}, "^crop.area"),
        ({"aspect": (0.0, 1.0)}, "^crop.aspect"),
        ({"aspect": (2.0, 1.0)}, "^crop.aspect=.* ratios of width to height"),
        ({"min_covered": 1.5}, "^crop.min_covered=1.5"),
        ({"area": (0.1, 0.2), "min_covered": 0.3}, "no crop could be larger"),
        ({"attempts": 0}, "^crop.attempts=0 must be at least 1"),
    ],
)
def test_mistakes(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RandomCrop(**fields)  # type: ignore[arg-type]


def test_as_tensorflow() -> None:
    # 40,000 crops of 60 x 40 by TensorFlow 2.21's tf.image.sample_distorted_bounding_box(
    # [40, 60, 3], [[[0, 0, 1, 1]]], min_object_covered=0.1, aspect_ratio_range=(3/4, 4/3),
    # area_range=(0.08, 1), max_attempts=10), counted by height and width, top, and left.
    boxes = _boxes(40_000, 60, 40)
    sizes = np.zeros((41, 61))
    np.add.at(sizes, (boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]), 1)
    found = {
        "sizes": sizes,
        "tops": np.bincount(boxes[:, 1], minlength=40),
        "lefts": np.bincount(boxes[:, 0], minlength=60),
    }
    with np.load(GOLDEN / "crops_tensorflow.npz") as file:
        assert sorted(file.files) == sorted(found)
        for name, counts in found.items():
            expected = file[name].astype(float)
            assert expected.sum() == counts.sum() == 40_000
            often = expected + counts > 20
            # Two samples of one distribution: chi squared is about the number of bins.
            squares = (expected - counts)[often] ** 2 / (expected + counts)[often]
            assert squares.sum() < often.sum() + 4 * np.sqrt(2 * often.sum())
            assert squares.max() < 16
