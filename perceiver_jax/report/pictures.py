"""Arrays as images on a page."""

import numpy as np

from perceiver_jax.report import png
from perceiver_jax.report.markup import Markup, element

_COARSE = 64  # Images of fewer pixels are shown as squares of colour, not smoothed.


def picture(image: np.ndarray, alternative: str) -> Markup:  # uint8 [y, x, 1 or 3]
    """Returns an image element, scaled down where the image is large."""
    return _image(png.thumbnail(image), alternative)


def is_wide(image: np.ndarray) -> bool:  # [y, x, ...]
    """Whether an image is a band, such as several views side by side, that needs more room."""
    return image.shape[1] >= 2 * image.shape[0]


def heat_map(weights: np.ndarray, alternative: str) -> Markup:  # [y, x], not negative
    """Returns an image element of weights as colours."""
    return _image(png.heat(weights), alternative)


def _image(image: np.ndarray, alternative: str) -> Markup:
    height, width = image.shape[:2]
    coarse = max(height, width) < _COARSE
    return element(
        "img",
        style_class="picture pixels" if coarse else "picture",
        attributes={
            "src": png.data_uri(image), "alt": alternative, "width": width, "height": height
        },
    )  # fmt: skip
