"""How well scores rank the positives of each class: average precision and area under the ROC curve.

Both see nothing of the scores but their order. Examples of equal scores are told apart by nobody,
so they form one group, which is taken whole: what comes out does not depend on the order in which
examples come, to the bit. All counts are integers, all quotients float64.
"""

import dataclasses
import math

import numpy as np
from scipy import special


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """One value for each class. Where a class has none, it is nan."""

    positives: np.ndarray  # [classes] int64: examples that have the label.
    average_precision: np.ndarray  # [classes] float64; nan without positives.
    auc: np.ndarray  # [classes] float64; nan without positives, or with nothing else.

    @classmethod
    def of(
        cls,
        scores: np.ndarray,  # [n, classes] floats: higher is more likely.
        labels: np.ndarray,  # [n, classes] booleans
    ) -> "Ranking":
        """Ranks the examples of each class.

        A class of which a score is nan has nan for both values, and so have the means over classes:
        a model that has failed is not scored.
        """
        found = [_of_class(scores[:, each], labels[:, each]) for each in range(scores.shape[1])]
        precisions, areas = (np.array([pair[i] for pair in found], np.float64) for i in (0, 1))
        return cls(np.asarray(np.sum(labels, axis=0), np.int64), precisions, areas)

    @property
    def without_positives(self) -> int:
        """How many classes no example has; they are left out of the means."""
        return int(np.sum(self.positives == 0))

    def means(self, num_examples: int) -> dict[str, float]:
        """Returns the means over classes, each class counting the same.

        Args:
          num_examples: how many were ranked.

        Returns:
          "mean_average_precision", over the classes that have positives; "mean_auc", over those
          that have negatives as well; "d_prime", of that mean, see `d_prime`. What would be a mean
          over no class is left out, and so is a d' that is infinite.
        """
        has_positives = self.positives > 0
        has_both = has_positives & (self.positives < num_examples)
        means = {}
        if has_positives.any():
            means["mean_average_precision"] = float(np.mean(self.average_precision[has_positives]))
        if has_both.any():
            means["mean_auc"] = float(np.mean(self.auc[has_both]))
            d = float(d_prime(means["mean_auc"]))
            if not math.isinf(d):
                means["d_prime"] = d
        return means


def d_prime(auc: np.ndarray | float) -> np.ndarray:
    """Returns d' = sqrt(2) F^-1(AUC), where F is the standard normal distribution's.

    How many standard deviations apart two normal distributions of equal width lie whose AUC it is.
    As a single number, that of the mean AUC: a mean of d' would be infinite as soon as one class is
    told perfectly.
    """
    return math.sqrt(2) * special.ndtri(auc)


def _of_class(
    scores: np.ndarray,  # [n] floats
    labels: np.ndarray,  # [n] booleans
) -> tuple[float, float]:
    """Returns the average precision and the AUC of one class.

    The first is the sum over distinct scores, from the highest down, of precision times the rise of
    recall, without interpolation. The second is the probability that a positive's score is above a
    negative's, equal ones counting half.
    """
    if not len(scores) or np.isnan(scores).any():
        return math.nan, math.nan
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    # The last example of each group of equal scores.
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(labels[order], dtype=np.int64)[ends]  # Positives down to there,
    misses = ends + 1 - hits  # and the others.
    positives, negatives = int(hits[-1]), int(misses[-1])
    if not positives:
        return math.nan, math.nan
    more_hits = np.diff(hits, prepend=0)
    precision = float(np.sum(more_hits * (hits / (ends + 1))) / positives)
    if not negatives:
        return precision, math.nan
    # Of each group's positives: negatives below it, and half of those in it. Twice that is whole.
    twice = 2 * (negatives - misses) + np.diff(misses, prepend=0)
    return precision, int(np.sum(more_hits * twice)) / (2 * positives * negatives)
