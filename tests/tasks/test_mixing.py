"""MixUp and CutMix against images, boxes and moments worked out by hand."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks import ClassificationConfig, MixConfig, MultilabelConfig
from perceiver_jax.tasks.base import reads, training_batch
from perceiver_jax.tasks.mixing import Draws, mix_images

pytestmark = pytest.mark.usefixtures("quick_compilation")

MANY = 20_000
TASK = ClassificationConfig(num_classes=97, mixing=MixConfig())


def _draws(**changes: Any) -> Draws:
    """Of one pair: a box of a quarter of the area in the middle, and a ratio of 0.25."""
    values = {
        "is_cutmix": [True], "mixup_ratio": [0.25], "area": [0.25], "centre": [[0.5, 0.5]],
    } | changes  # fmt: skip
    return Draws(**{name: jnp.asarray(value) for name, value in values.items()})


def _images(number: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (number, *shape))
    return values.astype(dtype)


@pytest.fixture(scope="module")
def many() -> Draws:
    return Draws.of(MixConfig(), jax.random.key(3), MANY)


def test_mixup_by_hand() -> None:
    images = np.array([[[[4.0], [8.0]]], [[[0.0], [-8.0]]]], np.float32)  # 1 x 2 pixels each
    found = mix_images(images, _draws(is_cutmix=[False]))
    np.testing.assert_array_equal(found, [[[[1.0], [-4.0]]]])  # a quarter of a
    assert float(_draws(is_cutmix=[False]).ratio(1, 2)[0]) == 0.25


def test_cutmix_by_hand() -> None:
    a, b = np.zeros((4, 8, 1)), np.ones((4, 8, 1))
    found = mix_images(np.stack([a, b]).astype(np.float32), _draws())
    # Sides of a half: 2 x 4 pixels in the middle are b's.
    expected = np.zeros((4, 8))
    expected[1:3, 2:6] = 1
    np.testing.assert_array_equal(found[0, :, :, 0], expected)
    np.testing.assert_array_equal(_draws().mask(4, 8)[0], expected == 0)
    assert float(_draws().ratio(4, 8)[0]) == 0.75


@pytest.mark.parametrize(
    ("centre", "area", "rows", "columns"),
    [
        ((0.0, 0.0), 0.25, (0, 2), (0, 1)),  # the upper left corner: a quarter of the box is left
        ((0.999, 0.5), 0.25, (6, 8), (1, 3)),  # over the lower border
        ((0.5, 0.999), 0.25, (2, 6), (3, 4)),  # over the right one
        ((0.5, 0.5), 0.999, (0, 8), (0, 4)),  # all of it
        ((0.5, 0.5), 0.0, (4, 4), (2, 2)),  # nothing
        ((0.3, 0.7), 0.04, (2, 3), (2, 3)),  # 1.6 x 0.8 pixels around (2.4, 2.8)
    ],
)
def test_boxes_at_borders(
    centre: tuple[float, float], area: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    draws = _draws(centre=[centre], area=[area])
    first, past = draws.box(8, 4)
    assert (int(first[0, 0]), int(past[0, 0])) == rows
    assert (int(first[0, 1]), int(past[0, 1])) == columns
    pixels = (rows[1] - rows[0]) * (columns[1] - columns[0])
    assert float(draws.ratio(8, 4)[0]) == np.float32((32 - pixels) / 32)
    assert int((~draws.mask(8, 4)).sum()) == pixels


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (224, 224), (211, 97), (1, 13)])
def test_the_ratio_is_the_mean_of_the_mask_exactly(size: tuple[int, int]) -> None:
    draws = Draws.of(MixConfig(kinds=("cutmix",)), jax.random.key(1), 211)
    mask = np.asarray(draws.mask(*size))
    kept = mask.sum(axis=(1, 2))
    assert len(set(kept)) > 2  # several boxes
    for ratio in (draws.ratio(*size), jax.jit(lambda draws: draws.ratio(*size))(draws)):
        np.testing.assert_array_equal(ratio, np.float32(kept / np.float32(mask[0].size)))


def test_of_drawn_pairs_every_image_is_its_formula() -> None:
    draws = Draws.of(MixConfig(), jax.random.key(5), 6)
    images = _images(12, 5, 7, 3)
    found = np.asarray(jax.jit(mix_images)(images, draws))
    ratio, mask = np.asarray(draws.ratio(5, 7)), np.asarray(draws.mask(5, 7))
    for pair in range(6):
        a, b = images[2 * pair], images[2 * pair + 1]
        if pair % 2:
            np.testing.assert_array_equal(found[pair], np.where(mask[pair][..., None], a, b))
        else:
            expected = ratio[pair] * a + (1 - ratio[pair]) * b
            np.testing.assert_allclose(found[pair], expected, rtol=1e-6)


def test_the_ratio_of_mixup_is_beta_distributed(many: Draws) -> None:
    ratio = np.asarray(many.mixup_ratio, np.float64)
    assert ratio.min() >= 0 and ratio.max() <= 1
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)), fourth central moment
    # 3 / (16 (2a + 1) (2a + 3)); more than half of it lies near 0 and 1 for a = 0.2.
    assert ratio.mean() == pytest.approx(0.5, abs=0.012)
    assert ratio.var() == pytest.approx(1 / (4 * 1.4), abs=0.003)
    assert ((ratio - 0.5) ** 4).mean() == pytest.approx(3 / (16 * 1.4 * 3.4), abs=0.001)
    flat = Draws.of(MixConfig(mixup_alpha=1.0), jax.random.key(3), MANY).mixup_ratio
    assert np.var(flat) == pytest.approx(1 / 12, abs=0.002)


def test_area_and_centre_of_boxes_are_uniform(many: Draws) -> None:
    for values in (many.area, many.centre[:, 0], many.centre[:, 1]):
        ordered = np.sort(np.asarray(values))
        # Kolmogorov and Smirnov: once in a thousand it is more than 1.95 / sqrt(n).
        furthest = np.abs(ordered - (np.arange(MANY) + 0.5) / MANY).max()
        assert furthest < 1.95 / MANY**0.5
    together = np.corrcoef(np.stack([many.mixup_ratio, many.area, *many.centre.T]))
    assert np.abs(together - np.eye(4)).max() < 0.03  # drawn independently of each other


def test_what_the_border_leaves_of_boxes() -> None:
    """Of a side s, its centre uniform, s - s^2/4 is left: with s^2 uniform, 0.3208 of an image."""
    draws = Draws.of(MixConfig(kinds=("cutmix",)), jax.random.key(3), MANY)
    ratio = np.asarray(draws.ratio(224, 160), np.float64)
    assert ratio.mean() == pytest.approx(1 - (1 / 2 - 1 / 5 + 1 / 48), abs=0.006)
    assert (ratio >= 1 - np.asarray(draws.area) - 0.02).all()  # 0.02: whole pixels


def test_pairs_take_turns(many: Draws) -> None:
    np.testing.assert_array_equal(many.is_cutmix, np.arange(MANY) % 2 == 1)
    key = jax.random.key(0)
    for kinds, expected in {
        ("cutmix", "mixup"): [True, False, True],
        ("mixup",): [False, False, False],
        ("cutmix",): [True, True, True],
    }.items():
        assert Draws.of(MixConfig(kinds=kinds), key, 3).is_cutmix.tolist() == expected


def test_draws_are_a_function_of_key_and_pair() -> None:
    few, more = (Draws.of(MixConfig(), jax.random.key(8), size) for size in (5, 211))
    for field in dataclasses.fields(Draws):
        values = getattr(more, field.name)
        np.testing.assert_array_equal(getattr(few, field.name), values[:5])
    other = Draws.of(MixConfig(), jax.random.key(9), 5)
    assert not np.isclose(few.area, other.area).any()
    assert len(set(np.asarray(more.area).tolist())) > 205


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", "float32"), ("int16", "float32"), ("float32", "float32"),
        ("float16", "float16"), ("bfloat16", "bfloat16"),
    ],
)  # fmt: skip
def test_types(dtype: str, expected: str) -> None:
    draws = Draws.of(MixConfig(), jax.random.key(5), 3)
    images = _images(6, 5, 7, 1)
    found = mix_images(jnp.asarray(images, dtype), draws)
    assert found.dtype == expected and found.shape == (3, 5, 7, 1)
    exact = np.asarray(mix_images(images, draws))
    # Eight bits of a bfloat16 for numbers up to 255.
    tolerance = {"float32": 1e-4, "float16": 0.1, "bfloat16": 1.0}[expected]
    np.testing.assert_allclose(np.asarray(found, np.float32), exact, atol=tolerance)


def test_what_is_not_shown_may_be_infinite() -> None:
    images = np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), np.inf)]).astype(np.float32)
    found = mix_images(images, _draws())
    assert int(np.isinf(found).sum()) == 16 and not np.isnan(found).any()


def test_a_batch_of_the_task() -> None:
    images, labels = _images(12, 5, 7, 1), np.arange(12, dtype=np.int32)
    key = jax.random.key(2)
    batch = {"image": images, "label": labels, "path": np.arange(12)}
    found = TASK.training_batch(batch, key)
    assert set(found) == {"image", "label", "mixed_label", "ratio"}
    assert found["label"].tolist() == [0, 2, 4, 6, 8, 10]
    assert found["mixed_label"].tolist() == [1, 3, 5, 7, 9, 11]
    draws = Draws.of(MixConfig(), key, 6)
    np.testing.assert_array_equal(found["ratio"], draws.ratio(5, 7))
    np.testing.assert_array_equal(found["image"], mix_images(images, draws))
    # One that counts for nothing spoils its neighbour's.
    mask = np.array([1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1], np.float32)
    assert TASK.training_batch({**batch, "mask": mask}, key)["mask"].tolist() == [1, 0, 0, 1, 0, 1]
    renamed = dataclasses.replace(TASK, input_key="pixels", label_key="class")
    found = renamed.training_batch({"pixels": images, "class": labels}, key)
    assert set(found) == {"pixels", "class", "mixed_label", "ratio"}


def test_without_mixing_batches_stay_as_they_are() -> None:
    plain = ClassificationConfig(num_classes=97)
    other = MultilabelConfig(num_classes=97)  # knows nothing of it
    batch = {"image": np.zeros((3, 5, 7, 1)), "label": np.zeros(3, np.int32)}
    for task in (plain, other):
        assert reads(task) == 1 and training_batch(task, batch, jax.random.key(0)) is batch
    assert reads(TASK) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ()}, r"mixing.kinds=\(\) must be mixup, cutmix, or both.*task.mixing is none"),
        ({"kinds": ("cutout",)}, r"kinds=\('cutout',\) must be mixup, cutmix, or both"),
        ({"kinds": ("mixup", "mixup")}, "names one of them twice"),
        ({"mixup_alpha": 0.0}, "mixup_alpha=0.0 must be a number above 0.*kinds=cutmix"),
        ({"mixup_alpha": float("nan")}, "mixup_alpha=nan must be"),
        ({"mixup_alpha": float("inf")}, "mixup_alpha=inf must be"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixConfig(**changes)


def test_what_cannot_be_mixed_is_named() -> None:
    labels, key = np.zeros(4, np.int32), jax.random.key(0)
    with pytest.raises(ConfigError, match=r"'image' of an example is \(5,\) and 'label' \(\)"):
        TASK.training_batch({"image": np.zeros((4, 5)), "label": labels}, key)
    with pytest.raises(ConfigError, match=r"\{'audio': \(9, 2\)\}.*task.mixing=none"):
        TASK.training_batch({"image": {"audio": np.zeros((4, 9, 2))}, "label": labels}, key)
    with pytest.raises(ConfigError, match="no 'label'"):
        TASK.training_batch({"image": np.zeros((4, 5, 7, 1))}, key)
    with pytest.raises(ConfigError, match=r"'label' \(97,\)"):
        images = np.zeros((4, 5, 7, 1))
        TASK.training_batch({"image": images, "label": np.zeros((4, 97))}, key)
