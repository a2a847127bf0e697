"""The digits data set: its fixed split, and the shift."""

import builtins
from typing import Any

import numpy as np
import pytest

from perceiver_jax.data import digits
from perceiver_jax.errors import ConfigError, DataError, UserError


def test_the_split_is_fixed_and_stratified() -> None:
    train = digits.DigitsConfig().make_source("train")
    test = digits.DigitsConfig().make_source("test")
    assert (len(train), len(test)) == (1437, 360)
    # The package counts 178, 182, 177, 183, 181, 182, 181, 179, 174, 180 of the ten digits; a
    # stratified fifth has each rounded one way or the other.
    counts = np.bincount(test.labels)
    assert list(counts + np.bincount(train.labels)) == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # fmt: skip
    assert counts.min() >= 34 and counts.max() <= 37
    # No image is in both: all 1,797 are different.
    both = np.concatenate([train.images, test.images]).reshape(1797, -1)
    assert len(np.unique(both, axis=0)) == 1797
    # The rows that random_state=0 draws, of the data in the order of the package's file.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    _, rows = train_test_split(
        np.arange(1797), test_size=0.2, stratify=load_digits().target, random_state=0
    )
    np.testing.assert_array_equal(test.images[..., 0] * 8 + 8, load_digits().images[np.sort(rows)])


def test_examples() -> None:
    example = digits.DigitsConfig().make_source("train")[3]
    assert example["image"].shape == (8, 8, 1) and example["image"].dtype == np.float32
    images = digits.DigitsConfig().make_source("train").images
    assert (images.min(), images.max()) == (-1.0, 1.0)


def test_shift_moves_whole_pixels() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    np.testing.assert_array_equal(
        digits.shift(image, 1, -2, background=-1)[..., 0],
        [[-1, -1, -1, -1], [2, 3, -1, -1], [6, 7, -1, -1]],
    )
    np.testing.assert_array_equal(digits.shift(image, 0, 0), image)


def test_augmentation_draws_every_shift_alike() -> None:
    config = digits.DigitsConfig(max_shift=1)
    image = np.full((8, 8, 1), -1.0, np.float32)
    image[4, 4] = 1.0
    rng, seen = np.random.default_rng(0), np.zeros((8, 8))
    for _ in range(900):
        moved = config.augment({"image": image, "label": 3}, rng)
        assert moved["label"] == 3
        seen += moved["image"][..., 0] > 0
    assert seen[3:6, 3:6].min() > 60 and seen.sum() == seen[3:6, 3:6].sum() == 900
    assert image[4, 4] == 1.0 and image.sum() == -62  # the source is left as it was
    assert digits.DigitsConfig().augment({"image": image}, rng)["image"] is image


def test_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no split 'valid'; it has: train, test"):
        digits.DigitsConfig().make_source("valid")
    with pytest.raises(ConfigError, match="max_shift=-1"):
        digits.DigitsConfig(max_shift=-1)
    real = builtins.__import__

    def without_sklearn(name: str, *rest: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError("No module named 'sklearn'")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_sklearn)
    monkeypatch.delitem(__import__("sys").modules, "sklearn", raising=False)
    monkeypatch.setattr("importlib.import_module", without_sklearn)
    digits._load.cache_clear()
    with pytest.raises(UserError, match="-m pip install scikit-learn"):
        digits.DigitsConfig().make_source("train")
    digits._load.cache_clear()


def test_some_digits_and_some_images_of_each() -> None:
    whole = digits.DigitsConfig().make_source("train")
    config = digits.DigitsConfig(digits=(7, 2), train_images_per_digit=3)
    source = config.make_source("train")
    # Labels count from 0 in the order that was asked for; images come as in the file.
    rows = np.sort(np.concatenate([np.flatnonzero(whole.labels == digit)[:3] for digit in (7, 2)]))
    np.testing.assert_array_equal(source.images, whole.images[rows])
    np.testing.assert_array_equal(source.labels, [{7: 0, 2: 1}[x] for x in whole.labels[rows]])
    assert source.labels.dtype == whole.labels.dtype
    # All of their test images count.
    tested = digits.DigitsConfig().make_source("test").labels
    assert list(np.bincount(config.make_source("test").labels)) == [
        (tested == 7).sum(), (tested == 2).sum()]  # fmt: skip
    for wrong in ((), (1, 1), (3, 10), (-1,)):
        with pytest.raises(ConfigError, match="must be different digits from 0 to 9"):
            digits.DigitsConfig(digits=wrong)
    with pytest.raises(ConfigError, match="train_images_per_digit=0 must be at least 1"):
        digits.DigitsConfig(train_images_per_digit=0)


def test_what_a_report_is_told():
    from sklearn.datasets import load_digits

    config = digits.DigitsConfig()
    assert config.class_names() == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    source = config.make_source("train")
    raw = load_digits().images  # 0 to 16
    picture = config.picture(source[0])
    assert picture.shape == (8, 8, 1) and picture.dtype == np.uint8
    expected = np.rint(raw * 255 / 16)
    assert any(np.abs(picture[..., 0] - each).max() <= 1 for each in expected)
    assert max(config.picture(source[index]).max() for index in range(9)) == 255
