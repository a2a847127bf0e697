"""The configuration: what differs from the paper's recipe, or between runs, and all of it."""

import re
from typing import Any

from perceiver_jax.report.charts import NUM_COLOURS
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, escape, join, note, table
from perceiver_jax.report.page import Section
from perceiver_jax.report.run_record import Run
from perceiver_jax.train.paper import differences, leaves

TITLE = "Configuration"


def render(context: Context) -> Section:
    """Shows differences first, and then, folded away, every value."""
    if len(context.runs) > 1:
        return Section("Differences in the configuration", _between(context))
    run = context.run
    return Section(TITLE, join([_from_paper(run), _whole(run)]))


def _from_paper(run: Run) -> Markup:
    paper = run.config.paper
    if paper is None:
        return note("Not in any paper: there is no recipe to compare it with.")
    if not paper.recipe:
        return note(f"The config names no recipe for {paper.row} ({paper.source}).")
    found = differences(run.config, paper.recipe)
    same = len(paper.recipe) - len(found)
    about = note(
        f"{same} of the {len(paper.recipe)} values that the recipe of {paper.row} "
        f"({paper.source}) names are as in the paper."
    )
    if not found:
        return about
    rows = [[_path(each.path), show(each.paper), show(each.here)] for each in found]
    title = element("h3", "Other than in the paper")
    return join([about, title, table(["field", "paper", "here"], rows, stacked=True)])


def _between(context: Context) -> Markup:
    """Fields that are not the same in all runs, a column for each run."""
    values = [
        {
            leaf.path: leaf.value
            for leaf in leaves(run.config)
            if leaf.path.partition(".")[0] not in ("name", "paper")
        }
        for run in context.runs
    ]
    paths = list(dict.fromkeys(path for each in values for path in each))
    common: list[list[Any]] = []  # Fields that all runs have, and fields of some runs' classes.
    others: list[list[Any]] = []
    for path in paths:
        shown = [show(each[path]) if path in each else "" for each in values]
        if len(set(shown)) > 1:
            everywhere = all(path in each for each in values)
            (common if everywhere else others).append([_path(path), *shown])
    if not common and not others:
        return note("The runs have the same configuration.")
    heads = [
        element("span", element("b", run.label), style_class=f"chip c{number % NUM_COLOURS}")
        for number, run in enumerate(context.runs)
    ]
    header = ["field", *heads]
    body = []
    if common:
        body.append(table(header, common, stacked=True))
    if others:
        summary = element("summary", f"{len(others)} fields that not all of the runs have")
        body.append(element("details", summary, table(header, others, stacked=True)))
    return join(body)


def _whole(run: Run) -> Markup:
    """Every value of the config; what the classes say by themselves is pale."""
    groups: dict[str, list[list[Any]]] = {}
    for leaf in leaves(run.config):
        group, _, rest = leaf.path.partition(".")
        cells = [_path(rest or group), show(leaf.value)]
        if leaf.is_default:
            cells = [element("span", cell, style_class="soft") for cell in cells]
        groups.setdefault(group, []).append(cells)
    single = [rows[0] for rows in groups.values() if len(rows) == 1]
    tables = [table(["experiment", ""], single)]
    tables += [
        join([element("h3", name), table(["field", "value"], rows)])
        for name, rows in groups.items()
        if len(rows) > 1
    ]
    summary = element("summary", "all values (pale: left at its default)")
    return element("details", summary, *tables)


def _path(path: str) -> Markup:
    # A narrow screen may break the line after these.
    parts = [escape(part) for part in re.split(r"(?<=[._])", path)]
    return element("span", join(parts, "<wbr>"), style_class="path")


def show(value: Any) -> str:
    """A value of a config as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(show, value))})"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {show(each)}" for key, each in value.items()) or "none"
    return str(value)
