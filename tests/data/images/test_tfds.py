"""A real TFDS imagenet2012, prepared from archives with the real names, read without TensorFlow.

tests/golden/imagenet2012 was made by tools/make_tiny_imagenet.py.
"""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.faults import Corrupt
from perceiver_jax.data.images import prepare
from perceiver_jax.data.images.raw import ImageSet, RawImages
from perceiver_jax.data.images.tfds import TfdsConfig
from perceiver_jax.data.readers import read_one
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import ConfigError, DataError
from tests.golden_cases import GOLDEN

pytest.importorskip("tensorflow_datasets")

TINY = TfdsConfig(data_dir=str(GOLDEN))
# TFDS numbers ImageNet's classes in the order of their synsets.
SYNSETS = {281: "n02123045", 698: "n03877845", 812: "n04266014", 967: "n07920052", 985: "n11939491"}


def _copied(folder: Path) -> Path:
    shutil.copytree(GOLDEN / "imagenet2012", folder / "imagenet2012")
    return folder / "imagenet2012" / "5.1.0"


def test_the_train_split_has_all_images_with_their_classes() -> None:
    source = TINY.open("train", 3)
    assert isinstance(TINY, ImageSet) and isinstance(source, RawImages)
    assert len(source) == 20 and len(source.class_names) == 1000
    files = []
    for index in range(20):
        example = source[index]
        assert example["image"].mode == "RGB" and example["label"].dtype == np.int32
        label = int(example["label"])
        assert source.class_names[label] == SYNSETS[label]
        name = source.describe(index)
        assert f"train {index} ({SYNSETS[label]}_" in name and name.startswith(str(GOLDEN))
        files.append(name.split("(")[1])
    assert len(set(files)) == 20
    assert {source[i]["image"].size for i in range(20)} == {(84, 54), (79, 58), (74, 62), (69, 66)}


def test_the_validation_images_have_the_official_labels() -> None:
    source = TINY.open("test", 3)
    # Those of ILSVRC2012_val_00000001.JPEG to 8, published with ImageNet, in the order of synsets.
    expected = [65, 970, 230, 809, 516, 57, 334, 415]
    found = {}
    for index in range(len(source)):
        number = int(source.describe(index).split("ILSVRC2012_val_")[1][:8])
        found[number] = int(source[index]["label"])
    assert found == dict(enumerate(expected, 1))


def test_grey_where_one_channel_is_read() -> None:
    example = TINY.open("train", 1)[0]
    assert example["image"].mode == "L"
    rgb = TINY.open("train", 3)[0]["image"]
    np.testing.assert_array_equal(np.asarray(rgb.convert("L")), np.asarray(example["image"]))


def test_the_first_are_held_out_and_not_trained_on() -> None:
    whole = TINY.open("train", 3)
    config = TfdsConfig(data_dir=str(GOLDEN), hold_out=3)
    valid, train = config.open("valid", 3), config.open("train", 3)
    assert (len(valid), len(train)) == (3, 17)
    assert [valid.describe(i) for i in range(3)] == [whole.describe(i) for i in range(3)]
    assert [train.describe(i) for i in range(17)] == [whole.describe(i) for i in range(3, 20)]
    np.testing.assert_array_equal(np.asarray(train[0]["image"]), np.asarray(whole[3]["image"]))
    assert train[0]["label"] == whole[3]["label"]
    assert len(config.open("test", 3)) == 8
    for source, index in ((valid, 3), (valid, -1), (train, 17)):
        with pytest.raises(IndexError):
            source[index]


def test_it_can_be_pickled_before_and_after_it_was_read() -> None:
    source = TINY.open("train", 3)
    before = pickle.dumps(source)
    expected = np.asarray(source[5]["image"])
    after = pickle.dumps(source)
    assert len(before) == len(after) < 20_000
    for data in (before, after):
        np.testing.assert_array_equal(np.asarray(pickle.loads(data)[5]["image"]), expected)


def test_tensorflow_is_not_imported() -> None:
    program = (
        "import sys; from perceiver_jax.data.images.tfds import TfdsConfig; "
        f"source = TfdsConfig(data_dir={str(GOLDEN)!r}).open('train', 3); "
        "assert source[7]['image'].size; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_the_folder_is_found_as_tfds_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _copied(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(TfdsConfig(data_dir="~").open("train", 3)) == 20
    for name in ("imagenet2012:5.1.0", "imagenet2012:5.*.*"):
        assert len(TfdsConfig(name=name, data_dir="~").open("test", 3)) == 8


def test_a_damaged_image_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    source = TINY.open("train", 3)
    record = dict(source._record(4))
    record["image"] = record["image"][:200]
    monkeypatch.setattr(type(source), "_record", lambda self, index: record)
    with pytest.raises(CorruptExample, match=r"5.1.0, train 4 \(n\d+_\d+\.JPEG\): \S"):
        source[4]


def test_images_without_labels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    source = TINY.open("test", 3)
    record = dict(source._record(0), label=-1)  # As TFDS stores ImageNet's test images.
    monkeypatch.setattr(type(source), "_record", lambda self, index: record)
    with pytest.raises(DataError, match="has the label -1: the split 'validation' has no labels"):
        source[0]


def test_a_missing_set_comes_with_the_command_that_prepares_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        TfdsConfig(data_dir=str(tmp_path)).open("train", 3)
    assert f"'imagenet2012' is not in {tmp_path}. If it is elsewhere" in str(caught.value)
    assert (
        "\n    python -m perceiver_jax.data.images.prepare --manual_dir=FOLDER "
        f"--data_dir={tmp_path}\n" in str(caught.value)
    )
    with pytest.raises(DataError, match="prepare --name=cifar10 --data_dir="):
        TfdsConfig(name="cifar10", data_dir=str(tmp_path)).open("train", 3)
    with pytest.raises(DataError, match="is not in .* string no name failed"):
        TfdsConfig(name="no name", data_dir=str(tmp_path)).open("train", 3)


def test_another_format_is_refused(tmp_path: Path) -> None:
    info = _copied(tmp_path) / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(DataError) as caught:
        TfdsConfig(data_dir=str(tmp_path)).open("train", 3)
    assert "is stored as tfrecord, whose examples cannot be read in any order" in str(caught.value)
    assert f"--data_dir={tmp_path}\n" in str(caught.value)


def test_a_set_of_something_else_is_refused(tmp_path: Path) -> None:
    path = _copied(tmp_path) / "features.json"
    features = json.loads(path.read_text())
    inner = features["featuresDict"]["features"]
    inner["caption"] = inner.pop("label")
    path.write_text(json.dumps(features))
    with pytest.raises(DataError, match="its features are .*caption.*'label' with classes"):
        TfdsConfig(data_dir=str(tmp_path)).open("train", 3)


def test_nothing_else_of_an_example_is_decoded(tmp_path: Path) -> None:
    folder = _copied(tmp_path)
    path = folder / "features.json"
    features = json.loads(path.read_text())
    inner = features["featuresDict"]["features"]
    inner["segmentation"] = inner["image"]  # The records have none: to decode it is an error.
    path.write_text(json.dumps(features))
    changed, whole = (TfdsConfig(data_dir=str(each)) for each in (tmp_path, GOLDEN))
    source, expected = changed.open("train", 3), whole.open("train", 3)
    found = source[3]
    np.testing.assert_array_equal(np.asarray(found["image"]), np.asarray(expected[3]["image"]))
    assert found["label"] == expected[3]["label"]
    assert source.describe(3) == expected.describe(3).replace(str(GOLDEN), str(tmp_path))


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="data.images.name is empty"):
        TfdsConfig(name="")
    with pytest.raises(ConfigError, match="data.images.hold_out=-1 must be 0 or the number"):
        TfdsConfig(hold_out=-1)
    with pytest.raises(DataError, match="no split 'eval'; it has: train, valid, test"):
        TINY.open("eval", 3)
    with pytest.raises(DataError, match="holds no training images out.*hold_out=N"):
        TINY.open("valid", 3)
    with pytest.raises(
        DataError, match="hold_out=20 must leave some of the 20 training images of the TFDS set"
    ):
        TfdsConfig(data_dir=str(GOLDEN), hold_out=20).open("train", 3)
    with pytest.raises(DataError, match="no split 'real'; it has: train, validation.*test_split"):
        TfdsConfig(data_dir=str(GOLDEN), test_split="real").open("test", 3)
    with pytest.raises(ConfigError, match="channels=4"):
        TINY.open("train", 4)


def test_preparing_needs_the_archives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepare, "require", lambda *args, **kwargs: None)
    with pytest.raises(
        DataError, match=r"made of .*train.tar and .*val.tar, and .*train.tar is not"
    ):
        prepare.prepare("imagenet2012", str(tmp_path))
    (tmp_path / "ILSVRC2012_img_train.tar").touch()
    with pytest.raises(DataError, match=f"_val.tar is not in {tmp_path}. Get them from image-net"):
        prepare.prepare("imagenet2012:5.1.0", str(tmp_path / "data"), str(tmp_path))


def test_files_that_are_missing_or_cut_short_are_told_of_when_the_split_is_opened(
    tmp_path: Path,
) -> None:
    folder = _copied(tmp_path)
    config = TfdsConfig(data_dir=str(tmp_path))
    shard = folder / "imagenet2012-validation.array_record-00000-of-00001"
    whole = shard.read_bytes()
    for data, told in (
        (None, "is missing"),
        (b"", "is empty"),
        (whole[:65536], "is cut short, or no file of this set: 0 of 8 examples"),  # Whole blocks.
        (whole[:-100], "is cut short, or no file of this set: 0 of 8 examples"),
        (
            (folder / shard.name.replace("validation", "train")).read_bytes(),
            "is cut short, or no file of this set: 20 of 8 examples",
        ),
    ):
        shard.unlink(missing_ok=True)
        if data is not None:
            shard.write_bytes(data)
        assert len(config.open("train", 3)) == 20  # The other split is none the worse.
        with pytest.raises(DataError) as caught:
            config.open("test", 3)
        message = str(caught.value)
        assert f"is damaged, in the split 'validation': {shard} {told}" in message
        assert f"or take {folder} away, and prepare it anew" in message and "\n" not in message


def test_a_record_that_is_damaged_is_a_corrupt_example_and_the_others_are_read(
    tmp_path: Path,
) -> None:
    folder = _copied(tmp_path)
    shard = folder / "imagenet2012-train.array_record-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[20_000:20_010] = bytes(10)
    shard.write_bytes(data)
    source = TfdsConfig(data_dir=str(tmp_path)).open("train", 3)
    found = [read_one(source, index, "train") for index in range(20)]
    (corrupt,) = [each for each in found if isinstance(each, Corrupt)]
    assert f"{folder}, train {corrupt.index}: Corrupted" in corrupt.reason
    assert "\n" not in corrupt.reason


def test_a_set_that_goes_while_it_is_read_is_no_mistake_of_the_program(tmp_path: Path) -> None:
    folder = _copied(tmp_path)
    source = TfdsConfig(data_dir=str(tmp_path)).open("train", 3)
    source[0]
    source = pickle.loads(pickle.dumps(source))  # As a process that reads has it.
    (folder / "imagenet2012-train.array_record-00000-of-00001").unlink()
    with pytest.raises(DataError) as caught:
        read_one(source, 3, "train")
    assert not isinstance(caught.value, CorruptExample)
    assert str(caught.value).startswith(f"{folder}, train 3 cannot be read (open() failed")
    assert "Traceback" not in str(caught.value) and "prepare it anew" in str(caught.value)


def test_a_set_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    _copied(tmp_path)
    with pytest.raises(DataError, match=r"There is: imagenet2012; --config\.data\.images\.name n"):
        TfdsConfig(name="cifar10", data_dir=str(tmp_path)).open("train", 3)
