"""Makes a tiny imagenet2012 with TFDS's own builder, for tests.

    python tools/make_tiny_imagenet.py tests/golden

writes tests/golden/imagenet2012/VERSION. It needs TensorFlow and scikit-image, which the tests do
not: pip install tensorflow-cpu tensorflow-datasets importlib_resources scikit-image scikit-learn.

The archives have the real names and layout. ILSVRC2012_img_train.tar holds a tar for each of five
real classes, with a few small JPEGs cut from one photograph each; ILSVRC2012_img_val.tar holds
eight, whose labels are those that TFDS has for ILSVRC2012_val_00000001.JPEG and so on, which have
nothing to do with what they show. The photographs are cat, coffee and rocket of scikit-image (CC0
or public domain), and china by danielbuechele and flower by vultilion, of scikit-learn (CC BY 2.0).

The set is prepared as the command that docs/data.md gives does it.
"""

import io
import pathlib
import sys
import tarfile
import tempfile
from collections.abc import Iterator

import numpy as np
from PIL import Image

from perceiver_jax.data.images.prepare import prepare

TRAIN_IMAGES = 4  # Of each class.
VAL_IMAGES = 8


def photographs() -> dict[str, np.ndarray]:
    """Returns a photograph [y, x, 3] for each class."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    return {
        "n02123045": data.cat(),  # tabby, tabby cat
        "n03877845": china,  # palace
        "n04266014": data.rocket(),  # space shuttle
        "n07920052": data.coffee(),  # espresso
        "n11939491": flower,  # daisy
    }


def pieces(photograph: np.ndarray, count: int) -> Iterator[bytes]:
    """Yields JPEGs of different parts of a photograph, about 60 by 80 pixels, none of one size."""
    height, width = photograph.shape[:2]
    for number in range(count):
        rows, columns = 54 + 4 * number, 84 - 5 * number
        side = min(height, width) * 3 // 4
        top = (height - side) * number // max(count - 1, 1)
        left = (width - side) * (count - 1 - number) // max(count - 1, 1)
        piece = Image.fromarray(photograph[top : top + side, left : left + side])
        buffer = io.BytesIO()
        piece.resize((columns, rows)).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file to an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_archives(folder: pathlib.Path) -> None:
    """Writes both archives, as image-net.org gives them out."""
    images = photographs()
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as train:
        for synset, photograph in images.items():
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as of_class:
                for number, data in enumerate(pieces(photograph, TRAIN_IMAGES)):
                    add(of_class, f"{synset}_{10026 + number}.JPEG", data)
            add(train, f"{synset}.tar", buffer.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as val:
        for number in range(VAL_IMAGES):
            photograph = list(images.values())[number % len(images)]
            data = list(pieces(photograph[::-1], VAL_IMAGES))[number]
            add(val, f"ILSVRC2012_val_{number + 1:08}.JPEG", data)


def main(data_dir: str) -> None:
    """Makes the archives and prepares them."""
    with tempfile.TemporaryDirectory() as manual:
        write_archives(pathlib.Path(manual))
        print(prepare("imagenet2012", data_dir, manual))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/make_tiny_imagenet.py DATA_DIR")
    main(sys.argv[1])
