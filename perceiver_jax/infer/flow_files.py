"""Flow in files: .flo, the colours of the Middlebury benchmark, and warping as a check of it."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.errors import DataError

# The first four bytes of a .flo file, a float that spells "PIEH" on a little-endian machine.
FLO_MAGIC = 202021.25
# What the Middlebury files mark unknown flow with is larger than this.
UNKNOWN_FLOW = 1e9
# The colour wheel: from one pure colour to the next in so many steps (Baker et al., "A Database and
# Evaluation Methodology for Optical Flow", 2011, after Morris). More where eyes see more hues.
_PURE = np.array(
    [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], np.float64
)
_STEPS = (15, 6, 4, 11, 13, 6)


def write_flo(path: Path | str, flow: np.ndarray) -> None:
    """Writes flow [y, x, 2] as a .flo file (Middlebury, KITTI-2012 tools, RAFT, ...)."""
    if flow.ndim != 3 or flow.shape[-1] != 2:
        raise DataError(f"flow must be [y, x, 2]; got an array of shape {flow.shape}.")
    height, width = flow.shape[:2]
    with replacing(path) as temporary:
        temporary.write_bytes(
            np.float32(FLO_MAGIC).astype("<f4").tobytes()
            + np.array([width, height], "<i4").tobytes()
            + np.ascontiguousarray(flow, "<f4").tobytes()
        )


def read_flo(path: Path | str) -> np.ndarray:
    """Reads the flow [y, x, 2] in pixels, float32, of a .flo file.

    Raises:
      DataError: the file is missing, no .flo file, or truncated.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the flow file {os.fspath(path)!r}: {error}.") from error
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != np.float32(FLO_MAGIC):
        raise DataError(
            f"{os.fspath(path)!r} is no .flo file: it does not begin with {FLO_MAGIC} as a float, "
            "a width and a height."
        )
    width, height = (int(x) for x in np.frombuffer(content, "<i4", 2, offset=4))
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or len(content) != expected:
        raise DataError(
            f"{os.fspath(path)!r} says that it holds {width} x {height} vectors, which take "
            f"{expected} bytes, but it has {len(content)}: it is truncated or damaged."
        )
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)


def colour_wheel() -> np.ndarray:
    """The 55 colours [55, 3] in [0, 255] that stand for directions; the first, red, is right."""
    segments = [
        255.0 * start + (end - start) * np.floor(255.0 * np.arange(steps)[:, None] / steps)
        for start, end, steps in zip(_PURE[:-1], _PURE[1:], _STEPS, strict=True)
    ]
    return np.concatenate(segments)


def max_magnitude(flow: np.ndarray) -> float:
    """The length of the longest known vector of a flow [y, x, 2]."""
    length = np.hypot(flow[..., 0], flow[..., 1])
    return float(np.max(length, where=_is_known(flow), initial=0.0))


def flow_to_colours(flow: np.ndarray, max_flow: float | None = None) -> np.ndarray:
    """Paints flow as the Middlebury benchmark does: hue for direction, saturation for length.

    Args:
      flow: [y, x, 2] in pixels.
      max_flow: the length that has full saturation, longer vectors being darker; None: the longest.

    Returns:
      uint8 [y, x, 3]: no motion is white, unknown flow (NaN, or above 1e9) black.
    """
    known = _is_known(flow)
    scale = max_magnitude(flow) if max_flow is None else max_flow
    flow = np.where(known[..., None], flow, 0.0) / max(scale, np.finfo(np.float64).eps)
    x, y = flow[..., 0], flow[..., 1]
    wheel = colour_wheel()
    # Minus zero would be the angle +pi, a little off red, where plus zero is red.
    angle = np.arctan2(-(y + 0.0), -(x + 0.0)) / np.pi  # [-1, 1]
    position = (angle + 1.0) / 2.0 * (len(wheel) - 1)
    index = np.floor(position).astype(int)
    between = (position - index)[..., None]
    hue = (1.0 - between) * wheel[index] + between * wheel[(index + 1) % len(wheel)]
    radius = np.hypot(x, y)[..., None]
    # A hair of tolerance, so that the longest vector itself is not rounded into the darker ones.
    inside = radius <= 1.0 + 1e-6
    colours = np.where(inside, 255.0 - np.minimum(radius, 1.0) * (255.0 - hue), 0.75 * hue)
    return np.where(known[..., None], np.floor(colours + 1e-6), 0.0).astype(np.uint8)


class Warped(NamedTuple):
    """The second frame, pulled back to the first by the flow."""

    image: np.ndarray  # [y, x, c] float32; zero where the flow leads out of the frame.
    inside: np.ndarray  # [y, x] bool: whether the flow stays in the frame.


def warp(image: np.ndarray, flow: np.ndarray) -> Warped:
    """Samples `image` where the flow leads: `warped[y, x] = image[y + v, x + u]`, bilinearly.

    With the right flow, the second frame warped so looks like the first, except where the first
    shows what the second hides.

    Args:
      image: [y, x, c], the second frame.
      flow: [y, x, 2] in pixels, from the first to the second.
    """
    height, width = image.shape[:2]
    if flow.shape != (height, width, 2):
        raise DataError(f"an image of {image.shape} cannot be warped by a flow of {flow.shape}.")
    flow = np.where(_is_known(flow)[..., None], flow, np.inf)
    x = np.arange(width) + flow[..., 0].astype(np.float64)
    y = np.arange(height)[:, None] + flow[..., 1].astype(np.float64)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.where(inside, x, 0.0), np.where(inside, y, 0.0)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    image = image.astype(np.float32)
    upper = (1 - across) * image[top, left] + across * image[top, right]
    lower = (1 - across) * image[bottom, left] + across * image[bottom, right]
    warped = (1 - down) * upper + down * lower
    return Warped(np.where(inside[..., None], warped, 0.0).astype(np.float32), inside)


class FlowCheck(NamedTuple):
    """How well the flow explains the second frame by the first, without knowing the true flow."""

    before: float  # Mean |first - second|, in grey levels; over the pixels that stay in the frame.
    after: float  # Mean |first - warped second|, over the same pixels. NaN if there are none.
    picture: np.ndarray  # uint8 [y, 3 x, 3]: first, warped second, their difference side by side.


def check_flow(first: np.ndarray, second: np.ndarray, flow: np.ndarray) -> FlowCheck:
    """Warps the second frame by the flow and compares it with the first.

    Args:
      first: [y, x, 3] in [0, 255].
      second: the same of the next frame.
      flow: [y, x, 2] in pixels.
    """
    warped = warp(second, flow)
    first, second = first.astype(np.float32), second.astype(np.float32)
    unlike = np.where(warped.inside[..., None], np.abs(first - warped.image), 0.0)
    count = int(warped.inside.sum()) * first.shape[-1]
    before = np.abs(first - second)[warped.inside].sum(dtype=np.float64)
    after = unlike.sum(dtype=np.float64)
    picture = np.concatenate([first, warped.image, unlike], axis=1)
    return FlowCheck(
        before / count if count else float("nan"),
        after / count if count else float("nan"),
        np.clip(np.round(picture), 0, 255).astype(np.uint8),
    )


def _is_known(flow: np.ndarray) -> np.ndarray:
    """[y, x]: whether both components are numbers that mean something."""
    return (np.abs(flow) < UNKNOWN_FLOW).all(axis=-1)  # False for NaN, too.
