"""Single parts of a report, on runs that never ran."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup
from perceiver_jax.report.page import NotShown
from perceiver_jax.report.predicted import Limits, Predicted, RunModel
from perceiver_jax.report.sections import (
    classes,
    configuration,
    curves,
    environment,
    mistakes,
    results,
    summary,
    throughput,
)
from perceiver_jax.tasks.predictions import ClassPredictions
from perceiver_jax.train.config import EvaluationConfig
from perceiver_jax.train.paper import PaperResult
from tests.report.runs import Element, experiment, parse, record


def _entry(step: int, split: str = "train", at: float = 0.0, **values: Any) -> dict[str, Any]:
    timing = {"unix_time": at, "examples_per_second": 10.0 * step}
    return {"step": step, "split": split, "loss": 1.0 / step, **values, "timing": timing}


def _page(section: Any) -> Element:
    assert isinstance(section.body, Markup)
    return parse(section.body)


def test_time_counts_from_each_start_to_the_last_line_before_the_next() -> None:
    entries = [_entry(1, at=110), _entry(2, at=130), _entry(3, at=1020), _entry(4, at=1025)]
    starts = [{"step": 0, "unix_time": 100.0}, {"step": 2, "unix_time": 1000.0}]
    assert record(entries, starts=starts).seconds() == 30 + 25
    assert record(entries).seconds() == 1025 - 110  # starts were not recorded
    assert record([]).seconds() is None
    # A clock that was set back does not make time negative.
    assert record(entries, starts=[{"step": 0, "unix_time": 2000.0}]).seconds() == 0


def test_length_in_steps() -> None:
    def length(**changes: Any) -> int | None:
        config = experiment()
        trainer = dataclasses.replace(config.trainer, num_steps=None, num_epochs=2.0)
        return record(
            [], config=dataclasses.replace(config, trainer=trainer, **changes)
        ).num_steps()

    assert length() == 2 * 1437 // 8
    assert record([]).num_steps() == 4

    class Unmounted(DigitsConfig):
        def make_source(self, split: str) -> Any:
            raise OSError("stale file handle")

    assert length(data=Unmounted()) is None


def test_resumed_runs_have_marks_and_say_what_changed() -> None:
    starts = [
        {"step": 0, "unix_time": 1.0, "python": "3.11.2", "devices": "8 x a"},
        {"step": 2, "unix_time": 5.0, "python": "3.11.2", "devices": "4 x a"},
    ]
    run = record([_entry(step, at=float(step)) for step in range(1, 9)], starts=starts)
    page = _page(throughput.render(Context([run])))
    (mark,) = page.all("line", "mark")
    assert float(mark.attributes["x1"]) == 250  # 2 of 8 steps
    assert "resumed at step 2" in page.text()
    page = _page(environment.render(Context([run])))
    assert "Not the same at every start" in page.text()
    changed = page.all("table")[0].all("tr")
    assert [each.text() for each in changed[1:]] == ["devices from step 0 8 x a from step 2 4 x a"]


def test_a_result_selected_by_test_score_says_so() -> None:
    trainer = dataclasses.replace(experiment().trainer, eval_every=1, checkpoint_every=1)
    config = dataclasses.replace(
        experiment(), trainer=trainer, evaluation=EvaluationConfig(select="test")
    )
    entries = [
        _entry(step, "test", top_1=value) for step, value in ((1, 0.5), (3, 0.75), (4, 0.25))
    ]
    running = record(entries, config=config)
    final = {**entries[1], "select": "test", "examples": 360}
    complete = dataclasses.replace(running, final=final)
    for run, about in (
        (running, "On test, at step 3: selected by test score, the best of 3 evaluations so far; "
                  "the run is not complete."),
        (complete, "On all 360 examples of test, at step 3: selected by test score, the best of "
                   "3 evaluations."),
    ):  # fmt: skip
        page = _page(results.render(Context([run])))
        assert about in page.text() and "75.00%" in page.text()
        tiles = [tile.text() for tile in _page(summary.render(Context([run]))).all("div", "tile")]
        assert tiles[0] == "75.00% test accuracy at step 3, selected by test score"
    both = _page(results.render(Context([complete, record(entries)]))).text()
    assert "3, selected of 4" in both and f"Selected by test score: {complete.label}." in both


def test_what_was_left_out_stands_beside_what_was_counted() -> None:
    entries = [_entry(4, "test", top_1=0.5, left_out=1)]
    entries[0]["timing"] = {"corrupt_to_train_on": 1}
    running = record(entries)
    ids = {"ids": "ab", "trained_on": {"examples": 20, "ids": "cd"}}
    complete = dataclasses.replace(running, final={**entries[0], "examples": 6, **ids})
    text = _page(results.render(Context([complete]))).text()
    assert (
        "On 5 of 6 examples (1 corrupt) of test, after the last step. The hash of all 6 ids is ab. "
        "Trained on 20 examples (at least 1 corrupt), ids of all cd."
    ) in text
    assert "Corrupt and left out: 1." in _page(results.render(Context([running]))).text()
    both = _page(results.render(Context([complete, record([_entry(4, "test", top_1=1)])]))).text()
    assert f"Corrupt examples that were left out: {complete.label} 1." in both
    tiles = _page(summary.render(Context([complete]))).all("div", "tile")
    assert tiles[0].text() == "50.00% test accuracy, 1 corrupt example left out"


def test_a_row_of_a_paper_that_has_no_number() -> None:
    config = experiment(
        paper=PaperResult(row="out of memory", source="s", metric="top_1", value=None)
    )
    run = record([_entry(2), _entry(2, "test", top_1=0.5)], config=config)
    page = _page(results.render(Context([run])))
    (row,) = (row.text() for row in page.all("tr") if "50.0" in row.text())
    assert row.count("–") == 2  # Neither a number nor a difference.
    assert "–, out of memory" in _page(results.render(Context([run, run]))).text()
    assert "paper: " not in _page(curves.render(Context([run]))).text()


def test_a_paper_whose_metric_the_run_has_not() -> None:
    paper = PaperResult(row="r", source="s", metric="map", value=0.4)
    config = experiment(paper=paper)
    run = record([_entry(2, "test", top_1=0.5)], config=config)
    page = _page(results.render(Context([run])))
    rows = [row.text() for row in page.all("tr")[1:]]
    assert rows[-1].startswith("map this run –") and "0.4" in rows[-1]
    assert "names no recipe" in _page(configuration.render(Context([run]))).text()
    curves.render(Context([run]))  # No level to draw: its metric is not that of the chart.


def test_metrics_that_are_no_numbers_draw_no_lines() -> None:
    entries = [_entry(1), _entry(2), _entry(2, "test", top_1=float("nan"))]
    entries[1]["loss"] = float("nan")
    page = _page(curves.render(Context([record(entries)])))
    assert "loss" in page.text() and "nan" not in str(page.all("polyline"))
    with pytest.raises(NotShown, match="nothing was logged"):
        curves.render(Context([record([])]))


class _Predictions(RunModel):
    """A model that has said all already."""

    def __init__(self, run: Any, values: ClassPredictions):
        super().__init__(run, Limits())
        count = len(values.labels)
        self._known["predicted"] = Predicted(np.arange(count), values, count, 0)
        self._known["loaded"] = (7, None)


def _context(labels: list[int], guesses: list[int], num_classes: int, data: Any = None) -> Context:
    values = ClassPredictions(
        labels=np.array(labels),  # type: ignore[arg-type]
        label_probabilities=np.linspace(0.9, 0.1, len(labels)),  # type: ignore[arg-type]
        guesses=np.array(guesses)[:, None],  # type: ignore[arg-type]
        guess_probabilities=np.full((len(labels), 1), 0.5),  # type: ignore[arg-type]
        num_classes=num_classes,
    )
    run = record([], config=experiment(data=data or DigitsConfig()))
    context = Context([run])
    context.__dict__["model"] = _Predictions(run, values)
    return context


@dataclasses.dataclass(frozen=True)
class _Named(DigitsConfig):
    def class_names(self) -> tuple[str, ...]:
        return tuple(f"name <{index}>" for index in range(30))


def test_many_classes_make_a_table_the_worst_first() -> None:
    labels = [0] * 4 + [7] * 2 + [29] * 3
    guesses = [0, 0, 0, 1] + [29, 29] + [29] * 3
    page = _page(classes.render(_context(labels, guesses, 30, _Named())))
    by_class, pairs = page.all("table")
    rows = [[cell.text() for cell in row.all("td")] for row in by_class.all("tr")[1:]]
    assert rows == [
        ["name <7>", "0%", "2", "name <29> (2)"],
        ["name <0>", "75%", "4", "name <1> (1)"],
        ["name <29>", "100%", "3", "–"],
    ]
    assert [row.text() for row in pairs.all("tr")[1:]] == [
        "name <7> name <29> 2", "name <0> name <1> 1"
    ]  # fmt: skip
    assert "6 of 9 right, with the checkpoint of step 7" in page.text()
    assert "27 classes have no example among these" in page.text()


def test_all_classes_are_there_when_there_are_more_than_fit() -> None:
    labels = list(range(25))
    page = _page(classes.render(_context(labels, labels, 25)))
    folded = page.all("details")[0]
    assert folded.all("summary")[0].text() == "the other 5 classes"
    assert len(folded.all("tr")) == 1 + 5
    assert "No two classes were confused" in page.text()


def test_confusion_by_hand() -> None:
    found = classes.confusion(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 0, 0]), 3)
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 0, 0], [2, 0, 1]])


def test_the_worst_mistake_is_the_label_thought_least_likely() -> None:
    context = _context([1, 2, 3, 4], [1, 5, 5, 4], 10)
    np.testing.assert_array_equal(mistakes.worst_mistakes(context.model.predicted.values), [2, 1])
    assert [
        each.attributes["title"] for each in _page(mistakes.render(context)).all("div", "card")
    ] == ["example 2", "example 1"]
    with pytest.raises(NotShown, match="there are none among all 4 examples"):
        mistakes.render(_context([1, 2, 3, 4], [1, 2, 3, 4], 10))
