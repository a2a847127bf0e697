"""The papers' tables with our column, as text, as Markdown and as JSON."""

import dataclasses
import json
from pathlib import Path

import pytest

from perceiver_jax.report import measured, results_table
from perceiver_jax.train.config import Constant, Steps
from tests.report.runs import experiment
from tests.report.test_measured import TABLES, paper, seeded, write_run


@pytest.fixture
def comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> measured.Comparison:
    """Three seeds as printed, a run that is not, one that has begun, one elsewhere, one damaged."""
    monkeypatch.chdir(tmp_path)
    for seed, value in enumerate((0.5, 0.75, 0.25)):
        write_run(Path(f"seed{seed}"), value, config=seeded(seed))
    larger = dataclasses.replace(seeded(0).trainer, batch_size=1600)
    write_run(
        Path("larger"),
        0.125,
        config=experiment(paper=paper(), trainer=larger),
        examples=10,
        checkpoint=False,
    )
    write_run(Path("begun"), None, config=experiment(paper=paper("B")))
    write_run(Path("smoke"), 0.987654, config=experiment(paper=None, name="smoke"))
    write_run(Path("damaged"))
    Path("damaged/config.json").write_text("")
    names = ["seed0", "seed1", "seed2", "larger", "begun", "smoke", "damaged"]
    return measured.compare(TABLES, [Path(name) for name in names])


def test_text(comparison: measured.Comparison) -> None:
    lines = results_table.render(comparison).splitlines()
    assert lines[0] == "P, Table 1: Small"
    first = {tuple(line.split("  ")[0:1])[0]: " ".join(line.split()) for line in lines[4:8]}
    assert " ".join(lines[4].split()) == (
        "A 78.0 50.00 (25.00 to 75.00, 3 runs) 360 step 4 as printed seed0, seed1, seed2"
    )
    assert " ".join(lines[5].split()) == "A 78.0 12.50 10 step 4 2 differ [1] larger"
    assert first["B"] == "B OOM no evaluation yet – – as printed [2] begun"
    assert first["Quoted"] == "Quoted 90.2 quoted"
    text = "\n".join(lines)
    assert "[1] larger\n  the checkpoint that was evaluated is not there any more\n" in text
    assert "  trainer.batch_size: 1600; in the paper 8\n" in text
    assert "  examples evaluated: 10; in the paper 360\n" in text
    assert "[2] begun\n  no evaluation yet\n  not complete: step 2 of 4\n" in text
    elsewhere = text.partition("Runs of no row of these tables")[2].splitlines()
    assert " ".join(elsewhere[4].split()) == "smoke top_1 98.77% 360 step 4 in no paper smoke"
    assert "Records that cannot be read\n  damaged: damaged/config.json cannot be read" in text


def test_what_the_paper_leaves_open_is_listed_up_to_a_limit(
    comparison: measured.Comparison,
) -> None:
    (row, *_), *_ = (table.rows for table in comparison.tables)
    run = row.groups[1].measurements[0]
    found = (
        measured.Change("trainer.num_epochs", 120.0, None),
        measured.Change("schedule", Steps(), Constant()),
        *(measured.Change(f"model.widths.{index}", 8, 4) for index in range(13)),
    )
    changed = dataclasses.replace(run, changes=measured.Changes("small.py:a", found))
    rows = (dataclasses.replace(row, groups=(measured.Group((changed,)),)),)
    tables = (dataclasses.replace(comparison.tables[0], rows=rows),)
    comparison = dataclasses.replace(comparison, tables=tables)
    text = results_table.render(comparison)
    assert " 2 differ, 15 changed [1] " in " ".join(text.split())
    assert (
        "[1] larger, where the paper is silent: not as small.py:a has it\n"
        "  trainer.num_epochs: none; in the variant 120\n"
        "  schedule: Constant; in the variant Steps\n"
        "  model.widths.0: 4; in the variant 8\n" in text
    )
    assert "  model.widths.9: 4; in the variant 8\n  ... and 3 more\n" in text
    ((row_json,),) = (table["rows"] for table in results_table.to_json(comparison)["tables"])
    changes = row_json["measured"][0]["runs"][0]["changes"]
    assert len(changes["found"]) == 15 and changes["variant"] == "small.py:a"
    assert changes["found"][1] == {"path": "schedule", "variant": "Steps", "here": "Constant"}


def test_rows_of_which_nothing_was_run() -> None:
    lines = results_table.render(measured.compare(TABLES, [])).splitlines()
    assert [line.split()[:3] for line in lines[4:7]] == [
        ["A", "78.0", "not"],
        ["B", "OOM", "not"],
        ["Quoted", "90.2", "quoted"],
    ]


def test_an_evaluation_on_the_way_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.5, final=False)
    text = results_table.render(measured.compare(TABLES, [tmp_path / "a"]))
    assert "50.00, so far" in text and "not complete: step 4" in text


def test_markdown(comparison: measured.Comparison) -> None:
    text = results_table.render(comparison, markdown=True)
    assert text.startswith("### P, Table 1: Small\n\n| row | paper | measured |")
    assert "| --- | ---: | --- | ---: | --- | --- | --- |" in text
    assert "\n| Quoted | 90.2 | quoted |  |  |  |  |\n" in text
    assert "\n#### [1] larger\n\n- the checkpoint" in text
    assert "### Runs of no row of these tables\n\n| run |" in text
    # Every table and every list stands between blank lines, as Markdown wants it.
    blocks = text.split("\n\n")
    for block in blocks:
        kinds = {line[:1] if line[:1] in "|-#" else "" for line in block.splitlines()}
        assert len(kinds) == 1, block


def test_json(comparison: measured.Comparison) -> None:
    found = json.loads(json.dumps(results_table.to_json(comparison)))
    row = found["tables"][0]["rows"][0]
    assert (row["row"], row["value"], row["experiment"]) == ("A", 78.0, "experiments/small.py:a")
    assert found["tables"][0]["rows"][2]["experiment"] is None
    assert found["tables"][0]["rows"][1]["value"] is None
    seeds, larger = row["measured"]
    assert (seeds["mean"], seeds["lowest"], seeds["highest"]) == (50.0, 25.0, 75.0)
    assert [run["value"] for run in seeds["runs"]] == [50.0, 75.0, 25.0]
    (run,) = larger["runs"]
    assert run["differences"][0] == {"path": "trainer.batch_size", "paper": 8, "here": 1600}
    assert (run["examples"], run["step"], run["checkpoint"]) == (10, 4, False)
    assert found["elsewhere"][0]["name"] == "smoke" and found["elsewhere"][0]["value"] == 0.987654
    assert found["unreadable"][0]["workdir"] == "damaged"


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_run(tmp_path / "a", float("nan"))
    found = results_table.to_json(measured.compare(TABLES, [tmp_path / "a"]))
    json.dumps(found, allow_nan=False)
    (group,) = found["tables"][0]["rows"][0]["measured"]
    assert group["mean"] is None and group["runs"][0]["value"] is None
