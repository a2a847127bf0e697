"""TensorBoard's event files, written with tensorboardX, in WORKDIR/tensorboard.

tensorboard --logdir=WORKDIR/tensorboard
"""

import json
from collections.abc import Mapping

import tensorboardX

from perceiver_jax.train.writers.base import Run


class TensorBoardWriter:
    """Writes every value as a scalar "SPLIT/NAME"."""

    def __init__(self, run: Run):
        # TensorBoard forgets what earlier files say of this step and later ones: it comes again.
        self._file = tensorboardX.SummaryWriter(
            str(run.workdir / "tensorboard"),
            purge_step=run.first_step + 1 if run.first_step else 0,
            # Its names are of one second's precision, and a second file of a name would take the
            # first one's place.
            filename_suffix=f".from{run.first_step:09d}",
        )
        text = json.dumps(run.config, indent=2)
        # Markdown shows what is indented as it stands.
        self._file.add_text(
            "config", "\n".join(f"    {line}" for line in text.splitlines()), run.first_step
        )

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Appends the values."""
        for name, value in values.items():
            self._file.add_scalar(f"{split}/{name}", value, step)

    def flush(self) -> None:
        """Writes what is held back to the file."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def open_writer(run: Run) -> TensorBoardWriter:
    """Opens a new event file for a run that begins or goes on."""
    return TensorBoardWriter(run)
