"""What a fine-tuned run started with: loaded, skipped, initialised, frozen, at which rates."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import element, join, note, table
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.run_record import Run
from perceiver_jax.train.workdir import INITIAL_WEIGHTS

TITLE = "Starting weights"

_NAMED = 40  # Modules listed for each origin that is not "loaded".


def applies(run: Run) -> bool:
    """Whether there is anything to say: a run from random values has no such section."""
    config = run.config
    return bool(config.checkpoint or config.frozen or config.learning_rates)


def render(context: Context) -> Section:
    """Shows counts by origin, and the modules of all but what was simply loaded."""
    path = context.run.path / INITIAL_WEIGHTS
    try:
        origins: dict[str, Any] = json.loads(path.read_text())
        counts, arrays = origins["counts"], origins["arrays"]
    except (OSError, ValueError, KeyError) as error:
        raise NotShown(f"{path.name} cannot be read ({type(error).__name__})") from error
    body = []
    if origins.get("checkpoint"):
        body.append(note(f"From {origins['checkpoint']}, {origins['format']}."))
    rows = [
        [origin, f"{count['modules']:,}", f"{count['values']:,}", _modules(origin, arrays)]
        for origin, count in counts.items()
    ]
    body.append(table(["", "modules", "values", "which"], rows, stacked=True))
    facts = {
        "frozen": ", ".join(origins.get("frozen", ())),
        "learning rates": ", ".join(origins.get("learning_rates", ())),
    }
    pairs = [
        join([element("dt", name), element("dd", value)]) for name, value in facts.items() if value
    ]
    if pairs:
        body.append(element("dl", *pairs, style_class="facts"))
    differences = origins.get("config_differences", ())
    if differences:
        body.append(note("The models' configs differ:"))
        cells = [[each["name"], each["checkpoint"], each["model"]] for each in differences]
        body.append(table(["", "checkpoint", "here"], cells, stacked=True))
    return Section(TITLE, join(body))


def _modules(origin: str, arrays: Sequence[Mapping[str, Any]]) -> str:
    if origin == "loaded":
        return ""
    names = list(dict.fromkeys(each["module"] for each in arrays if each["origin"] == origin))
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
