"""Metrics beside metrics.jsonl: what writers are told, and what is left after an interruption."""

import json
import struct
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from perceiver_jax.errors import ConfigError, UserError
from perceiver_jax.train.writers import Run, Writers, find
from tests.train import recording_writer
from tests.train.fake import Crash, experiment, history, run

RECORDER = "tests.train.recording_writer:Recorder"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
    recording_writer.runs.clear()
    recording_writer.fails_at.clear()


def _entries(workdir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_writer_is_told_what_metrics_jsonl_is_told(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        run(tmp_path, crash_at=8, trainer__writers=RECORDER)
    run(tmp_path, trainer__writers=RECORDER)
    first, second = recording_writer.runs
    assert first.run.name == "fake" and first.run.workdir == tmp_path
    assert first.run.config == json.loads((tmp_path / "config.json").read_text())
    assert (first.run.first_step, second.run.first_step) == (0, 6)
    # Flushed before the checkpoint of step 6, closed also when training fails.
    kinds = [(kind, step) for kind, step, _, _ in first.calls]
    assert kinds == [("write", 2), ("write", 4), ("write", 5), ("write", 6), ("flush", -1),
                     ("close", -1)]  # fmt: skip
    assert second.calls[-1][0] == "close"
    told = [call for call in first.calls + second.calls if call[0] == "write"]
    expected = [
        (
            "write",
            entry["step"],
            entry["split"],
            {
                **{key: entry[key] for key in entry if key not in ("step", "split", "timing")},
                **{key: entry["timing"][key] for key in entry["timing"] if key != "unix_time"},
            },
        )
        for entry in _entries(tmp_path)
    ]
    assert told == expected


def test_a_writer_that_fails_is_left_out_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording_writer.fails_at.append(10)
    final = run(tmp_path, trainer__writers=RECORDER)
    assert final["step"] == 23
    shown = capsys.readouterr().out
    assert shown.count("has failed and gets no more metrics: OSError: no space left") == 1
    assert recording_writer.runs[0].calls[-1][1] == 8
    assert history(tmp_path)[-1]["step"] == 23


@pytest.mark.parametrize(
    ("names", "error", "parts"),
    [
        ("tensorbord", ConfigError, ["'tensorbord' is none of tensorboard, wandb"]),
        ("nowhere.metrics:open", ConfigError, ["'nowhere.metrics'", "PYTHONPATH"]),
        (f"{RECORDER}s", ConfigError, ["has no function 'Recorders'"]),
        (
            "tests.train.recording_writer:refused",
            UserError,
            ["cannot be opened: ConnectionError: no such host", "--config.trainer.writers=none"],
        ),
    ],
)
def test_what_cannot_write_is_refused_before_training(
    tmp_path: Path, names: str, error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as caught:
        run(tmp_path, trainer__writers=names)
    for part in parts:
        assert part in str(caught.value)
    assert not (tmp_path / "metrics.jsonl").exists() or not _entries(tmp_path)


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=f"(?s)trainer.writers={name} needs .*pip install {package}"
    ):
        find((name,))


def test_without_writers_their_packages_are_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    assert find(()) == {}


# ---- TensorBoard ---------------------------------------------------------------------------------


def _events(folder: Path) -> Iterator[Event]:
    """All events, in TensorBoard's order; each is its length, a checksum, itself, a checksum."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        at = 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            yield Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length


def _shown(folder: Path) -> list[tuple[str, int, float]]:
    """The points that TensorBoard shows: a session's start drops what lies at or after its step."""
    points: list[tuple[str, int, float]] = []
    for event in _events(folder):
        if event.session_log.status == SessionLog.START:
            points = [point for point in points if point[1] < event.step]
        for value in event.summary.value:
            if value.HasField("simple_value"):
                points.append((value.tag, event.step, value.simple_value))
    return points


@pytest.mark.core
def test_tensorboard_shows_every_point_once_after_crashes(tmp_path: Path) -> None:
    for crash_at in (5, 9, 16):
        with pytest.raises(Crash):
            run(tmp_path, crash_at=crash_at, trainer__writers="tensorboard")
    run(tmp_path, trainer__writers="tensorboard")
    expected = {
        (f"{entry['split']}/{name}", entry["step"]): value
        for entry in _entries(tmp_path)
        for name, value in {**entry, **entry["timing"]}.items()
        if name not in ("step", "split", "timing", "unix_time")
    }
    shown = _shown(tmp_path / "tensorboard")
    assert len(shown) == len(expected)
    for tag, step, value in shown:
        assert value == pytest.approx(expected[tag, step], rel=1e-6)
    texts = [
        value.tensor.string_val[0].decode()
        for event in _events(tmp_path / "tensorboard")
        for value in event.summary.value
        if value.tag.startswith("config")
    ]
    assert len(texts) >= 3 and '"batch_size": 8' in texts[0]


# ---- Weights & Biases ----------------------------------------------------------------------------


class FakeRun:
    def __init__(self, **settings: Any):
        self.settings = settings
        self.axes: list[tuple[str, str | None]] = []
        self.points: list[dict[str, Any]] = []
        self.finished = False

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.axes.append((name, step_metric))

    def log(self, values: dict[str, Any]) -> None:
        assert not self.finished
        self.points.append(values)

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeRun]]:
    runs: list[FakeRun] = []

    def init(**settings: Any) -> FakeRun:
        runs.append(FakeRun(**settings))
        return runs[-1]

    fake = types.ModuleType("wandb")
    fake.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    ours = "perceiver_jax.train.writers.wandb"
    sys.modules.pop(ours, None)
    yield runs
    sys.modules.pop(ours, None)


def test_wandb_goes_on_with_its_run_and_tells_no_step_twice(
    tmp_path: Path, wandb_runs: list[FakeRun]
) -> None:
    for crash_at in (5, 9, 16):
        with pytest.raises(Crash):
            run(tmp_path, crash_at=crash_at, trainer__writers="wandb")
    run(tmp_path, trainer__writers="wandb")
    # The first two began at step 0, before there was a checkpoint: runs of their own.
    ids = [each.settings["id"] for each in wandb_runs]
    assert ids[0] != ids[1] == ids[2] == ids[3]
    for each in wandb_runs:
        assert each.settings["name"] == "fake" and each.settings["project"] == "perceiver_jax"
        assert each.settings["resume"] == "allow" and each.settings["dir"] == str(tmp_path)
        assert each.settings["config"] == json.loads((tmp_path / "config.json").read_text())
        assert each.axes == [("step", None), ("*", "step")] and each.finished
    points = [point for each in wandb_runs[1:] for point in each.points]
    found = [(p["step"], "train" if "train/loss" in p else "test") for p in points]
    expected = _entries(tmp_path)
    assert sorted(found) == sorted((entry["step"], entry["split"]) for entry in expected)
    losses = {
        (p["step"], split): p[f"{split}/loss"] for p, (_, split) in zip(points, found, strict=True)
    }
    for entry in expected:
        assert losses[entry["step"], entry["split"]] == entry["loss"]


def test_wandb_is_refused_in_words(tmp_path: Path, wandb_runs: list[FakeRun]) -> None:
    def init(**settings: Any) -> FakeRun:
        raise RuntimeError("api_key not configured (no-tty).")

    sys.modules["wandb"].init = init  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="'wandb' .* cannot be opened: .*api_key not configured"):
        Writers(find(("wandb",)), Run("fake", tmp_path, {}, 0))


def test_the_names_in_a_config_are_checked() -> None:
    assert experiment(trainer__writers="tensorboard,wandb").trainer.writers == (
        "tensorboard",
        "wandb",
    )
    with pytest.raises(ConfigError, match="package.module:function"):
        experiment(trainer__writers="mlflow")
