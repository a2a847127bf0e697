"""What a whole run shows: its lines, its parameters, its profile, whatever the clock does."""

import gzip
import itertools
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from perceiver_jax.errors import ConfigError
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.log import print_parameters
from perceiver_jax.train.metrics import MetricsFile
from perceiver_jax.train.profiler import Profiler
from tests.train.fake import MLP, Crash, experiment, history, run


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)


def test_a_run_leaves_one_line_for_each_log_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, trainer__log_every=5, trainer__eval_every=10)
    shown = capsys.readouterr().out.splitlines()
    steps = [line for line in shown if line.startswith("step ")]
    head = [re.match(r"step (\d+)(/23)?  (test )?loss \d\.\d{4}", line) for line in steps]
    assert [(m[1], m[3]) for m in head if m] == [
        ("5", None), ("10", None), ("10", "test "), ("15", None), ("20", None), ("20", "test "),
        ("23", "test "),
    ]  # fmt: skip
    pattern = r"  lr \d\.\de-\d\d  [\d,]+ examples/s  wait \d+%  ETA \d+:\d\d$"
    assert all(re.search(pattern, line) for line in steps if "/23" in line)


@pytest.mark.core
def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain"
    run(plain)
    times = itertools.count()
    steady = time.time

    def jumping() -> float:
        # Years ahead, then years back, at every look of ours. Orbax waits by this clock, and what
        # that means for saving is no matter of this test.
        if not sys._getframe(1).f_globals["__name__"].startswith("perceiver_jax"):
            return steady()
        return 1.7e9 + (-1) ** next(times) * 3e8

    monkeypatch.setattr("time.time", jumping)
    jumped = tmp_path / "jumped"
    run(jumped)
    assert history(jumped) == history(plain)
    assert next(times) > 15  # every entry has the time of day
    for line in (jumped / "metrics.jsonl").read_text().splitlines():
        timing = json.loads(line)["timing"]
        if "examples_per_second" in timing:
            # More than one step of 8 an hour, and less than a million a second.
            assert 8 / 3600 < timing["examples_per_second"] < 8e6
            assert 0 <= timing["data_wait_fraction"] <= 1
            assert 0 <= timing["paused_seconds"] < 3600
        else:
            assert 0 <= timing["eval_seconds"] < 3600


def test_operations_a_second_are_those_of_the_model(tmp_path: Path) -> None:
    run(tmp_path)
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    timings = [entry["timing"] for entry in entries if entry["split"] == "train"]
    assert len(timings) == 11
    for timing in timings:
        flops = 3 * 2 * (64 * 7 + 7 * 10) * timing["examples_per_second"]
        assert timing["flops_per_second"] == pytest.approx(flops)
        assert "model_flop_utilization" not in timing  # nobody knows a CPU's peak


def test_the_table_of_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Crash):
        run(tmp_path / "a", crash_at=1)
    lines = [re.split("  +", line) for line in capsys.readouterr().out.splitlines()]
    at = lines.index(["module", "arrays", "blocks", "values"])
    assert lines[at + 2 : at + 4] == [
        ["mlp/~/linear", "b 7, w 64 x 7", "1", "455"],
        ["mlp/~/linear_1", "b 10, w 7 x 10", "1", "80"],
    ]
    with pytest.raises(Crash):
        run(tmp_path / "b", crash_at=1, trainer__show_parameters="false")
    assert "mlp/~/linear" not in capsys.readouterr().out


def test_the_table_says_how_arrays_are_split(capsys: pytest.CaptureFixture[str]) -> None:
    parts = assemble(experiment(trainer__mesh__data=4, trainer__mesh__fsdp=2), MLP())

    def leaf(shape: tuple[int, ...], *spec: Any) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(parts.mesh, PartitionSpec(*spec))
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=sharding)

    split = {"w": leaf((6, 10), "fsdp", ("data", "tensor")), "b": leaf((10,))}
    params = {
        "encoder/~/self_attention/mlp/linear": split,
        "encoder/~/self_attention_1/mlp/linear": split,
        # Of the same shapes, but whole: a row of its own.
        "encoder/~/self_attention_2/mlp/linear": {"w": leaf((6, 10)), "b": leaf((10,))},
    }
    print_parameters(params)
    rows = [re.split("  +", line) for line in capsys.readouterr().out.strip().splitlines()]
    assert rows[0] == ["module", "arrays", "blocks", "values", "split over"]
    assert rows[2:] == [
        ["encoder/~/self_attention_{0..1}/mlp/linear", "w 6 x 10, b 10", "2", "140",
         "w (fsdp, data and tensor)"],
        ["encoder/~/self_attention_2/mlp/linear", "w 6 x 10, b 10", "1", "70"],
    ]  # fmt: skip


# ---- Profile -------------------------------------------------------------------------------------


def _traced_steps(workdir: Path) -> list[int]:
    """The steps that are marked in the one trace there is."""
    (path,) = (workdir / "profile").rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return sorted({int(e["args"]["step_num"]) for e in events if e.get("name") == "train"})


def test_the_profile_holds_the_steps_asked_for_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, traced = tmp_path / "plain", tmp_path / "traced"
    run(plain)
    capsys.readouterr()
    run(traced, profile__steps="4,6")
    assert _traced_steps(traced) == [4, 5, 6]
    shown = capsys.readouterr().out
    assert f"profile     steps 4 to 6 are in {traced / 'profile'}: open" in shown
    assert history(traced) == history(plain)


def test_a_profile_ends_with_the_training_and_leaves_out_compiling(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        run(tmp_path, crash_at=7)  # the checkpoint is of step 6; step 7 compiles anew
    with pytest.raises(Crash):
        run(tmp_path, crash_at=10, profile__steps="5,20")
    assert _traced_steps(tmp_path) == [8, 9, 10]
    jax.profiler.start_trace(tmp_path / "other")  # none is running any more
    jax.profiler.stop_trace()


def test_a_profile_of_steps_that_are_past_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    profiler = Profiler((2, 4), tmp_path, first_step=3, report=told.append)
    for step in range(4, 8):
        profiler.before(step, ())
        profiler.after(step, ())
    profiler.close(7)
    assert len(told) == 1 and "steps 2 to 4 are behind this run" in told[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", ["0,3", "5,4"])
def test_steps_to_profile_are_checked(steps: str) -> None:
    with pytest.raises(ConfigError, match="the first and the last step to trace"):
        experiment(profile__steps=steps)


# ---- Other processes -----------------------------------------------------------------------------


def test_a_metrics_file_that_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written = MetricsFile(path, last_step=0)
    written.write(2, "train", {"loss": 0.5}, {})
    written.write(4, "train", {"loss": 0.25}, {})
    written.close()
    before = path.read_bytes()
    file = MetricsFile(path, last_step=2, read_only=True)
    file.write(3, "test", {"loss": 0.125}, {})
    file.sync()
    file.close()
    assert file.has(2, "train") and file.has(3, "test") and not file.has(4, "train")
    assert path.read_bytes() == before
