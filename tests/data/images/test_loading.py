"""Images through the loader: each exactly once an epoch, whoever reads, and after a resume."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.images.tfds import TfdsConfig
from perceiver_jax.data.loader import CorruptCount, Shard, eval_batches, train_batches
from perceiver_jax.data.source import training_source
from perceiver_jax.errors import DataError
from tests.data.images.photos import encoded, write_tree
from tests.golden_cases import GOLDEN

EPOCHS = 10


@pytest.fixture(params=["folder", "tfds"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> ImagesConfig:
    """Twenty training images, as they are evaluated, so that they can be told apart."""
    if request.param == "tfds":
        pytest.importorskip("tensorflow_datasets")
        images: Any = TfdsConfig(data_dir=str(GOLDEN))
    else:
        images = FolderConfig(path=str(write_tree(tmp_path, {"a": 9, "b": 5, "c": 6})))
    return ImagesConfig(images=images, size=(6, 5), crop=None, flip=False, randaugment=None)


def _read(data: ImagesConfig, hosts: int, start: int, stop: int, **options: Any) -> list[Any]:
    """The batches of some steps, put together from what each host reads."""
    source = training_source(data)
    parts = [
        list(
            train_batches(data, source, batch_size=8, seed=3, start_step=start, stop_step=stop,
                          shard=Shard(host, hosts), **options)
        )
        for host in range(hosts)
    ]  # fmt: skip
    return [
        {key: np.concatenate([part[key] for part in step]) for key in step[0]}
        for step in zip(*parts, strict=True)
    ]


def _keys(examples: Any) -> list[bytes]:
    return [image.tobytes() + label.tobytes() for image, label in examples]


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_each_example_exactly_once_an_epoch_and_after_a_resume(
    data: ImagesConfig, hosts: int
) -> None:
    source = data.make_source("train")
    examples = [source[i] for i in range(len(source))]
    known = _keys((each["image"], each["label"]) for each in examples)
    assert len(set(known)) == 20
    steps = EPOCHS * 20 // 8
    # Stopped twice, and gone on with on other numbers of hosts.
    batches = _read(data, hosts, 0, 7) + _read(data, 1, 7, 11) + _read(data, hosts, 11, steps)
    stream = _keys(
        pair for each in batches for pair in zip(each["image"], each["label"], strict=True)
    )
    assert len(stream) == EPOCHS * 20
    orders = set()
    for epoch in range(EPOCHS):
        seen = stream[epoch * 20 : (epoch + 1) * 20]
        assert Counter(seen) == Counter(known)
        orders.add(tuple(seen))
    assert len(orders) == EPOCHS


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 3}, {"processes": 2}])
def test_augmentation_is_the_same_whoever_reads(tmp_path: Path, options: dict[str, int]) -> None:
    folder = FolderConfig(path=str(write_tree(tmp_path, {"a": 3, "b": 2})))
    data = ImagesConfig(images=folder, size=(9, 9))
    expected = _read(data, 1, 0, 4, threads=0)
    for hosts in (1, 2):
        for found, wanted in zip(_read(data, hosts, 0, 4, **options), expected, strict=True):
            np.testing.assert_array_equal(found["image"], wanted["image"])
            np.testing.assert_array_equal(found["label"], wanted["label"])
    assert expected[0]["image"].shape == (8, 9, 9, 3)
    # An image differs from pass to pass (but for those that are moved out of sight).
    images = np.concatenate([batch["image"] for batch in expected])
    assert len({image.tobytes() for image in images}) > 24


@pytest.mark.parametrize("options", [{"threads": 2}, {"processes": 1}])
def test_tfds_is_read_by_threads_and_processes(options: dict[str, int]) -> None:
    pytest.importorskip("tensorflow_datasets")
    data = ImagesConfig(images=TfdsConfig(data_dir=str(GOLDEN)), size=(9, 9))
    for found, wanted in zip(
        _read(data, 2, 0, 3, **options), _read(data, 1, 0, 3, threads=0), strict=True
    ):
        np.testing.assert_array_equal(found["image"], wanted["image"])


def test_damaged_files_are_left_out_counted_and_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"a": 5, "b": 5})
    damaged = root / "train/a/a_2.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:200])
    (root / "val/b/b_0.JPEG").write_bytes(b"<html>")
    data = ImagesConfig(images=FolderConfig(path=str(root)), size=(6, 6))
    told: list[str] = []
    _read(data, 1, 0, 3, corrupt=CorruptCount(1, told.append))
    assert len(told) == 1
    assert "left out" in told[0] and f"which is corrupt: {damaged}: " in told[0]
    with pytest.raises(DataError, match=f"1 corrupt example.*\n.*{damaged}"):
        _read(data, 1, 0, 3)
    batches = list(
        eval_batches(data.make_source("test"), batch_size=4, corrupt=CorruptCount(1, told.append))
    )
    np.testing.assert_array_equal(batches[0]["mask"], [1, 1, 0, 1])
    assert f"{root}/val/b/b_0.JPEG" in told[1]


def test_odd_files_train_like_all_others(tmp_path: Path) -> None:
    from tests.data.images.photos import photo

    root = write_tree(tmp_path, {"a": 1})
    folder = root / "train/a"
    for name, image, kind in (
        ("grey", photo(1).convert("L"), "JPEG"),
        ("cmyk", photo(2).convert("CMYK"), "JPEG"),
        ("png", photo(3), "PNG"),
        ("alpha", photo(4).convert("RGBA"), "PNG"),
        ("palette", photo(5).convert("P"), "PNG"),
        ("tiny", photo(6).resize((1, 1)), "PNG"),
        ("flat", photo(7).resize((300, 1)), "PNG"),
    ):
        (folder / f"{name}.JPEG").write_bytes(encoded(image, kind))
    data = ImagesConfig(images=FolderConfig(path=str(root)), size=(8, 8))
    for batch in _read(data, 1, 0, 8):
        assert batch["image"].shape == (8, 8, 8, 3) and np.isfinite(batch["image"]).all()
