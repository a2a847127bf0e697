"""The frame of a report: one HTML file that loads nothing, sections in a column."""

import dataclasses
import time
from collections.abc import Sequence

import perceiver_jax
from perceiver_jax.report import numbers
from perceiver_jax.report.markup import Markup, element, escape, join
from perceiver_jax.report.style import STYLE

# The browser itself sees to it that nothing is loaded, and no script is run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str  # "" for a part without a heading, which is not framed either.
    body: Markup


class NotShown(Exception):
    """A section has nothing to show; the message says why, as the end of a sentence."""


def page(
    title: str,
    sections: Sequence[Section],
    *,
    status: tuple[str, bool] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> str:
    """Returns a whole page.

    Args:
      title: the heading.
      sections: the parts, in order.
      status: a short text beside the heading, and whether it is good news.
      left_out: parts that are not there, and why.
    """
    heading = [element("h1", title)]
    if status is not None:
        text, done = status
        heading.append(element("span", text, style_class="badge" if done else "badge open"))
    body = [element("header", *heading)]
    for section in sections:
        if section.title:
            framed = element("section", element("h2", section.title), section.body)
            body.append(framed)
        else:
            body.append(section.body)
    lines = [element("p", f"Not shown: {name}, because {reason}.") for name, reason in left_out]
    written = (
        f"Written by perceiver_jax {perceiver_jax.__version__}, {numbers.moment(time.time())}."
    )
    body.append(element("footer", *lines, element("p", written)))
    meta = [
        {"charset": "utf-8"},
        {"name": "viewport", "content": "width=device-width, initial-scale=1"},
        {"http-equiv": "Content-Security-Policy", "content": _POLICY},
    ]
    head = join([element("meta", attributes=each) for each in meta], "\n")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{join(body, chr(10))}\n</main>\n"
        "</body>\n</html>\n"
    )
