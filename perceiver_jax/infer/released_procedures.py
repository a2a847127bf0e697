"""Does with a model what others did when they published its outputs, and compares.

The inputs are made as Hugging Face makes them, which differs from the released procedure that
`classify` and `fill_mask` follow (docs/FIDELITY.md).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from perceiver_jax.infer import autoencode, class_names, classify, fill_mask, flow
from perceiver_jax.infer import released_expectations as published
from perceiver_jax.infer.images import MEAN, STDDEV
from perceiver_jax.infer.loaded import LoadedModel
from perceiver_jax.model import tokenizer


class Outcome(NamedTuple):
    """One check. It passes where `difference` is within `tolerance` and `rounding`."""

    check: str
    passed: bool
    difference: float | None = None  # Where it is largest, compared with what is allowed there.
    tolerance: float | None = None  # That was published, there.
    rounding: float | None = None  # Allowed besides; see `Numbers`.
    reason: str = ""


# Finds a picture [y, x, 3] uint8, or raises DataError.
ReadPicture = Callable[[published.Picture], np.ndarray]


def check(
    loaded: LoadedModel, procedure: published.Procedure, read_picture: ReadPicture
) -> Iterator[Outcome]:
    """Runs a procedure.

    Args:
      loaded: a model of the kind that the procedure is for, with Hugging Face's numerics.
      procedure: what to do, and what should come of it.
      read_picture: is asked for the picture that the procedure needs, if any.

    Yields:
      The outcome of every check.

    Raises:
      DataError: from `read_picture`.
      ModelError: the model does not fit the procedure.
    """
    # What an accelerator does with float32 otherwise would be as large as the tolerances.
    with jax.default_matmul_precision("highest"):
        if isinstance(procedure, published.Texts):
            for text in procedure.texts:
                yield from _check_text(loaded, text)
        elif isinstance(procedure, published.Image):
            yield from _check_image(loaded, procedure, read_picture(procedure.picture))
        elif isinstance(procedure, published.Flow):
            yield from _check_flow(loaded, procedure, read_picture(procedure.picture))
        else:
            yield from _check_autoencoding(loaded, procedure)


def _check_text(loaded: LoadedModel, expected: published.Text) -> Iterator[Outcome]:
    ids, mask = fill_mask.pad(
        fill_mask.encode(expected.text),
        fill_mask.text_length(loaded.config),
        special_tokens=expected.special_tokens,
    )
    masked = slice(*expected.masked)
    ids[masked] = tokenizer.MASK
    logits = np.asarray(loaded.apply(ids[None], mask[None]))
    yield compare(f"logits, {expected.name}", logits, expected.shape, expected.logits)
    found = logits[0, masked].argmax(axis=-1)
    # A model of other sizes may predict what is no byte; it fails all the same.
    wrong = int(np.sum(found != np.asarray(expected.predicted))) + int(np.isnan(logits).any())
    yield Outcome(
        f"prediction, {expected.name}",
        passed=wrong == 0,
        difference=float(wrong),
        tolerance=0.0,
        reason=""
        if wrong == 0
        else f"predicted {tokenizer.decode(found)!r} (ids {found.tolist()}), and "
        f"{tokenizer.decode(np.asarray(expected.predicted))!r} was published",
    )


def _check_image(
    loaded: LoadedModel, expected: published.Image, picture: np.ndarray
) -> Iterator[Outcome]:
    image = prepare_image(picture, classify.image_shape(loaded.config))
    logits = np.asarray(loaded.apply(image[None]))
    yield compare("logits", logits, expected.shape, expected.logits)
    names = class_names.for_outputs(logits.shape[-1])
    top = classify.top(logits[0], names, len(expected.top))
    found = tuple(each.name for each in top)
    probabilities = np.array([each.probability for each in top])
    outcome = compare(
        f"top {len(expected.top)}",
        probabilities[None],
        (1, len(expected.top)),
        expected.probabilities,
    )
    if found != expected.top:
        reason = f"classes are {'; '.join(found)}; published were {'; '.join(expected.top)}"
        outcome = outcome._replace(passed=False, reason=reason)
    yield outcome


def _check_flow(
    loaded: LoadedModel, expected: published.Flow, picture: np.ndarray
) -> Iterator[Outcome]:
    height, width = flow.tile_size(loaded.config)
    frame = picture[:height, :width].astype(np.float32) / 255.0 * 2.0 - 1.0
    outputs = flow.predict_tile(loaded, np.stack([frame, frame])) / flow.FLOW_SCALE_FACTOR
    yield compare("outputs", outputs[None], expected.shape, expected.outputs)


def _check_autoencoding(loaded: LoadedModel, expected: published.Autoencoding) -> Iterator[Outcome]:
    layout = autoencode.piece_layout(loaded.config)
    # Any video will do. Noise, so that nothing is hidden by zeros.
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 1, (1, layout.num_frames, *layout.size, 3))
    samples = rng.uniform(-1, 1, (1, layout.num_frames * layout.samples_per_frame, 1))
    encoded = loaded.encode(
        {
            layout.image: frames.astype(np.float32),
            layout.audio: samples.astype(np.float32),
        }
    )
    outputs = loaded.decode(
        encoded,
        subsampled_output_points={
            layout.image: np.arange(expected.image_points, dtype=np.int32),
            layout.audio: np.arange(expected.audio_points, dtype=np.int32),
        },
    )
    assert isinstance(outputs, dict)
    shapes = {layout.image: expected.image, layout.audio: expected.audio}
    if layout.label is not None:
        shapes[layout.label] = expected.label
    found = {name: np.shape(array) for name, array in outputs.items()}
    wrong = sum(found.get(name) != shape for name, shape in shapes.items())
    yield Outcome(
        "shapes (no numbers are published)",
        passed=wrong == 0,
        difference=float(wrong),
        tolerance=0.0,
        reason="" if wrong == 0 else f"the outputs are {found}, and should be {shapes}",
    )
    strange = sum(int(np.sum(~np.isfinite(np.asarray(array)))) for array in outputs.values())
    yield Outcome(
        "outputs are finite",
        passed=strange == 0,
        difference=float(strange),
        tolerance=0.0,
        reason="" if strange == 0 else f"{strange} values are infinite or no numbers",
    )


def prepare_image(
    picture: np.ndarray,  # [y, x, 3], uint8
    size: tuple[int, int],  # Height and width that the model reads.
) -> np.ndarray:  # [*size, 3], float32
    """Prepares a picture as Hugging Face's PerceiverImageProcessor does, with Pillow.

    Its crop may lie one pixel beside the released one, and its resizing averages.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    side = int(224 / 256 * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    cropped = Image.fromarray(picture[top : top + side, left : left + side])
    resized = np.asarray(cropped.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return (resized.astype(np.float32) / 255.0 - MEAN / 255.0) / (STDDEV / 255.0)


def compare(
    check: str, found: np.ndarray, shape: tuple[int, ...], expected: published.Numbers
) -> Outcome:
    """Compares the first corner of the first example with published numbers.

    Args:
      check: its name.
      found: the whole output [1, ...].
      shape: that it should have.
      expected: the numbers.
    """
    if found.shape != shape:
        reason = f"the output's shape is {found.shape}, and should be {shape}"
        return Outcome(check, passed=False, reason=reason)
    values = np.asarray(expected.values, np.float64)
    corner = found[0][tuple(slice(size) for size in values.shape)].astype(np.float64)
    difference = np.abs(corner - values)
    tolerance = expected.atol + expected.rtol * np.abs(values)
    # NaN compares as false, and argmax finds it first.
    within = difference <= tolerance
    passed = bool((difference <= tolerance + expected.rounding).all())
    worst = np.unravel_index(np.argmax(difference / (tolerance + expected.rounding)), values.shape)
    reason = ""
    if not passed:
        reason = (
            f"the value at {tuple(map(int, worst))} is {corner[worst]:.6g}, and {values[worst]:g} "
            f"was published ({expected.source})"
        )
    elif not within.all():
        reason = "beyond the published tolerance, within what rounding may do"
    return Outcome(
        check,
        passed,
        float(difference[worst]),
        float(tolerance[worst]),
        expected.rounding,
        reason,
    )
