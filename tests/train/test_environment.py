"""environment.jsonl, and the commit of the code."""

import subprocess
from pathlib import Path

import jax
import pytest

import perceiver_jax
from perceiver_jax.train import environment


def test_each_start_is_a_line(tmp_path: Path) -> None:
    for step in (0, 40):
        environment.record_start(tmp_path, step)
    with (tmp_path / environment.FILE).open("a") as file:
        file.write('{"step": 60, "unix_')  # killed in writing
    first, second = environment.read_starts(tmp_path)
    assert (first["step"], second["step"]) == (0, 40)
    assert first["unix_time"] <= second["unix_time"]
    assert first["packages"]["jax"] == jax.__version__
    assert first["perceiver_jax"] == perceiver_jax.__version__
    assert first["devices"] == f"{len(jax.devices())} x {jax.devices()[0].device_kind}"
    assert environment.read_starts(tmp_path / "other") == []


def test_a_refused_write_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment.record_start(tmp_path / "not" / "there", 0)
    assert "no environment.jsonl: No such file" in capsys.readouterr().out


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_code(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("1\n")
    assert environment.code_commit(package) is None  # no repository
    try:
        _git(tmp_path, "init", "-q")
    except OSError:
        pytest.skip("git is not installed")
    # Inside of a repository that does not hold it, as in a virtual environment.
    (tmp_path / "other.py").write_text("1\n")
    _git(tmp_path, "add", "other.py")
    _git(tmp_path, "commit", "-qm", "one")
    assert environment.code_commit(package) is None
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "two")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert environment.code_commit(package) == commit
    (tmp_path / "other.py").write_text("2\n")
    assert environment.code_commit(package) == commit
    (package / "a.py").write_text("2\n")
    assert environment.code_commit(package) == commit + "+changes"


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.code_commit() is None
