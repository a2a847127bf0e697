"""Which checkpoints stay."""

import random
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from perceiver_jax.config import override
from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Headline
from perceiver_jax.train.config import KeepConfig, TrainerConfig
from perceiver_jax.train.retention import (
    Ranking,
    Retention,
    best_steps,
    kept_steps,
    ranking,
    values_by_step,
)
from tests.train.fake import experiment

UP, DOWN = Ranking("top_1", True), Ranking("loss", False)
STEPS = [10, 20, 30, 40, 50, 60]
VALUES = {10: 0.9, 20: 0.3, 25: 2.0, 30: 0.7, 40: 0.7, 50: 0.1}  # none of 60, no checkpoint 25


@pytest.mark.core
@pytest.mark.parametrize(
    ("keep", "by", "expected"),
    [
        (KeepConfig(last=2, best=0), UP, {50, 60}),
        (KeepConfig(last=1, best=1), UP, {60, 10}),
        (KeepConfig(last=1, best=2), UP, {60, 10, 40}),  # of two equal ones the later
        (KeepConfig(last=1, best=2), DOWN, {60, 50, 20}),
        (KeepConfig(last=1, best=0, every=20), UP, {20, 40, 60}),
        (KeepConfig(last=2, best=1, every=30), DOWN, {50, 60, 30}),
        (KeepConfig(last=9, best=0), UP, set(STEPS)),
    ],
)
def test_the_rule(keep: KeepConfig, by: Ranking, expected: set[int]) -> None:
    shuffled = random.Random(3).sample(STEPS, len(STEPS))
    assert kept_steps(STEPS, VALUES, keep, by) == expected
    assert kept_steps(shuffled, VALUES, keep, by) == expected
    assert kept_steps([], VALUES, keep, by) == set()


def test_best_of_those_that_were_evaluated() -> None:
    assert best_steps(STEPS, VALUES, UP, 3) == [10, 40, 30]
    assert best_steps([60], VALUES, UP, 3) == []


@hypothesis.given(
    values=st.dictionaries(st.integers(1, 12), st.integers(0, 3).map(float), max_size=12),
    last=st.integers(1, 3),
    best=st.integers(0, 3),
    every=st.sampled_from([None, 2, 5]),
    higher=st.booleans(),
    applied=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_when_the_rule_is_applied_makes_no_difference(
    values: dict[int, float], last: int, best: int, every: int | None, higher: bool,
    applied: list[bool],
) -> None:  # fmt: skip
    """A killed run applies it at other times; at the end the same checkpoints must be there."""
    keep, by = KeepConfig(last=last, best=best, every=every), Ranking("x", higher)
    there: set[int] = set()
    for step, apply in zip(range(1, 13), applied, strict=True):
        there.add(step)
        if apply:  # the evaluation of this step may not be done yet
            there &= kept_steps(
                sorted(there), {s: v for s, v in values.items() if s < step}, keep, by
            )
            assert step in there
    assert kept_steps(sorted(there), values, keep, by) == kept_steps(range(1, 13), values, keep, by)


def test_what_is_best_comes_from_the_task() -> None:
    accuracy = Headline("top_1", "accuracy")
    error = Headline("endpoint_error", "error", higher_is_better=False)
    assert ranking(KeepConfig(), accuracy) == Ranking("top_1", True)
    assert ranking(KeepConfig(), error) == Ranking("endpoint_error", False)
    assert ranking(KeepConfig(metric="loss"), accuracy) == Ranking("loss", False)
    chosen = KeepConfig(metric="ece", higher_is_better=False)
    assert ranking(chosen, accuracy) == Ranking("ece", False)
    with pytest.raises(ConfigError, match="'ece' is neither the task's headline .'top_1'.*higher"):
        ranking(KeepConfig(metric="ece"), accuracy)


def test_values_come_from_the_evaluations() -> None:
    entries: list[dict[str, Any]] = [
        {"step": 5, "split": "train", "loss": 1.0},
        {"step": 5, "split": "test", "loss": 2.0, "top_1": 0.5},
        {"step": 6, "split": "test", "loss": float("nan"), "top_1": 0.25},
    ]
    assert values_by_step(entries, "test", "loss") == {5: 2.0}
    assert values_by_step(entries, "test", "top_1") == {5: 0.5, 6: 0.25}
    retention = Retention(KeepConfig(last=1), Headline("top_1", "accuracy"), "test")
    assert retention([5, 6, 7]) == {7}
    retention.entries = entries
    assert retention([5, 6, 7]) == {5, 7} and retention.complaint() is None


def test_a_metric_that_evaluations_do_not_have_is_told_once() -> None:
    keep = KeepConfig(metric="top1", higher_is_better=True)
    retention = Retention(keep, Headline("top_1", "accuracy"), "test")
    retention.entries = [{"step": 5, "split": "train", "loss": 1.0}]
    assert retention.complaint() is None
    retention.entries = [{"step": 5, "split": "test", "loss": 1.0, "top_1": 0.5, "timing": {}}]
    told = retention.complaint()
    assert told is not None and "'top1' is not among the metrics" in told and "loss, top_1" in told
    assert retention.complaint() is None


def test_rules_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="keep.last=0 and every=None must be at least 1"):
        KeepConfig(last=0)
    with pytest.raises(ConfigError, match="keep.best=-1 must not be negative"):
        KeepConfig(best=-1)
    with pytest.raises(ConfigError, match="every=1000 must be a multiple of checkpoint_every=300"):
        TrainerConfig(num_steps=9, checkpoint_every=300, keep=KeepConfig(every=1000))
    changed = override(experiment(), {"trainer.keep.last": "5", "trainer.keep.every": "12"})
    assert changed.trainer.keep == KeepConfig(last=5, every=12)
