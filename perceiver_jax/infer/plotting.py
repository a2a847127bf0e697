"""Figures of matplotlib, written to files."""

import warnings
from pathlib import Path
from typing import Any

from perceiver_jax.atomic import replacing
from perceiver_jax.errors import require

DPI = 120


def pyplot(purpose: str) -> Any:
    """Returns matplotlib's pyplot, set to draw into files only.

    Args:
      purpose: what for: "Drawing attention".

    Raises:
      UserError: matplotlib is not installed.
    """
    require("matplotlib", purpose=purpose)
    import matplotlib

    matplotlib.use("Agg")  # Also where a display is at hand.
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, path: Path, dpi: float = DPI) -> None:
    """Writes a figure, whole or not at all, and closes it.

    Characters that matplotlib's font does not have are boxes in it.
    """
    import matplotlib.pyplot as plt

    try:
        with replacing(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(temporary, dpi=dpi)
    finally:
        plt.close(figure)
