"""The section on single classes, on runs that never ran."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.report.context import Context
from perceiver_jax.report.page import NotShown
from perceiver_jax.report.run_record import Run
from perceiver_jax.report.sections import metrics_shown, per_class, results
from perceiver_jax.tasks import MultilabelConfig
from tests.report.runs import HOSTILE, Element, experiment, parse, record


def _row(name: str, precision: float | None, auc: float | None, positives: int) -> dict[str, Any]:
    return {"name": name, "positives": positives, "average_precision": precision, "auc": auc}


def _run(path: Path, rows: list[dict[str, Any]], *, final: bool = True) -> Run:
    """A run evaluated at steps 3 and 4, with a table of the result."""
    config = experiment(task=MultilabelConfig(num_classes=len(rows)), data=DigitsConfig())
    entries = [
        {"step": step, "split": "test", "loss": 0.5, "mean_average_precision": step / 10,
         "classes_without_positives": 1, "timing": {}}
        for step in (3, 4)
    ]  # fmt: skip
    result = {**entries[-1], "name": "x", "examples": 97} if final else None
    file = path / ("per_class.json" if final else "per_class/4.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"step": 4, "classes": rows}))
    return dataclasses.replace(record(entries, config=config, final=result), path=path)


def _page(run: Run) -> Element:
    return parse(per_class.render(Context([run])).body)


def _cells(table: Element) -> list[list[str]]:
    return [[cell.text() for cell in row.all("td")] for row in table.all("tr")[1:]]


@pytest.mark.parametrize("final", [True, False])
def test_few_classes_stand_in_one_table(tmp_path: Path, final: bool) -> None:
    rows = [
        _row("a", 0.5, 0.75, 12), _row(HOSTILE, 0.9, 1.0, 3450), _row("never", None, None, 0),
        _row("always", 1.0, None, 97), _row("worse", 0.012, 0.25, 1),
    ]  # fmt: skip
    page = _page(_run(tmp_path, rows, final=final))
    (table,) = page.all("table")
    assert _cells(table) == [
        ["always", "100.0%", "–", "97", "–"],
        [HOSTILE, "90.0%", "1.0000", "3,450", "∞"],
        ["a", "50.0%", "0.7500", "12", "0.95"],
        ["worse", "1.2%", "0.2500", "1", "-0.95"],
    ]
    assert (
        "On test, at step 4. 1 of 5 classes has no positive example, and is left out: never."
        in (page.text())
    )
    assert not page.all("details")


def test_of_many_the_best_and_the_worst_and_all_folded_away(tmp_path: Path) -> None:
    # The best is class 0, the next one class 7, and so on.
    rows = [_row(f"class {i}", 1 - (i * 58 % 81) / 100, 0.5, 1 + i) for i in range(81)]
    rows[80] = _row("class 80", None, None, 0)
    page = _page(_run(tmp_path, rows))
    order = sorted(range(80), key=lambda i: i * 58 % 81)
    best, worst, everything = map(_cells, page.all("table"))
    assert [line[0] for line in best] == [f"class {i}" for i in order[:20]]
    assert [line[0] for line in worst] == [f"class {i}" for i in order[:-21:-1]]
    assert [line[0] for line in everything] == [row["name"] for row in rows]
    assert best[1] == ["class 7", "99.0%", "0.5000", "8"]
    assert everything[80] == ["class 80", "–", "–", "0", "–"]
    (folded,) = page.all("details")
    assert folded.all("summary")[0].text() == "all 81 classes, in the order of the labels"
    assert [title.text() for title in page.all("h3")] == ["Best", "Worst"]
    (bar, *_) = page.all("span", "bar")
    assert bar.all("i")[0].attributes["style"] == "width:100%"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    run = _run(tmp_path, [_row("a", 0.5, 0.5, 1)])
    assert per_class.applies(run) and not per_class.applies(record([]))

    def reason(run: Run) -> str:
        with pytest.raises(NotShown) as caught:
            per_class.render(Context([run]))
        return str(caught.value)

    (tmp_path / "per_class.json").write_text("no JSON")
    assert "per_class.json cannot be read as a table of classes" in reason(run)
    (tmp_path / "per_class.json").unlink()
    assert reason(run) == "the work directory has no per_class.json"
    assert reason(dataclasses.replace(run, final=None)) == (
        "the work directory has no per_class/4.json"
    )
    assert reason(dataclasses.replace(run, final=None, entries=[])) == (
        "nothing has been evaluated yet"
    )
    assert reason(_run(tmp_path, [_row("a", None, None, 0)])) == (
        "no class has an average precision at step 4"
    )


def test_mean_average_precision_leads_the_result(tmp_path: Path) -> None:
    run = _run(tmp_path, [_row("a", 0.5, 0.5, 1)])
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, paper=None))
    assert list(metrics_shown.metrics_of(run))[0] == "mean_average_precision"
    (table,) = parse(results.render(Context([run])).body).all("table")
    assert _cells(table) == [
        ["mAP", "40.00%"], ["loss", "0.5"], ["classes without positives", "1"],
    ]  # fmt: skip
