"""What `--task=tag` writes of a file: a picture of it over time, and a table."""

import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.data.audioset.audioset import num_frames, read_frames
from perceiver_jax.data.audioset.config import length_of
from perceiver_jax.data.media.frames import FRAME_RATE
from perceiver_jax.data.media.sound import SAMPLE_RATE
from perceiver_jax.data.source import Example
from perceiver_jax.infer.files import shown
from perceiver_jax.infer.plotting import pyplot, save
from perceiver_jax.infer.tagging import Tags

_WIDTH = 10.0  # Inches of a picture.
_FRAMES = 8  # That are shown, at most.
_TITLE = 100  # Characters.
_COLUMNS = 1500  # Of a wave.
_HEIGHTS = {"frames": 1.2, "wave": 1.2, "classes": 2.6}  # Inches of each part, at most.
_LOWEST = 0.35  # Inches of the strip of frames, at least.
_BESIDE = 0.75  # The share of the width that is left of axes and legend.
_QUIETEST = 0.01  # The wave's axis ends at the loudest sample, or at this: noise stays low.


def draw(
    path: Path,
    example: Example,
    tags: Tags,
    classes: Sequence[tuple[int, str]],
) -> None:
    """Draws frames and the wave of a file, and under them the probabilities of classes over time.

    Args:
      path: the picture to write.
      example: of `tagging.read_media`.
      tags: of it.
      classes: number and name of each class that is drawn.
    """
    plt = pyplot("Drawing tags")
    parts = ["classes"]
    if "audio" in example:
        parts.insert(0, "wave")
    if num_frames(example):
        parts.insert(0, "frames")
    heights = [_HEIGHTS[part] for part in parts]
    seconds = length_of(example) / FRAME_RATE
    frames = _spread(example, seconds) if "frames" in parts else []
    if frames:
        heights[0] = strip_height([frame for _, frame in frames])
    figure, axes = plt.subplots(
        len(parts), 1, figsize=(_WIDTH, sum(heights) + 0.6), squeeze=False, sharex=True,
        height_ratios=heights, layout="constrained",
    )  # fmt: skip
    by_part = dict(zip(parts, axes[:, 0], strict=True))
    if "frames" in by_part:
        _draw_frames(by_part["frames"], frames, seconds, heights[0])
    if "wave" in by_part:
        at, low, high = wave(example["audio"])
        by_part["wave"].fill_between(at, low, high, color="C0", linewidth=0.8)  # Silence is a line.
        loudest = max(-low.min(initial=0), high.max(initial=0), _QUIETEST)
        by_part["wave"].set_ylim(-1.05 * loudest, 1.05 * loudest)
        by_part["wave"].set_ylabel("sound", fontsize=8)
    below = by_part["classes"]
    middles = [(start + end) / 2 for start, end in tags.spans]
    for index, name in classes:
        # Not the start of a formula, and not hidden from the legend.
        label = textwrap.fill(name.replace("$", r"\$").lstrip("_"), 30)
        below.plot(middles, tags.windows[:, index], marker=".", linewidth=1.2, label=label)
    below.set_ylim(0, 1.02)
    below.set_ylabel("probability", fontsize=8)
    below.set_xlabel("second (the middle of each window)", fontsize=8)
    below.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    below.set_xlim(0, max(seconds, 1 / FRAME_RATE))
    for axis in axes[:, 0]:
        axis.tick_params(labelsize=7)
    title = shown(Path(example["id"]).name)
    title = title[:_TITLE] + "…" * (len(title) > _TITLE)
    axes[0, 0].set_title(title.replace("$", r"\$"), fontsize=9, loc="left")
    save(figure, path)


def _spread(example: Example, seconds: float) -> list[tuple[float, np.ndarray]]:
    """Returns some frames at equal distances, each with the second at which it is shown."""
    count = num_frames(example)
    shown = min(_FRAMES, count)
    found = []
    for place in range(shown):
        middle = (place + 0.5) * seconds / shown
        (frame,) = read_frames(example, min(int(middle * FRAME_RATE), count - 1), 1)
        found.append((middle, frame))
    return found


def strip_height(
    frames: Sequence[np.ndarray],  # [y, x, 3] each
) -> float:
    """Returns how high a strip is in which frames fill the width, in inches, within limits."""
    tallest = max(frame.shape[0] / frame.shape[1] for frame in frames)
    return float(np.clip(_WIDTH * _BESIDE / len(frames) * tallest, _LOWEST, _HEIGHTS["frames"]))


def _draw_frames(
    axis: Any, frames: Sequence[tuple[float, np.ndarray]], seconds: float, height: float
) -> None:
    """Frames side by side, each at the time at which it is shown, in true proportions."""
    width = seconds / len(frames)
    per_second = _WIDTH * _BESIDE / seconds  # Inches.
    for middle, frame in frames:
        tall = frame.shape[0] / frame.shape[1]
        # As wide as there is room for, or as high.
        half = min(width, height / tall / per_second) * 0.48
        high = min(2 * half * per_second * tall / height, 1.0)
        extent = (middle - half, middle + half, 0.5 - high / 2, 0.5 + high / 2)
        axis.imshow(frame, extent=extent, aspect="auto")
    axis.set_ylim(0, 1)
    axis.set_yticks([])


def wave(
    samples: np.ndarray,  # [n], int16
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [columns] each
    """Returns seconds, and the lowest and the highest of the samples about each, in [-1, 1]."""
    edges = np.linspace(0, len(samples), min(_COLUMNS, len(samples)) + 1).astype(int)
    low = np.minimum.reduceat(samples, edges[:-1]) / 2**15
    high = np.maximum.reduceat(samples, edges[:-1]) / 2**15
    return (edges[:-1] + edges[1:]) / 2 / SAMPLE_RATE, low, high


def write_table(path: Path, file: Path | str, tags: Tags, names: Sequence[str]) -> None:
    """Writes the probabilities of all classes: a line for each window.

    Columns are "file", which is that of which they are, "start" and "end" of windows in seconds,
    and the names of the classes.
    """
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as table,
    ):
        writer = csv.writer(table)
        writer.writerow(["file", "start", "end", *names])
        for (start, end), row in zip(tags.spans, tags.windows, strict=True):
            values = [f"{value:.6f}" for value in row]
            writer.writerow([shown(file), f"{start:.2f}", f"{end:.2f}", *values])
