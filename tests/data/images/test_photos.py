"""The folder of photographs: tiles that do not overlap, whole or not there."""

import importlib.util
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.data.images import photos
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.errors import DataError, UserError

RNG = np.random.default_rng(0)
SMALL = {
    "colour": RNG.integers(256, size=(40, 60, 3), dtype=np.uint8),
    "grey": RNG.integers(256, size=(50, 70), dtype=np.uint8),
}


def test_tiles_never_overlap() -> None:
    found = photos.tiles(451, 300, 64)
    # The boundary is at 315: four columns before it, two behind it, four rows.
    assert {split: len(places) for split, places in found.items()} == {"train": 16, "val": 8}
    everything = [place for places in found.values() for place in places]
    for (left, top), (other_left, other_top) in combinations(everything, 2):
        assert abs(left - other_left) >= 64 or abs(top - other_top) >= 64
    assert (
        max(left for left, _ in found["train"]) + 64 <= 315 <= min(left for left, _ in found["val"])
    )
    assert max(left for left, _ in everything) + 64 <= 451
    assert max(top for _, top in everything) + 64 <= 300


def test_of_many_tiles_some_are_taken_all_over() -> None:
    found = photos.tiles(100, 100, 10, {"train": 5, "val": 2})
    assert found == {
        "train": [(0, 0), (0, 20), (0, 40), (0, 60), (0, 80)],
        "val": [(70, 0), (70, 50)],
    }


def test_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "new" / "photos"
    counts = photos.write_photos(out, 16, SMALL)
    # 42 pixels of 60, and 49 of 70, are the left parts.
    assert counts == {"train": 2 * 2 + 3 * 3, "val": 1 * 2 + 1 * 3}
    assert "no benchmark" in (out / "README.txt").read_text()
    for split in ("train", "test"):
        images = FolderConfig(path=str(out)).open(split, 3)
        assert images.class_names == ("colour", "grey")
        assert len(images) == counts["train" if split == "train" else "val"]
    tile = Image.open(out / "train" / "grey" / "grey_0016_0032.JPEG")
    assert tile.format == "JPEG" and tile.mode == "L" and tile.size == (16, 16)
    # Noise is what JPEG is worst at: near the photograph is enough.
    difference = np.asarray(tile, float) - SMALL["grey"][16:32, 32:48]
    assert np.abs(difference).mean() < 6
    assert Image.open(out / "train" / "colour" / "colour_0000_0000.JPEG").mode == "RGB"


def test_nothing_is_left_of_a_folder_that_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--size=32: the photograph 'colour' is too small"):
        photos.write_photos(tmp_path / "photos", 32, SMALL)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="is left as it is. Delete it to make it anew, or name another"
    ):
        photos.write_photos(tmp_path, 16, SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed"
)
def test_all_photographs_are_in_the_package(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:9")  # A download would fail.
    loaded = photos.load_photos()
    assert list(loaded) == list(photos.PHOTOS) and len(loaded) == 10
    for name, photo in loaded.items():
        assert photo.dtype == np.uint8 and photo.shape[2:] in ((), (3,)), name
        found = photos.tiles(photo.shape[1], photo.shape[0], 64)
        assert len(found["train"]) >= 16 and len(found["val"]) >= 4, name
