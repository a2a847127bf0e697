"""The loop on data that goes wrong."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.source import Source
from perceiver_jax.errors import DataError
from perceiver_jax.report.run_record import read_run
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.loop import train
from tests.data.sources import DamagedSource
from tests.train.fake import MLP, Crash, experiment, history


def _damage(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Damages every so manieth of the digits, the first included."""
    whole = DigitsConfig.make_source

    def make_source(self: DigitsConfig, split: str) -> Source:
        return DamagedSource(whole(self, split), every)

    monkeypatch.setattr(DigitsConfig, "make_source", make_source)
    # The picture takes longer than the training.
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)


def _state(workdir: Path, config: ExperimentConfig) -> Any:
    store = CheckpointStore(workdir / "checkpoints", read_only=True)
    state = store.restore(23, assemble(config, MLP()).state.abstract())
    store.close()
    return jax.device_get(state)


def test_a_run_over_corrupt_examples_is_the_same_however_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _damage(monkeypatch, every=50)
    config = experiment(trainer__reader_threads=0)
    final = train(config, tmp_path / "whole", model=MLP())
    told = capsys.readouterr().out
    left = [line for line in told.splitlines() if line.startswith("left out ")]
    assert any("of train, which is corrupt: digits.bin, record " in line for line in left)
    assert len(left) == len(set(left))  # also those of the test split, which came five times
    # 360 examples: 0, 50, ... 350.
    assert final["left_out"] == 8 and final["examples"] == 360
    assert "(loss " in told and ", 352 of 360 examples (8 corrupt))" in told
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    timing = json.loads(lines[-1])["timing"], json.loads(lines[-2])["timing"]
    assert timing[1]["corrupt_examples"] == timing[0]["corrupt_examples"] == len(left)
    to_train_on = sum(" of train, " in line for line in left)
    assert 0 < to_train_on < len(left) and timing[0]["corrupt_to_train_on"] == to_train_on
    assert read_run(tmp_path / "whole").corrupt_to_train_on == to_train_on

    def crash(step: int) -> None:
        if step == 13:
            raise Crash

    other = experiment(trainer__reader_processes=2)
    with pytest.raises(Crash):
        train(other, tmp_path / "parts", model=MLP(), on_step=crash)
    assert train(config, tmp_path / "parts", model=MLP()) == final
    assert history(tmp_path / "parts") == history(tmp_path / "whole")
    jax.tree.map(
        np.testing.assert_array_equal,
        _state(tmp_path / "parts", config),
        _state(tmp_path / "whole", config),
    )
    # Evaluated on its own, and the mean is over those that could be read.
    found = evaluate_checkpoint(tmp_path / "whole", model=MLP())
    assert {**found, "num_params": 535} == final
    source = config.data.make_source("test").whole
    state = _state(tmp_path / "whole", config)
    logits, _ = MLP().apply(state.params, state.model_state, None, source.images)
    right = np.asarray(logits).argmax(-1) == source.labels
    assert final["top_1"] == pytest.approx(np.mean(right[np.arange(360) % 50 > 0]), abs=1e-12)


def test_too_many_end_the_run_and_name_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _damage(monkeypatch, every=2)
    config = experiment(trainer__max_corrupt_examples=5)
    with pytest.raises(DataError, match=r"6 corrupt examples(.*\n.*digits.bin, record \d+){6}"):
        train(config, tmp_path, model=MLP())
