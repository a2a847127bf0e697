"""`python -m perceiver_jax.predict --task=flow`: optical flow of two images, or of a video.

Two images give the flow from the first to the second. A folder of images (in the order of their
names) or a video gives the flow from each frame to the next, and all of them as a video.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from perceiver_jax.errors import DataError, UserError
from perceiver_jax.infer.commands.names import distinct

if TYPE_CHECKING:
    import numpy as np

    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel

# Frames a second of the flow video of a folder of images.
_FOLDER_RATE = 10


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_string(
        "frames",
        None,
        "Of a video or a folder: which frames, as START:STOP or START:STOP:STEP, counted from 0; "
        "each part may be left out.",
    )
    flags.DEFINE_float(
        "max_flow",
        None,
        "Length in pixels that is painted with full colour; by default that of the longest vector, "
        "of all frames together.",
        lower_bound=1e-6,
    )
    flags.DEFINE_integer(
        "chunk_size", 2**14, "Pixels decoded at a time; fewer take less memory.", lower_bound=1
    )


class _Frame(NamedTuple):
    name: str  # For messages and records.
    stem: str  # For the names of files.
    pixels: "np.ndarray"  # [y, x, 3] uint8.


def run(loaded: "LoadedModel", inputs: list[str], report: "Report") -> None:
    """Predicts, and writes .flo files, their colours and a check of each; see the module."""
    from perceiver_jax.infer.flow import tile_size

    arguments = flags.FLAGS
    tile_size(loaded.config)  # Fails now if the model is of another kind, not after reading.
    folder = report.require_out_dir("The flow files")
    chosen = parse_frames(arguments.frames)
    if len(inputs) == 2 and not any(Path(path).is_dir() for path in inputs):
        if chosen != slice(0, None, 1):
            raise UserError("--frames chooses from a video or a folder; two images need none.")
        frames = _images([Path(path) for path in inputs])
        flows = _predict_all(loaded, frames, folder, report, arguments.chunk_size)
        _paint(flows, arguments.max_flow, report)
    elif len(inputs) == 1:
        path = Path(inputs[0])
        frames, rate = _frames_of(path, chosen)
        video = folder / f"{path.stem}_flow.mp4"
        flows = _predict_all(loaded, frames, folder, report, arguments.chunk_size, video)
        if not flows:
            raise DataError(f"{path} has fewer than two of the frames asked for; flow needs two.")
        _paint(flows, arguments.max_flow, report, video, rate)
    else:
        raise UserError(
            f"--task=flow takes two images, or one video, or one folder of images; got "
            f"{len(inputs)} inputs."
        )


def parse_frames(text: str | None) -> slice:
    """Reads START:STOP[:STEP]; None stands for all frames."""
    if text is None:
        return slice(0, None, 1)
    parts = text.split(":")
    try:
        if len(parts) not in (2, 3):
            raise ValueError
        start, stop, step = (int(part) if part else None for part in [*parts, ""][:3])
        start, step = start or 0, 1 if step is None else step
        if start < 0 or step < 1 or (stop is not None and stop < start + 2):
            raise ValueError
    except ValueError:
        raise UserError(
            f"--frames={text} must be START:STOP or START:STOP:STEP, such as 0:50 or 100::2, with "
            "numbers from 0 and at least two frames."
        ) from None
    return slice(start, stop, step)


def _images(paths: list[Path]) -> Iterator[_Frame]:
    from perceiver_jax.infer.images import read_image

    for path, stem in zip(paths, distinct([path.stem for path in paths]), strict=True):
        yield _Frame(str(path), stem, read_image(path))


def _frames_of(path: Path, chosen: slice) -> tuple[Iterator[_Frame], float]:
    """Frames of a video or a folder, and how many of them to show a second."""
    from perceiver_jax.data.media.frames import read_frames, video_info
    from perceiver_jax.infer import images

    if path.is_dir():
        # Frames of one folder follow each other; those of folders inside it do not.
        files = [file for file in images.find_images([path])[0] if file.parent == path]
        return _images(files[chosen]), _FOLDER_RATE
    pixels = read_frames(path, start=chosen.start, stop=chosen.stop, step=chosen.step)
    frames = (
        _Frame(f"{path}:{index}", f"{path.stem}_{index:05d}", frame)
        for index, frame in zip(itertools.count(chosen.start, chosen.step), pixels, strict=False)
    )
    return frames, float(video_info(path).rate) / chosen.step


class _Written(NamedTuple):
    path: Path  # Of the .flo file.
    max_flow: float

    @property
    def colours(self) -> Path:
        """The picture of its colours."""
        return self.path.with_name(f"{self.path.stem}_flow.png")


def _predict_all(
    loaded: "LoadedModel",
    frames: Iterator[_Frame],
    folder: Path,
    report: "Report",
    chunk_size: int,
    video: Path | None = None,
) -> list[_Written]:
    """Predicts the flow from each frame to the next; on the disk, so that any number fits."""
    import numpy as np

    from perceiver_jax.infer import flow_files
    from perceiver_jax.infer.flow import predict_flow
    from perceiver_jax.infer.pictures import write_png
    from perceiver_jax.infer.progress import progress

    written = []
    for first, second in progress(itertools.pairwise(frames), "pairs"):
        flow = predict_flow(loaded, first.pixels, second.pixels, chunk_size=chunk_size)
        check = flow_files.check_flow(first.pixels, second.pixels, flow)
        lengths = np.hypot(flow[..., 0], flow[..., 1])
        path, picture = folder / f"{first.stem}.flo", folder / f"{first.stem}_warp.png"
        flow_files.write_flo(path, flow)
        write_png(picture, check.picture)
        written.append(_Written(path, float(lengths.max())))
        files = {"flow_file": path, "warp_file": picture, "colour_file": written[-1].colours}
        if video is not None:
            files["video_file"] = video
        height, width = lengths.shape
        record = {
            "first": first.name,
            "second": second.name,
            "height": height,
            "width": width,
            "mean_flow": float(lengths.mean()),
            "max_flow": float(lengths.max()),
            "photometric_error_before": check.before,
            "photometric_error_after": check.after,
            **files,
        }
        report.result(
            record,
            f"{first.name} -> {second.name}: {width} x {height}, mean flow "
            f"{record['mean_flow']:.2f} px, longest {record['max_flow']:.2f} px; mean difference "
            f"of the frames {check.before:.2f} grey levels, after warping {check.after:.2f}.",
        )
        report.file(path)
        report.file(picture)
    return written


def _paint(
    flows: list[_Written],
    max_flow: float | None,
    report: "Report",
    video: Path | None = None,
    rate: float = _FOLDER_RATE,
) -> None:
    """Writes the colours of flows, with one scale for all, as pictures and as a video."""
    from fractions import Fraction

    from perceiver_jax.infer import flow_files, video_writing
    from perceiver_jax.infer.pictures import write_png

    if max_flow is None:
        max_flow = max(flow.max_flow for flow in flows)

    def paint(flow: _Written) -> "np.ndarray":
        colours = flow_files.flow_to_colours(flow_files.read_flo(flow.path), max_flow)
        write_png(flow.colours, colours)
        report.file(flow.colours)
        return colours

    if video is None:
        for flow in flows:
            paint(flow)
        return
    size = flow_files.read_flo(flows[0].path).shape[:2]
    with video_writing.writing_video(video, size=size, rate=Fraction(rate)) as writer:
        for flow in flows:
            writer.write(paint(flow)[None])
    report.file(video)
