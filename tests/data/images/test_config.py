"""ImagesConfig: what is done to an image, in which order, with which errors."""

import dataclasses
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.config.tree import override
from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.crop import RandomCrop
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.images.randaugment import RandAugment
from perceiver_jax.data.images.resize import resize
from perceiver_jax.data.images.tfds import TfdsConfig
from perceiver_jax.data.shown import NamesClasses, ShowsPictures
from perceiver_jax.data.source import DataConfig, HasTrainingSource, Source, training_source
from perceiver_jax.errors import ConfigError, DataError
from tests.data.images.photos import encoded, photo, write_tree

MEAN = np.float32([123.675, 116.28, 103.53])
STDDEV = np.float32([58.395, 57.12, 57.375])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path, {"tabby": 3, "palace": 2})


def _config(root: Path | str = "", **fields: Any) -> ImagesConfig:
    return ImagesConfig(images=FolderConfig(path=str(root)), **{"size": (24, 20)} | fields)


def _raw(image: Image.Image) -> dict[str, Any]:
    return {"image": image, "label": np.int32(3)}


def test_protocols(tree: Path) -> None:
    config = _config(tree)
    for protocol in (DataConfig, HasTrainingSource, NamesClasses, ShowsPictures):
        assert isinstance(config, protocol)
    assert isinstance(config.make_source("train"), Source)
    assert config.class_names() == ("palace", "tabby")
    assert len(config.make_source("train")) == len(training_source(config)) == 5
    with pytest.raises(DataError, match="no split 'eval'"):
        config.make_source("eval")


def test_classes_have_names_where_there_is_no_folder_to_test_on(tree: Path) -> None:
    shutil.rmtree(tree / "val")
    images = FolderConfig(path=str(tree), hold_out=2)
    assert dataclasses.replace(_config(), images=images).class_names() == ("palace", "tabby")
    shutil.rmtree(tree / "train")
    with pytest.raises(DataError, match="train, does not exist"):
        _config(tree).class_names()


def test_every_split_can_be_evaluated(tree: Path) -> None:
    config = dataclasses.replace(_config(tree), images=FolderConfig(path=str(tree), hold_out=2))
    for split, count in (("train", 3), ("valid", 2), ("test", 4)):
        source = config.make_source(split)
        assert len(source) == count
        example = source[0]
        assert example["image"].shape == (24, 20, 3) and example["image"].dtype == np.float32
        assert example["label"].dtype == np.int32
        np.testing.assert_array_equal(source[0]["image"], example["image"])
        assert source.describe(0).endswith(".JPEG")


def test_evaluation_is_the_centre_resized_and_normalised() -> None:
    image = photo(0, 100, 60)
    config = _config(size=(24, 24))
    found = config.evaluated(_raw(image))
    # 0.875 of 60 is 52; 8 and 48 are left over.
    middle = np.asarray(image)[4:56, 24:76]
    expected = (resize(middle, (24, 24), "tensorflow") - MEAN) / STDDEV
    np.testing.assert_allclose(found["image"], expected, atol=1e-6)
    assert found["label"] == 3
    whole = _config(size=(30, 50), eval_crop=1.0).evaluated(_raw(image))
    expected = (resize(np.asarray(image), (30, 50), "tensorflow") - MEAN) / STDDEV
    np.testing.assert_allclose(whole["image"], expected, atol=1e-6)
    other = _config(size=(24, 24), resize="opencv").evaluated(_raw(image))
    assert 1e-3 < np.abs(other["image"] - found["image"]).max() < 1


def test_the_evaluation_that_predict_uses_is_the_same_with_opencvs_resizing() -> None:
    from perceiver_jax.infer import images

    image = photo(1, 90, 70)
    found = _config(size=(32, 32), resize="opencv").evaluated(_raw(image))["image"]
    expected = images.prepare(np.asarray(image), (32, 32))  # Rounded to 8 bits, as released.
    inside = (images.denormalize(found) > 0) & (images.denormalize(found) < 255)
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.51 / 57)


def test_the_order_of_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crop, flip, RandAugment on the 8-bit crop, resize, normalise: the released order."""
    seen: list[Image.Image] = []

    def noted(self: RandAugment, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        seen.append(image)
        return image.point(lambda value: value // 2)

    monkeypatch.setattr(RandAugment, "__call__", noted)
    image, config = photo(2, 90, 70), _config()
    flips = 0
    for seed in range(20):
        found = config.augment(_raw(image), np.random.default_rng(seed))
        left, top, right, bottom = RandomCrop().draw(90, 70, np.random.default_rng(seed))
        crop = np.asarray(image)[top:bottom, left:right]
        (before,) = seen
        flipped = not np.array_equal(np.asarray(before), crop)
        np.testing.assert_array_equal(np.asarray(before), crop[:, ::-1] if flipped else crop)
        expected = (resize(np.asarray(before) // 2, (24, 20), "tensorflow") - MEAN) / STDDEV
        np.testing.assert_allclose(found["image"], expected, atol=1e-6)
        assert found["label"] == 3
        flips += flipped
        seen.clear()
    assert 4 < flips < 16


def test_each_part_can_be_left_out() -> None:
    image = photo(0, 64, 64)
    plain = _config(size=(56, 56), crop=None, flip=False, randaugment=None)  # 0.875 * 64 = 56
    found = plain.augment(_raw(image), np.random.default_rng(0))["image"]
    np.testing.assert_array_equal(found, plain.evaluated(_raw(image))["image"])
    flipping = dataclasses.replace(plain, flip=True)
    flipped = [flipping.augment(_raw(image), np.random.default_rng(i))["image"] for i in range(40)]
    mirrored = sum(np.array_equal(each, found[:, ::-1]) for each in flipped)
    assert 8 < mirrored < 32
    assert mirrored + sum(np.array_equal(each, found) for each in flipped) == 40


def test_values_overshoot_and_are_not_clipped() -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255
    config = _config(size=(61, 61), eval_crop=1.0, mean=(0.0,) * 3, stddev=(1.0,) * 3)
    found = config.evaluated(_raw(Image.fromarray(stripes)))["image"]
    assert found.min() < -10 and found.max() > 265


def test_one_channel() -> None:
    grey = photo(0).convert("L")
    config = _config(channels=1, mean=(100.0,), stddev=(50.0,), crop=None, eval_crop=1.0,
                     size=(47, 47), flip=False, randaugment=None)  # fmt: skip
    found = config.evaluated(_raw(grey))["image"]
    assert found.shape == (47, 47, 1)
    np.testing.assert_allclose(found[..., 0], (np.asarray(grey)[:, 7:54] - 100.0) / 50.0, rtol=1e-6)
    augmented = dataclasses.replace(config, crop=RandomCrop(), flip=True, randaugment=RandAugment())
    for seed in range(30):
        found = augmented.augment(_raw(grey), np.random.default_rng(seed))["image"]
        assert found.shape == (47, 47, 1) and np.isfinite(found).all()


def test_a_function_of_the_generator() -> None:
    config, image = _config(), photo(0, 300, 200)
    found = [config.augment(_raw(image), np.random.default_rng(i))["image"] for i in (1, 1, 2, 3)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2]) and not np.array_equal(found[2], found[3])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (7, 7)])
def test_images_smaller_than_the_crop(size: tuple[int, int]) -> None:
    image = photo(0, 500, 400).resize(size)
    config = _config(size=(224, 224))
    for seed in range(5):
        found = config.augment(_raw(image), np.random.default_rng(seed))["image"]
        assert found.shape == (224, 224, 3) and np.isfinite(found).all()
    assert config.evaluated(_raw(image))["image"].shape == (224, 224, 3)


def test_pictures_show_what_the_model_sees() -> None:
    image = photo(1, 64, 64)
    config = _config(size=(56, 56))
    picture = config.picture(config.evaluated(_raw(image)))
    np.testing.assert_array_equal(picture, np.asarray(image)[4:60, 4:60])  # 0.875 * 64 = 56
    assert picture.dtype == np.uint8
    bright = {"image": np.full((2, 2, 3), 9.0, np.float32), "label": 0}
    assert (config.picture(bright) == 255).all()


def test_exif_is_a_field_of_the_images(tree: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tree / "val/palace/palace_0.JPEG"
    path.write_bytes(encoded(photo(4, 60, 40), exif=exif))
    stored = Image.open(io.BytesIO(path.read_bytes()))
    for turned, size in ((False, stored.size), (True, stored.size[::-1])):
        images = FolderConfig(path=str(tree), exif=turned)
        assert images.open("test", 3)[0]["image"].size == size


def test_it_can_be_pickled(tree: Path) -> None:
    config, source = pickle.loads(pickle.dumps((_config(tree), _config(tree).make_source("test"))))
    np.testing.assert_array_equal(source[1]["image"], config.make_source("test")[1]["image"])


def test_other_images_from_the_command_line(tree: Path) -> None:
    config = override(
        ImagesConfig(),
        {
            "images": "FolderConfig",
            "images.path": str(tree),
            "size": "8,9",
            "randaugment.operations": "Rotate,ShearX",
            "randaugment.num_layers": "2",
            "crop": "none",
        },
    )
    assert config.images == FolderConfig(path=str(tree))
    assert config.randaugment == RandAugment(num_layers=2, operations=("Rotate", "ShearX"))
    assert config.crop is None and config.make_source("test")[0]["image"].shape == (8, 9, 3)
    assert override(config, {"images": "TfdsConfig", "images.hold_out": "10000"}).images == (
        TfdsConfig(hold_out=10_000)
    )
    with pytest.raises(ConfigError, match="TfdsConfig has it: set config.images=tfds beside it"):
        override(config, {"images": "folder", "images.data_dir": "somewhere"})
    with pytest.raises(ConfigError, match="has 'Rotat', .* did you mean 'Rotate'"):
        override(config, {"randaugment.operations": "Rotat"})


def test_the_defaults_are_the_released_ones() -> None:
    config = ImagesConfig()
    assert config.images == TfdsConfig(name="imagenet2012") and config.size == (224, 224)
    assert config.resize == "tensorflow" and config.eval_crop == 224 / 256 and config.flip
    np.testing.assert_allclose(config.mean, MEAN, rtol=1e-6)
    np.testing.assert_allclose(config.stddev, STDDEV, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 2}, r"data.channels=2 must be 3 .* or 1"),
        ({"size": (0, 3)}, r"data.size=\(0, 3\) must be a height and a width"),
        ({"eval_crop": 0.0}, r"data.eval_crop=0.0 must lie in \(0, 1\]"),
        ({"eval_crop": 1.1}, "data.eval_crop=1.1"),
        ({"resize": "pillow"}, "data.resize='pillow' must be 'tensorflow' or 'opencv'"),
        ({"channels": 1}, r"data.mean=.* for each of the 1 channel\(s\)"),
        ({"stddev": (1.0, 2.0)}, "data.stddev=.* for each of the 3"),
        ({"stddev": (1.0, 0.0, 1.0)}, "data.stddev=.* must be above 0"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImagesConfig(**fields)
