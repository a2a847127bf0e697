"""Makes a set of labelled recordings as an Apache Beam pipeline, for more than one machine.

    python -m perceiver_jax.data.audioset.beam --clips=FOLDER --data_dir=DATA \\
        --segments=... --eval_segments=... --classes=class_labels_indices.csv \\
        --beam_options=--runner=FlinkRunner,--flink_master=HOST:8081

does what prepare.py does on one machine, with TFDS's own Beam support, which stores the same
recordings in another order: `hold_out` takes others. Without --beam_options it runs here, in Beam's
DirectRunner. All machines must see the clips and DATA under the same paths, and have this package
with the extras data, media and beam. Beam 2.77 needs protobuf before 7, and the pinned packages
have 7: give it an environment of its own. A pipeline that is stopped starts anew.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from perceiver_jax.data.audioset import prepare
from perceiver_jax.data.audioset.convert import DONE_PATTERN
from perceiver_jax.data.audioset.decode import Store
from perceiver_jax.data.audioset.described import LEFT_OUT
from perceiver_jax.data.audioset.jpeg import DEFAULT, Jpeg
from perceiver_jax.data.audioset.planning import plan
from perceiver_jax.data.audioset.records import VERSION
from perceiver_jax.data.audioset.told import show_left_out, show_remarks
from perceiver_jax.data.conversion.command import check_arguments
from perceiver_jax.data.conversion.parts import alone, has_parts, written
from perceiver_jax.data.stored import remove_unfinished
from perceiver_jax.errors import DataError, require, run_main

_FLAGS = flags.FLAGS


def prepare_by_beam(
    segments: Sequence[str],
    eval_segments: Sequence[str],
    classes: str,
    clips: str,
    data_dir: str,
    *,
    name: str = "audioset",
    store: Store = "jpeg",
    jpeg: Jpeg = DEFAULT,
    options: Sequence[str] = (),
    report: Callable[[str], None] = print,
) -> prepare.Prepared:
    """Makes a set in a Beam pipeline, and leaves a finished one as it is.

    Args:
      segments, eval_segments, classes, clips, data_dir, name, store, jpeg, report: as of
        `perceiver_jax.data.audioset.prepare.prepare`.
      options: Beam's own, as on its command line.

    Raises:
      DataError, ConfigError, UserError: as there.
    """
    for package, pip_name in (
        ("apache_beam", "apache-beam"),
        ("tensorflow_datasets", "tensorflow-datasets"),
        ("array_record", "array-record"),
        ("importlib_resources", None),
    ):
        require(
            package,
            purpose="Preparing a set by Beam, in an environment of its own (docs/data.md),",
            pip_name=pip_name,
        )
    from perceiver_jax.data.audioset import builder

    conversion = plan(
        segments,
        eval_segments,
        classes,
        clips,
        data_dir,
        name=name,
        store=store,
        jpeg=jpeg,
        report=report,
    )
    root = Path(data_dir).expanduser()
    folder = root / name / VERSION
    converted = 0
    if written(conversion, folder) and (folder / LEFT_OUT).exists():
        report(f"{folder} is there already, made of the same clips in the same way.")
    else:
        with alone(conversion.folder):
            _check_new(conversion.folder)
            for left in conversion.folder.glob("*.jsonl"):  # By a run that was stopped.
                left.unlink()
            shutil.rmtree(folder, ignore_errors=True)  # By one that was killed at its very end.
            remove_unfinished(root, name, VERSION)
            builder.write(conversion, os.fspath(root), list(options))
        shutil.rmtree(conversion.folder, ignore_errors=True)
        converted = sum(map(len, conversion.clips.values()))
    left_out, remarks = prepare.listed(folder)
    count = len(conversion.classes.names)
    fingerprints = prepare.fingerprints(folder)
    return prepare.Prepared(folder, fingerprints, left_out, remarks, converted, 0.0, count)


def _check_new(folder: Path) -> None:
    """Refuses to begin where prepare.py could go on: that may be days of work."""
    if has_parts(folder, DONE_PATTERN):
        raise DataError(
            f"{folder} has what perceiver_jax.data.audioset.prepare has converted so far, and a "
            "pipeline begins anew. Go on with that command, remove the folder, or choose another "
            "--name."
        )


def main(argv: Sequence[str]) -> None:
    """Makes the set that the flags describe, and says what there is."""
    check_arguments(argv, *prepare.REQUIRED)
    done = prepare_by_beam(**prepare.given(), options=_FLAGS.beam_options)
    show_left_out(done.left_out, done.folder)
    show_remarks(done.remarks)
    prepare.show_set(done, _FLAGS.data_dir, _FLAGS.name)


if __name__ == "__main__":
    # Under its own name, by which other processes know its functions.
    from perceiver_jax.data.audioset import beam

    prepare.define_flags()
    flags.adopt_module_key_flags(prepare)  # --help lists them too.
    flags.DEFINE_list("beam_options", [], "Beam's own flags, separated by commas.")
    run_main(beam.main)
