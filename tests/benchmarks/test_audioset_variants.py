"""The table of AudioSet's variants in small."""

import pytest

from benchmarks import audioset_variants
from benchmarks.audioset_variants import Row
from perceiver_jax.config import load_experiment
from perceiver_jax.errors import DataError


def test_classes_are_heard_or_seen() -> None:
    classes = [
        {"name": "Speech", "average_precision": 0.75},
        {"name": "Street", "average_precision": 0.5},
        {"name": "Bird", "average_precision": None},  # Without positives.
        {"name": "Tabla", "average_precision": 0.25},
    ]
    assert audioset_variants.by_group(classes) == (0.5, 0.5)
    with pytest.raises(DataError, match="data.audioset.medley"):
        audioset_variants.by_group(classes[2:])


def test_the_table() -> None:
    rows = {"small_video": Row(88231, 0.4, 0.1, 0.9, 0.7), "small_tuned": Row(1, 1, 1, 1, 1.0)}
    assert audioset_variants.render(rows).splitlines() == [
        "| variant | parameters | mAP | what is heard | what is seen | AUC |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| `small_video` | 88,231 | 40.0% | 10.0% | 90.0% | 0.700 |",
        "| `small_tuned` | 1 | 100.0% | 100.0% | 100.0% | 1.000 |",
    ]


def test_it_is_of_every_row_of_the_papers_tables() -> None:
    rows = [load_experiment(f"{audioset_variants.EXPERIMENT}:{name.removeprefix('small_')}").paper
            for name in audioset_variants.VARIANTS]  # fmt: skip
    assert [round(row.value, 4) for row in rows] == [
        0.383, 0.384, 0.258, 0.435, 0.432, 0.442, 0.424, 0.433, 0.436, 0.449,
    ]  # fmt: skip
