"""HTML from Python: every text is escaped, unless it is markup already."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_VOID = ("img", "meta", "line", "polyline")  # Elements without content.


class Markup(str):
    """Text that is HTML; any other text that an element is given is escaped."""

    __slots__ = ()


def escape(text: Any) -> Markup:
    """Returns a text as HTML that shows it; markup stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(str(text), quote=True))


def join(parts: Iterable[Any], between: str = "") -> Markup:
    """Returns texts and markup, one after another."""
    return Markup(between.join(escape(part) for part in parts))


def element(
    name: str, *content: Any, style_class: str = "", attributes: Mapping[str, Any] | None = None
) -> Markup:
    """Returns an element.

    Args:
      name: such as "td".
      *content: markup, or texts, which are escaped.
      style_class: its class or classes, as the style sheet calls them.
      attributes: the others, by name.
    """
    given = {"class": style_class} if style_class else {}
    given |= attributes or {}
    opened = "".join(f' {key}="{escape(value)}"' for key, value in given.items())
    if name in _VOID:
        return Markup(f"<{name}{opened}>" if name in ("img", "meta") else f"<{name}{opened}/>")
    return Markup(f"<{name}{opened}>{join(content)}</{name}>")


def table(
    header: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    numbers: Sequence[int] = (),
    stacked: bool = False,
) -> Markup:
    """Returns a table that scrolls sideways where the page is too narrow for it.

    Args:
      header: names of the columns.
      rows: cells, texts or markup.
      numbers: columns, from 0, that are aligned to the right.
      stacked: for wide tables: on a phone, the cells of a row stand below each other instead, each
        beside the name of its column.
    """

    def line(cells: Sequence[Any], tag: str) -> Markup:
        return element("tr", *(one(tag, column, cell) for column, cell in enumerate(cells)))

    def one(tag: str, column: int, cell: Any) -> Markup:
        inside = [cell]
        if stacked and tag == "td" and column:
            # Shown on a phone alone.
            inside = [element("span", header[column], style_class="column"), element("div", cell)]
        return element(tag, *inside, style_class="number" if column in numbers else "")

    body = element("tbody", *(line(row, "td") for row in rows))
    whole = element(
        "table",
        element("thead", line(header, "th")),
        body,
        style_class="stacked" if stacked else "",
    )
    return element("div", whole, style_class="scroll")


def note(*text: Any) -> Markup:
    """Returns a line of explanation."""
    return element("p", *text, style_class="note")
