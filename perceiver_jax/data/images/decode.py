"""The bytes of an image file to 8-bit pixels, whatever the file is called and holds."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from perceiver_jax.data.source import CorruptExample, decoding
from perceiver_jax.errors import ConfigError, require

if TYPE_CHECKING:
    from PIL import Image

# What a damaged file can hold is bounded before memory is asked for. Photographs are smaller.
MAX_PIXELS = 90_000_000

MODES = {1: "L", 3: "RGB"}  # Pillow's names, by number of channels.


def check_channels(channels: int, field: str) -> None:
    """Refuses other numbers of channels than images are read with.

    Raises:
      ConfigError: names the field.
    """
    if channels not in MODES:
        raise ConfigError(
            f"{field}={channels} must be 3 (red, green, blue) or 1 (their brightness)."
        )


def decode(
    data: bytes,
    where: str,
    *,
    channels: int = 3,
    exif: bool = False,
    max_pixels: int | None = MAX_PIXELS,
) -> "Image.Image":
    """Returns an image of mode "RGB" or "L", of its own size.

    The format is told from the bytes. CMYK and palettes become RGB, 16 bits become 8, transparent
    pixels are shown on white, and of an animation the first picture is taken.

    Args:
      data: what the file holds.
      where: its name, for messages.
      channels: 3 or 1.
      exif: turn the image as the camera's note (EXIF) says. The released models were trained on
        images as they are stored, since TensorFlow's decoder does not read the note.
      max_pixels: more are taken for damage; None: only where Pillow refuses them, from 179 million.

    Raises:
      CorruptExample: the bytes are cut short or damaged, no image, or one of absurd size.
      UserError: Pillow is not installed.
    """
    require("PIL", purpose="Reading images", pip_name="pillow")
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise CorruptExample(f"{where}: it is empty")
    # Pillow's decoders fail in many ways: OSError, SyntaxError, struct.error, IndexError, ...
    with decoding(where, Exception):
        try:
            image: Any = Image.open(io.BytesIO(data))  # Reads the header only.
        except UnidentifiedImageError as error:
            # Its own words name an object in memory.
            raise OSError("no image of a format that Pillow knows") from error
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise CorruptExample(
            f"{where}: {image.width} x {image.height} pixels; images above {max_pixels:,} are "
            "taken for damaged"
        )
    with decoding(where, Exception):
        image.load()
        if exif:
            image = ImageOps.exif_transpose(image)
    if channels == 1 and image.mode == "L" and not image.has_transparency_data:
        return image
    image = to_rgb(image)
    return image if channels == 3 else image.convert("L")


def to_rgb(image: "Image.Image") -> "Image.Image":
    """Returns an image of any of Pillow's modes as 8-bit RGB, transparent pixels on white."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
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
