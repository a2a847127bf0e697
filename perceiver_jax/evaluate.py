"""Evaluates a checkpoint: `python -m perceiver_jax.evaluate --workdir=DIR`.

Prints one line of JSON: {"name": ..., "step": ..., "split": ..., "examples": ..., "loss": ...}.
"""

import json
import sys
from collections.abc import Sequence

# Nothing heavy here: until `exit_on_interrupt` has been called, Ctrl-C shows a traceback.
from perceiver_jax.errors import UserError, exit_on_interrupt, run_main


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string(
        "workdir", None, "Work directory of a run of `python -m perceiver_jax.train`."
    )
    flags.DEFINE_integer("step", None, "The checkpoint to evaluate; the newest one if not given.")
    flags.DEFINE_string(
        "split", None, "The split to evaluate; the one of the experiment's config if not given."
    )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    from absl import flags

    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; see --help.")
    if not arguments.workdir:
        raise UserError("Give the work directory of a run: --workdir=DIR.")
    # Imported late, so that --help answers at once.
    from perceiver_jax.train.evaluation import evaluate_checkpoint

    result = evaluate_checkpoint(
        arguments.workdir,
        step=arguments.step,
        split=arguments.split,
        report=lambda line: print(line, file=sys.stderr),
    )
    print(json.dumps(result))


if __name__ == "__main__":
    exit_on_interrupt()
    define_flags()
    run_main(main)
