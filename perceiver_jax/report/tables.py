"""Tables of text, for the terminal and for Markdown."""

from collections.abc import Sequence


def render(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    markdown: bool = False,
) -> str:
    """Lays out a table.

    Args:
      header: names of the columns.
      rows: cells, as many in each row as there are columns. A row of empty cells is a blank line.
      right: names of the columns that are aligned to the right, as numbers are.
      markdown: a Markdown table instead of spaces.

    Returns:
      The table without a final line break.
    """
    if markdown:
        rule = ["---:" if name in right else "---" for name in header]
        kept = [row for row in rows if any(row)]
        return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *kept])
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def engineering(value: float) -> str:
    """A count as the papers print theirs: "44.9M", "707.2B", "6.85T"."""
    for unit, size, digits in (("T", 1e12, 2), ("B", 1e9, 1), ("M", 1e6, 1), ("K", 1e3, 1)):
        # Where it is rounded up to the next unit it takes that.
        if abs(value) >= size * (1 - 5e-4):
            return f"{value / size:.{digits}f}{unit}"
    return f"{value:.0f}"
