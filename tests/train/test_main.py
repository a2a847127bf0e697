"""The entry points as a user runs them: processes, exit codes, and what stands on the screen."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENT = Path(__file__).with_name("tiny_experiment.py")
NUM_STEPS = 149  # int(2.5 * 1437 / 24)


def _start(module: str, *arguments: Any) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment.pop("XLA_FLAGS", None)
    return subprocess.Popen(
        [sys.executable, "-m", f"perceiver_jax.{module}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def _train(workdir: Path, *arguments: str) -> subprocess.Popen:
    return _start("train", f"--config={EXPERIMENT}", f"--workdir={workdir}", *arguments)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["--config.trainer.bach_size=3"],
            ["config.trainer.bach_size does not exist", "Did you mean config.trainer.batch_size"],
        ),
        (["--config.trainer.seed", "one"], ["config.trainer.seed expects int, and got 'one'"]),
        ([f"--config={EXPERIMENT}:huge"], ["has no variant 'huge'. It has: tiny"]),
        (["--workdir="], ["--config=experiments/digits.py --workdir=DIR"]),
        (["--config.trainer.seed"], ["--config.trainer.seed needs a value"]),
        (["seed=3"], ["Unexpected argument 'seed=3'"]),
        (["--workdr=x"], ["Unknown command line flag 'workdr'", "--help lists the flags"]),
    ],
)
def test_mistakes_are_answered_on_one_screen(
    tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    code, out, err = _finish(_train(tmp_path / "run", *arguments))
    assert code == 2
    for part in parts:
        assert part in err
    assert "Traceback" not in out + err and len(err.splitlines()) < 25
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_help() -> None:
    code, out, _ = _finish(_start("train", "--help"))
    assert code == 1  # absl's custom
    for part in ("--config.trainer.seed=1", "experiments/digits.py:permuted", "--workdir"):
        assert part in out


def test_a_model_that_cannot_be_built(tmp_path: Path) -> None:
    experiment = ROOT / "experiments" / "digits.py"
    code, out, err = _finish(
        _start("train", f"--config={experiment}", f"--workdir={tmp_path / 'run'}",
               "--config.model.encoder.cross_attend_heads=7")
    )  # fmt: skip
    assert code == 2
    assert "error: " in err and "7" in err
    assert "Traceback" not in out + err and len(err.splitlines()) < 10


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        ("SIGINT", 130, "\nInterrupted.\n"),
        ("SIGTERM", 75, "\nSIGTERM: there is nothing to save; start the same command again.\n"),
    ],
)
def test_a_signal_before_the_loop_ends_the_program(
    tmp_path: Path, number: str, code: int, said: str
) -> None:
    interrupted = tmp_path / "interrupted.py"
    interrupted.write_text(f"import os, signal\nos.kill(os.getpid(), signal.{number})\n")
    found = _finish(_start("train", f"--config={interrupted}", f"--workdir={tmp_path / 'run'}"))
    assert found == (code, "", said)


def _wait_for_step(workdir: Path, step: int, process: subprocess.Popen) -> None:
    metrics = workdir / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and f'"step": {step},' in metrics.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(f"ended before step {step}: {process.communicate()}")


def _history(workdir: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: entry[key] for key in entry if key != "timing"} for entry in entries]


@pytest.mark.slow
def test_kill_interrupt_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first run compiles for all that follow.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    code, out, err = _finish(_train(tmp_path / "whole"))
    assert (code, err) == (0, "")  # no library's chatter either
    final = json.loads((tmp_path / "whole" / "final_metrics.json").read_text())
    assert final["step"] == NUM_STEPS
    assert f"test accuracy  {final['top_1']:.2%}" in out
    assert f"curves      {tmp_path / 'whole' / 'curves.png'}" in out
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 10_000

    workdir = tmp_path / "broken"
    for step in (3, 61):
        process = _train(workdir)
        _wait_for_step(workdir, step, process)
        process.kill()
        assert _finish(process)[0] == -signal.SIGKILL
        assert not (workdir / "final_metrics.json").exists()
    for step, number in ((100, signal.SIGINT),):
        process = _train(workdir)
        _wait_for_step(workdir, step, process)
        process.send_signal(number)
        code, out, err = _finish(process)
        if code != 0:  # else it was done before the signal came
            assert code == 128 + number
            assert "and saved. Run the same command again to go on" in err
            assert "Traceback" not in err
    code, out, err = _finish(_train(workdir))
    assert code == 0, err
    assert _history(workdir) == _history(tmp_path / "whole")
    assert (workdir / "final_metrics.json").read_bytes() == (
        tmp_path / "whole" / "final_metrics.json"
    ).read_bytes()

    # Once more only shows the result; another experiment is turned away.
    code, out, _ = _finish(_train(workdir))
    assert code == 0 and "in an earlier run" in out
    code, _, err = _finish(_train(workdir, "--config.schedule.base_lr=0.5"))
    assert code == 2 and "schedule.base_lr: 0.02 there, 0.5 now" in err

    # Evaluation prints one line of JSON, and agrees with training.
    code, out, err = _finish(_start("evaluate", f"--workdir={workdir}"))
    assert (code, err, out.count("\n")) == (0, "", 1)
    found = json.loads(out)
    assert found == {key: final[key] for key in final if key != "num_params"}
    code, _, err = _finish(_start("evaluate", f"--workdir={workdir}", "--step=1"))
    assert code == 2 and "has no checkpoint 1; it has: 140, 147, 149" in err
    code, _, err = _finish(_start("evaluate", f"--workdir={workdir}", "--step=newest"))
    assert code == 2 and "--step=newest: give the number of a step, or best" in err
    code, out, err = _finish(_start("evaluate", f"--workdir={workdir}", "--step=best"))
    evaluated = {entry["step"]: entry["top_1"] for entry in _history(workdir)
                 if entry["split"] == "test" and entry["step"] in (140, 149)}  # fmt: skip
    best = max(evaluated, key=lambda step: (evaluated[step], step))
    assert (code, err) == (0, "") and json.loads(out)["step"] == best
