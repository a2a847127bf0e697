"""predict --task=classify: what images show."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    import numpy as np

    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_integer("top_k", 5, "How many classes to name.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 8, "How many images to compute at a time.", lower_bound=1)
    define_image_flags()


def define_image_flags() -> None:
    """Defines the flags of all tasks that read images for a classifier."""
    flags.DEFINE_list(
        "image_size",
        None,
        "HEIGHT,WIDTH to which crops are resized; other sizes than the model's own need Fourier "
        "positions, or --interpolate_positions.",
    )
    flags.DEFINE_bool(
        "interpolate_positions", False, "Stretches learned positions to another --image_size."
    )
    flags.DEFINE_enum(
        "normalize",
        None,
        ["imagenet", "unit", "symmetric"],
        "How pixels become what the model reads: imagenet, the mean and deviation that the "
        "released models were trained with; unit, values in [0, 1]; symmetric, in [-1, 1]. A "
        "checkpoint does not say what its model was trained on. Without it: imagenet for RGB and "
        "unit for greyscale models; models of the digits data set were trained on symmetric.",
    )
    flags.DEFINE_string(
        "class_names",
        None,
        "Text file with the names of the classes, one a line, in the order of the model's outputs. "
        "Known without it: those in the checkpoint, ImageNet's 1000, and Kinetics' 700.",
    )


def run(loaded: "LoadedModel", inputs: list[str], report: "Report") -> None:
    """Names what the images at `inputs`, files or folders, show."""
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import classify, images
    from perceiver_jax.infer.progress import progress

    loaded = prepare_model(loaded)
    shape = classify.image_shape(loaded.config)
    channels = classify.image_channels(loaded.config)
    paths = find_images(inputs, report)
    readable: list[str] = []

    def read() -> "Iterator[np.ndarray]":
        for path in progress(paths, "classify", len(paths)):
            try:
                image = images.read_image(path, channels=channels)
            except DataError as error:
                report.failure(error)
                continue
            readable.append(str(path))
            yield images.prepare(image, shape, flags.FLAGS.normalize)

    found = classify.classify_each(
        loaded, read(), top_k=flags.FLAGS.top_k, batch_size=flags.FLAGS.batch_size
    )
    for index, predictions in enumerate(found):
        record = {
            "input": readable[index],
            "predictions": [
                {"name": each.name, "index": each.index, "probability": each.probability}
                for each in predictions
            ],
        }
        lines = [f"{each.probability:8.2%}  {each.name} ({each.index})" for each in predictions]
        report.result(record, "\n".join([readable[index], *lines]))


def find_images(inputs: list[str], report: "Report") -> list[Path]:
    """Lists the image files at `inputs`; what is missing or has none is a failure of its own."""
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import images

    paths: list[Path] = []
    for each in inputs:
        try:
            found, notes = images.find_images([each])
        except DataError as error:
            report.failure(error)
            continue
        for note in notes:
            report.note(note)
        paths += found
    return paths


def prepare_model(loaded: "LoadedModel") -> "LoadedModel":
    """Applies the flags of `define_image_flags` to a model.

    Raises:
      ConfigError: --image_size is no size.
      ModelError: the model cannot work at that size, or with that --normalize.
      DataError: the class names cannot be read.
    """
    import dataclasses

    import numpy as np

    from perceiver_jax.infer import class_names, classify, images

    arguments = flags.FLAGS
    classify.image_shape(loaded.config)  # Refuses other models.
    # Refuses values that it cannot have been trained on, before any image is read.
    pixel = np.zeros((1, 1, classify.image_channels(loaded.config)), np.uint8)
    images.scale(pixel, arguments.normalize)
    if arguments.image_size is not None:
        loaded = classify.at_resolution(
            loaded,
            _size(arguments.image_size),
            interpolate=arguments.interpolate_positions,
        )
    if arguments.class_names is not None:
        names = class_names.read(arguments.class_names)
        loaded = dataclasses.replace(loaded, class_names=names)
    return loaded


def _size(texts: list[str]) -> tuple[int, int]:
    """Reads HEIGHT,WIDTH, or one number for a square."""
    from perceiver_jax.errors import ConfigError

    numbers = [int(text) for text in texts if text.strip().isdecimal()]
    if len(texts) not in (1, 2) or len(numbers) != len(texts) or 0 in numbers:
        raise ConfigError(
            f"--image_size={','.join(texts)} is no size; give HEIGHT,WIDTH, such as 384,384."
        )
    return numbers[0], numbers[-1]
