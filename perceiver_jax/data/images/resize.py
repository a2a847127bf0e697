"""Resizing as TensorFlow and OpenCV do it: four or two samples along each axis, no antialiasing.

Centres of pixels are at halves, and however much an image shrinks, only the samples next to a new
pixel's centre count. Pillow's resizing is another: it averages when it shrinks.

  * "tensorflow": Keys' cubic kernel with a = -0.5; beyond the border there is nothing, and the
    weights of the samples that are left are scaled to sum to 1. As `tf.image.resize(method=
    "bicubic")` without antialiasing, which the released models were trained with (Perceiver IO,
    App. A), and like it with distances rounded to 1/1024.
  * "opencv": the same kernel with a = -0.75; the border repeats. As INTER_CUBIC, and PyTorch's
    `bicubic`; the released image models were evaluated on what OpenCV's makes.
  * "opencv_linear": two samples; the border repeats. As INTER_LINEAR, OpenCV's default, by which
    the released video model reads frames.

Cubic values may overshoot the image's. They are not clipped: the released training did not, and
its models have seen values from -51 to 336.
"""

import functools
from typing import Any, Literal, get_args

import numpy as np

Method = Literal["tensorflow", "opencv", "opencv_linear"]
METHODS: tuple[Method, ...] = get_args(Method)

_A = {"tensorflow": -0.5, "opencv": -0.75}
_STEPS = 1024  # TensorFlow looks the kernel up in a table with so many steps between two pixels.


def taps(old: int, new: int, method: Method = "opencv") -> tuple[np.ndarray, np.ndarray]:
    """Where each of `new` samples reads among `old` ones, and how much.

    Args:
      old: number of samples along an axis.
      new: number wanted.
      method: see above.

    Returns:
      Indices [new, 4 or 2] and weights of that shape, whose rows sum to 1.

    Raises:
      ValueError: a number is below 1, or there is no such method.
    """
    if old < 1 or new < 1:
        raise ValueError(f"cannot resize {old} samples to {new}; both must be at least 1.")
    if method not in METHODS:
        raise ValueError(f"method {method!r} must be one of {', '.join(METHODS)}.")
    position = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(position)
    t = position - first
    if method == "tensorflow":
        t = np.rint(t * _STEPS) / _STEPS
    if method == "opencv_linear":
        weights = np.stack([1 - t, t], axis=-1)
        offsets = np.arange(2)
    else:
        a = _A[method]
        distance = np.stack([1 + t, t, 1 - t, 2 - t], axis=-1)  # To the four samples around.
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, far)
        offsets = np.arange(-1, 3)
    indices = first[:, None].astype(np.int64) + offsets
    inside = np.clip(indices, 0, old - 1)
    if method == "tensorflow":
        weights = np.where(indices == inside, weights, 0)
        weights /= weights.sum(axis=-1, keepdims=True)
    return inside, weights


def resize(
    image: np.ndarray,  # [y, x, c]
    shape: tuple[int, int],  # New height and width.
    method: Method = "opencv",
) -> np.ndarray:  # [height, width, c], float32
    """Resizes an image of any dtype in floating point; cubic values may overshoot the image's.

    Raises:
      ValueError: the image has not three axes, or a size is 0.
    """
    if image.ndim != 3:
        raise ValueError(f"an image must be [y, x, channels]; got shape {list(image.shape)}.")
    height, width, channels = image.shape
    rows = np.asarray(image, np.float32).reshape(height, -1)
    if height != shape[0]:
        rows = _weights(height, shape[0], method) @ rows
    if width != shape[1]:
        rows = np.ascontiguousarray((_weights(width, shape[1], method, channels) @ rows.T).T)
    return rows.reshape(*shape, channels)


def resize_uint8(
    image: np.ndarray,  # [y, x, c], uint8
    shape: tuple[int, int],  # New height and width.
    method: Method = "opencv",
) -> np.ndarray:  # [height, width, c], uint8
    """Resizes an 8-bit image as OpenCV does: rounded, and clipped to 0..255.

    Raises:
      ValueError: the image is not uint8.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"resize_uint8 takes uint8 images; got {image.dtype}. Use resize.")
    return np.clip(np.rint(resize(image, shape, method)), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=2048)  # 10 to 30 kB each.
def _weights(old: int, new: int, method: Method, channels: int = 1) -> Any:
    """The matrix that resizes along an axis, float32 and sparse; made once for each size.

    Sparse products take a tenth of the time of gathering samples with NumPy.

    Returns:
      [new * channels, old * channels]: each channel is resized by itself.
    """
    from scipy import sparse

    indices, weights = taps(old, new, method)
    # [new, channels, samples]: sample i of a channel is at i * channels + channel.
    columns = indices[:, None, :] * channels + np.arange(channels)[:, None]
    values = np.repeat(weights.astype(np.float32)[:, None, :], channels, axis=1)
    ends = np.arange(0, columns.size + 1, columns.shape[2], dtype=np.int32)
    return sparse.csr_array(
        (values.ravel(), columns.astype(np.int32).ravel(), ends),
        shape=(new * channels, old * channels),
    )
