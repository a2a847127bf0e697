"""Runs that several files of tests report on; each is trained once."""

from pathlib import Path

import pytest

from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.loop import train
from tests.report.runs import CONV, experiment


def _train(config: ExperimentConfig, workdir: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        # Leaves curves.png out: it takes longer than the training.
        patch.setattr("perceiver_jax.train.loop.draw_run_curves", lambda *_: None)
        train(config, workdir)
    return workdir


@pytest.fixture(scope="package")
def perceiver_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Perceiver after four steps, with the report that was written at its end."""
    return _train(experiment(), tmp_path_factory.mktemp("perceiver") / "run")


@pytest.fixture(scope="package")
def conv_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional network after four steps, which is in no paper."""
    config = experiment(CONV, name="conv", paper=None)
    return _train(config, tmp_path_factory.mktemp("conv") / "run")
