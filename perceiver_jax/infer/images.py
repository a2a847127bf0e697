"""Image files to the arrays that the released classifiers were trained on (Perceiver IO, App. A).

Reading, the centre crop of the evaluation, bicubic resizing (resize.py), and normalisation.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from perceiver_jax.errors import DataError, require
from perceiver_jax.infer.resize import resize_uint8

# Of ImageNet's training images, in RGB with values from 0 to 255.
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * np.float32(255)
STDDEV = np.array([0.229, 0.224, 0.225], np.float32) * np.float32(255)
# The share of the shorter side that the evaluation keeps.
CROP = 0.875


def read_image(path: str | Path) -> np.ndarray:  # [y, x, 3], uint8
    """Reads an image of any format that Pillow knows, upright, as 8-bit RGB.

    Transparent pixels are shown on white, 16-bit values scaled, and of an animation the first
    picture is taken. Which way is up follows the camera's note (EXIF).

    Raises:
      DataError: the file is missing, is no image, or is damaged.
    """
    require("PIL", purpose="Reading images", pip_name="pillow")
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not an image.")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            return np.asarray(_to_rgb(image))
    except FileNotFoundError as error:
        raise DataError(f"there is no image {path}.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image of a format that Pillow knows.") from error
    except Exception as error:  # Decoders fail in many ways: OSError, SyntaxError, struct.error.
        raise DataError(f"the image {path} is damaged: {error}") from error


def _to_rgb(image):  # type: ignore[no-untyped-def]  # Pillow's class is imported late.
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F":
            values = values * (255 if 0 < values.max(initial=0) <= 1 else 1)
        elif values.max(initial=0) > 255 or image.mode.startswith("I;16"):
            values = values / 257  # 65535 becomes 255.
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


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
    found: list[Path] = []
    notes: list[str] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"there is no file or folder {path}.")
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(
            file
            for file in path.rglob("*")
            if file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        images = [file for file in files if file.suffix.lower() in known]
        if not images:
            raise DataError(f"the folder {path} has no image; files of {len(files)} other kinds.")
        if len(images) < len(files):
            others = [file.name for file in files if file.suffix.lower() not in known]
            shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
            notes.append(f"{path}: skipped {len(others)} files that are no images ({shown})")
        found += images
    return found, notes


def centre_crop(
    image: np.ndarray,  # [y, x, c]
    aspect: tuple[int, int] = (1, 1),  # Height to width of the crop.
) -> np.ndarray:
    """Cuts the middle out: 0.875 of the shorter side, rounded as in the released evaluation.

    With another aspect than a square, 0.875 of the largest rectangle of that aspect.
    """
    height, width = image.shape[:2]
    tall, wide = aspect
    rows = max(1, int(CROP * min(height, width * tall / wide)))
    columns = max(1, int(CROP * min(width, height * wide / tall)))
    top, left = (height - rows + 1) // 2, (width - columns + 1) // 2
    return image[top : top + rows, left : left + columns]


def normalize(image: np.ndarray) -> np.ndarray:  # [..., 3], 0..255 -> float32
    """Brings ImageNet's pixels to mean 0 and standard deviation 1."""
    return (image.astype(np.float32) - MEAN) / STDDEV


def denormalize(image: np.ndarray) -> np.ndarray:  # [..., 3], float32 -> uint8
    """The inverse of `normalize`, for display."""
    return np.clip(np.rint(image * STDDEV + MEAN), 0, 255).astype(np.uint8)


def prepare(
    image: np.ndarray,  # [y, x, 3], uint8
    shape: Sequence[int] = (224, 224),
) -> np.ndarray:  # [*shape, 3], float32
    """The released evaluation's crop, resize and normalisation, for a classifier of `shape`."""
    height, width = shape
    return normalize(resize_uint8(centre_crop(image, (height, width)), (height, width)))
