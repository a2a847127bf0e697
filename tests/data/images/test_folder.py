"""Image folders: what is in which split, with which label; and each thing that can be wrong."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.images.raw import ImageSet, RawImages
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import ConfigError, DataError
from tests.data.images.photos import encoded, photo, write_tree

COUNTS = {"n02": 5, "n01": 3, "n10": 7}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "images", COUNTS)


def _open(root: Path, split: str = "train", channels: int = 3, **fields: object):  # type: ignore[no-untyped-def]
    return FolderConfig(path=str(root), **fields).open(split, channels)  # type: ignore[arg-type]


def _paths(source: RawImages) -> list[str]:
    return [source.describe(index) for index in range(len(source))]


def test_labels_are_the_sorted_folders(tree: Path) -> None:
    source = _open(tree)
    assert isinstance(FolderConfig(), ImageSet) and isinstance(source, RawImages)
    assert source.class_names == ("n01", "n02", "n10")
    assert [int(source[i]["label"]) for i in range(15)] == [0] * 3 + [1] * 5 + [2] * 7
    assert _paths(source) == sorted(str(path) for path in tree.glob("train/*/*"))
    assert source[0]["label"].dtype == np.int32
    test = _open(tree, "test")
    assert [int(test[i]["label"]) for i in range(6)] == [0, 0, 1, 1, 2, 2]
    assert all("/val/" in path for path in _paths(test))


def test_images_are_decoded(tree: Path) -> None:
    source = _open(tree, channels=1)
    for index in range(len(source)):
        assert source[index]["image"].mode == "L"
    data = encoded(photo(99, 50, 40), "PNG")
    (tree / "train/n01/n01_0.JPEG").write_bytes(data)  # a PNG named .JPEG
    np.testing.assert_array_equal(
        np.asarray(_open(tree)[0]["image"]), np.asarray(photo(99, 50, 40))
    )
    with pytest.raises(IndexError):
        source[15]
    with pytest.raises(IndexError):
        source[-1]


def test_damaged_files_are_named(tree: Path) -> None:
    path = tree / "train/n02/n02_3.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    source = _open(tree)
    with pytest.raises(CorruptExample, match=rf"^{path}: \S"):
        source[3 + 3]
    path.unlink()
    with pytest.raises(FileNotFoundError):  # No damage: the folder has changed since.
        source[6]


@pytest.mark.parametrize("name", ["validation", "test"])
def test_other_names_of_the_folder_to_test_on(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path, COUNTS, test_folder=name)
    assert all(f"/{name}/" in path for path in _paths(_open(tmp_path, "test")))


def test_val_comes_before_test_and_any_can_be_named(tree: Path) -> None:
    shutil.copytree(tree / "val", tree / "test")
    shutil.copytree(tree / "val", tree / "val_v2")
    assert "/val/" in _open(tree, "test").describe(0)
    assert "/val_v2/" in _open(tree, "test", test_folder="val_v2").describe(0)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n10\nn02\nn01\n", ("n10", "n02", "n01")),
        ("n10 tench\n\nn02 gold, fish\n  n01\n", ("tench", "gold, fish", "n01")),
        ('{"n01": 2, "n02": 1, "n10": 0}', ("n10", "n02", "n01")),
    ],
)  # fmt: skip
def test_a_label_file_gives_the_order(tree: Path, text: str, names: tuple[str, ...]) -> None:
    file = tree / "labels"
    file.write_text(text)
    source = _open(tree, label_file=str(file))
    assert source.class_names == names
    assert [int(source[i]["label"]) for i in range(15)] == [0] * 7 + [1] * 5 + [2] * 3
    assert "/n10/" in source.describe(0) and "/n01/" in source.describe(14)
    # With a label file, a model can be evaluated where the training images are not.
    shutil.rmtree(tree / "train")
    assert [int(_open(tree, "test", label_file=str(file))[i]["label"]) for i in (0, 5)] == [0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels is empty; it should have a line for each class"),
        ("n01\nn02\nn01\n", "labels, line 3: the class 'n01' comes a second time"),
        ('{"n01": 0, "n02": 1', "is no valid JSON"),
        ("[1, 2]", "must be an object .* it is a list"),
        ("{}", "it is empty"),
        ('{"n01": 0, "n02": "1", "n10": 2}', "'n02' has '1'"),
        ('{"n01": 1, "n02": 2, "n10": 3}', r"each label from 0 to 2 once; .* \[1, 2, 3\]"),
        ('{"n01": 0, "n02": 0, "n10": 1}', r"\[0, 0, 1\]"),
        ("n01\nn02\n", r"train has 1 class folder that .*labels has not: n10\. Take"),
        ("n01\nn02\nn10\nn11\n", r"train has no folder for 1 class of .*labels: n11\."),
    ],
)
def test_label_files_that_do_not_fit(tree: Path, text: str, message: str) -> None:
    (tree / "labels").write_text(text)
    with pytest.raises(DataError, match=message):
        _open(tree, label_file=str(tree / "labels"))


def test_a_missing_label_file(tree: Path) -> None:
    with pytest.raises(DataError, match="label_file=.*nothing cannot be read: .*without one"):
        _open(tree, label_file=str(tree / "nothing"))


def test_some_are_held_out_of_all_classes(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {f"c{i}": 20 for i in range(5)})
    train, valid = (_open(root, split, hold_out=25) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (75, 25)
    assert not set(_paths(train)) & set(_paths(valid))
    assert sorted(_paths(train) + _paths(valid)) == _paths(_open(root))
    labels = np.bincount([valid[i]["label"] for i in range(25)], minlength=5)
    assert labels.min() >= 1  # In the order of the folders, they would all be of two classes.
    assert _paths(_open(root, "valid", hold_out=25)) == _paths(valid)
    # More are those and others, and a file more does not change who else is held out.
    assert set(_paths(valid)) < set(_paths(_open(root, "valid", hold_out=30)))
    shutil.copy(root / "train/c0/c0_0.JPEG", root / "train/c0/a.JPEG")
    assert len(set(_paths(_open(root, "valid", hold_out=25))) & set(_paths(valid))) >= 24
    assert len(_open(root, "test", hold_out=25)) == 10


def test_who_is_held_out_never_changes(tree: Path) -> None:
    names = [Path(path).name for path in _paths(_open(tree, "valid", hold_out=4))]
    assert names == ["n02_3.JPEG", "n02_4.JPEG", "n10_0.JPEG", "n10_1.JPEG"]


def test_it_can_be_pickled_and_is_small(tree: Path) -> None:
    source = _open(tree, hold_out=4)
    copy = pickle.loads(pickle.dumps(source))
    assert source == source and source != copy and len({source, copy}) == 2
    assert _paths(copy) == _paths(source)
    np.testing.assert_array_equal(np.asarray(copy[3]["image"]), np.asarray(source[3]["image"]))


def test_a_file_takes_few_bytes_of_a_pickle(tmp_path: Path) -> None:
    for name in ("n01440764", "n01443537"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(1000):
            (tmp_path / "train" / name / f"{name}_{i}.JPEG").touch()
    source = _open(tmp_path)
    assert len(source) == 2000 and source.describe(1999).endswith("/n01443537_999.JPEG")
    assert len(pickle.dumps(source)) < 2000 * 28 + 1000  # 18 of its name, 8 of its end


def test_names_that_are_no_text_and_files_of_the_system(tree: Path) -> None:
    (tree / "train/n01" / b"\xff\xfe.JPEG".decode("utf-8", "surrogateescape")).write_bytes(
        encoded(photo())
    )
    for name in (".DS_Store", "Thumbs.db"):
        (tree / "train" / name).touch()
        (tree / "train/n01" / name).touch()
    source = _open(tree)
    assert len(source) == 16
    assert source[3]["image"].size == photo().size  # The last of its class.


def test_a_missing_folder(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(DataError, match="data.images.path is empty: name .*images.path=FOLDER"):
        FolderConfig().open("train", 3)
    with pytest.raises(DataError, match=r"path=.*imges is no folder \(.* has: images\); it should"):
        _open(tmp_path / "imges")
    with pytest.raises(DataError, match=r"is no folder \(nor does .*/a\)"):
        _open(tmp_path / "a" / "b")
    shutil.rmtree(tree / "val")
    with pytest.raises(DataError, match="no folder to test on: val, validation, test were looked"):
        _open(tree, "test")
    with pytest.raises(DataError, match="the folder of images, .*/v2, does not exist"):
        _open(tree, "test", test_folder="v2")
    (tree / "train").rename(tree / "training")
    with pytest.raises(DataError, match=r"train, does not exist \(.* has: training\).*label_file"):
        _open(tree)


def test_empty_folders(tree: Path) -> None:
    (tree / "train/n05").mkdir()
    (tree / "train/n05/.hidden").touch()
    with pytest.raises(DataError, match="class folder .*train/n05 has no images. Put some there"):
        _open(tree)
    shutil.rmtree(tree / "train")
    (tree / "train").mkdir()
    with pytest.raises(DataError, match="train is empty; it should have a folder for each class"):
        _open(tree)


def test_images_that_are_not_in_class_folders(tree: Path) -> None:
    (tree / "train/ILSVRC2012_img.JPEG").touch()
    with pytest.raises(DataError, match="has 1 file beside the folders of the classes: ILSVRC"):
        _open(tree)
    shutil.rmtree(tree / "val")
    (tree / "val").mkdir()
    for number in range(7):
        (tree / f"val/ILSVRC2012_val_{number}.JPEG").touch()
    (tree / "train/ILSVRC2012_img.JPEG").unlink()
    with pytest.raises(DataError, match="val has 7 files and no folders: .*_4.JPEG and 2 more"):
        _open(tree, "test")


@pytest.mark.parametrize("name", ["notes.txt", "n01.tar", "JPEG", "a.jpeg~"])
def test_files_that_are_no_images(tree: Path, name: str) -> None:
    (tree / "train/n01" / name).touch()
    with pytest.raises(DataError, match=f"n01 has 1 entry that is no image file .*: {name}. Take"):
        _open(tree)


def test_folders_in_class_folders(tree: Path) -> None:
    (tree / "train/n01/images.jpg").mkdir()  # As if it were one.
    with pytest.raises(DataError, match="no image file .*images.jpg.*folders in the folder of a"):
        _open(tree)


def test_classes_that_only_one_of_the_folders_has(tree: Path) -> None:
    shutil.copytree(tree / "val/n01", tree / "val/n03")
    with pytest.raises(DataError, match=r"val has 1 class folder that train/ has not: n03\."):
        _open(tree, "test")
    shutil.rmtree(tree / "val/n03")
    shutil.rmtree(tree / "val/n02")
    with pytest.raises(DataError, match=r"val has no folder for 1 class of train/: n02\. A part"):
        _open(tree, "test")


def test_mistakes(tree: Path) -> None:
    with pytest.raises(ConfigError, match="data.images.hold_out=-2"):
        FolderConfig(hold_out=-2)
    with pytest.raises(DataError, match="no split 'eval'"):
        _open(tree, "eval")
    with pytest.raises(DataError, match="holds no training images out"):
        _open(tree, "valid")
    with pytest.raises(DataError, match="hold_out=15 must leave some of the 15"):
        _open(tree, hold_out=15)
    with pytest.raises(ConfigError, match="channels=2"):
        _open(tree, channels=2)
