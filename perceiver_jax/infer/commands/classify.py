"""predict --task=classify: what images show, or what clouds of points are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from perceiver_jax.infer.commands import cloud_inputs
from perceiver_jax.infer.commands.inputs import (
    CLOUD_FLAGS,
    list_inputs,
    refuse_flags,
    with_class_names,
)

if TYPE_CHECKING:
    import numpy as np

    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_integer("top_k", 5, "How many classes to name.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 8, "How many inputs to compute at a time.", lower_bound=1)
    define_image_flags()
    cloud_inputs.define_flags()
    flags.adopt_module_key_flags(cloud_inputs)  # So that --help shows them here.


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
    """Names what the files at `inputs`, or those in folders, show."""
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import classify
    from perceiver_jax.infer.clouds import reads_clouds
    from perceiver_jax.infer.progress import progress

    of_clouds = reads_clouds(loaded.config)
    loaded, paths, read = (_clouds if of_clouds else _images)(loaded, inputs, report)
    readable: list[str] = []

    def read_all() -> "Iterator[np.ndarray]":
        for path in progress(paths, "classify", len(paths)):
            try:
                array = read(path)
            except DataError as error:
                report.failure(error)
                continue
            readable.append(str(path))
            yield array

    found = classify.classify_each(
        loaded, read_all(), top_k=flags.FLAGS.top_k, batch_size=flags.FLAGS.batch_size
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


# The model as the flags have it, the files, and what reads one of them.
_Prepared = tuple["LoadedModel", list[Path], Callable[[Path], "np.ndarray"]]


def _images(loaded: "LoadedModel", inputs: list[str], report: "Report") -> _Prepared:
    from perceiver_jax.infer import classify, images

    loaded = prepare_model(loaded)
    shape = classify.image_shape(loaded.config)
    channels = classify.image_channels(loaded.config)

    def read(path: Path) -> "np.ndarray":
        image = images.read_image(path, channels=channels)
        return images.prepare(image, shape, flags.FLAGS.normalize)

    return loaded, find_images(inputs, report), read


def _clouds(loaded: "LoadedModel", inputs: list[str], report: "Report") -> _Prepared:
    loaded, read = cloud_inputs.prepare(loaded, report)
    return loaded, cloud_inputs.find_clouds(inputs, report), read


def find_images(inputs: list[str], report: "Report") -> list[Path]:
    """Lists the image files at `inputs`; what is missing or has none is a failure of its own."""
    from perceiver_jax.infer import images

    return list_inputs(inputs, report, images.find_images)


def prepare_model(loaded: "LoadedModel") -> "LoadedModel":
    """Applies the flags of `define_image_flags` to a model.

    Raises:
      ConfigError: --image_size is no size, or there are flags about clouds of points.
      ModelError: the model cannot work at that size, or with that --normalize.
      DataError: the class names cannot be read.
    """
    import numpy as np

    from perceiver_jax.infer import classify, images

    refuse_flags(CLOUD_FLAGS, "clouds of points", "images")
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
    return with_class_names(loaded)


def _size(texts: list[str]) -> tuple[int, int]:
    """Reads HEIGHT,WIDTH, or one number for a square."""
    from perceiver_jax.errors import ConfigError

    numbers = [int(text) for text in texts if text.strip().isdecimal()]
    if len(texts) not in (1, 2) or len(numbers) != len(texts) or 0 in numbers:
        raise ConfigError(
            f"--image_size={','.join(texts)} is no size; give HEIGHT,WIDTH, such as 384,384."
        )
    return numbers[0], numbers[-1]
