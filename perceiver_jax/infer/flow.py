"""Optical flow between two frames of any size, tile by tile (Perceiver IO, Sec. 4.2 and App. H).

The model sees tiles of one size. Tiles overlap, and where they do their flows are averaged, each
with a weight that falls towards the tile's edges. Every tile is encoded once and decoded a chunk of
its pixels after the other, all with the same two compiled programs.
"""

import collections
import itertools
from collections.abc import Callable

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.errors import ModelError
from perceiver_jax.infer.chunks import chunks_of
from perceiver_jax.infer.loaded import LoadedModel, check_task
from perceiver_jax.infer.progress import progress

# The released models were trained on flows divided by this.
FLOW_SCALE_FACTOR = 20.0
# Pixels by which neighbouring tiles overlap at least, as in the released procedure.
OVERLAP = 20
# Pixels decoded at a time.
CHUNK_SIZE = 2**14

# Takes the same tile of both frames [y, x, 3] in [0, 255]; returns its flow [y, x, 2] in pixels.
TilePredictor = Callable[[np.ndarray, np.ndarray], np.ndarray]


def predict_flow(
    loaded: LoadedModel,
    first: np.ndarray,
    second: np.ndarray,
    *,
    overlap: int | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> np.ndarray:
    """Predicts where the pixels of one frame are in the next.

    The result does not depend on `chunk_size`, and memory not on the size of the frames.

    Args:
      loaded: an optical flow model.
      first: [y, x, 3] RGB, uint8 or float, in [0, 255].
      second: the next frame, of the same shape.
      overlap: pixels by which tiles overlap at least; None: 20 as released, or half a tile where
        that is less.
      chunk_size: pixels of a tile that are decoded at a time.

    Returns:
      The flow [y, x, 2] in pixels, float32: channel 0 is the motion to the right, 1 downwards.

    Raises:
      ModelError: the model is of another kind, or the frames do not fit it.
    """
    size = tile_size(loaded.config)
    if overlap is None:
        overlap = min(OVERLAP, min(size) // 2)

    def predict(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        frames = np.stack([first, second]).astype(np.float32)
        return predict_tile(loaded, frames / 255.0 * 2.0 - 1.0, chunk_size=chunk_size)

    return flow_by_tiles(predict, first, second, size=size, overlap=overlap)


def predict_tile(
    loaded: LoadedModel, frames: np.ndarray, *, chunk_size: int = CHUNK_SIZE
) -> np.ndarray:
    """Predicts the flow of one tile: encoded once, decoded in chunks.

    Args:
      loaded: an optical flow model.
      frames: [2, y, x, 3] in [-1, 1], of the model's own size.
      chunk_size: see `predict_flow`.

    Returns:
      The flow [y, x, 2] in pixels, float32.
    """
    height, width = frames.shape[1:3]
    encoded = loaded.encode(frames[None])
    flow = np.empty((height * width, 2), np.float32)
    for points in chunks_of(height * width, chunk_size):
        chunk = loaded.decode(encoded, subsampled_output_points=points)
        # Points repeated to fill a chunk up are written twice, with equal values.
        flow[points] = np.asarray(chunk).reshape(-1, 2)
    return flow.reshape(height, width, 2) * FLOW_SCALE_FACTOR


def tile_size(config: zoo.ModelConfig) -> tuple[int, int]:
    """Returns height and width of the frames that an optical flow model was made for.

    Raises:
      ModelError: it is no optical flow model of two frames.
    """
    check_task(config, "flow")
    assert isinstance(config, zoo.PerceiverConfig)
    decoder, preprocessor = config.decoder, config.preprocessor
    assert isinstance(decoder, zoo.FlowDecoderConfig)
    if not isinstance(preprocessor, zoo.ImageConfig) or preprocessor.shape != (2, *decoder.shape):
        raise ModelError(
            f"flow of {decoder.shape} pixels needs a model that reads two frames of that size; "
            f"this one has preprocessor {preprocessor}."
        )
    return decoder.shape


def flow_by_tiles(
    predict: TilePredictor,
    first: np.ndarray,
    second: np.ndarray,
    *,
    size: tuple[int, int],
    overlap: int = OVERLAP,
) -> np.ndarray:
    """Joins the flows of tiles, as the released procedure does, each tile predicted once.

    Args:
      predict: see `TilePredictor`.
      first: [y, x, 3] in [0, 255].
      second: of the same shape.
      size: height and width of a tile.
      overlap: pixels by which tiles overlap at least.

    Returns:
      The flow [y, x, 2] in pixels, float32.

    Raises:
      ModelError: the frames are smaller than a tile, differ in shape, or are no RGB images.
    """
    first, second = _checked_frame(first, "first"), _checked_frame(second, "second")
    if first.shape != second.shape:
        raise ModelError(
            f"the two frames must have the same size; the first has {first.shape[:2]} pixels "
            f"(height, width), the second {second.shape[:2]}."
        )
    _check_fits(first.shape[:2], size)
    rows = tile_positions(first.shape[0], size[0], overlap)
    columns = tile_positions(first.shape[1], size[1], overlap)
    weights = feathering_weights(size)
    height, width = size
    total_flow = np.zeros((*first.shape[:2], 2))
    total_weight = np.zeros((*first.shape[:2], 1))
    tiles = list(itertools.product(rows.items(), columns.items()))
    for (y, y_count), (x, x_count) in progress(tiles, "tiles"):
        window = (slice(y, y + height), slice(x, x + width))
        weight = weights[..., None] * (y_count * x_count)
        total_flow[window] += weight * predict(first[window], second[window])
        total_weight[window] += weight
    return (total_flow / total_weight).astype(np.float32)


def tile_positions(length: int, tile: int, overlap: int) -> dict[int, int]:
    """Places tiles along one axis: `{first pixel: how often the tile counts}`.

    The released procedure goes in steps of `tile - overlap`, and moves the last tile back so that
    it ends with the image. NOTE(fidelity): where `length - overlap` is a multiple of the step, the
    last tile then is the one before it again. The released code predicts that tile twice, and so
    gives it twice the weight against its other neighbour; here it is predicted once and counts
    twice. Where the tile before the last would stick out of the image (`length` is less than
    `overlap` beyond a multiple of the step) the released code fails; here that tile, which the
    last one covers, is left out.

    Args:
      length: pixels of the image along the axis, at least `tile`.
      tile: pixels of a tile.
      overlap: pixels by which tiles overlap at least.

    Raises:
      ModelError: `overlap` is not between 0 and `tile`.
    """
    if not 0 <= overlap < tile:
        raise ModelError(
            f"tiles of {tile} pixels cannot overlap by {overlap}; give 0 to {tile - 1}."
        )
    starts = list(range(0, length, tile - overlap))
    starts[-1] = length - tile
    counts = collections.Counter(start for start in starts if start <= length - tile)
    return dict(sorted(counts.items()))


def feathering_weights(size: tuple[int, int]) -> np.ndarray:
    """Weights [y, x] of a tile's pixels: the distance to its nearest edge, 1 on the edge."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    return np.minimum(np.minimum(y + 1, height - y), np.minimum(x + 1, width - x)).astype(float)


def _check_fits(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    if shape[0] < size[0] or shape[1] < size[1]:
        raise ModelError(
            f"frames of {shape[0]} x {shape[1]} pixels (height x width) are smaller than this "
            f"model's tiles of {size[0]} x {size[1]}; enlarge them, and divide the flow by the "
            "same factor."
        )


def _checked_frame(frame: np.ndarray, name: str) -> np.ndarray:
    frame = np.asarray(frame)
    if frame.ndim != 3 or frame.shape[-1] != 3:
        raise ModelError(
            f"the {name} frame must be an RGB image [y, x, 3]; got an array of shape {frame.shape}."
        )
    # Written so that NaN fails too.
    if frame.size and not (frame.min() >= 0 and frame.max() <= 255):
        raise ModelError(
            f"the {name} frame's values must be in [0, 255]; they go from {frame.min()} to "
            f"{frame.max()}."
        )
    return frame
