"""Resizing as OpenCV does it: bicubic (INTER_CUBIC) and bilinear (INTER_LINEAR), no antialiasing.

Centres of pixels are at halves, the border repeats, and four or two samples are taken along each
axis, however much an image shrinks; bicubic is Keys' kernel with a = -0.75. PyTorch's `bicubic` and
`bilinear` are the same. Pillow's differ: a = -0.5, and it averages when it shrinks. The released
image models were evaluated on what OpenCV's bicubic makes; the released video model reads frames
by `cv2.resize` without a choice, which is bilinear.
"""

from typing import Literal

import numpy as np

Method = Literal["cubic", "linear"]

_A = -0.75


def taps(old: int, new: int, method: Method = "cubic") -> tuple[np.ndarray, np.ndarray]:
    """Where each of `new` samples reads among `old` ones, and how much.

    Args:
      old: number of samples along an axis.
      new: number wanted.
      method: four samples each, or two.

    Returns:
      Indices [new, 4 or 2] and weights of that shape, whose rows sum to 1.
    """
    if old < 1 or new < 1:
        raise ValueError(f"cannot resize {old} samples to {new}; both must be at least 1.")
    position = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(position)
    t = position - first
    if method == "linear":
        weights = np.stack([1 - t, t], axis=-1)
        offsets = np.arange(2)
    else:
        distance = np.stack([1 + t, t, 1 - t, 2 - t], axis=-1)  # To the four samples around.
        near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
        far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
        weights = np.where(distance <= 1, near, far)
        offsets = np.arange(-1, 3)
    indices = first[:, None].astype(np.int64) + offsets
    return np.clip(indices, 0, old - 1), weights


def resize(
    image: np.ndarray,  # [y, x, c]
    shape: tuple[int, int],  # New height and width.
    method: Method = "cubic",
) -> np.ndarray:  # [height, width, c], float32
    """Resizes an image of any dtype in floating point; bicubic values may overshoot the image's.

    Raises:
      ValueError: the image has not three axes, or a size is 0.
    """
    if image.ndim != 3:
        raise ValueError(f"an image must be [y, x, channels]; got shape {list(image.shape)}.")
    resized = np.asarray(image, np.float32)
    # Rows first: where the image shrinks, fewer are left to be gathered along x.
    for axis, new in enumerate(shape):
        indices, weights = taps(image.shape[axis], new, method)
        along = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        gathered = [
            np.take(resized, indices[:, k], axis) * weights[:, k].astype(np.float32).reshape(along)
            for k in range(indices.shape[1])
        ]
        resized = np.sum(gathered, axis=0)
    return resized


def resize_uint8(
    image: np.ndarray,  # [y, x, c], uint8
    shape: tuple[int, int],  # New height and width.
    method: Method = "cubic",
) -> np.ndarray:  # [height, width, c], uint8
    """Resizes an 8-bit image as OpenCV does: rounded, and clipped to 0..255.

    Raises:
      ValueError: the image is not uint8.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"resize_uint8 takes uint8 images; got {image.dtype}. Use resize.")
    return np.clip(np.rint(resize(image, shape, method)), 0, 255).astype(np.uint8)
