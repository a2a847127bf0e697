"""Makes a small ImageFolder of real photographs: `python -m perceiver_jax.data.images.photos`.

  --out=DIR        the folder to make; there must be nothing there yet
  --size=64        side of the tiles, in pixels

Tiles of ten photographs that the package scikit-image ships; the class is the photograph. Training
tiles come from its left part, validation tiles from its right one, and none overlap. This shows
that the way from files to a result works, with no download. It is no benchmark: parts of one
photograph look alike, so accuracies say nothing about other photographs.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_jax.errors import DataError, UserError, require, run_main

if TYPE_CHECKING:
    import numpy as np

# Functions of skimage.data whose files are in the package; others would be downloaded. Colour and
# grey-scale (the last three), from 303 x 384 to 1411 x 1411 pixels.
PHOTOS = (
    "astronaut", "cat", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry",
    "camera", "moon", "coins",
)  # fmt: skip
TRAIN_SHARE = 0.7  # Of the width.
QUALITY = 95  # Of the JPEG files.
MAX_TILES = {"train": 40, "val": 10}  # Of each photograph; large ones would outweigh the others.

README = f"""Tiles of ten photographs of the package scikit-image (scikit-image.org; its page on
data names their authors and licences), made by perceiver_jax.data.images.photos. Each class is one
photograph: train/ has tiles of the left {TRAIN_SHARE:.0%} of it, val/ of the rest, and no two
overlap. They are there to try the pipeline with. They are no benchmark: parts of one photograph
look alike.
"""


def load_photos() -> dict[str, "np.ndarray"]:
    """Returns the photographs by name, uint8 [height, width] or [height, width, 3].

    Raises:
      UserError: scikit-image is not installed.
    """
    require("skimage", purpose="The folder of photographs", pip_name="scikit-image")
    from skimage import data

    return {name: getattr(data, name)() for name in PHOTOS}


def tiles(
    width: int, height: int, size: int, most: Mapping[str, int] = MAX_TILES
) -> dict[str, list[tuple[int, int]]]:
    """Returns (left, top) of the tiles of a photograph, by split; none of them overlap.

    Args:
      width: of the photograph, in pixels.
      height: likewise.
      size: side of a tile.
      most: how many at most; of more, so many are taken at equal distances.
    """
    boundary = int(TRAIN_SHARE * width)
    found = {}
    for split, start, end in (("train", 0, boundary), ("val", boundary, width)):
        places = [
            (left, top)
            for top in range(0, height - size + 1, size)
            for left in range(start, end - size + 1, size)
        ]
        count = min(len(places), most[split])
        found[split] = [places[index * len(places) // count] for index in range(count)]
    return found


def write_photos(
    out: Path, size: int, photos: Mapping[str, "np.ndarray"] | None = None
) -> dict[str, int]:
    """Writes the folder.

    Args:
      out: the folder; there must be nothing there yet.
      size: side of the tiles, in pixels.
      photos: photographs by name; None: those of scikit-image.

    Returns:
      The number of tiles by split.

    Raises:
      DataError: a photograph is too small for a tile in both parts.
      UserError: the folder exists or cannot be written, or a package is missing.
    """
    require("PIL", purpose="The folder of photographs", pip_name="pillow")
    from PIL import Image

    from perceiver_jax.atomic import making_folder

    counts = dict.fromkeys(MAX_TILES, 0)
    with making_folder(out) as folder:
        for name, photo in (load_photos() if photos is None else photos).items():
            image = Image.fromarray(photo)
            for split, place in _each(tiles(image.width, image.height, size), name, size):
                left, top = place
                path = folder / split / name / f"{name}_{top:04}_{left:04}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                tile = image.crop((left, top, left + size, top + size))
                tile.save(path, "JPEG", quality=QUALITY)
                counts[split] += 1
        (folder / "README.txt").write_text(README, encoding="utf-8")
    return counts


def _each(
    found: Mapping[str, Sequence[tuple[int, int]]], name: str, size: int
) -> Iterator[tuple[str, tuple[int, int]]]:
    for split, places in found.items():
        if not places:
            raise DataError(
                f"--size={size}: the photograph {name!r} is too small for a tile of {split}; "
                "choose a smaller size."
            )
        yield from ((split, place) for place in places)


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string("out", None, "The folder to make.")
    flags.DEFINE_integer("size", 64, "Side of the tiles, in pixels.", lower_bound=8)


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    from absl import flags

    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; see --help.")
    if not flags.FLAGS.out:
        raise UserError("Name the folder to make: --out=DIR.")
    out = Path(flags.FLAGS.out).expanduser()
    counts = write_photos(out, flags.FLAGS.size)
    print(
        f"{out}: {counts['train']} tiles to train on, {counts['val']} to test on, of "
        f"{len(PHOTOS)} photographs. To try the pipeline with; no benchmark."
    )


if __name__ == "__main__":
    define_flags()
    run_main(main)
