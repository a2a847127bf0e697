"""predict --verify_released: whether released files give the outputs that were published."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.released_expectations import Expectation
    from perceiver_jax.infer.verify import Result

_COLUMNS = ("file", "model", "check", "difference", "tolerance", "result")


def run(
    directory: str, report: "Report", expectations: "Sequence[Expectation] | None" = None
) -> int:
    """Verifies the checkpoints in a folder, and tells of every check.

    Args:
      directory: the folder.
      report: takes one JSON object for each check, or a table at the end.
      expectations: what is known about models; None: what is published about the released.

    Returns:
      The exit code; see `verify.exit_code`.
    """
    from perceiver_jax.infer import released_expectations, verify

    if expectations is None:
        expectations = released_expectations.RELEASED
    results = []
    for result in verify.verify(directory, expectations, tell=report.note):
        results.append(result)
        if report.output == "json":
            report.result(dataclasses.asdict(result), "")
    if report.output == "text":
        report.result({}, table(results))
    counts = [
        f"{sum(each.result == kind for each in results)} {word}"
        for kind, word in (
            (verify.PASS, "passed"),
            (verify.FAIL, "failed"),
            (verify.NOT_CHECKED, "not checked"),
        )
    ]
    report.note(", ".join(counts) + ".")
    return verify.exit_code(results)


def table(results: "Sequence[Result]") -> str:
    """Results as a table, each with its reason in a line beneath."""
    rows = [_COLUMNS, *map(_row, results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = []
    reasons = ("", *(each.reason for each in results))
    for row, reason in zip(rows, reasons, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
        lines += [f"    {line}" for line in reason.splitlines()]
    return "\n".join(lines)


def _row(result: "Result") -> tuple[str, ...]:
    tolerance = _number(result.tolerance)
    if result.rounding:
        tolerance += f" + {_number(result.rounding)}"  # For rounding.
    return (
        result.file or "-",
        result.model or "-",
        result.check,
        _number(result.difference),
        tolerance,
        result.result,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
