"""Writes reports: which sections stand on a page, and in which order."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from perceiver_jax.atomic import replacing
from perceiver_jax.errors import UserError
from perceiver_jax.report.context import Context
from perceiver_jax.report.page import NotShown, Section, page
from perceiver_jax.report.predicted import Limits
from perceiver_jax.report.run_record import Run, read_run, read_runs
from perceiver_jax.report.sections import (
    attention,
    classes,
    configuration,
    curves,
    environment,
    examples,
    mistakes,
    per_class,
    results,
    starting_weights,
    summary,
    surest,
    throughput,
)

FILE = "report.html"
COMPARISON_FILE = "comparison.html"

# Modules with a TITLE and a `render(context)`, in the order in which they stand on the page. Those
# that have an `applies(run)` are for some runs only, and are not missed on other pages.
SINGLE: tuple[ModuleType, ...] = (
    summary, results, curves, classes, per_class, surest, mistakes, examples, attention,
    starting_weights, configuration, throughput, environment,
)  # fmt: skip
COMPARISON: tuple[ModuleType, ...] = (results, curves, configuration, throughput, environment)


def write_report(
    workdir: str | Path,
    out: str | Path | None = None,
    *,
    limits: Limits | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the report of a run, finished or not.

    Args:
      workdir: the run's work directory.
      out: the page; None is report.html in the work directory.
      limits: how much may be computed for it; None: as `Limits` says.
      changes: of the run's config, by dotted name; see `train.workdir.read_config`.

    Returns:
      The path of the page.

    Raises:
      UserError: there is no run, or the page cannot be written. What only a part of the page needs,
        such as the checkpoint, is missing on the page, with the reason.
    """
    run = read_run(workdir, changes=changes)
    sections = [each for each in SINGLE if not hasattr(each, "applies") or each.applies(run)]
    text = _compose(run.label, sections, Context([run], limits or Limits()), _status(run))
    return _write(text, Path(workdir) / FILE if out is None else Path(out))


def write_comparison(workdirs: Sequence[str | Path], out: str | Path) -> Path:
    """Writes a page that compares several runs.

    Args:
      workdirs: their work directories.
      out: the page.

    Returns:
      The path of the page.

    Raises:
      UserError: one of them is no run, or the page cannot be written.
    """
    runs = read_runs(workdirs)
    text = _compose(f"{len(runs)} runs compared", COMPARISON, Context(runs), None)
    return _write(text, Path(out))


def report_at_end(workdir: str | Path, report: Callable[[str], None] = print) -> Path | None:
    """Writes the report of a run that has ended well, which does not fail for want of it.

    Returns:
      The path of the page; None where it could not be written, after saying why.
    """
    try:
        return write_report(workdir)
    except UserError as error:
        report(f"no report: {error}")
    except Exception as error:
        report(
            f"no report: {type(error).__name__}: {error} "
            f"(python -m perceiver_jax.report --workdir={workdir} tries again)"
        )
    return None


def _status(run: Run) -> tuple[str, bool]:
    if run.final is not None:
        return "complete", True
    total = run.num_steps()
    return f"not complete: step {run.step:,}" + (f" of {total:,}" if total else ""), False


def _compose(
    title: str,
    modules: Sequence[ModuleType],
    context: Context,
    status: tuple[str, bool] | None,
) -> str:
    sections: list[Section] = []
    left_out: list[tuple[str, str]] = []
    for module in modules:
        try:
            sections.append(module.render(context))
        except NotShown as reason:
            left_out.append((module.TITLE, str(reason)))
        except Exception as error:  # A section that fails takes no other with it.
            print(f"report: {module.TITLE}: {type(error).__name__}: {error}", file=sys.stderr)
            first = (str(error).splitlines() or [""])[0]
            left_out.append((module.TITLE, f"{type(error).__name__} was raised: {first}"))
    return page(title, sections, status=status, left_out=left_out)


def _write(text: str, path: Path) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
