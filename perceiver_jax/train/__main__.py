"""Trains an experiment: `python -m perceiver_jax.train --config=FILE[:VARIANT] --workdir=DIR`.

  --config=experiments/digits.py            the file's first variant
  --config=experiments/digits.py:permuted   another one
  --config.trainer.seed=1                   any field of the config, by its name
  --checkpoint=PATH                         starts from weights of any format, to fine-tune them
  --workdir=DIR --debug_step                runs the step at which a run failed again, with checks
  --config.schedule=Cosine                  one of several config classes, with its defaults
  --config.trainer.eval_every=none          an optional field that is left empty

  --coordinator_address=HOST:PORT --num_processes=4 --process_id=0
                                            several hosts without a launcher (docs/distributed.md)

The same command goes on where an interrupted run left off; Ctrl-C stops and saves.
"""

import os
import sys
from collections.abc import Sequence

# Nothing heavy here: until `exit_on_interrupt` has been called, Ctrl-C shows a traceback.
from perceiver_jax.errors import UserError, resume_after_termination, run_main_with_overrides
from perceiver_jax.train import distributed

EXIT_STEP_FAILED = 1  # The step that was replayed is still not finite.


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string(
        "config",
        None,
        "Experiment file, and optionally one of its variants: FILE.py[:VARIANT]. Any field is "
        "changed by --config.NAME=VALUE; an unknown name is answered with the valid ones.",
    )
    flags.DEFINE_string(
        "workdir", None, "Directory for checkpoints, metrics and curves; a run in it goes on."
    )
    flags.DEFINE_string(
        "checkpoint",
        None,
        "Weights to start from: a DeepMind pickle, a Hugging Face folder, our safetensors or a "
        "work directory. The same as --config.checkpoint.",
    )
    flags.DEFINE_bool(
        "debug_step",
        False,
        "Runs the step at which the run in --workdir stopped being finite once more, and says "
        "where the first bad value came up. Trains nothing.",
    )
    distributed.define_flags()
    flags.adopt_module_key_flags(distributed)  # --help lists them too


def train_main(argv: Sequence[str], changes: dict[str, str]) -> int:
    """Entry point; returns the exit code.

    Args:
      argv: what absl left of the command line.
      changes: overrides of the config, as text by dotted name.
    """
    from absl import flags

    resume_after_termination()
    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(
            f"Unexpected argument {argv[1]!r}. Fields of the config are set by "
            "--config.NAME=VALUE; see --help."
        )
    if arguments.debug_step:
        return _debug_step(arguments.workdir, arguments.config, changes)
    if not arguments.config or not arguments.workdir:
        raise UserError(
            "Give an experiment and a directory:\n\n"
            "    python -m perceiver_jax.train --config=experiments/digits.py --workdir=DIR\n"
        )
    distributed.initialize_from_flags()  # before anything that could touch a device
    # Imported late, so that --help and mistakes in flags are answered at once.
    from perceiver_jax.config import load_experiment, override
    from perceiver_jax.train.interrupt import Interrupted
    from perceiver_jax.train.loop import train

    if arguments.checkpoint:
        # The same file from whatever folder the run is continued.
        changes = {**changes, "checkpoint": os.path.abspath(arguments.checkpoint)}
    config = override(load_experiment(arguments.config), changes)
    try:
        train(config, arguments.workdir)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    return 0


def _debug_step(workdir: str | None, config: str | None, changes: dict[str, str]) -> int:
    if not workdir:
        raise UserError("--debug_step needs the run that failed: --workdir=DIR.")
    if config or any(not name.startswith("trainer.mesh.") for name in changes):
        raise UserError(
            "--debug_step replays a run with its own config; leave --config away. Only "
            "--config.trainer.mesh.… may differ, on other devices."
        )
    from perceiver_jax.train.diverged import replay

    return EXIT_STEP_FAILED if replay(workdir, changes) else 0


if __name__ == "__main__":
    run_main_with_overrides(distributed.leave_on_failure(train_main), define_flags)
