"""Shows runs on one page: `python -m perceiver_jax.report --workdir=DIR`.

  --workdir=DIR                    report.html in DIR: curves, results, mistakes, attention, ...
  --workdir=DIR1 --workdir=DIR2    comparison.html in the folder that holds both
  --workdir=DIR1,DIR2              the same
  --out=FILE.html                  another file

A page is one file that loads nothing. A run that is not complete has a report too.
"""

import os
from collections.abc import Sequence
from pathlib import Path

# Nothing heavy here: until `exit_on_interrupt` has been called, Ctrl-C shows a traceback.
from perceiver_jax.errors import UserError, run_main


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_multi_string(
        "workdir",
        None,
        "Work directory of a run of `python -m perceiver_jax.train`; several, separated by commas "
        "or each with a flag of its own, are compared.",
    )
    flags.DEFINE_string("out", None, "The page to write.")
    flags.DEFINE_integer(
        "examples", 2048, "How many examples predictions are made for, at most.", lower_bound=1
    )
    flags.DEFINE_float(
        "seconds", 60.0, "How long that may take, without compiling.", lower_bound=0.0
    )


def report_main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    from absl import flags

    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; see --help.")
    workdirs = [each for given in arguments.workdir or () for each in _split(given)]
    if not workdirs:
        raise UserError(
            "Give the work directory of a run, or several to compare them:\n\n"
            "    python -m perceiver_jax.report --workdir=DIR\n"
        )
    # Imported late, so that --help answers at once.
    from perceiver_jax.report import write
    from perceiver_jax.report.predicted import Limits

    if len(workdirs) == 1:
        limits = Limits(examples=arguments.examples, seconds=arguments.seconds)
        path = write.write_report(workdirs[0], arguments.out, limits=limits)
    else:
        path = write.write_comparison(workdirs, arguments.out or _beside(workdirs))
    print(path)


def _split(given: str) -> list[str]:
    """Several directories in one flag; a comma may also be part of a name."""
    if Path(given).is_dir():
        return [given]
    return [each for each in given.split(",") if each]


def _beside(workdirs: Sequence[str]) -> Path:
    """The file for a comparison: in the folder that holds all of the directories."""
    from perceiver_jax.report.write import COMPARISON_FILE

    folders = [os.path.dirname(os.path.abspath(each)) for each in workdirs]
    return Path(os.path.relpath(os.path.commonpath(folders))) / COMPARISON_FILE


if __name__ == "__main__":
    define_flags()
    run_main(report_main)
