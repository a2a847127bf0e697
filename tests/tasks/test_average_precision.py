"""Average precision and AUC: those of scikit-learn, and numbers worked out by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from perceiver_jax.tasks.average_precision import Ranking, d_prime

NAN = math.nan


def _random(
    rng: np.random.Generator, examples: int, classes: int, distinct: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of so many different values, and labels that are rarer from class to class."""
    scores = (rng.integers(distinct, size=(examples, classes)) / distinct).astype(np.float32)
    return scores, rng.random((examples, classes)) < 0.5 ** np.arange(1, classes + 1)


@pytest.mark.parametrize("distinct", [1, 2, 7, 10**6])
@pytest.mark.parametrize("examples", [2, 11, 503])
def test_it_is_that_of_scikit_learn(examples: int, distinct: int) -> None:
    scores, labels = _random(np.random.default_rng(examples + distinct), examples, 13, distinct)
    labels[0, :5] = [True, False, True, False, True]
    labels[1, :5] = [False, True, True, False, True]
    found = Ranking.of(scores, labels)
    np.testing.assert_array_equal(found.positives, labels.sum(axis=0))
    some = np.flatnonzero(labels.any(axis=0))
    both = np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0))
    assert len(some) < 13  # class 3, at least, has no positives in the small ones
    precisions = [average_precision_score(labels[:, each], scores[:, each]) for each in some]
    areas = [roc_auc_score(labels[:, each], scores[:, each]) for each in both]
    np.testing.assert_allclose(found.average_precision[some], precisions, atol=1e-12)
    np.testing.assert_allclose(found.auc[both], areas, atol=1e-12)
    assert np.isnan(np.delete(found.average_precision, some)).all()
    assert np.isnan(np.delete(found.auc, both)).all()
    assert found.without_positives == 13 - len(some)
    means = found.means(examples)
    # As scikit-learn averages over the classes that it is given.
    expected = average_precision_score(labels[:, some], scores[:, some], average="macro")
    assert means["mean_average_precision"] == pytest.approx(expected, abs=1e-12)
    assert means["mean_auc"] == pytest.approx(np.mean(areas), abs=1e-12)


def test_by_hand() -> None:
    # From the highest score: hit, miss, then a tie of a hit and a miss, then a miss.
    scores = np.array([[0.9, 0.0], [0.7, 0.0], [0.5, 0.0], [0.5, 0.0], [-0.1, 0.0]])
    labels = np.array([[1, 0], [0, 0], [1, 0], [0, 0], [0, 0]], bool)
    found = Ranking.of(scores, labels)
    assert found.average_precision[0] == 1 / 2 * 1 / 1 + 1 / 2 * 2 / 4
    assert found.auc[0] == (3 + (1 + 1 / 2)) / (2 * 3)
    means = found.means(5)
    assert means["mean_average_precision"] == 0.75 and means["mean_auc"] == 0.75
    # Two normal distributions sqrt(2) * 0.67449 standard deviations apart.
    assert means["d_prime"] == pytest.approx(0.953873, abs=1e-6)
    assert (found.without_positives, found.positives.tolist()) == (1, [2, 0])


def test_the_order_of_the_examples_changes_no_bit() -> None:
    rng = np.random.default_rng(3)
    scores, labels = _random(rng, 997, 5, 31)
    expected = Ranking.of(scores, labels)
    for _ in range(5):
        order = rng.permutation(997)
        found = Ranking.of(scores[order], labels[order])
        np.testing.assert_array_equal(found.average_precision, expected.average_precision)
        np.testing.assert_array_equal(found.auc, expected.auc)
        assert found.means(997) == expected.means(997)
    # Nothing but the ranks counts.
    found = Ranking.of(np.exp(3 * scores.astype(np.float64)), labels)
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)


def test_what_has_no_value_is_left_out_and_failures_are_not() -> None:
    labels = np.array([[1, 1, 0, 1], [1, 0, 0, 0]], bool)
    scores = np.array([[0.1, 0.2, 0.3, 0.9], [0.2, 0.2, 0.1, 0.1]])
    found = Ranking.of(scores, labels)
    np.testing.assert_array_equal(found.average_precision, [1.0, 0.5, NAN, 1.0])
    np.testing.assert_array_equal(found.auc, [NAN, 0.5, NAN, 1.0])  # class 0 has no negatives
    means = found.means(2)
    assert (means["mean_average_precision"], means["mean_auc"]) == (2.5 / 3, 0.75)
    scores[1, 0] = NAN
    failed = Ranking.of(scores, labels)
    np.testing.assert_array_equal(failed.average_precision, [NAN, 0.5, NAN, 1.0])
    assert math.isnan(failed.means(2)["mean_average_precision"]) and failed.without_positives == 1
    # All told perfectly: d' is infinite. No positives at all, or no examples: no means.
    assert Ranking.of(scores[:, 3:], labels[:, 3:]).means(2) == {
        "mean_average_precision": 1.0, "mean_auc": 1.0,
    }  # fmt: skip
    assert Ranking.of(scores, np.zeros_like(labels)).means(2) == {}
    none = Ranking.of(np.zeros((0, 2)), np.zeros((0, 2), bool))
    assert (none.means(0), none.without_positives) == ({}, 2)


def test_d_prime() -> None:
    # Two normal distributions of deviation 1 whose means are d' apart: AUC = F(d' / sqrt(2)).
    for apart in (0.0, 0.3, 2.0, 3.5):
        auc = (1 + math.erf(apart / 2)) / 2
        assert d_prime(auc) == pytest.approx(apart, abs=1e-9)
        assert d_prime(1 - auc) == pytest.approx(-apart, abs=1e-9)
    assert d_prime(1.0) == math.inf
