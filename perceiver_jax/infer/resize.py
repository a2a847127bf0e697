"""Bicubic resizing, as OpenCV's INTER_CUBIC and PyTorch's `bicubic` without antialiasing.

Both use Keys' kernel with a = -0.75 and half-pixel centres, repeat the border, and take four
samples along each axis, however much an image shrinks. Pillow's bicubic differs in both (a = -0.5,
and it averages when it shrinks). The released image models were evaluated on what OpenCV makes.
"""

import numpy as np

_A = -0.75


def taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `new` samples reads among `old` ones, and how much.

    Args:
      old: number of samples along an axis.
      new: number wanted.

    Returns:
      Indices [new, 4] and weights [new, 4], whose rows sum to 1.
    """
    if old < 1 or new < 1:
        raise ValueError(f"cannot resize {old} samples to {new}; both must be at least 1.")
    position = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(position)
    t = position - first
    distance = np.stack([1 + t, t, 1 - t, 2 - t], axis=-1)  # To the four samples around.
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    weights = np.where(distance <= 1, near, far)
    indices = first[:, None].astype(np.int64) + np.arange(-1, 3)
    return np.clip(indices, 0, old - 1), weights


def resize(
    image: np.ndarray,  # [y, x, c]
    shape: tuple[int, int],  # New height and width.
) -> np.ndarray:  # [height, width, c], float32
    """Resizes an image of any dtype in floating point; values may overshoot those of the image.

    Raises:
      ValueError: the image has not three axes, or a size is 0.
    """
    if image.ndim != 3:
        raise ValueError(f"an image must be [y, x, channels]; got shape {list(image.shape)}.")
    resized = np.asarray(image, np.float32)
    # Rows first: where the image shrinks, fewer are left to be gathered along x.
    for axis, new in enumerate(shape):
        indices, weights = taps(image.shape[axis], new)
        along = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        gathered = [
            np.take(resized, indices[:, k], axis) * weights[:, k].astype(np.float32).reshape(along)
            for k in range(4)
        ]
        resized = gathered[0] + gathered[1] + gathered[2] + gathered[3]
    return resized


def resize_uint8(
    image: np.ndarray,  # [y, x, c], uint8
    shape: tuple[int, int],  # New height and width.
) -> np.ndarray:  # [height, width, c], uint8
    """Resizes an 8-bit image as OpenCV does: rounded, and clipped to 0..255.

    Raises:
      ValueError: the image is not uint8.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"resize_uint8 takes uint8 images; got {image.dtype}. Use resize.")
    return np.clip(np.rint(resize(image, shape)), 0, 255).astype(np.uint8)
