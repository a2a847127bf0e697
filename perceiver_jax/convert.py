"""Checkpoints in other formats: `python -m perceiver_jax.convert --from=PATH --to=PATH --format=F`.

  --from=imagenet_fourier_position_encoding.pystate --to=fourier --format=huggingface
  --from=deepmind/vision-perceiver-conv --to=conv.safetensors --format=safetensors
  --from=runs/digits --to=digits.safetensors --format=safetensors

--from is a released pickle, a Hugging Face folder or file, our own safetensors, or a work directory
of the trainer. --format=huggingface writes a folder for transformers' `from_pretrained`, for models
that one of its classes can express; --format=safetensors writes one file of ours, for any model.
Both read back to the bit; what a Hugging Face folder says of training alone (its dropout, and the
number of batches that batch norm has seen) is not kept on the way through ours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Nothing heavy here: until `exit_on_interrupt` has been called, Ctrl-C shows a traceback.
from perceiver_jax.checkpoints import flags as checkpoint_flags
from perceiver_jax.errors import UserError, run_main_with_overrides

FORMATS = ("huggingface", "safetensors")

_USAGE = """Say what to convert, where to, and to which format:

    python -m perceiver_jax.convert --from=PATH --to=FOLDER --format=huggingface
    python -m perceiver_jax.convert --from=PATH --to=FILE.safetensors --format=safetensors
"""


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string("from", None, "The checkpoint to read: a file or a folder.")
    flags.DEFINE_string("to", None, "What to write: a new folder (huggingface), or a new file.")
    flags.DEFINE_enum("format", None, list(FORMATS), "The format to write.")
    checkpoint_flags.define()


def convert_main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point.

    Args:
      argv: what absl left of the command line.
      changes: overrides of the model's config, as text by dotted name.
    """
    from absl import flags

    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}.\n\n{_USAGE}".rstrip())
    # `from` is a word of Python's, so the flag is no attribute.
    source, target = arguments["from"].value, arguments["to"].value
    if not source or not target or not arguments.format:
        raise UserError(_USAGE.rstrip())
    if arguments.format == "safetensors" and Path(target).exists():
        raise UserError(f"{target} exists; choose a new file.")
    # Imported late, so that --help and mistakes in flags are answered at once.
    from perceiver_jax import zoo
    from perceiver_jax.checkpoints import hf_export, huggingface, load, native

    if arguments.format == "huggingface":
        hf_export.check_is_new(Path(target))

    params, state, config = load.load_checkpoint(
        source,
        **checkpoint_flags.arguments(changes),
        report=lambda line: print(f"note: {line}"),
    )
    config = zoo.build(config).config  # Refuses one that is not fully known.
    names = load.class_names(source) or _released_class_names(config)
    print(
        f"Read {source}, {load.WORDS[load.format_of(source)]}: {_describe(config)}, "
        f"{zoo.count(params):,} parameters"
        + (f", {zoo.count(state):,} values of state" if state else "")
        + "."
    )
    notes: list[str] = []
    if arguments.format == "huggingface":
        notes = huggingface.write(target, params, state, config, class_names=names)
    else:
        native.save(target, params, state, config, class_names=names)
    written = Path(target)
    files = sorted(written.iterdir()) if written.is_dir() else [written]
    print(f"Wrote {target}:")
    for file in files:
        print(f"  {file.name:<34} {file.stat().st_size:>13,} bytes")
    for note in notes:
        print(f"note: {note}")


def _released_class_names(config: Any) -> tuple[str, ...] | None:
    """Names of the classes that the released models know; their pickles hold none."""
    from perceiver_jax import zoo
    from perceiver_jax.infer import class_names

    released = {
        **dict.fromkeys(("imagenet_fourier", "imagenet_learned", "imagenet_conv"), "imagenet"),
        "video_autoencoding": "kinetics700",
    }
    for model, names in released.items():
        if zoo.get_config(model) == config:
            return getattr(class_names, names)()
    return None


def _describe(config: Any) -> str:
    """The model's name in the zoo, or what kind it is."""
    from perceiver_jax import zoo
    from perceiver_jax.checkpoints import hf_fields
    from perceiver_jax.errors import CheckpointError

    for name in zoo.list_models():
        if zoo.get_config(name) == config:
            return f"the model {name}"
    try:
        return f"a model of the kind '{hf_fields.family_of(config).name}'"
    except CheckpointError:
        return "a model that is not in the zoo"


if __name__ == "__main__":
    run_main_with_overrides(convert_main, define_flags)
