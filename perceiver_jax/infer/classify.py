"""Images, or clouds of points, to class names: `classify`.

And models at other resolutions: `interpolate_positions`.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import jax.numpy as jnp
import numpy as np

from perceiver_jax import zoo
from perceiver_jax.data.images.resize import resize
from perceiver_jax.errors import ModelError
from perceiver_jax.infer import class_names
from perceiver_jax.infer.loaded import LoadedModel
from perceiver_jax.typing import Params

_TABLE = "trainable_position_encoding"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class that an image may show, or that a cloud may be of."""

    name: str
    index: int
    probability: float


def classify(
    loaded: LoadedModel,
    images: Iterable[np.ndarray],  # Each [y, x, c], as `images.prepare` makes them; see below.
    *,
    top_k: int = 5,
    batch_size: int = 8,
) -> list[tuple[Prediction, ...]]:
    """Names what images show, or clouds of points.

    Args:
      loaded: a classifier.
      images: for a classifier of images, all of one size; for one of clouds, [n, 3] each, as
        `clouds.read_cloud` reads them, of any number of points that the model takes.
      top_k: how many classes to name for each; at most all.
      batch_size: how many to compute at a time, of one size.

    Returns:
      For each its `top_k` classes, the most probable first.

    Raises:
      ModelError: the images do not fit the model.
    """
    return list(classify_each(loaded, images, top_k=top_k, batch_size=batch_size))


def classify_each(
    loaded: LoadedModel,
    images: Iterable[np.ndarray],
    *,
    top_k: int = 5,
    batch_size: int = 8,
) -> Iterator[tuple[Prediction, ...]]:
    """The same as `classify`, as an iterator that holds no more than a batch of images."""
    names: tuple[str, ...] | None = None
    for rows in _logits(loaded, images, batch_size):
        for row in rows:
            if names is None:
                names = class_names.for_outputs(len(row), loaded.class_names)
            yield top(row, names, top_k)


def top(logits: np.ndarray, names: tuple[str, ...], top_k: int) -> tuple[Prediction, ...]:
    """The most probable of the classes that logits [classes] are about."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple(Prediction(names[i], int(i), float(probabilities[i])) for i in order)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, in float64."""
    shifted = np.asarray(logits, np.float64)
    exponentials = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _logits(
    loaded: LoadedModel, images: Iterable[np.ndarray], batch_size: int
) -> Iterator[np.ndarray]:
    """Yields the logits [at most batch_size, classes] of batches of images."""
    compiled_for: dict[tuple[int, ...], int] = {}  # Images at a time, by the shape of one.
    for batch in batches(images, batch_size):
        # A smaller batch is filled up to the size of those before it, to compile nothing twice.
        shape = np.shape(batch[0])
        filled = np.stack([*batch, *[batch[-1]] * (compiled_for.get(shape, 0) - len(batch))])
        compiled_for[shape] = len(filled)
        logits = np.asarray(loaded.apply(filled))
        if logits.ndim != 2:
            raise ModelError(f"a classifier gives one row an image; got shape {logits.shape}.")
        yield logits[: len(batch)]


def batches(items: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Yields lists of `size` items of one shape; the last of each shape may be shorter."""
    if size < 1:
        raise ValueError(f"batch_size={size} must be at least 1.")
    batch: list[np.ndarray] = []
    for item in items:
        if batch and np.shape(item) != np.shape(batch[0]):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def image_shape(config: zoo.ModelConfig) -> tuple[int, int]:
    """Height and width of the images that a classifier reads.

    Raises:
      ModelError: it does not read single images, RGB or greyscale.
    """
    height, width, _ = _image_shape(config)
    return height, width


def image_channels(config: zoo.ModelConfig) -> int:
    """3 for a classifier of RGB images, 1 for one of greyscale.

    Raises:
      ModelError: it does not read single images, RGB or greyscale.
    """
    return _image_shape(config)[2]


def _image_shape(config: zoo.ModelConfig) -> tuple[int, int, int]:
    image = config if isinstance(config, zoo.BaselineConfig) else config.preprocessor
    of_points = isinstance(image, zoo.BaselineConfig) and image.of_points
    if (
        not isinstance(image, zoo.ImageConfig | zoo.BaselineConfig)
        or of_points
        or len(image.shape) != 2
    ):
        raise ModelError("this model reads no single images.")
    if image.channels not in (1, 3):
        raise ModelError(
            f"this model reads images of {image.channels} channels, and image files are read as "
            "RGB or greyscale; give arrays to perceiver_jax.infer.classify.classify instead."
        )
    height, width = image.shape
    return height, width, image.channels


def interpolate_positions(
    params: Params, config: zoo.PerceiverConfig, shape: tuple[int, int]
) -> tuple[Params, zoo.PerceiverConfig]:
    """Fits an image model with learned positions to images of another size.

    The table of positions is resized bicubically, as an image whose pixels are its rows. This is
    what Hugging Face does with `interpolate_pos_encoding=True`.

    Args:
      params: of a model of `config`; not changed.
      config: an image model.
      shape: height and width of the images to come.

    Returns:
      The new parameters and config; for Fourier positions, which know every size, only the config
      is new.

    Raises:
      ModelError: not an image model.
    """
    image = config.preprocessor
    if not isinstance(image, zoo.ImageConfig) or len(image.shape) != 2:
        raise ModelError("only models of single images have positions to interpolate.")
    resized = dataclasses.replace(image, shape=shape)
    if isinstance(image.position, zoo.FourierConfig) and image.position.max_resolution is None:
        # The bands that the model was trained with, which go by its own grid where none is named.
        position = dataclasses.replace(image.position, max_resolution=image.index_dims)
        resized = dataclasses.replace(resized, position=position)
    new_config = dataclasses.replace(config, preprocessor=resized)
    if not isinstance(image.position, zoo.LearnedConfig):
        return params, new_config
    (module,) = [
        name
        for name in params
        if name.startswith("image_preprocessor/") and name.endswith("/" + _TABLE)
    ]
    table = np.asarray(params[module]["pos_embs"])
    height, width = image.index_dims
    new_height, new_width = resized.index_dims
    grid = resize(table.reshape(height, width, -1), (new_height, new_width))
    rows = jnp.asarray(grid.reshape(new_height * new_width, -1), table.dtype)
    return {**params, module: {**params[module], "pos_embs": rows}}, new_config


def at_resolution(
    loaded: LoadedModel, shape: tuple[int, int], *, interpolate: bool = False
) -> LoadedModel:
    """Returns the model for images of another size.

    Args:
      loaded: an image classifier.
      shape: height and width of the images to come.
      interpolate: whether a table of learned positions may be interpolated.

    Raises:
      ModelError: the model has learned positions, and `interpolate` is false; or only one size.
    """
    config = loaded.config
    image = config if isinstance(config, zoo.BaselineConfig) else config.preprocessor
    if not isinstance(image, zoo.ImageConfig | zoo.BaselineConfig) or len(image.shape) != 2:
        raise ModelError("only models of single images work at other resolutions.")
    if shape == image.shape:
        return loaded
    height, width = image.shape
    if isinstance(config, zoo.BaselineConfig):
        raise ModelError(f"a {config.what} of {height} x {width} pixels has but one size.")
    if isinstance(image.position, zoo.LearnedConfig) and not interpolate:
        raise ModelError(
            f"this model learned the positions of {height} x {width} pixels and knows no others; "
            "--interpolate_positions stretches them to another size."
        )
    params, new_config = interpolate_positions(loaded.params, config, shape)
    return dataclasses.replace(loaded, model=zoo.build(new_config), params=params)
