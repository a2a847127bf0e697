"""Image files to the arrays that the released classifiers were trained on (Perceiver IO, App. A).

Reading, the centre crop of the evaluation, bicubic resizing and normalisation, by the functions
that training uses too (perceiver_jax/data/images). Models trained elsewhere may have been given
other values, or greyscale; see `scale`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from perceiver_jax.data.images import normalize as imagenet
from perceiver_jax.data.images.crop import EVAL_CROP, central_box
from perceiver_jax.data.images.decode import MODES, decode
from perceiver_jax.data.images.normalize import denormalize, normalize
from perceiver_jax.data.images.resize import resize_uint8
from perceiver_jax.errors import DataError, ModelError, require
from perceiver_jax.infer.files import find_files

__all__ = [
    "MEAN",
    "NORMALIZATIONS",
    "STDDEV",
    "Normalization",
    "centre_crop",
    "denormalize",
    "find_images",
    "fit",
    "normalize",
    "prepare",
    "read_image",
    "scale",
]

# Of ImageNet's training images, in RGB with values from 0 to 255.
MEAN = np.array(imagenet.MEAN, np.float32)
STDDEV = np.array(imagenet.STDDEV, np.float32)

# How pixels become what a model reads: as the released models' training did, to [0, 1], to [-1, 1].
Normalization = Literal["imagenet", "unit", "symmetric"]
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)


def read_image(path: str | Path, *, channels: int = 3) -> np.ndarray:  # [y, x, channels], uint8
    """Reads an image of any format that Pillow knows, upright, as 8-bit RGB or greyscale.

    Transparent pixels are shown on white, 16-bit values scaled, and of an animation the first
    picture is taken. Which way is up follows the camera's note (EXIF).

    Args:
      path: the file.
      channels: 3, red, green and blue; or 1, their brightness (Pillow's "L").

    Raises:
      DataError: the file is missing or cannot be read, is no image, or is damaged.
    """
    if channels not in MODES:
        raise ValueError(f"image files are read with 1 or 3 channels; got {channels}.")
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not an image.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no image {path}.") from error
    except OSError as error:
        raise DataError(f"the image {path} cannot be read: {error.strerror}.") from error
    # One picture that somebody chose may be larger than what a million files are trusted with.
    image = decode(data, f"the image {path}", channels=channels, exif=True, max_pixels=None)
    return np.asarray(image).reshape(image.height, image.width, channels)


def find_images(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Lists image files: the files as given, and all images in folders and the folders in them.

    What is an image in a folder is told from the suffix; hidden files and folders are left out.

    Returns:
      The files, sorted within each folder, and notes about what was skipped.

    Raises:
      DataError: something does not exist, or a folder has no image.
    """
    require("PIL", purpose="Reading images", pip_name="pillow")
    from PIL import Image

    known = {suffix.lower() for suffix in Image.registered_extensions()}
    return find_files(paths, known, "image", "images")


def centre_crop(
    image: np.ndarray,  # [y, x, c]
    aspect: tuple[int, int] = (1, 1),  # Height to width of the crop.
) -> np.ndarray:
    """Cuts the middle out: 0.875 of the shorter side, rounded as in the released evaluation.

    With another aspect than a square, 0.875 of the largest rectangle of that aspect.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = central_box(width, height, EVAL_CROP, aspect)
    return image[top:bottom, left:right]


def scale(
    image: np.ndarray,  # [..., c], uint8
    normalization: Normalization | None = None,
) -> np.ndarray:  # [..., c], float32
    """Brings pixels to the range of values that a model was trained on.

    Args:
      image: RGB or greyscale.
      normalization: "imagenet" as `normalize`, RGB only; "unit" to [0, 1]; "symmetric" to [-1, 1].
        By default RGB as "imagenet", as the released models were trained, and greyscale as "unit".

    Raises:
      ModelError: ImageNet's statistics for greyscale, which has none.
    """
    channels = image.shape[-1]
    normalization = normalization or ("imagenet" if channels == 3 else "unit")
    if normalization == "imagenet":
        if channels != 3:
            raise ModelError(
                "ImageNet's mean and deviation are of red, green and blue, and this model reads "
                f"images of {channels} channel{'s'[: channels > 1]}; give --normalize=unit or "
                "--normalize=symmetric."
            )
        return normalize(image)
    unit = image.astype(np.float32) / np.float32(255)
    return unit if normalization == "unit" else unit * np.float32(2) - np.float32(1)


def fit(
    image: np.ndarray,  # [y, x, c], uint8
    shape: Sequence[int] = (224, 224),
) -> np.ndarray:  # [*shape, c], uint8
    """The released evaluation's crop and resize, for a classifier of `shape`.

    Greyscale of just that size stays whole: the released models read RGB, and the pixels of small
    pictures such as digits are not to be smeared.
    """
    height, width = shape
    if image.shape == (height, width, 1):
        return image
    return resize_uint8(centre_crop(image, (height, width)), (height, width))


def prepare(
    image: np.ndarray,  # [y, x, c], uint8
    shape: Sequence[int] = (224, 224),
    normalization: Normalization | None = None,
) -> np.ndarray:  # [*shape, c], float32
    """`fit` and `scale`: without a third argument, RGB as in the released evaluation."""
    return scale(fit(image, shape), normalization)
