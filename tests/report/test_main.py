"""python -m perceiver_jax.report: which directories it takes, and where pages go."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perceiver_jax.report.__main__ import _beside, _split
from tests.report.runs import parse


def _run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "perceiver_jax.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_several_directories_in_one_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _split("a,b,") == ["a", "b"]
    (tmp_path / "a,b").mkdir()
    assert _split("a,b") == ["a,b"]  # there is one of that name


def test_a_comparison_lies_in_the_folder_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _beside(["runs/a", "runs/b/"]) == Path("runs/comparison.html")
    assert _beside(["runs/a", "runs/deep/b"]) == Path("runs/comparison.html")
    assert _beside(["a", str(tmp_path / "b")]) == Path("comparison.html")


def test_the_command(perceiver_run: Path, conv_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "c.html"
    (tmp_path / "runs" / "no run").mkdir(parents=True)
    (tmp_path / "runs" / "conv").symlink_to(conv_run.absolute())
    pattern = f"--workdirs={tmp_path}/runs/*"
    done = _run(f"--workdir={perceiver_run}", pattern, f"--out={page}")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{page}\n", "")
    assert parse(page.read_text()).all("h1")[0].text() == "2 runs compared"


def test_the_papers_table(perceiver_run: Path, conv_run: Path) -> None:
    """Neither run is of a row of the paper: one names another, one none."""
    workdirs = f"--workdirs={perceiver_run},{conv_run}"
    done = _run("--paper_table=imagenet", workdirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Perceiver, Table 1: ImageNet" in done.stdout and "not run" in done.stdout
    listed = done.stdout.partition("Runs of no row of these tables")[2]
    assert "Perceiver <FF> (Perceiver, Table 1) is no row of these tables" in listed
    assert "in no paper" in listed and "360" in listed
    done = _run("--paper_table=imagenet", workdirs, "--json")
    assert len(json.loads(done.stdout)["elsewhere"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give the work directory of a run, or several to compare them"),
        (["--workdir=nowhere"], "nowhere is no work directory of a run"),
        (["--workdir=x", "y"], "Unexpected argument 'y'"),
        (["--paper_table=modelnet"], "modelnet40, audioset. Write --paper_table=modelnet40."),
        (["--workdirs=x,y", "--config.name=z"], "--config.name goes with a single --workdir only"),
        (["--paper_table=imagenet", "--workdirs=nowhere"], "There is no directory 'nowhere'"),
        (["--paper_table=imagenet", "--out=x.html"], "--out does not go with --paper_table"),
        (["--paper_table=imagenet", "--json", "--markdown"], "choose one of the two"),
        (["--workdirs=runs/*", "--config.name=z"], "goes with a single --workdir only"),
        (["--workdir=x", "--json"], "--json goes with --paper_table only"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    done = _run(*arguments)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
