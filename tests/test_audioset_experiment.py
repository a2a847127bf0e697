"""experiments/audioset.py: from lists and clips to a result, a report and the paper's table."""

import json
from pathlib import Path
from typing import Any

import pytest

from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.prepare import prepare
from perceiver_jax.report.measured import compare
from perceiver_jax.report.paper_results import paper_tables
from perceiver_jax.report.results_table import render
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.loop import train
from tests.data.audioset.sets import CLASSES, TEST, TRAIN, write_set

pytest.importorskip("tensorflow_datasets")

FILE = "experiments/audioset.py"
# Beside the sizes of `small`: those of this set, what compiles sooner, and fewer steps.
_CHANGES: dict[str, Any] = {
    "model.encoder.self_attends_per_block": 1,
    "model.decoder.num_classes": len(CLASSES),
    "task.num_classes": len(CLASSES),
    "trainer.num_steps": 4,
    "trainer.batch_size": 8,
    "trainer.eval_batch_size": 8,
    "trainer.log_every": 2,
    "trainer.eval_every": 4,
    "trainer.checkpoint_every": 4,
    "trainer.report": False,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight recordings to train on, half of them with video, and two to test on; prepared."""
    root = tmp_path_factory.mktemp("set")
    layout = write_set(root, odd=False)
    prepare(
        [layout.segments], [layout.eval_segments], layout.classes, layout.clips, str(root / "data"),
        workers=1, report=str,
    )  # fmt: skip
    return root / "data"


def _whole_way(variant: str, data_dir: Path, workdir: Path) -> dict[str, Any]:
    real, small = (load_experiment(f"{FILE}:{name}") for name in (variant, f"small_{variant}"))
    recordings = RecordingsConfig(data_dir=str(data_dir))
    config = override(small, {**_CHANGES, "data.recordings": recordings, "paper": real.paper})
    final = train(config, workdir)
    assert (final["step"], final["examples"]) == (4, len(TEST))
    # "Cat, meow" is the one label of both; the others have no average precision.
    assert final["mean_average_precision"] == 1.0 and final["classes_without_positives"] == 2
    evaluated = evaluate_checkpoint(workdir, report=str)
    names = ("mean_average_precision", "loss", "examples", "ids")
    assert {name: evaluated[name] for name in names} == {name: final[name] for name in names}
    return final


def test_which_recordings_a_result_is_of(
    data_dir: Path, tmp_path: Path, quick_compilation: None
) -> None:
    """In the result, and in the paper's table."""
    final = _whole_way("audio_mel", data_dir, tmp_path / "run")
    assert final["ids"] == "199ebb21b44e2231"
    assert final["trained_on"] == {"examples": len(TRAIN), "ids": "226cfae3a2ff3c8f"}
    assert json.loads((tmp_path / "run" / "final_metrics.json").read_text()) == final
    comparison = compare(paper_tables("audioset"), [tmp_path / "run"])
    (row,) = (row for row in comparison.tables[0].rows if row.groups)
    assert (row.printed.row, row.printed.printed) == ("Perceiver (mel), audio", "38.4")
    text = render(comparison)
    assert "evaluated on 2 examples, ids 199ebb21b44e2231" in text
    assert "trained on 8 examples, ids 226cfae3a2ff3c8f" in text
    assert "examples evaluated: 2; in the paper 20371" in text.replace("20,371", "20371")


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        "audio_raw", "video", "audio_video_raw", "audio_video_mel", "tuned", "io_perceiver_raw",
        "io_raw", "io_perceiver_mel", "io_mel",
    ],
)  # fmt: skip
def test_the_whole_way_with_the_real_config_and_other_sizes_only(
    variant: str, data_dir: Path, tmp_path: Path, quick_compilation: None
) -> None:
    _whole_way(variant, data_dir, tmp_path / "run")
