"""A sheet of the first batch: the very pixels and labels that training sees at step 0."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from perceiver_jax.config import override
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.loader import train_batches
from perceiver_jax.data.source import Example, Source
from perceiver_jax.data.synthetic import ArrayConfig, SyntheticConfig
from perceiver_jax.errors import ConfigError, UserError
from perceiver_jax.report import contact_sheet
from perceiver_jax.report.contact_sheet import Shown
from perceiver_jax.tasks import MultilabelConfig
from perceiver_jax.tasks.base import reads
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.step import make_batch
from tests.data.sources import DamagedSource
from tests.train import fake

pytestmark = pytest.mark.usefixtures("quick_compilation")


def _read(config: ExperimentConfig) -> dict[str, np.ndarray]:
    """What the first step reads, before anything is mixed."""
    data, trainer = config.data, config.trainer
    return next(train_batches(
        data, data.make_source("train"), batch_size=trainer.batch_size * reads(config.task),
        seed=trainer.seed, start_step=0, stop_step=1, threads=0,
    ))  # fmt: skip


def _trained_on(config: ExperimentConfig) -> dict[str, np.ndarray]:
    """The batch of the first step, made by the trainer's parts."""
    mesh = assemble(config, fake.MLP(), devices=jax.devices()[:1]).mesh
    made = make_batch(config.task, _read(config), seed=config.trainer.seed, step=0, mesh=mesh)
    return jax.device_get(made)


def test_pictures_are_those_that_training_sees() -> None:
    config = fake.experiment(trainer__seed=3)
    batch = _trained_on(config)
    shown = contact_sheet.first_batch(config)
    assert len(shown) == 8
    for row, each in enumerate(shown):
        grey = np.rint((batch["image"][row, :, :, 0] + 1) * 127.5)  # augmented by shifts
        larger = grey.repeat(12, axis=0).repeat(12, axis=1)  # 96 pixels
        np.testing.assert_array_equal(each.picture, np.repeat(larger[..., None], 3, axis=2))
        assert each.caption == (str(batch["label"][row]),)


@pytest.mark.parametrize("most", [64, 3])
def test_mixed_ones_too_with_both_labels_and_their_shares(most: int) -> None:
    config = fake.experiment(task__mixing="MixConfig")
    batch, read = _trained_on(config), _read(config)
    shown = contact_sheet.first_batch(config, most)
    assert len(shown) == min(most, 8)
    for row, each in enumerate(shown):
        grey = (batch["image"][row, :, :, 0] + 1) * 127.5
        np.testing.assert_allclose(each.picture[::12, ::12, 0], grey, atol=0.501)
        ratio = batch["ratio"][row]
        # As the picture shows: MixUp has shares of both in every pixel, CutMix one or the other.
        first, second = read["image"][2 * row : 2 * row + 2]
        blended = ratio * first + (1 - ratio) * second
        kind = "MixUp" if np.allclose(batch["image"][row], blended, atol=1e-6) else "CutMix"
        assert each.caption == (
            kind,
            f"{ratio:.2f}: {batch['label'][row]}",
            f"{1 - ratio:.2f}: {batch['mixed_label'][row]}",
        )
    assert {each.caption[0] for each in shown} == {"MixUp", "CutMix"}
    assert len({caption for each in shown for caption in each.caption}) > 3


def test_the_file_has_every_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(96, 96), (50, 120), (120, 50), (96, 96), (7, 11)]
    shown = [
        Shown(rng.integers(0, 256, (*size, 3)).astype(np.uint8), ("one", "two")) for size in sizes
    ]
    contact_sheet.draw(tmp_path / "out.png", shown, "a title")
    sheet = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"))
    # Three columns of 120 + 12; rows of 120 and two lines of 13 and 12; 37 at the top.
    assert sheet.shape == (37 + 2 * 158, 480, 3)
    for index, each in enumerate(shown):
        y, x = 37 + index // 3 * 158, 12 + index % 3 * 132
        height, width = each.picture.shape[:2]
        np.testing.assert_array_equal(sheet[y : y + height, x : x + width], each.picture)
        below = sheet[y + height + 2 : y + height + 28, x : x + 60]
        assert below.min() < 120 and below[:, :, 0].mean() > 200  # text on white


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    asked = []

    @dataclasses.dataclass(frozen=True)
    class Large(DigitsConfig):
        def picture(self, example: Example) -> np.ndarray:
            return np.full((448, 400, 3), int(example["label"]), np.uint8)

        def class_names(self) -> tuple[str, ...]:
            asked.append(1)
            return (
                "b",
                *7 * ("$ a name that is far too long to stand under a picture of that size",),
            )

    config = dataclasses.replace(fake.experiment(), data=Large())
    shown = contact_sheet.first_batch(config)
    assert {each.picture.shape for each in shown} == {(224, 200, 3)}
    assert len(asked) == 1  # A folder of a million files would be listed for every picture.
    # Eight classes have names, the others numbers.
    assert "$" in {each.caption[0][:1] for each in shown} <= set("$b89")
    contact_sheet.draw(tmp_path / "out.png", shown, "t" * 500)
    # A line is broken into two, and what is still too long is cut off.
    assert Image.open(tmp_path / "out.png").size == (3 * 212 + 12, 53 + 3 * (224 + 2 * 13 + 12))


def test_long_captions_are_broken_between_words() -> None:
    # 96 pixels are 16 characters.
    assert contact_sheet.broken("tabby, tabby cat", 96) == ["tabby, tabby cat"]
    assert contact_sheet.broken("0.70: golden retriever", 96) == ["0.70: golden", "  retriever"]
    assert contact_sheet.broken("Great Pyrenees dog, a large one", 96) == [
        "Great Pyrenees", "  dog, a large\N{HORIZONTAL ELLIPSIS}"
    ]  # fmt: skip
    assert contact_sheet.broken("n" * 40, 96) == [
        "n" * 16,
        "  " + "n" * 13 + "\N{HORIZONTAL ELLIPSIS}",
    ]
    assert contact_sheet.broken("", 96) == [""]


def test_several_labels_at_once() -> None:
    @dataclasses.dataclass(frozen=True)
    class Tagged(DigitsConfig):
        def make_source(self, split: str) -> Any:
            return [
                {"image": np.zeros((8, 8, 1)), "label": np.float32([0, 1, 0, 1])},
                {"image": np.zeros((8, 8, 1)), "label": np.zeros(4, np.float32)},
            ]

    task = MultilabelConfig(num_classes=4, input_key="image")
    config = dataclasses.replace(fake.experiment(), data=Tagged(), task=task)
    captions = {each.caption for each in contact_sheet.first_batch(config)}
    assert captions == {("1, 3",), ("none",)}


def test_corrupt_examples_are_replaced_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = DigitsConfig.make_source

    def make_source(self: DigitsConfig, split: str) -> Source:
        return DamagedSource(whole(self, split), 3)

    monkeypatch.setattr(DigitsConfig, "make_source", make_source)
    told: list[str] = []
    config = fake.experiment(task__mixing="MixConfig")
    assert len(contact_sheet.first_batch(config, report=told.append)) == 8
    assert told and all(line.startswith("left out    example ") for line in told)


def test_data_that_have_no_pictures() -> None:
    data = SyntheticConfig(arrays={"image": ArrayConfig(shape=(8, 8, 1))})
    config = dataclasses.replace(fake.experiment(), data=data)
    with pytest.raises(ConfigError, match=r"SyntheticConfig has no method picture\(example\)"):
        contact_sheet.first_batch(config)


def test_a_picture_that_is_none() -> None:
    @dataclasses.dataclass(frozen=True)
    class Wrong(DigitsConfig):
        def picture(self, example: Example) -> np.ndarray:
            return example["image"]

    config = dataclasses.replace(fake.experiment(), data=Wrong())
    with pytest.raises(ValueError, match=r"Wrong.picture must return uint8.*float32 \(8, 8, 1\)"):
        contact_sheet.first_batch(config)


def test_a_title_is_broken_and_a_note_stands_below_it(tmp_path: Path) -> None:
    shown = [contact_sheet.Shown(np.zeros((96, 96, 3), np.uint8), ("a",))]
    heights = []
    for title, note in (
        ("short", ""),
        ("audioset_small_audio_video_mel: 16 of 16 examples of the first training batch", ""),
        ("short", "Grey frames: video that is absent or dropped."),
    ):
        contact_sheet.draw(tmp_path / "out.png", shown, title, note)
        heights.append(Image.open(tmp_path / "out.png").height)
    assert heights == [37 + 96 + 25, 53 + 96 + 25, 50 + 96 + 25]


def test_what_the_data_say_of_pictures_stands_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Explained(DigitsConfig):
        def picture_note(self) -> str:
            return "Black is nothing."

    drawn: list[Any] = []
    monkeypatch.setattr(contact_sheet, "draw", lambda *given: drawn.append(given[3]))
    monkeypatch.setattr(contact_sheet, "first_batch", lambda config, report: [])
    for data in (Explained(), DigitsConfig()):
        contact_sheet.write(dataclasses.replace(fake.experiment(), data=data), tmp_path / "o.png")
    assert drawn == ["Black is nothing.", ""]


def test_paths(tmp_path: Path) -> None:
    assert contact_sheet.check_path(tmp_path / "out.PNG") == tmp_path / "out.PNG"
    (tmp_path / "folder.png").mkdir()
    for name, message in {
        "out.jpg": r"out.jpg must be the name of a PNG file",
        "out": "must be the name of a PNG file",
        "nowhere/out.png": "the directory .*nowhere does not exist",
        "folder.png": "is a directory",
    }.items():
        with pytest.raises(UserError, match=message):
            contact_sheet.check_path(tmp_path / name)


def test_what_is_shown_in_words(tmp_path: Path) -> None:
    config = override(fake.experiment(task__mixing="MixConfig"), {"trainer.batch_size": "100"})
    title = contact_sheet.write(config, tmp_path / "out.png")
    assert title == "fake: 64 of 100 examples of the first training batch, each made of 2"
    # Eight columns of 96 + 12, and eight rows of 96, three lines of 13 and 12.
    assert Image.open(tmp_path / "out.png").size == (8 * 108 + 12, 37 + 8 * 147)
