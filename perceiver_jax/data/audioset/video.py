"""The frames of a clip as a model reads them: cropped, flipped, in other colours, resized."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from perceiver_jax.data.audioset.colour import ColourChanges
from perceiver_jax.data.images.crop import EVAL_CROP, Box, RandomCrop, central_box
from perceiver_jax.data.images.resize import Method, resize
from perceiver_jax.errors import ConfigError

_RESIZE: Method = "opencv_linear"  # Frames are small already; bicubic takes twice as long.


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """What is done to frames. Whatever is random is drawn once for all frames of a clip.

    Training: an Inception crop, a flip, other colours (Perceiver, Sec. 4.2). Evaluation: the
    middle. Open: the sizes of crops, those of the ImageNet models; and the values, [-1, 1], in
    which a stream of zeros, one that is left out, is grey.
    """

    size: tuple[int, int] = (224, 224)  # Height and width that the model reads.
    crop: RandomCrop | None = RandomCrop()  # Of training clips; None: the evaluation's.
    flip: bool = True  # Mirror every other training clip, by chance.
    colour: ColourChanges | None = ColourChanges()  # Of training clips; None: not.
    eval_crop: float = EVAL_CROP  # Share of the shorter side that the evaluation keeps.

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ConfigError(
                f"data.video.size={self.size} must be a height and a width of at least 1."
            )
        if not 0 < self.eval_crop <= 1:
            raise ConfigError(
                f"data.video.eval_crop={self.eval_crop} must lie in (0, 1]; 1 keeps the whole "
                "shorter side."
            )

    def augmented(
        self,
        frames: Sequence[np.ndarray],  # [y, x, 3], uint8
        rng: np.random.Generator,
    ) -> np.ndarray:  # [t, height, width, 3], float32 in [-1, 1]
        """Returns frames changed at random; those that are the same array are changed once."""
        height, width, _ = frames[0].shape
        box = (
            self._middle(width, height) if self.crop is None else self.crop.draw(width, height, rng)
        )
        clip = self._resized(frames, box, mirrored=self.flip and bool(rng.integers(2)))
        return _normalized(clip if self.colour is None else self.colour(clip, rng))

    def evaluated(
        self,
        frames: Sequence[np.ndarray],  # [y, x, 3], uint8
    ) -> np.ndarray:  # [t, height, width, 3], float32 in [-1, 1]
        """Returns the middle of frames."""
        height, width, _ = frames[0].shape
        return _normalized(self._resized(frames, self._middle(width, height)))

    def pixels(self, clip: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3], uint8
        """Returns what a model reads as pixels, for display."""
        return np.clip(np.rint((clip + 1) * 127.5), 0, 255).astype(np.uint8)

    def _middle(self, width: int, height: int) -> Box:
        return central_box(width, height, self.eval_crop, self.size)

    def _resized(
        self, frames: Sequence[np.ndarray], box: Box, *, mirrored: bool = False
    ) -> np.ndarray:
        left, top, right, bottom = box
        clip = np.empty((len(frames), *self.size, 3), np.float32)
        for number, frame in enumerate(frames):
            if number and frame is frames[number - 1]:
                clip[number] = clip[number - 1]
                continue
            if frame.shape != frames[0].shape:  # A broadcast may change its size.
                frame = resize(frame, frames[0].shape[:2], _RESIZE)
            part = frame[top:bottom, left:right]
            clip[number] = resize(part[:, ::-1] if mirrored else part, self.size, _RESIZE)
        return clip


def _normalized(clip: np.ndarray) -> np.ndarray:
    """Brings 0..255 to [-1, 1], in place."""
    clip /= np.float32(127.5)
    clip -= 1
    return np.clip(clip, -1, 1, out=clip)
