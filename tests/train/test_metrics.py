"""metrics.jsonl across restarts."""

import json
from pathlib import Path

from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.train.metrics import MetricsFile


def test_entries_after_the_restored_step_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, last_step=0)
    for step in (2, 4, 6):
        file.write(step, "train", {"loss": 1 / step}, {"unix_time": 5.0})
    file.write(4, "test", {"loss": 0.1}, {})
    file.close()
    kept = path.read_text().splitlines()
    with path.open("a") as broken:
        broken.write('{"step": 8, "spl')  # killed while writing
    again = MetricsFile(path, last_step=4)
    assert again.has(4, "test") and again.has(2, "train")
    assert not again.has(6, "train") and not again.has(2, "test")
    again.write(5, "train", {"loss": 0.3}, {})
    again.close()
    lines = path.read_text().splitlines()
    assert lines[:3] == [kept[0], kept[1], kept[3]]
    assert json.loads(lines[3]) == {"step": 5, "split": "train", "loss": 0.3, "timing": {}}
    assert len(lines) == 4
    assert read_metrics(path) == again.entries


def test_numbers_survive_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, last_step=0)
    value = 0.1 + 0.2
    file.write(1, "train", {"loss": value}, {})
    file.close()
    assert read_metrics(path)[0]["loss"] == value


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []
