"""The picture of the training curves."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.errors import UserError
from perceiver_jax.report.curves import draw_curves, running_mean, training_loss_note
from perceiver_jax.tasks import ClassificationConfig, Headline, MixConfig, MultilabelConfig


def _entries(count: int) -> list[dict]:
    entries: list[dict] = []
    for step in range(1, count + 1):
        values = {"loss": 2.0 / step, "top_1": 1 - 1 / step, "learning_rate": 0.1}
        entries.append({"step": step, "split": "train", **values, "timing": {}})
        if step % 5 == 0:
            entries.append({"step": step, "split": "test", **values, "timing": {}})
    return entries


def _draw(tmp_path: Path, entries: list[dict]) -> np.ndarray:
    metrics, picture = tmp_path / "metrics.jsonl", tmp_path / "curves.png"
    metrics.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    draw_curves(metrics, picture, title="a run", headline=Headline("top_1", "accuracy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]
    return np.asarray(Image.open(picture).convert("RGB"))


@pytest.mark.parametrize("count", [0, 1, 40])
def test_any_number_of_entries_is_drawn(tmp_path: Path, count: int) -> None:
    picture = _draw(tmp_path, _entries(count))
    assert picture.shape[1] > 1000
    orange = np.all(picture == (0xD9, 0x62, 0x2B), axis=-1)  # what belongs to the evaluation
    assert orange.any() == (count >= 5)
    if count >= 5:  # in both panels
        assert orange[:, : picture.shape[1] // 2].any() and orange[:, picture.shape[1] // 2 :].any()


def test_low_values_fill_their_panel(tmp_path: Path) -> None:
    """As those of a mean average precision do; the last one is not finite, as after a failure."""
    entries = _entries(40)
    for entry in entries:
        entry["top_1"] = 0.002 * entry["step"] if entry["step"] < 40 else float("nan")
    picture = _draw(tmp_path, entries)
    orange = np.all(picture == (0xD9, 0x62, 0x2B), axis=-1)[:, picture.shape[1] // 2 :]
    rows = np.flatnonzero(orange.any(axis=1))
    # The values of steps 5 to 35, of a panel that takes some 0.6 of the picture's height.
    assert np.ptp(rows[rows > 0.12 * len(picture)]) > 0.3 * len(picture)


@pytest.mark.parametrize(
    ("losses", "scale", "labelled"),
    [((1.9, 1.2, 0.7), "linear", 4), ((2.0, 0.9, 0.3), "log", 3), ((2.0, 0.5, 0.0), "linear", 4)],
)
def test_the_axis_of_the_loss_has_numbers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    losses: tuple[float, ...],
    scale: str,
    labelled: int,
) -> None:
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    save = Figure.savefig

    def savefig(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    steps = enumerate(losses, start=1)
    _draw(tmp_path, [{"step": step, "split": "train", "loss": loss} for step, loss in steps])
    axes = figures[0].axes[0]
    low, high = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    shown = [each for each in ticks if each.label1.get_text() and low <= each.get_loc() <= high]
    assert axes.get_yscale() == scale and len(shown) >= labelled


def test_the_result_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    titles: list[str] = []

    def title(axes: Axes, text: str, *, loc: str, **_: Any) -> None:
        if loc == "right":
            titles.append(text)

    monkeypatch.setattr(Axes, "set_title", title)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(entry) + "\n" for entry in _entries(10)))
    headline = Headline("top_1", "accuracy")
    for step in (None, 10, 5):
        draw_curves(metrics, tmp_path / "p", title="t", headline=headline, result_step=step)
    assert titles == ["test 90.00%", "test 90.00%", "test 80.00% at step 5"]


def test_running_mean() -> None:
    values = np.array([1.0, 4.0, 7.0, 2.0])
    np.testing.assert_allclose(running_mean(values, 3), [2.5, 4.0, 13 / 3, 4.5])
    np.testing.assert_allclose(running_mean(values, 1), values)
    np.testing.assert_allclose(running_mean(values[:1], 9), [1.0])


def test_a_note_on_the_training_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    legends: list[list[str]] = []

    def legend(axes: Axes, **_: object) -> None:
        legends.append(axes.get_legend_handles_labels()[1])

    monkeypatch.setattr(Axes, "legend", legend)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(entry) + "\n" for entry in _entries(5)))
    headline = Headline("top_1", "accuracy")
    for note, label in (
        (None, "train"),
        ("label smoothing 0.1", "train (with label smoothing 0.1)"),
    ):
        legends.clear()
        draw_curves(metrics, tmp_path / "p", title="t", headline=headline, train_note=note)
        assert legends == [[label, "test"], ["train", "test"]]


def test_missing_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UserError, match="-m pip install matplotlib"):
        draw_curves(
            tmp_path / "m", tmp_path / "p", title="t", headline=Headline("top_1", "accuracy")
        )


def test_what_sets_a_training_loss_apart():
    task = ClassificationConfig(num_classes=7)
    assert training_loss_note(task) is None
    smoothed = dataclasses.replace(task, label_smoothing=0.1)
    assert training_loss_note(smoothed) == "label smoothing 0.1"
    mixed = dataclasses.replace(smoothed, mixing=MixConfig())
    assert training_loss_note(mixed) == "label smoothing 0.1, mixed examples"
    assert training_loss_note(dataclasses.replace(task, mixing=MixConfig())) == "mixed examples"
    assert training_loss_note(MultilabelConfig(num_classes=7)) is None
