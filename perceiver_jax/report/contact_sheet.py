"""The first training batch as a picture: `inspect --config=FILE --show_batch=OUT.png`.

It is what the model sees at step 0: read and augmented by the trainer's own reader, and mixed as
the step mixes it, with the same random numbers. Pixels are shown one for one, small images
enlarged by a whole number. Below each stands its class; of one that is mixed, by what, and both.
"""

import dataclasses
import math
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.data.readers import Arrays, TrainReader
from perceiver_jax.data.shown import ExplainsPictures, NamesClasses, ShowsPictures
from perceiver_jax.data.source import training_source
from perceiver_jax.errors import ConfigError, UserError, require
from perceiver_jax.report.png import scaled_down
from perceiver_jax.tasks.base import Task, reads, training_batch
from perceiver_jax.tasks.classification import MIXED_LABEL, RATIO, ClassificationConfig
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.state import batch_key

MOST = 64  # Examples shown.
LARGEST = 224  # Pixels of a picture's shorter side; what is larger is scaled down ...
LONGEST = 3 * LARGEST  # Pixels of its longer side.
SMALLEST = 96  # ... and what is less than half of this is enlarged.

_MIXES = {"mixup": "MixUp", "cutmix": "CutMix"}  # As the papers spell them.
_COLUMNS = 8  # At most.
_GAP = 12  # Pixels around every picture.
_LINE = 13  # Pixels from one line of text to the next,
_TITLE_LINE = 16  # from one of a title to the next,
_CHARACTER = 5.7  # and those that a character takes, about.
_MOST_LINES = 2  # That one line of a caption is broken into.
_NARROWEST = 480  # Pixels of the sheet's width, for the line at its top.
_DPI = 100
_TEXT = "#2b2f36"


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """An example on the sheet."""

    picture: np.ndarray  # uint8 [y, x, 3]
    caption: tuple[str, ...]  # Lines; `draw` breaks those that are too long.


def check_path(path: str | Path) -> Path:
    """Returns the path of a sheet to be written.

    Raises:
      UserError: it does not end in .png, or its directory does not exist.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"--show_batch={path} must be the name of a PNG file, such as batch.png.")
    if path.is_dir():
        raise UserError(f"--show_batch={path} is a directory; name a file in it.")
    if not path.parent.is_dir():
        raise UserError(
            f"--show_batch={path}: the directory {path.parent} does not exist. Make it first, or "
            "name another."
        )
    return path


def first_batch(
    config: ExperimentConfig, most: int = MOST, report: Callable[[str], None] = print
) -> list[Shown]:
    """Returns the first examples of the first batch, as a run of the experiment trains on them.

    Args:
      config: the experiment.
      most: so many at most; no others are read.
      report: takes a line for the user, for each example that was left out as corrupt.

    Raises:
      ConfigError: the data have no pictures.
      UserError: they cannot be read.
    """
    data, task = config.data, config.task
    if not isinstance(data, ShowsPictures):
        raise ConfigError(
            f"--show_batch needs data whose examples can be looked at, and {type(data).__name__} "
            "has no method picture(example); see ShowsPictures in perceiver_jax.data.shown."
        )
    count = min(config.trainer.batch_size, most)
    read = _read(config, count * reads(task), report)
    # What is drawn for an example does not depend on how many there are.
    key = batch_key(config.trainer.seed, 0)
    batch = jax.device_get(jax.jit(partial(training_batch, task))(read, key))
    examples = [jax.tree.map(lambda array, row=row: array[row], batch) for row in range(count)]
    # Once: to name its classes a data set may have to look at all of its files.
    names = tuple(data.class_names()) if isinstance(data, NamesClasses) else ()
    return [
        Shown(_sized(_as_rgb(data.picture(example), data)), _caption(example, row, task, names))
        for row, example in enumerate(examples)
    ]


def _read(config: ExperimentConfig, count: int, report: Callable[[str], None]) -> Arrays:
    """Returns the first `count` examples that step 0 reads."""
    reader = TrainReader(
        data=config.data,
        source=training_source(config.data),
        batch_size=config.trainer.batch_size * reads(config.task),
        first=0,
        local=count,
        seed=config.trainer.seed,
        limit=config.trainer.max_corrupt_examples,
    )
    arrays, corrupt = reader(0)
    for each in corrupt:
        report(f"left out    example {each.index} of train, which is corrupt: {each.reason}")
    return arrays


def _caption(example: Arrays, row: int, task: Task, names: Sequence[str]) -> tuple[str, ...]:
    """Says what the example is: its label, its labels, or how two are mixed and their shares."""
    key = getattr(task, "label_key", None)

    def name(label: Any) -> str:
        return names[int(label)] if 0 <= int(label) < len(names) else str(int(label))

    if key not in example:
        return ()
    labels = np.asarray(example[key])
    if labels.ndim == 1:  # 0 or 1 for every class
        return (", ".join(map(name, np.flatnonzero(labels))) or "none",)
    if labels.ndim:
        return ()
    if MIXED_LABEL not in example:
        return (name(labels),)
    ratio = float(example[RATIO])
    shares = f"{ratio:.2f}: {name(labels)}", f"{1 - ratio:.2f}: {name(example[MIXED_LABEL])}"
    mixing = task.mixing if isinstance(task, ClassificationConfig) else None
    return shares if mixing is None else (_MIXES[mixing.kind(row)], *shares)


def _as_rgb(picture: np.ndarray, data: Any) -> np.ndarray:  # uint8 [y, x, 1 or 3] -> [y, x, 3]
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3):
        raise ValueError(
            f"{type(data).__name__}.picture must return uint8 [y, x, 1 or 3]; it returned "
            f"{picture.dtype} {picture.shape}."
        )
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _sized(picture: np.ndarray) -> np.ndarray:  # uint8 [y, x, 3]
    factor = max(SMALLEST // max(picture.shape[:2]), 1)
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    return np.rint(scaled_down(picture, LARGEST, LONGEST)).astype(np.uint8)


def draw(path: Path, shown: Sequence[Shown], title: str, note: str = "") -> None:
    """Writes a sheet: rows of pictures, each with its caption below.

    Args:
      path: the PNG file.
      shown: the examples, at least one.
      title: a line at the top, or two.
      note: a line or two below it.

    Raises:
      UserError: matplotlib is not installed, or the file cannot be written.
    """
    require("matplotlib", purpose="A sheet of pictures")
    # Not pyplot: it keeps figures alive, and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tallest = max(each.picture.shape[0] for each in shown)
    widest = max(each.picture.shape[1] for each in shown)
    # As many rows as columns, and of wide pictures more, so that the sheet is no band.
    columns = min(math.ceil(math.sqrt(len(shown) * min(tallest / widest, 1))), _COLUMNS)
    rows = -(-len(shown) // columns)
    cell_width = max(SMALLEST, widest) + _GAP
    captions = [
        [line for text in each.caption for line in broken(text, cell_width - _GAP)]
        for each in shown
    ]
    lines = max(map(len, captions))
    cell_height = tallest + lines * _LINE + _GAP
    width = max(columns * cell_width + _GAP, _NARROWEST)
    titles = broken(title, 0.8 * (width - 2 * _GAP))
    notes = [line for line in broken(note, width - 2 * _GAP) if line]
    # The last line of a title is followed by captions' lines, or by pictures.
    first = _GAP + (len(titles) - 1) * _TITLE_LINE + _LINE
    top = first + len(notes) * _LINE + _GAP
    height = top + rows * cell_height
    sheet = np.full((height, width, 3), 255, np.uint8)
    texts = [(_GAP, _GAP + _TITLE_LINE * line, text, 9) for line, text in enumerate(titles)]
    texts += [(_GAP, first + 2 + _LINE * line, text, 7) for line, text in enumerate(notes)]
    for index, (each, caption) in enumerate(zip(shown, captions, strict=True)):
        y, x = top + index // columns * cell_height, _GAP + index % columns * cell_width
        size_y, size_x = each.picture.shape[:2]
        sheet[y : y + size_y, x : x + size_x] = each.picture
        for line, text in enumerate(caption):
            texts.append((x, y + size_y + 2 + line * _LINE, text, 7))

    # Half a pixel more, which is cut off: a product that rounds down would lose a whole one.
    figure = Figure(figsize=((width + 0.5) / _DPI, (height + 0.5) / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    figure.figimage(sheet, 0, 0, origin="upper")
    for x, y, text, points in texts:
        figure.text(
            x / width, 1 - y / height, text, fontsize=points, color=_TEXT, va="top",
            parse_math=False,
        )  # fmt: skip
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def broken(text: str, width: float) -> list[str]:
    """Returns a line of a caption as lines of `width` pixels: between words if that is possible.

    What does not go into two is cut off, with an ellipsis where that was.
    """
    most = max(int(width / _CHARACTER), 1)
    lines = textwrap.wrap(text, most, subsequent_indent="  " if most > 2 else "") or [""]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [_fitting(" ".join(lines[_MOST_LINES - 1 :]), width)]
    return lines


def _fitting(text: str, width: float) -> str:
    """Returns the text, cut off where it is much too long for `width` pixels."""
    most = max(int(width / _CHARACTER), 1)
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def write(config: ExperimentConfig, path: Path, report: Callable[[str], None] = print) -> str:
    """Writes the sheet of an experiment's first batch; returns what it shows, in words."""
    shown = first_batch(config, report=report)
    made_of, size = reads(config.task), config.trainer.batch_size
    title = f"{config.name}: {len(shown):,} of {size:,} examples of the first training batch"
    if made_of > 1:
        title += f", each made of {made_of}"
    data = config.data
    draw(path, shown, title, data.picture_note() if isinstance(data, ExplainsPictures) else "")
    return title
