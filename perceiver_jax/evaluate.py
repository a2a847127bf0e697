"""Evaluates a checkpoint: `python -m perceiver_jax.evaluate --workdir=DIR`.

  --workdir=DIR                               the newest checkpoint of a run, or with
                                              evaluation.select=test the best one
  --workdir=DIR --step=400                    an earlier one
  --workdir=DIR --step=best                   the best one that there is, by the run's evaluations
  --workdir=DIR --config.data.points.data_dir=DATA
                                              where the data have moved; so for any field that
                                              changes nothing of what is learned
  --config=FILE.py --checkpoint=PATH          weights of any format, on an experiment's data
  --per_class=FILE.json                       writes what was found of single classes, too

Prints one line of JSON: {"name": ..., "step": ..., "split": ..., "examples": ..., "loss": ...}.
Without --step, "select" says of a run which of the two it was: "last", or "test".
"""

import json
import sys
from collections.abc import Sequence

# Nothing heavy here: until `exit_on_interrupt` has been called, Ctrl-C shows a traceback.
from perceiver_jax.errors import UserError, run_main_with_overrides
from perceiver_jax.train import distributed


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string(
        "workdir", None, "Work directory of a run of `python -m perceiver_jax.train`."
    )
    flags.DEFINE_string(
        "config",
        None,
        "Experiment file FILE.py[:VARIANT], for --checkpoint; any field of it is changed by "
        "--config.NAME=VALUE. Of a run's own config, those that change nothing of what is learned.",
    )
    flags.DEFINE_string(
        "checkpoint", None, "File or folder with weights of any format, in place of a run's."
    )
    flags.DEFINE_string(
        "step",
        None,
        'The checkpoint to evaluate: its step, or "best". If not given, the newest one, or the '
        "best one if the run has evaluation.select=test.",
    )
    flags.DEFINE_string(
        "split", None, "The split to evaluate; the one of the experiment's config if not given."
    )
    flags.DEFINE_string(
        "per_class",
        None,
        "A JSON file for the values of single classes, of tasks that have some: average precision, "
        "AUC and number of positives of tasks with several labels.",
    )
    distributed.define_flags()
    flags.adopt_module_key_flags(distributed)  # --help lists them too


def evaluate_main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point.

    Args:
      argv: what absl left of the command line.
      changes: overrides of the experiment's config, as text by dotted name.
    """
    from absl import flags

    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; see --help.")
    if bool(arguments.workdir) == bool(arguments.checkpoint):
        raise UserError(
            "Give the work directory of a run (--workdir=DIR), or weights and the experiment that "
            "they are evaluated by (--checkpoint=PATH --config=FILE.py)."
        )
    for_run = arguments.workdir is not None
    for name, given in (("step", arguments.step is not None), ("config", bool(arguments.config))):
        if given and for_run != (name == "step"):
            raise UserError(
                f"--{name} does not go with --{'workdir' if for_run else 'checkpoint'}."
            )
    if not for_run and not arguments.config:
        raise UserError("--checkpoint needs the experiment that evaluates it: --config=FILE.py.")
    step = arguments.step
    if step is not None and step != "best":
        if not (step.isascii() and step.isdigit()):
            raise UserError(f"--step={step}: give the number of a step, or best.")
        step = int(step)
    distributed.initialize_from_flags()  # before anything that could touch a device
    # Imported late, so that --help answers at once.
    import jax

    from perceiver_jax.config import load_experiment, override
    from perceiver_jax.train.evaluation import evaluate_checkpoint, evaluate_weights

    def report(line: str) -> None:
        print(line, file=sys.stderr)

    if for_run:
        result = evaluate_checkpoint(
            arguments.workdir,
            step=step,
            split=arguments.split,
            per_class=arguments.per_class,
            changes=changes,
            report=report,
        )
    else:
        config = override(load_experiment(arguments.config), changes)
        result = evaluate_weights(
            config,
            arguments.checkpoint,
            split=arguments.split,
            per_class=arguments.per_class,
            report=report,
        )
    if jax.process_index() == 0:  # All of several processes have the same result.
        print(json.dumps(result))


if __name__ == "__main__":
    run_main_with_overrides(distributed.leave_on_failure(evaluate_main), define_flags)
