"""Random changes of a clip's colours, the same for all of its frames."""

import dataclasses

import numpy as np

from perceiver_jax.errors import ConfigError

# Brightness and two axes of colour of red, green and blue (NTSC's YIQ).
_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]
)
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColourChanges:
    """How colours are changed, in the order of the fields; 0: not.

    Perceiver (Sec. 4.2) says "colour augmentation". Open: which, and how much; all four, drawn
    uniformly, once for a clip.
    """

    brightness: float = 0.125  # Up to this share of white is added or taken away.
    contrast: float = 0.4  # Distances from the clip's mean grey times 1 - this to 1 + this.
    saturation: float = 0.4  # Distances of each pixel from its own grey, likewise.
    hue: float = 0.1  # Colours turned by up to this share of a circle, either way.

    def __post_init__(self) -> None:
        for name, most in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(
                    f"data.video.colour.{name}={getattr(self, name)} must lie in [0, {most}]."
                )

    def __call__(
        self,
        frames: np.ndarray,  # [..., 3], 0..255
        rng: np.random.Generator,
    ) -> np.ndarray:  # [..., 3], float32
        """Returns the frames of a clip in other colours, which may lie beyond 0..255.

        All changes are linear in red, green and blue, so they are one product with a matrix.
        """
        brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * (
            self.brightness, self.contrast, self.saturation, self.hue,
        )  # fmt: skip
        grey = float(_TO_YIQ[0] @ frames.reshape(-1, 3).mean(axis=0, dtype=np.float64))
        grey += 255 * brightness
        cos, sin = np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)
        turned = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        turned[1:] *= 1 + saturation
        # A change of saturation or hue leaves greys as they are, so they may be moved before.
        matrix = (1 + contrast) * (_FROM_YIQ @ turned @ _TO_YIQ)
        moved = (1 + contrast) * 255 * brightness - contrast * grey
        # By whole rows of numbers: NumPy is slow where its innermost loop is over three channels.
        pixels = frames.reshape(-1, 3).astype(np.float32) @ matrix.T.astype(np.float32)
        pixels += np.float32(moved)
        return pixels.reshape(frames.shape)
