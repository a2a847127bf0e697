"""Trained models at work: `python -m perceiver_jax.predict --task=TASK --checkpoint=PATH INPUT...`.

  --task=classify --checkpoint=imagenet_fourier_position_encoding.pystate cat.jpg photos/
  --task=fill_mask --checkpoint=language_perceiver_io_bytes.pickle "Paris is [MASK*10] of France."
  --task=flow --checkpoint=optical_flow_checkpoint.pystate --out_dir=flow frame1.png frame2.png
  --task=autoencode --checkpoint=video_autoencoding_checkpoint.pystate --out_dir=video clip.mp4
  --task=attention --checkpoint=imagenet_fourier_position_encoding.pystate --out_dir=maps cat.jpg
  --task=classify --checkpoint=runs/modelnet40 chair.off things/
  --task=tag --checkpoint=runs/audioset --out_dir=tags clip.mp4 song.flac

  --verify_released=DIR    checks the released files in a folder against published outputs

A checkpoint is a released pickle, a Hugging Face folder or file, our own safetensors, or a work
directory of the trainer. Inputs are what it reads: images, texts, videos, sound; for a model of
points, meshes (.off .obj .ply .stl) and files of points (.npy .txt .xyz .csv). `classify` names the
one class of an image or a cloud; `tag` any number of classes in sound and video, over time. Of
images, meshes, points, and files to tag, folders will do; a name that begins with "-" is written
./-NAME. `--task=TASK --help` shows the flags of a task. With --output=json, stdout has one JSON
object for each input and nothing else.

Exit codes: 0; 1 if some of several inputs failed (the others were done); 2 if none could be done.
With --verify_released: 0 if all checks that could be done passed, 1 if one failed, 2 if there was
none.
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from absl import flags

from perceiver_jax.checkpoints import flags as checkpoint_flags
from perceiver_jax.errors import UserError, run_main_with_overrides

COMMANDS = {
    "classify": "perceiver_jax.infer.commands.classify",
    "fill_mask": "perceiver_jax.infer.commands.fill_mask",
    "flow": "perceiver_jax.infer.commands.flow",
    "autoencode": "perceiver_jax.infer.commands.autoencode",
    "attention": "perceiver_jax.infer.commands.attention",
    "tag": "perceiver_jax.infer.commands.tag",
}

_USAGE = """Say what to do, with which checkpoint, and on what:

    python -m perceiver_jax.predict --task=classify --checkpoint=PATH image.jpg
    python -m perceiver_jax.predict --task=classify --checkpoint=PATH mesh.off
    python -m perceiver_jax.predict --task=fill_mask --checkpoint=PATH "Some [MASK*5] text."
    python -m perceiver_jax.predict --task=flow --checkpoint=PATH --out_dir=DIR first.png second.png
    python -m perceiver_jax.predict --task=autoencode --checkpoint=PATH --out_dir=DIR clip.mp4
    python -m perceiver_jax.predict --task=attention --checkpoint=PATH --out_dir=DIR image.jpg
    python -m perceiver_jax.predict --task=tag --checkpoint=WORKDIR --out_dir=DIR clip.mp4 song.flac
    python -m perceiver_jax.predict --verify_released=DIR
"""


def define_flags() -> None:
    """Defines the flags that all tasks share; here, so that importing this file changes nothing."""
    flags.DEFINE_enum("task", None, list(COMMANDS), "What to do.")
    flags.DEFINE_string("checkpoint", None, "File or folder with the trained weights.")
    checkpoint_flags.define()
    flags.DEFINE_enum("output", "text", ["text", "json"], "What is printed.")
    flags.DEFINE_string("out_dir", None, "Folder for pictures and other files; made if need be.")
    flags.DEFINE_string(
        "verify_released",
        None,
        "Folder with released checkpoints (DeepMind's or Hugging Face's) and the pictures that "
        "published outputs are about; instead of a task.",
    )


def predict_main(argv: Sequence[str], changes: dict[str, str], command: ModuleType | None) -> int:
    """Entry point.

    Args:
      argv: what absl left of the command line: the program and the inputs.
      changes: overrides of the model's config, as text by dotted name.
      command: the module of the task; None if none was named.

    Returns:
      The exit code.
    """
    arguments = flags.FLAGS
    if arguments.verify_released is not None:
        return _verify(argv, changes)
    if arguments.task is None or arguments.checkpoint is None or command is None:
        raise UserError(_USAGE.rstrip())
    if len(argv) < 2:
        raise UserError(f"--task={arguments.task} needs an input.\n\n{_USAGE}".rstrip())
    # Imported late, so that --help and mistakes in flags are answered at once.
    from perceiver_jax.infer import loaded as loading
    from perceiver_jax.infer.commands.report import Report

    report = Report(
        output=arguments.output,
        out_dir=Path(arguments.out_dir) if arguments.out_dir is not None else None,
    )
    report.check_out_dir()  # Before a checkpoint is read for nothing.
    loaded = loading.load(arguments.checkpoint, **checkpoint_flags.arguments(changes))
    loading.check_task(loaded.config, arguments.task)
    command.run(loaded, list(argv[1:]), report)
    report.end()
    return report.exit_code


def _verify(argv: Sequence[str], changes: dict[str, str]) -> int:
    """Runs --verify_released, which takes no other flag than --output."""
    arguments = flags.FLAGS
    others = ("task", "checkpoint", "model", "kernel_layout", "out_dir")
    given = [f"--{name}" for name in others if getattr(arguments, name) is not None]
    given += [f"--config.{name}" for name in changes] + list(argv[1:])
    if given:
        raise UserError(f"--verify_released=DIR stands alone; leave out {', '.join(given)}.")
    from perceiver_jax.infer.commands import verify
    from perceiver_jax.infer.commands.report import Report

    return verify.run(arguments.verify_released, Report(output=arguments.output))


def find_command(argv: Sequence[str]) -> ModuleType | None:
    """Imports the module of the task that a command line names, before its flags are parsed.

    Every task has flags of its own, and absl must know them when it parses. An unknown task is left
    to absl's message.
    """
    task = None
    for position, argument in enumerate(argv):
        if argument == "--":
            break
        name, separator, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or name != "task":
            continue
        task = value if separator else (*argv[position + 1 :], None)[0]
    return importlib.import_module(COMMANDS[task]) if task in COMMANDS else None


def main() -> None:
    """Runs the command line."""
    command = find_command(sys.argv)

    def define_all_flags() -> None:
        define_flags()
        if command is not None:
            command.define_flags()
            flags.adopt_module_key_flags(command)  # So that --help shows them.

    run_main_with_overrides(
        lambda rest, changes: predict_main(rest, changes, command), define_all_flags
    )


if __name__ == "__main__":
    main()
