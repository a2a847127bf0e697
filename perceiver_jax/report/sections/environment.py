"""What a run ran on: versions, devices, the code's commit, and how long it took."""

from typing import Any

from perceiver_jax.report import numbers
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note, table
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.run_record import Run
from perceiver_jax.train.progress import format_seconds

TITLE = "Environment"


def render(context: Context) -> Section:
    """Shows a list of facts, or for several runs a table of what they have."""
    if len(context.runs) > 1:
        found = [facts(run) for run in context.runs]
        names = list(dict.fromkeys(name for each in found for name in each))
        rows = [[name, *(each.get(name, "–") for each in found)] for name in names]
        header = ["", *(run.label for run in context.runs)]
        return Section(TITLE, table(header, rows, stacked=True))
    run = context.run
    shown = facts(run)
    if not shown:
        raise NotShown("nothing of it was recorded")
    pairs = [join([element("dt", name), element("dd", value)]) for name, value in shown.items()]
    body = [element("dl", *pairs, style_class="facts")]
    changes = _changes(run)
    if changes is not None:
        body.append(changes)
    return Section(TITLE, join(body))


def facts(run: Run) -> dict[str, str]:
    """What is known of a run's environment at its last start, by name, and of its times."""
    found: dict[str, str] = {}
    if run.starts:
        found |= _of_start(run.starts[-1])
        found["started"] = numbers.moment(float(run.starts[0]["unix_time"]))
        if len(run.starts) > 1:
            steps = ", ".join(f"{start['step']:,}" for start in run.starts[1:])
            found["resumed"] = f"at step {steps}"
    if run.last_time is not None:
        name = "finished" if run.final is not None else "last line of metrics"
        found[name] = numbers.moment(run.last_time)
    seconds = run.seconds()
    if seconds is not None:
        found["duration"] = format_seconds(seconds)
    found["work directory"] = run.path.absolute().name
    return found


def _of_start(start: dict[str, Any]) -> dict[str, str]:
    packages = start.get("packages") or {}
    versions = {name: version for name, version in packages.items() if version}
    found = {
        "devices": start.get("devices"),
        "processes": start.get("processes"),
        "platform": start.get("platform"),
        "python": start.get("python"),
        "perceiver_jax": start.get("perceiver_jax"),
        "commit": _short_commit(start.get("commit")),
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return {name: str(value) for name, value in found.items() if value}


def _short_commit(commit: Any) -> str:
    if not isinstance(commit, str):
        return "none: the code is no git checkout"
    name, plus, _ = commit.partition("+")
    return name[:12] + (" and changes that are not committed" if plus else "")


def _changes(run: Run) -> Markup | None:
    """What was not the same at all starts."""
    starts = [_of_start(start) for start in run.starts]
    names = dict.fromkeys(name for start in starts for name in start)
    rows = [
        [name, *(start.get(name, "–") for start in starts)]
        for name in names
        if len({start.get(name) for start in starts}) > 1
    ]
    if not rows:
        return None
    header = ["", *(f"from step {start['step']:,}" for start in run.starts)]
    return join([note("Not the same at every start:"), table(header, rows, stacked=True)])
