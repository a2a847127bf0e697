"""Shows runs on one page: `python -m perceiver_jax.report --workdir=DIR`.

  --workdir=DIR                    report.html in DIR: curves, results, mistakes, attention, ...
  --workdir=DIR --config.data.points.data_dir=DATA
                                   where the data have moved; so for any field that changes nothing
                                   of what is learned
  --workdir=DIR1 --workdir=DIR2    comparison.html in the folder that holds both
  --workdirs=DIR1,DIR2             the same
  --workdirs='runs/*'              all runs in a folder
  --out=FILE.html                  another file

A page is one file that loads nothing. A run that is not complete has a report too.

  --paper_table=imagenet --workdirs='runs/*'    prints the papers' tables with what was measured;
                                                modelnet40 and audioset have some too
  ... --markdown, or --json                     as Markdown, or as JSON
"""

import glob
import json
import os
from collections.abc import Sequence
from pathlib import Path

# Nothing heavy here: until `exit_on_interrupt` has been called, Ctrl-C shows a traceback.
from perceiver_jax.errors import UserError, run_main_with_overrides


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_multi_string(
        "workdir",
        None,
        "Work directory of a run of `python -m perceiver_jax.train`; several, separated by commas "
        "or each with a flag of its own, are compared. Patterns, such as 'runs/*', stand for all "
        "that fit them and hold a run.",
    )
    flags.DEFINE_multi_string("workdirs", None, "The same as --workdir.")
    flags.DEFINE_string(
        "paper_table",
        None,
        "Prints the papers' tables of this data set (imagenet, modelnet40, audioset) with what the "
        "runs have measured, instead of writing a page.",
    )
    flags.DEFINE_bool("markdown", False, "Prints the papers' tables as Markdown.")
    flags.DEFINE_bool("json", False, "Prints the papers' tables as JSON.")
    flags.DEFINE_string("out", None, "The page to write.")
    flags.DEFINE_integer(
        "examples", 2048, "How many examples predictions are made for, at most.", lower_bound=1
    )
    flags.DEFINE_float(
        "seconds", 60.0, "How long that may take, without compiling.", lower_bound=0.0
    )


def report_main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point.

    Args:
      argv: what absl left of the command line.
      changes: overrides of the run's config, as text by dotted name.
    """
    from absl import flags

    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; see --help.")
    given = [*(arguments.workdir or ()), *(arguments.workdirs or ())]
    workdirs = [each for text in given for each in _split(text)]
    patterns = any(map(_is_pattern, workdirs))
    if changes and (arguments.paper_table is not None or patterns or len(workdirs) != 1):
        raise UserError(f"--config.{next(iter(changes))} goes with a single --workdir only.")
    if arguments.paper_table is not None:
        _print_paper_table(arguments.paper_table, workdirs)
        return
    for name in ("markdown", "json"):
        if arguments[name].value:
            raise UserError(f"--{name} goes with --paper_table only.")
    if not workdirs:
        raise UserError(
            "Give the work directory of a run, or several to compare them:\n\n"
            "    python -m perceiver_jax.report --workdir=DIR\n"
        )
    # Imported late, so that --help answers at once.
    from perceiver_jax.report import write
    from perceiver_jax.report.predicted import Limits

    if patterns:
        from perceiver_jax.report.measured import find_workdirs

        workdirs = [str(each) for each in find_workdirs(workdirs)]
    if len(workdirs) == 1:
        limits = Limits(examples=arguments.examples, seconds=arguments.seconds)
        path = write.write_report(workdirs[0], arguments.out, limits=limits, changes=changes)
    else:
        path = write.write_comparison(workdirs, arguments.out or _beside(workdirs))
    print(path)


def _print_paper_table(name: str, workdirs: Sequence[str]) -> None:
    from absl import flags

    arguments = flags.FLAGS
    if arguments.out is not None:
        raise UserError("--out does not go with --paper_table, which prints: redirect it to FILE.")
    if arguments.markdown and arguments.json:
        raise UserError("--markdown and --json: choose one of the two.")
    from perceiver_jax.report import measured, results_table
    from perceiver_jax.report.paper_results import paper_tables

    tables = paper_tables(name)
    comparison = measured.compare(tables, measured.find_workdirs(workdirs))
    if arguments.json:
        print(json.dumps(results_table.to_json(comparison), indent=2, default=str))
    else:
        print(results_table.render(comparison, markdown=arguments.markdown))


def _split(given: str) -> list[str]:
    """Several directories in one flag; a comma may also be part of a name."""
    if Path(given).is_dir():
        return [given]
    return [each for each in given.split(",") if each]


def _is_pattern(given: str) -> bool:
    return glob.has_magic(given) and not os.path.exists(given)


def _beside(workdirs: Sequence[str]) -> Path:
    """The file for a comparison: in the folder that holds all of the directories."""
    from perceiver_jax.report.write import COMPARISON_FILE

    folders = [os.path.dirname(os.path.abspath(each)) for each in workdirs]
    return Path(os.path.relpath(os.path.commonpath(folders))) / COMPARISON_FILE


if __name__ == "__main__":
    run_main_with_overrides(report_main, define_flags)
