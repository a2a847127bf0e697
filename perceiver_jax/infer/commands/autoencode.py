"""`python -m perceiver_jax.predict --task=autoencode`: videos through the latents and back.

For each video: the reconstruction as a video with sound, a picture of input frames over
reconstructed ones, the PSNR of both, and the classes that the model names, if it has a label.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from perceiver_jax.errors import UserError
from perceiver_jax.infer.commands.names import distinct

if TYPE_CHECKING:
    from perceiver_jax.infer.autoencode import PieceLayout
    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_float("start", 0.0, "Seconds to leave out at the beginning.", lower_bound=0.0)
    flags.DEFINE_float(
        "seconds",
        None,
        "Seconds to reconstruct; all by default. The released model's pieces last 0.64.",
        lower_bound=1e-3,
    )
    flags.DEFINE_integer(
        "num_chunks",
        128,
        "Chunks that each piece is decoded in: more take less memory, and the result is the same.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "class_names",
        None,
        "Text file with the names of the classes, one a line, in the order of the model's outputs; "
        "known without it: those in the checkpoint, and Kinetics' 700.",
    )
    flags.DEFINE_integer("top_k", 5, "How many classes to name.", lower_bound=1)


def run(loaded: "LoadedModel", inputs: list[str], report: "Report") -> None:
    """Reconstructs each video; see the module."""
    import dataclasses

    from perceiver_jax.infer import class_names
    from perceiver_jax.infer.autoencode import piece_layout

    if flags.FLAGS.class_names is not None:
        names = class_names.read(flags.FLAGS.class_names)
        loaded = dataclasses.replace(loaded, class_names=names)
    layout = piece_layout(loaded.config)
    class_names.for_outputs(layout.num_classes, loaded.class_names)  # Fails now if it does at all.
    folder = report.require_out_dir("The reconstructed videos")
    paths = [Path(path) for path in inputs]
    for path, stem in zip(paths, distinct([path.stem for path in paths]), strict=True):
        try:
            _reconstruct(loaded, layout, path, folder / stem, report)
        except UserError as error:
            report.failure(error)


def _reconstruct(
    loaded: "LoadedModel", layout: "PieceLayout", path: Path, target: Path, report: "Report"
) -> None:
    """Writes the files whose names begin with `target`."""
    import numpy as np

    from perceiver_jax.data.media.frames import FRAME_RATE, video_info
    from perceiver_jax.infer import class_names, pictures, video_files, video_writing
    from perceiver_jax.infer.autoencode import PSNRMeter, autoencode

    arguments = flags.FLAGS
    notes: list[str] = []
    pieces = video_files.read_pieces(
        path,
        size=layout.size,
        num_frames=layout.num_frames,
        samples_per_frame=layout.samples_per_frame,
        start=arguments.start,
        seconds=arguments.seconds,
        note=notes.append,
    )
    has_audio = video_info(path).has_audio
    video_file = target.with_name(f"{target.name}_reconstruction.mp4")
    picture_file = target.with_name(f"{target.name}_frames.png")
    image_psnr, audio_psnr = PSNRMeter(), PSNRMeter()
    probabilities, num_frames, picture = [], 0, None
    with video_writing.writing_video(
        video_file,
        size=layout.size,
        sample_rate=layout.samples_per_frame * FRAME_RATE,
    ) as writer:
        for piece in pieces:
            frames = piece.frames.astype(np.float32) / 255
            result = autoencode(loaded, frames, piece.audio, num_chunks=arguments.num_chunks)
            shown = pictures.to_uint8(result.frames)
            writer.write(shown, result.audio)
            image_psnr.add(frames, result.frames)
            audio_psnr.add(piece.audio, result.audio)
            num_frames += len(frames)
            if result.probabilities is not None:
                probabilities.append(result.probabilities)
            if picture is None:  # Of the first piece.
                picture = pictures.rows_of_frames([piece.frames, shown])
    assert picture is not None
    pictures.write_png(picture_file, picture)
    if num_frames % layout.num_frames:
        notes.append(
            f"{path}: {num_frames} frames are no multiple of {layout.num_frames}; for the model, "
            "the last piece was filled up with its last frame and silence."
        )
    for note in notes:
        report.note(note)

    record: dict[str, Any] = {
        "input": path,
        "frames": num_frames,
        "psnr_image": image_psnr.value,
        "psnr_audio": audio_psnr.value if has_audio else None,
    }
    text = f"{path}: {num_frames} frames, PSNR of the image {image_psnr.value:.2f} dB, " + (
        f"of the sound {audio_psnr.value:.2f} dB" if has_audio else "no sound"
    )
    if probabilities:
        mean = np.concatenate(probabilities).mean(axis=0)
        names = class_names.for_outputs(len(mean), loaded.class_names)
        best = np.argsort(-mean, kind="stable")[: arguments.top_k]
        record["predictions"] = [
            {"name": names[i], "index": int(i), "probability": float(mean[i])} for i in best
        ]
        text += "".join(f"\n  {mean[i]:7.2%}  {names[i]}" for i in best)
    record |= {"video_file": video_file, "picture_file": picture_file, "notes": notes}
    report.result(record, text)
    report.file(video_file)
    report.file(picture_file)
