"""Two real processes with two devices each: they join, agree, and share examples."""

from typing import Any

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from perceiver_jax.data.loader import Shard
from tests.train import jobs, multilabel
from tests.train.processes import run_processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both() -> list[dict[str, Any]]:
    """What each of the two processes found."""
    return run_processes("tests.train.jobs:everything", processes=2, devices=2)


@pytest.mark.core
def test_they_join(both: list[dict[str, Any]]) -> None:
    expected = {"count": 2, "local": 2, "global": 4}
    assert [found["places"] for found in both] == [{"index": i, **expected} for i in (0, 1)]


def test_sigterm_ends_a_joined_process(both: list[dict[str, Any]]) -> None:
    """JAX would catch it, and a process that is still compiling would be killed without a word."""
    assert [found["catches_sigterm"] for found in both] == [False, False]


def test_a_sum_over_devices_is_over_all_of_them(both: list[dict[str, Any]]) -> None:
    assert [found["sum"] for found in both] == [1111.0, 1111.0]


def test_they_agree(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert found["agreement"] == {
            "gathered": [[None, "x"], "a longer one"],
            "broadcast": [{"words": "größer", "list": [1, None]}, ""],
        }


def test_process_zero_acts_for_all(both: list[dict[str, Any]]) -> None:
    assert [found["zero"]["called"] for found in both] == [1, 0]
    for found in both:
        assert found["zero"]["value"] == [3, 4]
        assert found["zero"]["refused"] == ["DataError", "no such data"]
    assert both[0]["zero"]["failed"] == ["ZeroDivisionError", "one by nothing"]
    assert both[1]["zero"]["failed"] == [
        "RuntimeError",
        "Process 0 failed: ZeroDivisionError: one by nothing",
    ]


@pytest.mark.core
def test_they_stop_at_the_same_step(both: list[dict[str, Any]]) -> None:
    """One step after the first of them is asked; with the signal that one received."""
    assert both[0]["stops"] == both[1]["stops"] == [[4, 14], [3, 15], [8, None]]


def test_every_example_counts_once(both: list[dict[str, Any]]) -> None:
    """360 examples in batches of 64: the last batch is ragged, and some shards of it are empty."""
    for found in both:
        assert found["counts"] == {"count": 60.0, "sum": 360 * 359 / 2 / 6}


@pytest.mark.core
def test_evaluation_is_that_of_one_process(both: list[dict[str, Any]]) -> None:
    alone = jobs.evaluate_digits()
    assert alone["top_1"] > 0
    for found in both:
        assert found["evaluation"] == pytest.approx(alone, rel=1e-6)


@pytest.mark.core
def test_what_is_collected_is_that_of_one_process_to_the_bit(both: list[dict[str, Any]]) -> None:
    alone = jobs.evaluate_clips(jax.devices()[:4])  # as many as the two have
    metrics, per_class = alone
    loss = metrics.pop("loss")
    for found in both:  # A sum over devices in another order.
        assert found["several_labels"][0].pop("loss") == pytest.approx(loss, rel=1e-6)
    # Mean average precision and the like, and values by class, which process 0 alone has.
    assert repr(both[0]["several_labels"]) == repr(alone)
    assert repr(both[1]["several_labels"]) == repr([metrics, None])
    assert (metrics["left_out"], metrics["classes_without_positives"]) == (2, 1)
    inputs, labels = multilabel.as_read([i for i in range(multilabel.EXAMPLES) if i not in (5, 40)])
    scores = (1 / (1 + np.exp(-inputs[..., : multilabel.CLASSES].astype(float)))).mean(axis=1)
    some = [each for each in range(multilabel.CLASSES) if each != multilabel.NEVER]
    expected = [average_precision_score(labels[:, each], scores[:, each]) for each in some]
    np.testing.assert_allclose(np.take(per_class["average_precision"], some), expected, atol=1e-6)
    assert metrics["mean_average_precision"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_shards_are_parts_of_the_same_batches(both: list[dict[str, Any]]) -> None:
    alone = jobs.read_batches(Shard())
    assert [
        first + second for first, second in zip(*(f["batches"] for f in both), strict=True)
    ] == (alone)
    # A pass over the 13 examples holds each of them once.
    assert sorted(sum(alone, [])[:13]) == list(range(13))
    assert [len(part) for part in both[0]["batches"]] == [4, 4, 4]
