"""The `DataConfig` of labelled still images: which, and what is done to them for a model.

Training: a random crop, a flip, RandAugment on the 8-bit crop, bicubic resizing, normalisation, in
that order (Perceiver IO, App. A.1, as released). Evaluation: the central crop, resizing,
normalisation. The defaults are those of the released ImageNet models.
"""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

from perceiver_jax.data.evaluated import Evaluated
from perceiver_jax.data.images.crop import EVAL_CROP, RandomCrop, central_box
from perceiver_jax.data.images.decode import check_channels
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.images.mnist import MnistConfig
from perceiver_jax.data.images.normalize import MEAN, STDDEV, denormalize, normalize
from perceiver_jax.data.images.randaugment import RandAugment
from perceiver_jax.data.images.raw import RawImages
from perceiver_jax.data.images.resize import resize
from perceiver_jax.data.images.tfds import TfdsConfig
from perceiver_jax.data.source import Example
from perceiver_jax.errors import ConfigError, DataError, require

if TYPE_CHECKING:
    from PIL import Image


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagesConfig:
    """Labelled images. Splits: "train", "valid" (held out of train, if asked for) and "test".

    An example is {"image": float32 [height, width, channels], normalised, "label": int32}.
    """

    images: FolderConfig | TfdsConfig | MnistConfig = TfdsConfig()  # Where they come from.
    size: tuple[int, int] = (224, 224)  # Height and width that the model reads.
    channels: int = 3  # 3: red, green and blue; 1: brightness.
    crop: RandomCrop | None = RandomCrop()  # Of training images; None: the evaluation's.
    flip: bool = True  # Mirror every other training image, by chance.
    randaugment: RandAugment | None = RandAugment()  # On the training crop; None: not.
    resize: Literal["tensorflow", "opencv"] = "tensorflow"  # Whose bicubic; see resize.py.
    eval_crop: float = EVAL_CROP  # Share of the shorter side that the evaluation keeps.
    mean: tuple[float, ...] = MEAN  # Subtracted from each channel of 0..255.
    stddev: tuple[float, ...] = STDDEV  # Each channel is divided by this.

    def __post_init__(self) -> None:
        check_channels(self.channels, "data.channels")
        if min(self.size) < 1:
            raise ConfigError(f"data.size={self.size} must be a height and a width of at least 1.")
        if not 0 < self.eval_crop <= 1:
            raise ConfigError(
                f"data.eval_crop={self.eval_crop} must lie in (0, 1]; 1 keeps the whole shorter "
                "side."
            )
        if self.resize not in ("tensorflow", "opencv"):
            raise ConfigError(f"data.resize={self.resize!r} must be 'tensorflow' or 'opencv'.")
        for name in ("mean", "stddev"):
            values = getattr(self, name)
            if len(values) != self.channels:
                raise ConfigError(
                    f"data.{name}={values} must have a value for each of the {self.channels} "
                    "channel(s), in the range of 0..255; "
                    "--config.data.mean=127.5 --config.data.stddev=127.5 brings one channel to "
                    "[-1, 1]."
                )
        if min(self.stddev) <= 0:
            raise ConfigError(f"data.stddev={self.stddev} must be above 0.")

    def make_source(self, split: str) -> Evaluated:
        """Opens a split as it is evaluated.

        Raises:
          DataError: no such split, or what is missing, with the mend.
          UserError: a package is missing.
        """
        return Evaluated(self, self._open(split))

    def make_training_source(self) -> RawImages:
        """Opens the split "train" as `augment` takes it: decoded, of any size.

        Raises:
          DataError: see `make_source`.
        """
        return self._open("train")

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns a raw example cropped, flipped and changed at random, resized and normalised."""
        from PIL import Image

        image = example["image"]
        if self.crop is None:
            box = central_box(image.width, image.height, self.eval_crop, self.size)
        else:
            box = self.crop.draw(image.width, image.height, rng)
        image = image.crop(box)
        if self.flip and rng.integers(2):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.randaugment is not None:
            image = self.randaugment(image, rng)
        return {**example, "image": self._finished(image)}

    def evaluated(self, example: Example) -> Example:
        """Returns a raw example as it is evaluated: the middle, resized and normalised."""
        image = example["image"]
        box = central_box(image.width, image.height, self.eval_crop, self.size)
        return {**example, "image": self._finished(image.crop(box))}

    def class_names(self) -> tuple[str, ...]:
        """Returns the names of the classes, in the order of the labels.

        Raises:
          DataError: see `make_source`.
        """
        try:
            return self._open("test").class_names  # Sooner listed than the training images.
        except DataError:  # There may be none, where training is judged on what is held out.
            return self._open("train").class_names

    def picture(self, example: Example) -> np.ndarray:
        """Returns the image of an example as the model sees it, uint8 [height, width, channels]."""
        return denormalize(example["image"], self.mean, self.stddev)

    def _open(self, split: str) -> RawImages:
        require("PIL", purpose="Reading images", pip_name="pillow")
        return self.images.open(split, self.channels)

    def _finished(self, image: "Image.Image") -> np.ndarray:  # [height, width, channels], float32
        pixels = np.asarray(image).reshape(image.height, image.width, self.channels)
        return normalize(resize(pixels, self.size, self.resize), self.mean, self.stddev)
