"""The final table: a run beside the paper's row, or several runs beside each other."""

from perceiver_jax.report import numbers
from perceiver_jax.report.charts import NUM_COLOURS
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note, table
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.run_record import Entry, Run
from perceiver_jax.report.sections import metrics_shown
from perceiver_jax.train.paper import PaperResult
from perceiver_jax.train.progress import format_seconds
from perceiver_jax.train.result import examples_counted

TITLE = "Result"
NOT_IN_A_PAPER = "not in any paper"


def render(context: Context) -> Section:
    """Shows the table."""
    return _comparison(context) if len(context.runs) > 1 else _single(context.run)


def _single(run: Run) -> Section:
    metrics, paper = metrics_shown.metrics_of(run), run.config.paper
    if not metrics:
        raise NotShown("nothing has been evaluated yet")
    split = run.config.trainer.eval_split
    at = f"at step {run.result['step']:,}"
    if run.final is not None and run.is_selected:
        about = f"On {_examples(run.final)} of {split}, {at}: {_selected(run)}."
    elif run.final is not None:
        about = f"On {_examples(run.final)} of {split}, after the last step."
    elif run.is_selected:
        about = f"On {split}, {at}: {_selected(run)} so far; the run is not complete."
    else:
        about = f"The last evaluation on {split}, {at}; the run is not complete."
    if run.final is None and run.result.get("left_out"):
        about += f" Corrupt and left out: {run.result['left_out']:,}."
    about += _ids(run)
    header = ["metric", "this run"]
    rows = [
        [metrics_shown.title(run, name), metrics_shown.show(run, name, value)]
        for name, value in metrics.items()
    ]
    if paper is None:
        text = f"This experiment is {NOT_IN_A_PAPER}: there is no row to compare it with."
        shown = table(header, rows, numbers=(1,))
        return Section(TITLE, join([shown, note(f"{about} {text}")]))
    if paper.metric not in metrics:
        rows.append([metrics_shown.title(run, paper.metric), "–"])
    source = element("div", paper.source, style_class="soft")
    header += [join([element("span", paper.row), source]), "difference"]
    for row, name in zip(rows, [*metrics, paper.metric], strict=False):
        if name == paper.metric:
            row.append(_printed(run, paper))
            if name in metrics and paper.value is not None:
                row.append(metrics_shown.show_difference(run, name, metrics[name] - paper.value))
            else:
                row.append("–")
        else:
            row += ["–", "–"]
    return Section(TITLE, join([table(header, rows, numbers=(1, 2, 3), stacked=True), note(about)]))


def _ids(run: Run) -> str:
    """Which examples these are, where no two have the same ones."""
    ids, trained = run.result.get("ids"), run.result.get("trained_on")
    said = ""
    if ids is not None:
        whose = f"all {run.result['examples']:,}" if run.result.get("left_out") else "their"
        said = f" The hash of {whose} ids is {ids}."
    corrupt = run.corrupt_to_train_on
    least = f" (at least {corrupt:,} corrupt), ids of all" if corrupt else ", ids"
    if trained is not None:
        said += f" Trained on {trained['examples']:,} examples{least} {trained['ids']}."
    return said


def _examples(result: Entry) -> str:
    """ "all 6 examples", or "5 of 6 examples (1 corrupt)"."""
    counted = examples_counted(result)
    return counted if result.get("left_out") else f"all {counted}"


def _selected(run: Run) -> str:
    return f"selected by test score, the best of {len(run.eval_entries):,} evaluations"


def _comparison(context: Context) -> Section:
    names = list(dict.fromkeys(name for run in context.runs for name in _names(run)))
    if not names:
        raise NotShown("nothing has been evaluated yet")
    papers = any(run.config.paper for run in context.runs)
    header = ["run", *(_title(context, name) for name in names)]
    header += ["paper"] if papers else []
    header += ["step", "parameters", "examples/s", "time"]
    rows = [
        [
            _chip(run, number),
            *(_cell(context, run, name) for name in names),
            *([_paper(run)] if papers else []),
            _step(run),
            numbers.plain(run.result.get("num_params", "–")),
            _speed(run),
            format_seconds(run.seconds() or 0) if run.seconds() else "–",
        ]
        for number, run in enumerate(context.runs)
    ]
    columns = tuple(range(1, len(header)))
    # The paper's column is text.
    numeric = tuple(each for each in columns if header[each] != "paper")
    shown = [table(header, rows, numbers=numeric, stacked=True)]
    unfinished = [run.label for run in context.runs if run.final is None]
    if unfinished:
        shown.append(note(f"Not complete: {', '.join(unfinished)}."))
    selected = [run.label for run in context.runs if run.is_selected]
    if selected:
        shown.append(note(f"Selected by test score: {', '.join(selected)}."))
    lacking = [
        f"{run.label} {run.result['left_out']:,}"
        for run in context.runs
        if run.result.get("left_out")
    ]
    if lacking:
        shown.append(note(f"Corrupt examples that were left out: {', '.join(lacking)}."))
    if not papers:
        shown.append(note(f"These experiments are {NOT_IN_A_PAPER}."))
    return Section(TITLE, join(shown))


def _names(run: Run) -> list[str]:
    return list(metrics_shown.metrics_of(run))


def _title(context: Context, name: str) -> str:
    """A metric's title: that of the first run that has it."""
    run = next(run for run in context.runs if name in _names(run))
    return f"{run.config.trainer.eval_split} {metrics_shown.title(run, name)}"


def _cell(context: Context, run: Run, name: str) -> Markup | str:
    """A value, the best of all runs in bold where it is known which end is better."""
    found = {id(each): metrics_shown.metrics_of(each).get(name) for each in context.runs}
    value = found[id(run)]
    if value is None:
        return "–"
    text = metrics_shown.show(run, name, value)
    headline = run.config.task.headline
    if name not in ("loss", headline.metric):
        return text
    others = [each for each in found.values() if each is not None]
    higher = name == headline.metric and headline.higher_is_better
    best = max(others) if higher else min(others)
    return element("b", text) if value == best and len(others) > 1 else text


def _paper(run: Run) -> str:
    paper = run.config.paper
    if paper is None:
        return NOT_IN_A_PAPER
    return f"{_printed(run, paper)}, {paper.row} ({paper.source})"


def _printed(run: Run, paper: PaperResult) -> str:
    return "–" if paper.value is None else metrics_shown.show(run, paper.metric, paper.value)


def _step(run: Run) -> str:
    total = run.num_steps()
    if run.is_selected:
        return f"{run.result['step']:,}, selected of {total or run.step:,}"
    return f"{run.step:,}" if run.final is not None or not total else f"{run.step:,} of {total:,}"


def _speed(run: Run) -> str:
    _, speeds = run.series(run.train_entries, "examples_per_second")
    return numbers.plain(float(round(speeds[-1]))) if len(speeds) else "–"


def _chip(run: Run, number: int) -> Markup:
    name = f"chip c{number % NUM_COLOURS}"
    return element("span", element("b", run.label), style_class=name)
