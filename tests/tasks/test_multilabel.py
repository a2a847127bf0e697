"""Independent labels against numbers worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks import ClassificationConfig, Collects, MultilabelConfig, Task
from perceiver_jax.tasks.base import evaluation_batch

_TASK = MultilabelConfig(num_classes=3)
_PROBABILITIES = np.array([[0.8, 0.5, 0.1], [0.2, 0.9, 0.3]], np.float32)
_LOGITS = np.log(_PROBABILITIES / (1 - _PROBABILITIES))
_LABELS = np.array([[1, 0, 1], [1, 0, 0]], np.float32)


def _measure(logits: np.ndarray = _LOGITS, **batch: np.ndarray) -> dict[str, float]:
    means = _TASK.measure(jnp.asarray(logits), {"label": _LABELS, **batch}, is_training=True)
    return {name: float(mean.value) for name, mean in means.items()}


def test_loss_and_precision() -> None:
    found = _measure()
    # The product of the probabilities of what is true of each class.
    assert found["loss"] == pytest.approx(
        -math.log(0.8 * 0.5 * 0.1 * 0.2 * 0.1 * 0.7) / 6, rel=1e-6
    )
    assert found["precision_at_1"] == 0.5  # the first example's best class is one of its two
    for dtype in (np.int32, bool, np.uint8):
        assert _measure(label=_LABELS.astype(dtype)) == found


def test_large_logits_neither_overflow_nor_vanish() -> None:
    logits = np.array([[90.0, -90.0, 1e4], [-1e4, 50.0, -50.0]], np.float32)

    def loss(logits: jax.Array) -> jax.Array:
        return _TASK.measure(logits, {"label": _LABELS}, is_training=True)["loss"].value

    # Wrong by 1e4 and by 50; all else is right by at least 50, where the loss is exp(-50) or less.
    assert float(loss(jnp.asarray(logits))) == pytest.approx((1e4 + 50) / 6, rel=1e-6)
    gradient = np.asarray(jax.grad(loss)(jnp.asarray(logits)))
    expected = np.array([[0, 0, 0], [-1, 1, 0]]) / 6
    np.testing.assert_allclose(gradient, expected, atol=1e-7)
    # bfloat16 logits are judged in float32: 2^-20 of a probability is not lost.
    small = _measure(np.asarray(jnp.full((2, 3), -14.0, jnp.bfloat16)), label=np.zeros((2, 3)))
    assert small["loss"] == pytest.approx(math.log1p(math.exp(-14)), rel=1e-5)


def test_a_masked_example_counts_for_nothing_whatever_it_holds() -> None:
    mask = np.array([1, 0], np.float32)
    batch = {"label": _LABELS, "mask": mask}

    def loss(logits: jax.Array) -> jax.Array:
        return _TASK.measure(logits, batch, is_training=True)["loss"].value

    expected = -math.log(0.8 * 0.5 * 0.1) / 3
    for bad in (jnp.inf, -jnp.inf, jnp.nan):
        logits = jnp.asarray(_LOGITS).at[1].set(bad)
        assert float(loss(logits)) == pytest.approx(expected, rel=1e-6)
        gradient = np.asarray(jax.grad(loss)(logits))
        assert np.all(gradient[1] == 0) and np.all(gradient[0] != 0)
    means = _TASK.measure(jnp.asarray(_LOGITS), batch, is_training=False)
    assert float(means["precision_at_1"].value) == 1.0
    assert float(means["precision_at_1"].weight) == 1.0


def test_nan_is_never_right() -> None:
    found = _measure(np.full((2, 3), np.nan), label=np.ones((2, 3)))
    assert math.isnan(found["loss"]) and found["precision_at_1"] == 0.0


@pytest.mark.parametrize("task", [_TASK, ClassificationConfig(num_classes=3, top_k=None)])
def test_inputs_by_modality(task: MultilabelConfig | ClassificationConfig) -> None:
    assert isinstance(task, Task)
    modalities = {"audio": np.ones((2, 5, 1)), "video": np.ones((2, 7, 3))}
    call = task.model_inputs({task.input_key: modalities, "label": _LABELS})
    assert call.inputs == (modalities,)
    with pytest.raises(ConfigError, match=f"task.input_key='{task.input_key}', .*they have: 'x'"):
        task.model_inputs({"x": 1})
    with pytest.raises(ConfigError, match="task.label_key='label', .*have no 'label'"):
        task.measure(jnp.zeros((2, 3)), {"x": 1}, is_training=True)


def test_widths_that_do_not_meet_are_named() -> None:
    for logits, labels in (((2, 4), (2, 4)), ((2, 3), (2,)), ((2, 3), (2, 4))):
        with pytest.raises(ConfigError) as caught:
            _TASK.measure(jnp.zeros(logits), {"label": np.zeros(labels)}, is_training=False)
        message = str(caught.value)
        assert f"returns {logits} and the labels are {labels}" in message
        assert "both must be (batch, 3)" in message
    with pytest.raises(ConfigError, match="task.num_classes=0"):
        MultilabelConfig(num_classes=0)


def test_the_probabilities_of_clips_are_averaged() -> None:
    task = MultilabelConfig(num_classes=3, clips=2)
    inputs = {"audio": np.arange(24.0).reshape(2, 2, 6), "video": np.ones((2, 2, 5, 3))}
    batch = evaluation_batch(task, {"inputs": inputs, "label": _LABELS})
    (flat,) = task.model_inputs(batch).inputs
    np.testing.assert_array_equal(flat["audio"], np.arange(24.0).reshape(4, 6))
    assert flat["video"].shape == (4, 5, 3) and batch["label"].shape == (2, 3)
    # Clips of the same recording are neighbours.
    of_clips = np.array([[0.7, 0.3, 0.05], [0.9, 0.7, 0.15], [0.1, 0.85, 0.5], [0.3, 0.95, 0.1]])
    logits = jnp.asarray(np.log(of_clips / (1 - of_clips)))
    means = task.measure(logits, batch, is_training=False)
    for name, value in _measure().items():  # which are those of one clip with these means
        assert float(means[name].value) == pytest.approx(value, rel=1e-5)
    collected = task.collect(logits, batch)
    np.testing.assert_allclose(collected["scores"], _LOGITS, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(collected["labels"], _LABELS == 1)
    masked = task.measure(
        logits.at[2:].set(jnp.nan), {**batch, "mask": np.array([1.0, 0.0])}, is_training=False
    )
    assert float(masked["loss"].value) == pytest.approx(-math.log(0.8 * 0.5 * 0.1) / 3, rel=1e-5)
    # An example to train on is one clip.
    trained = task.measure(jnp.asarray(_LOGITS), {"label": _LABELS}, is_training=True)
    assert float(trained["loss"].value) == _measure()["loss"]


def test_clips_that_are_not_there_are_named() -> None:
    task = MultilabelConfig(num_classes=3, clips=2)
    with pytest.raises(
        ConfigError, match=r"clips=2, and the 'inputs' .* are \(5, 3, 7\) and \(5,\):"
    ):
        evaluation_batch(task, {"inputs": {"a": np.ones((5, 3, 7)), "b": np.ones(5)}})
    with pytest.raises(ConfigError, match=r"returns \(2, 3\) .* for clips \(batch \* 2, 3\)"):
        task.measure(jnp.zeros((2, 3)), {"label": np.zeros((2, 3))}, is_training=False)
    with pytest.raises(ConfigError, match="task.clips=0"):
        MultilabelConfig(num_classes=3, clips=0)
    batch = {"inputs": np.ones((2, 7))}
    assert evaluation_batch(_TASK, batch) is batch
    assert evaluation_batch(ClassificationConfig(num_classes=3, top_k=None), batch) is batch


def test_a_split_is_summed_up() -> None:
    task = MultilabelConfig(num_classes=4)
    # To the last bit of a float32 all three probabilities are 1; their order is kept all the same.
    logits = np.array([[30.0, 1.0, 0, 5], [40.0, 1.0, 0, 4], [50.0, -1.0, 0, 3]])
    labels = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]])
    assert np.all(np.asarray(jax.nn.sigmoid(jnp.asarray(logits)))[:, 0] == 1)
    collected = task.collect(jnp.asarray(logits), {"label": labels})
    summary = task.summarize({name: np.asarray(each) for name, each in collected.items()})
    for name, expected in {
        "positives": [1, 1, 0, 2],
        "average_precision": [1, 1 / 2, math.nan, (1 + 2 / 3) / 2],
        "auc": [1, 3 / 4, math.nan, 1 / 2],
    }.items():
        np.testing.assert_allclose(summary.per_class[name], expected, rtol=1e-15)
    assert summary.metrics.pop("d_prime") == pytest.approx(math.sqrt(2) * 0.67448975)
    assert summary.metrics == {
        "mean_average_precision": pytest.approx((1 + 1 / 2 + 5 / 6) / 3, rel=1e-15),
        "mean_auc": 0.75,
        "classes_without_positives": 1,
    }
    assert task.headline.metric in summary.metrics
    assert isinstance(task, Collects)
    assert not isinstance(ClassificationConfig(num_classes=3, top_k=None), Collects)
