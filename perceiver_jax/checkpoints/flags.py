"""The flags of entry points that load a checkpoint, beside the one that names it."""

from collections.abc import Mapping
from typing import Any


def define() -> None:
    """Defines --model, --numerics and --kernel_layout."""
    from absl import flags

    flags.DEFINE_string(
        "model",
        None,
        "Name of the model in the zoo, where the file alone does not tell it. Any field of its "
        "config is changed by --config.NAME=VALUE.",
    )
    flags.DEFINE_enum(
        "numerics",
        "released",
        ["released", "huggingface"],
        "Whose outputs the weights give here: the released models', or transformers'.",
    )
    flags.DEFINE_enum(
        "kernel_layout",
        None,
        ["published", "torch"],
        "How the conv kernel of a Hugging Face file lies: as in the published one (transposed), "
        "or as transformers saves it.",
    )


def arguments(changes: Mapping[str, str]) -> dict[str, Any]:
    """What `load_checkpoint` is given: the values of the flags, and overrides of the config.

    Args:
      changes: overrides as text, by dotted name.
    """
    from absl import flags

    return {
        "model": flags.FLAGS.model,
        "overrides": changes or None,
        "numerics": flags.FLAGS.numerics,
        "kernel_layout": flags.FLAGS.kernel_layout,
    }
