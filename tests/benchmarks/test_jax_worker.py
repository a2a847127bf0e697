"""Ours and plain on tiny models, in this process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jax_worker, models, programs
from benchmarks.reference_worker import description
from benchmarks.works import Work, to_json
from perceiver_jax import zoo
from tests import tiny_models


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in tiny_models.ALL.items():
        monkeypatch.setitem(models.OURS, name, config)


def test_loss_by_hand() -> None:
    # Logits 0 and ln 3: the chosen class has a chance of 3/4.
    logits, classes = jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([1])
    numbers = jnp.array([1.0, 5.0])
    outputs = {"label": logits, "image": numbers}
    found = programs.loss(outputs, {"label": classes, "image": jnp.array([0.0, 2.0])})
    np.testing.assert_allclose(found, np.log(4 / 3) + (1 + 9) / 2, rtol=1e-6)


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("contender", ["ours", "plain"])
def test_answers(contender: str, mode: str) -> None:
    worker = jax_worker.Contender()
    told = to_json(description(Work("classifier", mode, 2)))
    answer = worker.prepare(told, contender)
    assert answer["compile_s"] > 0 and answer["first_run_s"] > 0
    assert answer["spent_s"] == answer["first_run_s"]  # All of it was timed.
    assert answer["extrapolated_from"] is None
    expected = {"ours": "remat keep_linear", "plain": "remat none"}[contender]
    assert answer["settings"] == (expected if mode == "train" else "")
    assert worker.run()["run_s"] > 0
    # The kernel counts pages in bundles: its figures may be a little apart.
    assert worker.end()["peak_bytes"] > 0.9 * answer["weights_bytes"] > 0


def test_training_gives_a_gradient_for_every_parameter() -> None:
    told = description(Work("video_autoencoder", "train", 2))
    model = models.build(told.work)
    weights = model.init(jax.random.key(0))
    prepared = jax_worker.prepare_training(model, weights, told, zoo.Execution(remat="layers"))
    value, gradients = prepared.run()
    assert np.isfinite(value)
    assert jax.tree.structure(gradients) == jax.tree.structure(weights[0])
    assert prepared.settings == "remat layers; 48 image, 5 audio outputs"


@pytest.mark.slow
def test_the_video_is_encoded_once_by_ours_and_for_every_chunk_by_plain() -> None:
    told = description(Work("video_autoencoder", "forward", 2))
    worker = jax_worker.Contender()
    answer = worker.prepare(to_json(told), "ours")
    assert answer["settings"] == "encodes once" and answer["extrapolated_from"] is None
    answer = worker.prepare(to_json(told), "plain")
    assert answer["settings"] == "encodes 48 times"
    assert answer["extrapolated_from"] == "3 of 48 calls"
    assert answer["first_run_s"] == pytest.approx(16 * answer["spent_s"])


def test_the_table_of_recomputation_is_for_ours_in_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax_worker, "REMAT", {"mlm": "layers"})
    assert jax_worker.execution("mlm", "ours", "train", None).remat == "layers"
    assert jax_worker.execution("mlm", "ours", "train", "none").remat == "none"
    assert jax_worker.execution("mlm", "ours", "forward", None).remat == "none"
    assert jax_worker.execution("mlm", "plain", "train", "layers").remat == "none"
