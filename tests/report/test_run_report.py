"""The report of a run: what stands on it, and that it is there whatever is missing."""

import base64
import dataclasses
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.source import Example, Source
from perceiver_jax.errors import CheckpointError, UserError
from perceiver_jax.report import write
from perceiver_jax.report.predicted import Limits
from perceiver_jax.report.run_record import read_run
from perceiver_jax.tasks import ClassificationConfig, Mean, ModelInputs
from perceiver_jax.tasks.base import Batch
from tests.report.runs import HOSTILE, Element, parse

TITLES = ["Result", "Curves", "Confusion matrix", "Worst mistakes", "Examples", "Attention",
          "Configuration", "Throughput", "Environment"]  # fmt: skip


def _titles(page: Element) -> list[str]:
    return [each.text() for each in page.all("h2")]


def _report(workdir: Path, out: Path, **options: Limits) -> Element:
    return parse(write.write_report(workdir, out, **options).read_text())


def _pixels(image: Element) -> np.ndarray:
    content = image.attributes["src"].partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.fixture(scope="module")
def final(perceiver_run: Path) -> dict:
    return json.loads((perceiver_run / "final_metrics.json").read_text())


@pytest.fixture(scope="module")
def page(perceiver_run: Path) -> Element:
    return parse((perceiver_run / "report.html").read_text())


@pytest.mark.core
def test_a_run_ends_with_its_report(page: Element) -> None:
    assert _titles(page) == TITLES
    assert [each.text() for each in page.all("h1")] == [HOSTILE]
    (head,) = page.all("head")
    assert [each.text() for each in head.all("title")] == [HOSTILE]
    assert [each.text() for each in page.all("span", "badge")] == ["complete"]
    assert "Not shown" not in page.text()


def test_the_page_loads_nothing(perceiver_run: Path, page: Element) -> None:
    text = (perceiver_run / "report.html").read_text()
    assert len(text) < 200_000
    assert "<script" not in text and "://" not in text and "@import" not in text
    for each in page.all("img"):
        assert each.attributes["src"].startswith("data:image/png;base64,")
    used = {name for each in page._below() for name in each.attributes}
    assert not used & {"href", "onload", "onclick", "srcset", "xlink:href"}
    assert re.findall(r"url\(", text) == []
    policies = [each.attributes["content"] for each in page.all("meta")[2:]]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_the_result_stands_beside_the_papers_row(page: Element, final: dict) -> None:
    section = page.section("Result")
    assert [each.text() for each in section.all("th")] == [
        "metric", "this run", "Perceiver <FF> Perceiver, Table 1", "difference"
    ]  # fmt: skip
    rows = [[cell.children[-1] for cell in row.all("td")] for row in section.all("tr")[1:]]
    shown = [[each if isinstance(each, str) else each.text() for each in row] for row in rows]
    points = 100 * (final["top_1"] - 0.78)
    assert shown == [
        ["accuracy", f"{final['top_1']:.2%}", "78.00%", f"{points:+.2f} points"],
        ["loss", f"{final['loss']:.4g}", "–", "–"],
    ]
    tiles = [each.text() for each in page.all("div", "tile")]
    assert tiles[0] == f"{final['top_1']:.2%} test accuracy"
    assert f"{final['num_params']:,} parameters" in tiles and "4 steps of 8 examples" in tiles


def test_the_confusion_matrix_counts_every_example_once(page: Element, final: dict) -> None:
    section = page.section("Confusion matrix")
    (matrix,) = section.all("table", "matrix")
    rows = [row.all("td") for row in matrix.all("tr")[1:]]
    counts = np.array([[int(cell.text() or 0) for cell in row[:-1]] for row in rows])
    source = DigitsConfig().make_source("test")
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(source.labels))
    right = round(final["top_1"] * 360)
    assert np.trace(counts) == right
    assert f"{right} of 360 right, with the checkpoint of step 4 (all 360 examples)" in (
        section.text()
    )
    rates = [row[-1].text() for row in rows]
    assert rates == [f"{100 * row[i] / row.sum():.0f}%" for i, row in enumerate(counts)]
    pairs = [[c.text() for c in row.all("td")] for row in section.all("table")[1].all("tr")[1:]]
    off = counts - np.diag(np.diag(counts))
    assert [int(times) for _, _, times in pairs] == sorted(off.ravel(), reverse=True)[:8]
    assert all(off[int(label), int(said)] == int(times) for label, said, times in pairs)


def test_mistakes_show_the_examples_that_they_are_about(page: Element) -> None:
    cards = page.section("Worst mistakes").all("div", "card")
    assert len(cards) == 12
    source = DigitsConfig().make_source("test")
    shares = []
    for card in cards:
        index = int(card.attributes["title"].removeprefix("example "))
        (said,), (label,) = card.all("span", "said"), card.all("span", "is")
        assert label.text() == str(source.labels[index]) != said.text()
        shown = DigitsConfig().picture(source[index])[..., 0]
        np.testing.assert_array_equal(_pixels(card.all("img")[0]), shown)
        shares.append(float(card.text().rpartition("· ")[2].rstrip("%")))
    assert shares == sorted(shares) and 0 < shares[0] < 10


def test_examples_of_every_class_lie_under_its_name(page: Element) -> None:
    (shown,) = page.section("Examples").all("div", "by-class")
    source = DigitsConfig().make_source("test")
    for label, group in enumerate(shown.children):
        assert isinstance(group, Element)
        assert [each.text() for each in group.all("div", "row-name")] == [str(label)]
        images = group.all("img")
        indices = [int(each.attributes["alt"].rpartition(" ")[2]) for each in images]
        # Four, evenly spaced from the first to the last.
        places = np.flatnonzero(source.labels == label)
        assert len(images) == 4 and (indices[0], indices[-1]) == (places[0], places[-1])
        assert set(indices) <= set(places)
        np.testing.assert_array_equal(
            _pixels(images[1]), DigitsConfig().picture(source[indices[1]])[..., 0]
        )
    assert label == 9
    assert "All 10 classes; examples of the split test" in page.section("Examples").text()


def test_attention_has_a_map_for_every_latent_shown(page: Element) -> None:
    section = page.section("Attention")
    rows = section.all("div", "map-row")
    assert len(rows) == 4
    for row in rows:
        captions = [each.text() for each in row.all("figure")]
        assert captions == ["input", "mean", "latent 0", "latent 1", "latent 3", "latent 4"]
        sizes = {(each.attributes["width"], each.attributes["height"]) for each in row.all("img")}
        assert sizes == {("8", "8")}
    assert "all 5 latents, and maps are means over 2 heads" in section.text()
    titles = [each.text() for each in section.all("h3")]
    assert sum("taken for" in each for each in titles) >= 1


def test_the_configuration_names_what_is_not_as_in_the_paper(page: Element) -> None:
    section = page.section("Configuration")
    assert "1 of the 3 values that the recipe of Perceiver <FF>" in section.text()
    rows = [row.text() for row in section.all("table")[0].all("tr")[1:]]
    assert rows == [
        "trainer. batch_ size paper 1024 here 8",
        "schedule paper Steps here ConstantCosine",
    ]
    everything = section.all("details")[0].text()
    for part in ("encoder. num_ latents 5", "label_ smoothing 0.1", "eval_ split test"):
        assert part in everything


def test_curves_and_throughput_have_their_lines(page: Element) -> None:
    charts = page.section("Curves").all("figure", "chart")
    assert [each.all("strong")[0].text() for each in charts] == [
        "loss", "accuracy", "learning rate", "norm of the gradient"
    ]  # fmt: skip
    keys = [[key.text() for key in each.all("span", "key")] for each in charts]
    assert keys[:2] == [
        ["train (label smoothing 0.1)", "test"], ["train", "test", "paper: Perceiver <FF>"]
    ]  # fmt: skip
    assert len(charts[0].all("path", "dot")) == 2  # evaluated at steps 2 and 4
    speed = page.section("Throughput").all("figure", "chart")
    titles = [each.all("strong")[0].text() for each in speed]
    assert titles[:2] == ["examples/s", "share of time waiting for data"]
    assert all(each.all("polyline") for each in speed)


def test_the_environment_is_that_of_the_run(page: Element) -> None:
    section = page.section("Environment")
    names = [each.text() for each in section.all("dt")]
    facts = dict(zip(names, [each.text() for each in section.all("dd")], strict=True))
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "jax 0." in facts["packages"] and facts["work directory"] == "run"
    assert re.fullmatch(r"\d+:\d\d", facts["duration"])


def test_fewer_examples_are_said_and_counted(perceiver_run: Path, tmp_path: Path) -> None:
    found = _report(perceiver_run, tmp_path / "p.html", limits=Limits(examples=40))
    section = found.section("Confusion matrix")
    assert "(40 of 360 examples, drawn at random)" in section.text()
    cells = section.all("table", "matrix")[0].all("td")
    counted = [each.text() for each in cells if each.attributes["class"] != "rate"]
    assert sum(int(each or 0) for each in counted) == 40


@pytest.fixture
def copied(perceiver_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(perceiver_run, tmp_path / "copied")
    return tmp_path / "copied"


def test_a_run_that_goes_on(copied: Path) -> None:
    (copied / "final_metrics.json").unlink()
    lines = (copied / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= 3]
    (copied / "metrics.jsonl").write_text("\n".join(kept) + '\n{"step": 4, "spl')
    found = _report(copied, copied / "report.html")
    assert [each.text() for each in found.all("span", "badge")] == ["not complete: step 3 of 4"]
    assert "The last evaluation on test, at step 2" in found.section("Result").text()
    assert _titles(found) == TITLES


def test_a_run_of_which_nothing_is_there_but_its_config(copied: Path) -> None:
    for path in copied.iterdir():
        if path.name != "config.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = _report(copied, copied / "report.html")
    assert [each.text() for each in found.all("span", "badge")] == ["not complete: step 0 of 4"]
    assert _titles(found) == ["Examples", "Configuration", "Environment"]
    footer = found.all("footer")[0].text()
    assert "Not shown: Curves, because nothing was logged yet." in footer
    assert "Not shown: Attention, because there is no checkpoint yet." in footer


def test_a_damaged_checkpoint_takes_no_other_section_with_it(copied: Path) -> None:
    for file in (copied / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    found = _report(copied, copied / "report.html")
    assert _titles(found) == [
        "Result", "Curves", "Examples", "Configuration", "Throughput", "Environment"
    ]  # fmt: skip
    footer = found.all("footer")[0].text()
    assert "Not shown: Worst mistakes, because no checkpoint can be read: " in footer


@dataclasses.dataclass(frozen=True)
class _PlainData:
    """Digits that tell nothing about themselves."""

    def make_source(self, split: str) -> Source:
        return DigitsConfig().make_source(split)

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        return example


@dataclasses.dataclass(frozen=True)
class _PlainTask:
    """Classification that says nothing of single examples."""

    headline = ClassificationConfig(num_classes=10).headline

    def model_inputs(self, batch: Batch) -> ModelInputs:
        return ClassificationConfig(num_classes=10).model_inputs(batch)

    def measure(self, outputs: Any, batch: Batch, *, is_training: bool) -> dict[str, Mean]:
        raise NotImplementedError


def test_without_optional_methods_and_packages(
    perceiver_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("matplotlib", "PIL"):
        monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    run = read_run(perceiver_run)

    def with_config(**changes: Any) -> Element:
        config = dataclasses.replace(run.config, **changes)
        changed = dataclasses.replace(run, config=config)
        monkeypatch.setattr(write, "read_run", lambda *_, **__: changed)
        return _report(perceiver_run, tmp_path / "p.html")

    found = with_config(data=_PlainData())
    assert _titles(found) == [each for each in TITLES if each not in ("Examples", "Attention")]
    mistakes = found.section("Worst mistakes")
    assert not mistakes.all("img") and len(mistakes.all("tr")) == 13
    found = with_config(task=_PlainTask())
    assert _titles(found) == [each for each in TITLES if each not in TITLES[2:5]]
    titles = [each.text() for each in found.section("Attention").all("h3")]
    assert titles == ["example 0", "example 119", "example 239", "example 359"]
    reason = "_PlainTask has no method `predictions`"
    assert f"Not shown: Classes, because {reason}." in found.all("footer")[0].text()


def test_no_attention_and_no_paper(conv_run: Path) -> None:
    found = parse((conv_run / "report.html").read_text())
    assert _titles(found) == [each for each in TITLES if each != "Attention"]
    footer = found.all("footer")[0].text()
    assert "Attention, because a convolutional network has no cross-attends to show." in footer
    assert "not in any paper" in found.section("Result").text()
    assert "Not in any paper" in found.section("Configuration").text()


def test_several_runs_on_one_page(perceiver_run: Path, conv_run: Path, tmp_path: Path) -> None:
    runs = [perceiver_run, conv_run, conv_run]
    found = parse(write.write_comparison(runs, tmp_path / "c.html").read_text())
    labels = [HOSTILE, "conv (run) #2", "conv (run) #3"]
    section = found.section("Result")
    assert [each.text() for each in section.all("span", "chip")] == labels
    finals = [json.loads((run / "final_metrics.json").read_text()) for run in runs]
    accuracies = [row.all("td")[1].text() for row in section.all("tr")[1:]]
    assert accuracies == [f"test accuracy {final['top_1']:.2%}" for final in finals]
    losses = [row.all("td")[2] for row in section.all("tr")[1:]]
    best = min(final["loss"] for final in finals)
    assert [bool(each.all("b")) for each in losses] == [f["loss"] == best for f in finals]
    assert "78.00%, Perceiver <FF>" in section.all("tr")[1].text()
    charts = found.section("Curves").all("figure", "chart")
    for run in range(3):  # A line for each in evaluation, and in training one behind it.
        assert len(charts[0].all("polyline", f"c{run}")) == 2
    differing = found.section("Differences in the configuration")
    names = [row.all("td")[0].text() for row in differing.all("tr") if row.all("td")]
    assert names[0] == "model" and "encoder" in " ".join(names)
    assert "trainer. batch_ size" not in names and "paper" not in " ".join(names)


def test_runs_that_are_none(tmp_path: Path, perceiver_run: Path) -> None:
    with pytest.raises(CheckpointError, match="is no work directory"):
        write.write_report(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        write.write_report(perceiver_run, perceiver_run / "config.json" / "p.html")


def test_an_ended_run_does_not_fail_for_want_of_a_report(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("nobody knows why")

    (copied / "report.html").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(write, "read_run", fails)
        assert write.report_at_end(copied) is None
    assert "no report: RuntimeError: nobody knows why" in capsys.readouterr().out
    assert not (copied / "report.html").exists()
    # One section that fails leaves the others.
    monkeypatch.setattr(write.curves, "render", fails)
    assert write.report_at_end(copied) == copied / "report.html"
    found = parse((copied / "report.html").read_text())
    assert _titles(found)[:2] == ["Result", "Confusion matrix"]
    assert "Curves, because RuntimeError was raised: nobody" in found.all("footer")[0].text()


def test_a_fine_tuned_run_says_what_it_started_with(perceiver_run: Path, tmp_path: Path) -> None:
    origins = {
        "checkpoint": "weights/<a>.safetensors",
        "format": "a safetensors file",
        "counts": {
            "loaded": {"modules": 28, "arrays": 54, "values": 71142},
            "initialised": {"modules": 1, "arrays": 2, "values": 325},
        },
        "frozen": ["perceiver_encoder"],
        "learning_rates": ["*/output=3"],
        "config_differences": [{"name": "decoder.num_classes", "checkpoint": "10", "model": "5"}],
        "arrays": [
            {"origin": "loaded", "module": "perceiver_encoder/~/mlp"},
            {"origin": "initialised", "module": "basic_decoder/output"},
        ],
    }
    workdir = tmp_path / "run"
    shutil.copytree(perceiver_run, workdir)
    config = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps({**config, "frozen": ["perceiver_encoder"]}))
    (workdir / "initial_weights.json").write_text(json.dumps(origins))
    page = _report(workdir, tmp_path / "page.html", limits=Limits(examples=1))
    assert "Starting weights" in _titles(page)
    text = page.text()
    for words in ("weights/<a>.safetensors", "71,142", "basic_decoder/output", "*/output=3",
                  "decoder.num_classes"):  # fmt: skip
        assert words in text
    assert "perceiver_encoder/~/mlp" not in text  # loaded, as expected: a count will do
    (workdir / "initial_weights.json").write_text("{")
    page = _report(workdir, tmp_path / "page.html", limits=Limits(examples=1))
    assert "initial_weights.json cannot be read" in page.text()
