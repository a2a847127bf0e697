"""A run whose data have moved: where they lie is no part of the experiment."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceiver_jax import config as config_lib
from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.errors import ConfigError, DataError
from perceiver_jax.report.run_record import read_run
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.loop import train
from perceiver_jax.train.workdir import read_config
from tests.train.fake import MLP, experiment


def make_folder(path: Path) -> None:
    """Six images of 8x8 in each split, in two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(("dark", "light")):
            (path / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(100 * label, 100 * label + 100, (8, 8, 1), np.uint8)
                Image.fromarray(pixels[..., 0]).save(path / split / name / f"{number}.png")


def on_folder(path: str, **changes: Any) -> ExperimentConfig:
    """A run of two steps on a folder."""
    data = ImagesConfig(
        images=FolderConfig(path=path), size=(8, 8), channels=1, crop=None, flip=False,
        randaugment=None, mean=(128.0,), stddev=(64.0,),
    )  # fmt: skip
    changes = {"data": data, "trainer__num_steps": 2, "trainer__eval_every": None, **changes}
    return experiment(**changes)


def test_a_run_goes_on_and_is_evaluated_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
    make_folder(tmp_path / "here" / "images")
    workdir = tmp_path / "run"
    monkeypatch.chdir(tmp_path / "here")
    final = train(on_folder("images"), workdir, model=MLP())
    told = capsys.readouterr().out.splitlines()
    note = "note        the data have 2 classes and the model 10 outputs: "
    first = next(place for place, line in enumerate(told) if line.startswith("step 2"))
    assert told[first - 1] == "compiling   the training step"
    assert told[6].startswith("memory      0.0 MiB of parameters")
    assert told[7].startswith(note)  # Below the lines on the training.
    assert told[8].startswith("note        a batch of 8 is more than all 6 examples to train on: ")

    monkeypatch.chdir(tmp_path)
    names = ("dark", "light")
    assert json.loads((workdir / "class_names.json").read_text())["class_names"] == [*names]
    with pytest.raises(DataError, match="images"):
        evaluate_checkpoint(workdir, model=MLP())
    changes = {"data.images.path": "here/images", "trainer.eval_batch_size": "16"}
    found = evaluate_checkpoint(workdir, model=MLP(), changes=changes)
    assert found["loss"] == pytest.approx(final["loss"], rel=1e-6) and found["examples"] == 6
    assert read_run(workdir, changes=changes).config.data.images.path == "here/images"
    assert read_config(workdir) == on_folder("images")  # They are not written,
    # until training goes on with them.
    assert train(on_folder("here/images"), workdir, model=MLP()) == final
    assert read_config(workdir) == on_folder("here/images")

    for name, value in (("trainer.seed", "5"), ("data.images.hold_out", "2")):
        with pytest.raises(ConfigError, match=rf"config\.{name} is 0 in this run, and {value} "):
            evaluate_checkpoint(workdir, model=MLP(), changes={name: value})
    with pytest.raises(ConfigError, match=r"where its data are \(--config\.data\.images\.path\)\."):
        evaluate_checkpoint(workdir, model=MLP(), changes={"trainer.seed": "5"})
    with pytest.raises(ConfigError, match="does not exist"):
        evaluate_checkpoint(workdir, model=MLP(), changes={"data.images.data_dir": "x"})
    changed = config_lib.override(on_folder("images"), {"data.size": "9,9"})
    with pytest.raises(ConfigError, match="belongs to another experiment"):
        train(changed, workdir, model=MLP())
