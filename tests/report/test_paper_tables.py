"""The papers' figures beside ours."""

from pathlib import Path

import pytest

from perceiver_jax.report import models_page
from perceiver_jax.report.anatomy import CROSS_ATTENDS, DECODER, POSTPROCESSOR, PREPROCESSOR
from perceiver_jax.report.flops import Flops
from perceiver_jax.report.paper_rows import ROWS, Alternative, Figure, Row
from perceiver_jax.report.paper_tables import Anatomies, compare, like, printed_value, render
from perceiver_jax.zoo import build

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture(scope="module")
def anatomies():
    """Measured once for all tests of this file."""
    return Anatomies()


def test_printed_figures_are_read_and_written_alike():
    assert printed_value("44.9M") == 44.9e6
    assert printed_value("6.85T") == 6.85e12
    assert like(44_912_254, "44.9M") == "44.9M"
    assert like(44_949_999, "44.9M") == "44.9M"
    assert like(44_950_001, "44.9M") == "45.0M"
    assert like(706.6e9, "407B") == "707B" and like(6.8549e12, "6.85T") == "6.85T"


def test_verdicts():
    """Ours are 12,654,868 parameters; with 256 latents 262,144 fewer."""
    fewer = Alternative("with 256 latents", overrides={"encoder.num_latents": 256})
    more = Alternative("with 1,024 latents", overrides={"encoder.num_latents": 1024})
    figures = {
        "equal": Figure("12.7M", "a note", alternatives=(fewer,)),
        "close": Figure("12.6M"),
        "explained": Figure("12.39M", "a note", alternatives=(more, fewer)),
        "unexplained": Figure("12.39M", "a note", alternatives=(more,)),
        "misprint": Figure("1.27M", misprint=True),
        "unknown": Figure("1.27M", "a note"),
    }
    rows = [Row("P", name, "perceiver_table5_4_cross_attends", f) for name, f in figures.items()]
    results = {each.label: each for each in compare(rows)}
    assert {name: each.verdict for name, each in results.items()} == {
        "equal": "equal",
        "close": "close",
        "explained": "explained",
        "unexplained": "unexplained",
        "misprint": "explained",
        "unknown": "unexplained",
    }
    explained = results["explained"]
    assert [each.ours for each in explained.tried] == [13_179_156, 12_392_724]
    assert [each.equal for each in explained.tried] == [False, True]
    assert explained.difference == 12_654_868 - 12_390_000
    assert explained.relative == pytest.approx(264_868 / 12_390_000)
    assert not results["equal"].tried and not results["equal"].note

    text = render(results.values())
    assert "12.65M" in text and "+264,868" in text and "+2.14 %" in text
    assert "explained, params, with 256 latents: 12.39M, as printed" in text
    assert "unexplained, params, with 1,024 latents: 13.18M (printed 12.39M)" in text


def test_an_alternative_may_leave_parts_out(anatomies):
    without = Alternative("without logits", parts=(CROSS_ATTENDS,))
    figure = Figure("1B", alternatives=(without,))
    row = Row("P", "r", "perceiver_table5_4_cross_attends", flops=figure)
    (result,) = compare([row], anatomies)
    # All that is left out is the linear layer to the logits.
    assert result.ours - result.tried[0].ours == 2 * 1024 * 1000


@pytest.mark.core
def test_perceiver_tables_5_and_6_to_the_printed_digit(anatomies):
    rows = [row for row in ROWS if row.source in ("Perceiver, Table 5", "Perceiver, Table 6")]
    results = compare(rows, anatomies)
    assert len(results) == 22
    misprint = ("1, at start", "params")
    for each in results:
        if (each.label, each.column) != misprint:
            assert each.verdict == "equal", each
    totals = sorted({each.printed for each in results if each.column == "FLOPs"})
    assert totals == ["173.1B", "346.1B", "404.3B", "447.6B", "519.2B", "534.1B", "707.2B"]


@pytest.mark.slow
def test_all_figures_of_the_papers(anatomies):
    results = {(e.source, e.label, e.column): e for e in compare(anatomies=anatomies)}
    verdicts: dict[str, set] = {}
    for key, each in results.items():
        verdicts.setdefault(each.verdict, set()).add(key)
    io = "Perceiver IO, "
    assert verdicts["unexplained"] == {
        (io + "Table 1", "Perceiver IO Base, SentencePiece", "FLOPs"),
        (io + "Table 1", "Perceiver IO, bytes (released)", "FLOPs"),
        (io + "Table 15", "128 latents of 1920", "FLOPs"),
        (io + "Table 15", "256 latents of 1280", "FLOPs"),
        (io + "Table 15", "512 latents of 896", "FLOPs"),
        (io + "App. I", "video, evaluation (released)", "FLOPs"),
    }
    assert verdicts["explained"] == {
        ("Perceiver, Table 6", "1, at start", "params"),
        (io + "App. H", "optical flow, 368 x 496 (released)", "params"),
        (io + "App. H", "optical flow, 368 x 496 (released)", "FLOPs"),
        (io + "App. I", "video, training (released)", "FLOPs"),
        (io + "Table 7", "ResNet-50", "FLOPs"),
        (io + "Table 7", "ViT-B/16", "FLOPs"),
        (io + "Table 7", "config B, 2D Fourier", "FLOPs"),
        (io + "Table 7", "config B, conv + maxpool", "FLOPs"),
        (io + "Table 7", "Perceiver, learned positions", "FLOPs"),
        (io + "Table 7", "config A, learned positions (released)", "FLOPs"),
        (io + "Table 10", "Perceiver IO, mel + video", "params"),
    }
    assert all(results[key].note for key in verdicts["explained"] | verdicts["unexplained"])
    assert len(verdicts["equal"]) + len(verdicts["close"]) == len(results) - 17
    assert all(abs(results[key].relative) <= 0.01 for key in verdicts["close"])
    # Where only two digits are printed, equal is further off.
    assert all(abs(results[key].relative) <= 0.02 for key in verdicts["equal"])


@pytest.mark.slow
def test_the_numbers_in_the_notes(anatomies):
    def cost(name, **overrides):
        return anatomies.get(build(name, **overrides))

    # What the printed figures leave for decoding, and what decoding costs.
    for latents, printed, left, all_of_it in (
        (128, 120, 2.5, 9.9),
        (256, 113, 2.6, 10.6),
        (512, 125, 2.7, 12.0),
    ):
        anatomy = cost(f"perceiver_io_table15_{latents}_latents")
        decoding = (anatomy.flops[DECODER] + anatomy.flops[POSTPROCESSOR]).total
        assert round(decoding / 1e9, 1) == all_of_it
        assert round(printed - (anatomy.total_flops.total - decoding) / 1e9, 1) == left

    words = cost("perceiver_io_table1_sentencepiece")
    logits = words.flops[POSTPROCESSOR].total
    assert round(logits / 1e9, 1) == 25.2
    assert round((words.total_flops.total - logits / 2) / 119e9 - 1, 3) == 0.017
    layer = 2 * 12 * 768**2 * 512 + 4 * 512**2 * 768 + 3 * 12 * 512**2
    assert round((12 * layer + logits) / 1e9, 1) == 121.9
    assert round((12 * layer + logits / 2) / 1e9) == 109

    learned, fourier = cost("imagenet_learned"), cost("imagenet_fourier")
    assert round((learned.total_flops.total - fourier.total_flops.total) / 1e9, 1) == 71.9
    assert round(learned.flops[PREPROCESSOR].total / 1e9, 1) == 6.7
    assert learned.elements == (50_176, 512) and fourier.elements == (50_176, 261)

    # Multiply-adds of the baselines.
    for half, name, overrides in (
        (4.1, "baseline_resnet50", {}),
        (17.6, "baseline_vit_b16", {}),
        (55.5, "baseline_vit_b16", {"shape": (384, 384)}),
    ):
        flops = sum((each for each in cost(name, **overrides).flops.values()), Flops())
        assert round(flops.matmul / 2e9, 1) == half

    video = cost("video_autoencoding")
    decoding = (video.flops[DECODER] + video.flops[POSTPROCESSOR]).total
    encoding = video.total_flops.total - decoding
    assert round((128 * encoding + decoding) / 1e12) == 39


@pytest.mark.slow
def test_the_page_of_models_is_up_to_date(anatomies):
    assert DOCS.read_text() == models_page.page(anatomies), (
        f"{DOCS.name} is not what the code says: run "
        "`python -m perceiver_jax.report.models_page > docs/models.md`."
    )
