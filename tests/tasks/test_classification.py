"""Classification against numbers worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks import ClassificationConfig, Mean

# softmax(log p) = p, so these logits are log probabilities already.
_PROBABILITIES = np.array(
    [[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]], np.float32
)
_LABELS = np.array([0, 1, 2], np.int32)


def _measure(task: ClassificationConfig, *, is_training: bool, **batch: np.ndarray) -> dict:
    means = task.measure(
        jnp.log(_PROBABILITIES), {"label": _LABELS, **batch}, is_training=is_training
    )
    return {name: float(mean.value) for name, mean in means.items()}


def test_loss_and_accuracies() -> None:
    found = _measure(ClassificationConfig(num_classes=4, top_k=3), is_training=False)
    assert found["loss"] == pytest.approx(-math.log(0.5 * 0.2 * 0.25) / 3, rel=1e-6)
    assert found["top_1"] == pytest.approx(1 / 3)  # first; second is third best; third ties
    assert found["top_3"] == pytest.approx(1.0)


def test_smoothing_in_training_only() -> None:
    task = ClassificationConfig(num_classes=4, top_k=None, label_smoothing=0.2)
    plain = ClassificationConfig(num_classes=4, top_k=None)
    assert _measure(task, is_training=False) == _measure(plain, is_training=False)
    # Target 0.8 * onehot + 0.05: cross-entropy summed by hand over classes and examples.
    targets = 0.8 * np.eye(4)[_LABELS] + 0.2 / 4
    expected = -(targets * np.log(_PROBABILITIES)).sum() / 3
    assert _measure(task, is_training=True)["loss"] == pytest.approx(expected, rel=1e-6)
    assert set(_measure(task, is_training=True)) == {"loss", "top_1"}


def test_a_masked_example_counts_for_nothing_whatever_it_holds() -> None:
    task = ClassificationConfig(num_classes=4, top_k=2)
    logits = jnp.log(_PROBABILITIES)
    mask = np.array([1, 1, 0], np.float32)

    def loss(logits: jax.Array) -> jax.Array:
        batch = {"label": _LABELS, "mask": mask}
        return task.measure(logits, batch, is_training=True)["loss"].value

    expected = -math.log(0.5 * 0.2) / 2
    assert float(loss(logits)) == pytest.approx(expected, rel=1e-6)
    assert float(loss(logits.at[2].set(jnp.inf))) == pytest.approx(expected, rel=1e-6)
    assert np.all(np.asarray(jax.grad(loss)(logits))[2] == 0)


def test_nan_is_never_right() -> None:
    task = ClassificationConfig(num_classes=4, top_k=3)
    means = task.measure(jnp.full((3, 4), jnp.nan), {"label": _LABELS}, is_training=False)
    assert float(means["top_1"].value) == float(means["top_3"].value) == 0.0


def test_outputs_of_another_width_are_named() -> None:
    task = ClassificationConfig(num_classes=7)
    with pytest.raises(ConfigError, match=r"\(3, 4\).*task.num_classes=7.*\(3, 7\)"):
        task.measure(jnp.zeros((3, 4)), {"label": _LABELS}, is_training=False)


def test_means_add_up_over_batches() -> None:
    values = np.arange(7, dtype=np.float32) ** 2
    parts = Mean.of(values[:3]) + Mean.of(values[3:5], np.ones(2)) + Mean.of(values[5:])
    assert float(parts.value) == pytest.approx(13.0)  # (0+1+4+9+16+25+36) / 7
    assert float(Mean.of(values, np.zeros(7)).value) == 0.0


def test_predictions_by_hand():
    task = ClassificationConfig(num_classes=4, top_k=None)
    logits = jnp.log(jnp.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.4, 0.1]]))
    found = task.predictions(logits, {"label": jnp.array([3, 1])})
    assert found.num_classes == 4
    np.testing.assert_array_equal(found.labels, [3, 1])
    np.testing.assert_array_equal(found.guesses, [[3, 2, 1], [2, 0, 1]])  # a tie: the lower first
    np.testing.assert_allclose(found.guess_probabilities[0], [0.4, 0.3, 0.2], rtol=1e-5)
    np.testing.assert_allclose(found.label_probabilities, [0.4, 0.25], rtol=1e-5)


def test_predictions_agree_with_the_metrics():
    rng = np.random.default_rng(0)
    # Whole numbers, so that there are ties.
    logits = jnp.asarray(rng.integers(0, 3, (211, 7)), jnp.float32)
    batch = {"label": jnp.asarray(rng.integers(0, 7, 211))}
    task = ClassificationConfig(num_classes=7, top_k=3)
    found = task.predictions(logits, batch)
    metrics = task.measure(logits, batch, is_training=False)
    right = np.asarray(found.guesses) == np.asarray(found.labels)[:, None]
    assert 0 < right[:, 0].mean() < 1
    np.testing.assert_allclose(metrics["top_1"].value, right[:, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["top_3"].value, right.any(axis=1).mean(), rtol=1e-6)
    loss = -np.log(np.asarray(found.label_probabilities)).mean()
    np.testing.assert_allclose(metrics["loss"].value, loss, rtol=1e-5)


# As MixUp and CutMix leave them: the second example is mostly its other label.
_MIXED = {
    "mixed_label": np.array([3, 3, 2], np.int32),
    "ratio": np.array([0.75, 0.25, 0.5], np.float32),
}


def test_the_loss_of_mixed_labels() -> None:
    task = ClassificationConfig(num_classes=4, top_k=3)
    found = _measure(task, is_training=True, **_MIXED)
    # log p of the labels 0, 1, 2 and of the others 3, 3, 2, weighed by hand.
    expected = -(
        0.75 * math.log(0.5) + 0.25 * math.log(0.1)
        + 0.25 * math.log(0.2) + 0.75 * math.log(0.4)
        + math.log(0.25)
    ) / 3  # fmt: skip
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    # What weighs more is 0, 3 and 2: best, best, and one of four that tie.
    assert found["top_1"] == pytest.approx(2 / 3) and found["top_3"] == pytest.approx(1.0)


def test_the_loss_of_mixed_labels_that_are_smoothed() -> None:
    task = ClassificationConfig(num_classes=4, top_k=None, label_smoothing=0.2)
    targets = np.array([[0.75, 0, 0, 0.25], [0, 0.25, 0, 0.75], [0, 0, 1, 0]])
    targets = 0.8 * targets + 0.2 / 4
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    expected = -(targets * np.log(_PROBABILITIES)).sum() / 3
    found = _measure(task, is_training=True, **_MIXED)
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    mask = np.array([1, 0, 1], np.float32)
    found = _measure(task, is_training=True, mask=mask, **_MIXED)
    expected = -(targets * np.log(_PROBABILITIES))[[0, 2]].sum() / 2
    assert found["loss"] == pytest.approx(expected, rel=1e-6)


def test_of_labels_that_weigh_the_same_the_first_counts() -> None:
    task = ClassificationConfig(num_classes=4, top_k=None)
    for label, other, right in ((0, 1, 1.0), (1, 0, 0.0)):
        batch = {
            "label": np.array([label]), "mixed_label": np.array([other]), "ratio": np.array([0.5]),
        }  # fmt: skip
        means = task.measure(jnp.log(_PROBABILITIES[:1]), batch, is_training=True)
        assert float(means["top_1"].value) == right


def test_a_ratio_of_one_is_no_mixing() -> None:
    task = ClassificationConfig(num_classes=4, top_k=3, label_smoothing=0.1)
    ones = {**_MIXED, "ratio": np.ones(3, np.float32)}
    assert _measure(task, is_training=True, **ones) == _measure(task, is_training=True)
