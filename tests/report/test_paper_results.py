"""The printed results, and that every experiment that names one names it right."""

import math
from collections import Counter
from pathlib import Path

import pytest

from perceiver_jax.config import load_experiment
from perceiver_jax.config.files import _load_variants
from perceiver_jax.errors import ConfigError
from perceiver_jax.report.paper_results import PAPER_TABLES, paper_tables, same_results

IMAGENET = PAPER_TABLES["imagenet"]


def test_all_that_the_papers_print() -> None:
    """Numbers by table; the sums were taken from the papers' pages."""
    printed = {
        table.source: [row.printed for row in table.rows if row.value is not None]
        for table in IMAGENET
    }
    assert {source: len(found) for source, found in printed.items()} == {
        "Perceiver, Table 1": 6,
        "Perceiver, Table 2": 10,
        "Perceiver, Table 5": 2,
        "Perceiver, Table 6": 8,
        "Perceiver, Table 7": 2,
        "Perceiver IO, Table 7": 15,
    }
    sums = {source: round(sum(map(float, found)), 1) for source, found in printed.items()}
    assert sums == {
        "Perceiver, Table 1": 440.7,
        "Perceiver, Table 2": 663.1,
        "Perceiver, Table 5": 84.7,
        "Perceiver, Table 6": 610.7,
        "Perceiver, Table 7": 150.9,
        "Perceiver IO, Table 7": 1221.8,
    }


def test_the_table_of_modelnet40() -> None:
    (table,) = PAPER_TABLES["modelnet40"]
    assert (table.source, table.examples) == ("Perceiver, Table 4", 2468)
    assert {row.row: row.printed for row in table.rows} == {
        "PointNet++": "91.9",
        "ResNet-50 (FF)": "66.3",
        "ViT-B-2 (FF)": "78.9",
        "ViT-B-4 (FF)": "73.4",
        "ViT-B-8 (FF)": "65.3",
        "ViT-B-16 (FF)": "59.6",
        "Transformer (44x44)": "82.1",
        "Perceiver": "85.7",
    }


def test_the_tables_of_audioset() -> None:
    third, tenth = PAPER_TABLES["audioset"]
    assert (third.source, tenth.source) == ("Perceiver, Table 3", "Perceiver IO, Table 10")
    assert {(table.metric, table.examples) for table in (third, tenth)} == {
        ("mean_average_precision", 20_371)
    }
    quoted = [row.printed for row in third.rows if row.variant is None]
    assert quoted == [
        "31.4", "32.7", "36.0", "38.0", "43.1", "37.5", "32.4", "18.8", "41.8", "38.4", "25.7",
        "46.2",
    ]  # fmt: skip
    ours = {row.variant: row.printed for table in (third, tenth) for row in table.rows}
    del ours[None]
    assert ours == {
        "audio_raw": "38.3", "audio_mel": "38.4", "video": "25.8", "audio_video_raw": "43.5",
        "audio_video_mel": "43.2", "tuned": "44.2", "io_perceiver_raw": "42.4", "io_raw": "43.3",
        "io_perceiver_mel": "43.6", "io_mel": "44.9",
    }  # fmt: skip


def test_rows_have_different_names() -> None:
    tables = [table for name in PAPER_TABLES for table in paper_tables(name)]
    names = Counter((table.source, row.row) for table in tables for row in table.rows)
    assert max(names.values()) == 1


def test_rows_that_are_the_same_run() -> None:
    same = same_results(IMAGENET)
    first = ("Perceiver, Table 1", "Perceiver (FF)")
    assert {key for key, value in same.items() if value == first} == {
        first,
        ("Perceiver, Table 2", "Perceiver (FF)"),
        ("Perceiver, Table 6", "8 cross-attends, interleaved"),
        ("Perceiver, Table 7", "Weight sharing"),
    }
    printed = {
        (table.source, row.row): (row.printed, row.variant)
        for table in IMAGENET
        for row in table.rows
    }
    for key, value in same.items():
        assert printed[key][0] == printed[value][0], key
    assert same[("Perceiver, Table 2", "Perceiver (FF), permuted")] not in (first,)


@pytest.mark.parametrize("name", PAPER_TABLES)
def test_experiments_name_their_rows(name: str) -> None:
    tables = paper_tables(name)
    same = same_results(tables)
    by_key = {(table.source, row.row): (table, row) for table in tables for row in table.rows}
    for file in {table.experiment for table in tables}:
        variants = _load_variants(Path(file))
        wanted = {
            row.variant: same[table.source, row.row]
            for table in tables
            if table.experiment == file
            for row in table.rows
            if row.variant is not None
        }
        assert not set(wanted) - set(variants)
        for variant in variants:
            paper = load_experiment(f"{file}:{variant}").paper
            if paper is None:
                continue
            key = (paper.source, paper.row)
            assert key in by_key, f"{variant} names {key}, which is no row"
            table, row = by_key[key]
            assert paper.metric == table.metric
            if row.value is None or paper.value is None:
                assert row.value is paper.value, variant  # Both: the paper has no number.
            else:
                assert math.isclose(paper.value, row.value / table.scale), variant
            assert variant in wanted and same[key] == wanted[variant], variant


def test_a_table_that_there_is_not() -> None:
    with pytest.raises(
        ConfigError, match="no paper table 'cifar'; there is: imagenet, modelnet40, audio"
    ):
        paper_tables("cifar")
