"""Pictures inside a page: PNG as data URIs. Needs no package for images."""

import base64
import struct
import zlib

import numpy as np

from perceiver_jax.colours import magma, shares_of_most

LARGEST = 112  # Pixels of the shorter side; what is larger is scaled down.
LONGEST = 3 * LARGEST  # Pixels of the longer side: several views side by side keep theirs.


def data_uri(image: np.ndarray) -> str:  # uint8 [y, x, 1 or 3]
    """Returns an image as the address of itself."""
    return "data:image/png;base64," + base64.b64encode(encode(image)).decode("ascii")


def encode(image: np.ndarray) -> bytes:  # uint8 [y, x, 1 or 3]
    """Returns an image as a PNG file (RFC 2083: grey or RGB, 8 bits, no filter).

    Raises:
      ValueError: another shape, or another type than uint8.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"an image is uint8 [y, x, 1 or 3]; got {image.dtype} {image.shape}.")
    height, width, channels = image.shape
    colour_type = 0 if channels == 1 else 2
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # Each begins with its filter: 0.
    lines[:, 1:] = image.reshape(height, -1)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def scaled_down(image: np.ndarray, largest: int, longest: int | None = None) -> np.ndarray:
    """Makes an image smaller where it is large: means of whole blocks of pixels.

    Args:
      image: [y, x, ...].
      largest: pixels of the shorter side, at most.
      longest: those of the longer side; None: `largest` too.

    Returns:
      [y', x', ...], as float.
    """
    shorter, longer = sorted(image.shape[:2])
    block = max(-(-shorter // largest), -(-longer // (longest or largest)))
    if block == 1:
        return image.astype(np.float64)
    height, width = (-(-size // block) * block for size in image.shape[:2])
    padding = [(0, height - image.shape[0]), (0, width - image.shape[1])]
    padding += [(0, 0)] * (image.ndim - 2)
    whole = np.pad(image.astype(np.float64), padding, mode="edge")
    blocks = whole.reshape(height // block, block, width // block, block, *image.shape[2:])
    return blocks.mean(axis=(1, 3))


def thumbnail(image: np.ndarray) -> np.ndarray:  # uint8 [y, x, 1 or 3]
    """Returns an image small enough for a page, uint8."""
    return np.rint(scaled_down(image, LARGEST, LONGEST)).astype(np.uint8)


def heat(weights: np.ndarray) -> np.ndarray:  # [y, x], not negative
    """Returns weights as colours, uint8 [y, x, 3]: from 0 to what 1 in 200 exceeds."""
    return magma(shares_of_most(scaled_down(weights, 64)))
