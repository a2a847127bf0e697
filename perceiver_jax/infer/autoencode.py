"""Autoencoding of video with sound (Perceiver IO, Sec. 4.3 and App. I).

A piece of 16 frames is encoded once, and its pixels and sound are decoded in chunks: all of them at
once would be 804,737 queries. (The released procedure encodes the piece again for every chunk.)
"""

import math
from typing import NamedTuple

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.errors import ModelError
from perceiver_jax.infer.chunks import chunks_of
from perceiver_jax.infer.classify import softmax
from perceiver_jax.infer.loaded import LoadedModel, check_task
from perceiver_jax.infer.progress import progress

# Chunks that a piece is decoded in, as released: 6,272 pixels and 15 patches of sound each.
NUM_CHUNKS = 128


class Autoencoded(NamedTuple):
    """A reconstruction, and what the model thinks was to be seen and heard."""

    frames: np.ndarray  # [t, y, x, 3] float32, nominally in [0, 1]; not clipped.
    audio: np.ndarray  # [samples, 1] float32, nominally in [-1, 1]; not clipped.
    probabilities: np.ndarray | None  # [pieces, classes]; None for models without a label.


class PieceLayout(NamedTuple):
    """What a video autoencoder reads and writes, from its config."""

    image: str  # The modalities' names.
    audio: str
    label: str | None
    num_frames: int
    size: tuple[int, int]  # Height and width of a frame.
    samples_per_frame: int
    num_pixels: int  # Output queries of the image.
    num_patches: int  # Output queries of the sound.
    num_classes: int  # Of the label; 0 without one.


def autoencode(
    loaded: LoadedModel,
    frames: np.ndarray,
    audio: np.ndarray | None = None,
    *,
    num_chunks: int = NUM_CHUNKS,
) -> Autoencoded:
    """Reconstructs a video through the latents, and classifies it.

    Longer videos are pieces of 16 frames that know nothing of each other; the last piece is filled
    up with its last frame and with silence, and the reconstruction of that is cut off. The label is
    never shown to the model. The result does not depend on `num_chunks`.

    NOTE(fidelity): outputs are always decoded by their indices, even in a single chunk, because
    the released model places queries given by index otherwise than a whole grid of them
    (`model.position_encoding.subsampled_positions`), and it was trained on the former.

    Args:
      loaded: a video autoencoder.
      frames: [t, y, x, 3] RGB in [0, 1], of the model's height and width.
      audio: [samples, 1] in [-1, 1], as many samples for each frame as the model has (1,920); None:
        silence.
      num_chunks: number of chunks that a piece is decoded in; more take less memory.

    Raises:
      ModelError: the model is of another kind, or the video does not fit it.
    """
    layout = piece_layout(loaded.config)
    frames = np.asarray(frames)
    per_frame, length = layout.samples_per_frame, layout.num_frames
    if audio is None:
        audio = np.zeros((len(frames) * per_frame, 1), np.float32)
    _check_video(frames, audio, layout)
    if num_chunks < 1:
        raise ModelError(f"num_chunks must be at least 1; got {num_chunks}.")

    pieces = []
    for start in range(0, len(frames), length):
        piece = frames[start : start + length].astype(np.float32)
        sound = audio[start * per_frame : (start + length) * per_frame].astype(np.float32)
        missing = length - len(piece)
        piece = np.pad(piece, [(0, missing), (0, 0), (0, 0), (0, 0)], mode="edge")
        sound = np.pad(sound, [(0, missing * per_frame), (0, 0)])
        pieces.append(autoencode_piece(loaded, layout, piece, sound, num_chunks))
    labels = [piece.probabilities for piece in pieces if piece.probabilities is not None]
    return Autoencoded(
        np.concatenate([piece.frames for piece in pieces])[: len(frames)],
        np.concatenate([piece.audio for piece in pieces])[: len(frames) * per_frame],
        np.concatenate(labels) if labels else None,
    )


def autoencode_piece(
    loaded: LoadedModel,
    layout: PieceLayout,
    frames: np.ndarray,
    audio: np.ndarray,
    num_chunks: int,
) -> Autoencoded:
    """Reconstructs one piece, [t, y, x, 3] and [samples, 1] of the model's own size; unchecked."""
    # The label is left out, which stands for one that is masked.
    encoded = loaded.encode({layout.image: frames[None], layout.audio: audio[None]})
    num_chunks = min(num_chunks, layout.num_pixels)
    pixels = chunks_of(layout.num_pixels, -(-layout.num_pixels // num_chunks))
    patches = chunks_of(layout.num_patches, -(-layout.num_patches // num_chunks))
    # Rounding up, a modality may be through in fewer chunks; others then go on with its last one.
    steps = max(len(pixels), len(patches))
    image = np.empty((layout.num_pixels, 3), np.float32)
    sound = np.empty((layout.num_patches, audio.size // layout.num_patches), np.float32)
    probabilities = None
    for step in progress(range(steps), "chunks"):
        points = {
            layout.image: pixels[min(step, len(pixels) - 1)],
            layout.audio: patches[min(step, len(patches) - 1)],
        }
        outputs = loaded.decode(encoded, subsampled_output_points=points)
        assert isinstance(outputs, dict)
        # Points repeated to fill a chunk up are written twice, with equal values.
        image[points[layout.image]] = np.asarray(outputs[layout.image]).reshape(-1, 3)
        sound[points[layout.audio]] = np.asarray(outputs[layout.audio]).reshape(
            len(points[layout.audio]), -1
        )
        if probabilities is None and layout.label is not None:
            probabilities = softmax(np.asarray(outputs[layout.label]))  # Equal in all.
    return Autoencoded(image.reshape(frames.shape), sound.reshape(-1, 1), probabilities)


def piece_layout(config: zoo.ModelConfig) -> PieceLayout:
    """Finds out what a video autoencoder reads and writes.

    Raises:
      ModelError: the model is no autoencoder of video with sound.
    """
    check_task(config, "autoencode")
    assert isinstance(config, zoo.PerceiverConfig)
    assert isinstance(config.decoder, zoo.MultimodalDecoderConfig)
    if not isinstance(config.preprocessor, zoo.MultimodalConfig):
        raise ModelError("autoencoding needs a model that reads several modalities.")
    modalities = config.preprocessor.modalities
    queries = config.decoder.queries
    images = [
        name
        for name, modality in modalities.items()
        if isinstance(modality, zoo.ImageConfig) and len(modality.shape) == 3
    ]
    sounds = [name for name, each in modalities.items() if isinstance(each, zoo.AudioConfig)]
    labels = {
        name: each.num_classes
        for name, each in modalities.items()
        if isinstance(each, zoo.LabelConfig)
    }
    if len(images) != 1 or len(sounds) != 1 or len(labels) > 1 or set(queries) != set(modalities):
        raise ModelError(
            "autoencoding needs a model that reads and writes one video, one sound and at most "
            f"one label; this one reads {dict(modalities)} and writes {sorted(queries)}."
        )
    masks, label = config.preprocessor.mask_probabilities, next(iter(labels), None)
    if label is not None and (masks is None or masks[label].evaluation != 1.0):
        raise ModelError(
            f"this model reads the label {label!r} instead of predicting it; its mask "
            "probability in evaluation must be 1."
        )
    video, sound = modalities[images[0]], modalities[sounds[0]]
    assert isinstance(video, zoo.ImageConfig) and isinstance(sound, zoo.AudioConfig)
    num_frames, height, width = video.shape
    if sound.num_samples % num_frames or queries[images[0]].shape != tuple(video.shape):
        raise ModelError(
            f"autoencoding needs the same number of samples for each frame, and an output for each "
            f"pixel; this model has {sound.num_samples} samples for {num_frames} frames, and "
            f"outputs {queries[images[0]].shape} for pixels {video.shape}."
        )
    return PieceLayout(
        image=images[0],
        audio=sounds[0],
        label=label,
        num_frames=num_frames,
        size=(height, width),
        samples_per_frame=sound.num_samples // num_frames,
        num_pixels=math.prod(video.shape),
        num_patches=math.prod(queries[sounds[0]].shape),
        num_classes=sum(labels.values()),
    )


class PSNRMeter:
    """Peak signal-to-noise ratio in dB, `10 log10(1 / MSE)`, of arrays that come piece by piece.

    The peak is 1: the largest value of pixels in [0, 1], the largest amplitude of sound in [-1, 1].
    The paper does not say which peaks its Table 4 has; with the span of 2 as the peak of sound, its
    figure would be 6.02 dB more. Nothing is clipped first.
    """

    def __init__(self) -> None:
        self._squares = 0.0
        self._count = 0

    def add(self, original: np.ndarray, reconstruction: np.ndarray) -> None:
        """Counts a piece."""
        difference = np.asarray(original, np.float64) - np.asarray(reconstruction, np.float64)
        self._squares += float(np.square(difference).sum())
        self._count += difference.size

    @property
    def value(self) -> float:
        """The ratio so far; infinite if nothing differs, NaN if there was nothing."""
        if not self._count:
            return math.nan
        return -10.0 * math.log10(self._squares / self._count) if self._squares else math.inf


def psnr(original: np.ndarray, reconstruction: np.ndarray) -> float:
    """The peak signal-to-noise ratio in dB of whole arrays; see `PSNRMeter`."""
    meter = PSNRMeter()
    meter.add(original, reconstruction)
    return meter.value


def _check_video(frames: np.ndarray, audio: np.ndarray, layout: PieceLayout) -> None:
    expected = (*layout.size, 3)
    if frames.ndim != 4 or frames.shape[1:] != expected or not len(frames):
        raise ModelError(
            f"this model reads frames [t, {', '.join(map(str, expected))}]; got an array of shape "
            f"{frames.shape}."
        )
    if audio.shape != (len(frames) * layout.samples_per_frame, 1):
        raise ModelError(
            f"{len(frames)} frames need sound [{len(frames) * layout.samples_per_frame}, 1], "
            f"{layout.samples_per_frame} samples a frame; got an array of shape {audio.shape}."
        )
    for name, array, low in (("frames", frames, 0.0), ("sound", audio, -1.0)):
        # Written so that NaN fails too.
        if not (array.min() >= low and array.max() <= 1.0):
            raise ModelError(
                f"the {name} must be in [{low:g}, 1]; they go from {array.min()} to {array.max()}."
            )
