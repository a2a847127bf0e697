"""`python -m perceiver_jax.predict --task=tag`: what is heard and seen in files of sound and video.

For each file: the classes that are likeliest in it and when, and with --out_dir a picture and a
table of all classes' probabilities over time.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from perceiver_jax.infer.commands.inputs import list_inputs
from perceiver_jax.infer.commands.names import distinct

if TYPE_CHECKING:
    from perceiver_jax.data.audioset.config import AudiosetConfig
    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_integer("top_k", 5, "How many classes to name.", lower_bound=1)
    flags.DEFINE_float(
        "hop",
        None,
        "Seconds from the start of a window to the next; half a window by default. The papers' "
        "models hear and see 1.28 s at a time.",
        lower_bound=1e-3,
    )
    flags.DEFINE_float(
        "seconds", None, "Seconds to read of each file; all by default.", lower_bound=1e-3
    )
    flags.DEFINE_integer("batch_size", 8, "Windows to compute at a time.", lower_bound=1)
    flags.DEFINE_string(
        "class_names",
        None,
        "Text file with the names of the classes, one a line, in the order of the model's outputs, "
        "or a list in the form of class_labels_indices.csv. Known without it: those in the "
        "checkpoint, or of the data set of its run, where that still is.",
    )


def run(loaded: "LoadedModel", inputs: list[str], report: "Report") -> None:
    """Names what is heard and seen in each file, or in those in folders."""
    from perceiver_jax.errors import UserError
    from perceiver_jax.infer import class_names, files, tagging
    from perceiver_jax.infer.progress import progress

    config = tagging.data_config(loaded)
    names = class_names.for_outputs(tagging.num_classes(loaded), _given_names(loaded))
    folder = None if report.out_dir is None else report.require_out_dir("The pictures")
    paths = list_inputs(
        inputs,
        report,
        lambda given: files.find_files(
            given,
            tagging.SUFFIXES,
            "file of sound or video",
            "files of sound or video",
        ),
    )
    stems = distinct([path.stem for path in paths])
    for path, stem in progress(list(zip(paths, stems, strict=True)), "tag", len(paths)):
        try:
            _tag(loaded, config, names, path, None if folder is None else folder / stem, report)
        except UserError as error:
            report.failure(error)


def _tag(
    loaded: "LoadedModel",
    config: "AudiosetConfig",
    names: tuple[str, ...],
    path: Path,
    target: Path | None,
    report: "Report",
) -> None:
    """Tags one file; the names of its picture and table begin with `target`."""
    from perceiver_jax.data.media.frames import FRAME_RATE
    from perceiver_jax.infer import files, tag_files, tagging

    arguments = flags.FLAGS
    media = tagging.read_media(path, config, arguments.seconds)
    tags = tagging.tag(
        loaded,
        config,
        media.example,
        hop=tagging.hop_frames(config, arguments.hop),
        batch_size=arguments.batch_size,
    )
    best, mean = tags.best(arguments.top_k), tags.mean
    length = config.num_frames / FRAME_RATE
    name, count = files.shown(path), len(tags.clips)
    lines = [f"{name}: {media.seconds:.2f} s, windows of {length:.2f} s: {count}"]
    for index in best:
        start, end = tags.spans[int(tags.windows[:, index].argmax())]
        lines.append(
            f"{mean[index]:8.2%}  {names[index]} ({index}); {tags.windows[:, index].max():.2%} "
            f"from {start:.2f} to {end:.2f} s"
        )
    notes = list(media.notes)
    if tags.gap:
        notes.append(
            f"{name}: windows leave gaps of {tags.gap:.2f} s, which no window reads; "
            f"--hop={length:.2f} or less leaves none."
        )
    for note in notes:
        report.note(note)
    record = {
        "input": path,
        "seconds": media.seconds,
        "predictions": [
            {
                "name": names[index],
                "index": index,
                "probability": mean[index],
                "windows": tags.windows[:, index],
            }
            for index in best
        ],
        "windows": [{"start": start, "end": end} for start, end in tags.spans],
        "notes": notes,
    }
    if target is None:
        report.result(record, "\n".join(lines))
        return
    picture_file = target.with_name(f"{target.name}_tags.png")
    table_file = target.with_name(f"{target.name}_tags.csv")
    tag_files.draw(picture_file, media.example, tags, [(index, names[index]) for index in best])
    tag_files.write_table(table_file, path, tags, names)
    record |= {"picture_file": picture_file, "table_file": table_file}
    report.result(record, "\n".join(lines))
    report.file(picture_file)
    report.file(table_file)


def _given_names(loaded: "LoadedModel") -> tuple[str, ...] | None:
    """Those of --class_names, or of the checkpoint."""
    from perceiver_jax.data.audioset.labels import read_classes
    from perceiver_jax.infer import class_names

    path = flags.FLAGS.class_names
    if path is None:
        return loaded.class_names
    if path.lower().endswith(".csv"):
        return read_classes(path).names
    return class_names.read(path)
