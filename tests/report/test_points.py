"""Clouds of points on a page: attention over points, examples by class, mistakes."""

import base64
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.data.points import views
from perceiver_jax.data.shown import NamesClasses, ShowsPictures, ShowsPoints
from perceiver_jax.data.source import CorruptExample, Example
from perceiver_jax.data.synthetic import ArrayConfig, SyntheticConfig
from perceiver_jax.infer.attention_maps import cross_attends
from perceiver_jax.report import contact_sheet
from perceiver_jax.report.context import Context
from perceiver_jax.report.page import NotShown
from perceiver_jax.report.predicted import Limits, Predicted, RunModel
from perceiver_jax.report.sections import attention, examples, mistakes
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.tasks.predictions import ClassPredictions
from perceiver_jax.zoo import FourierConfig, PointsConfig
from tests import tiny_models
from tests.infer.tiny_loaded import loaded, rereading
from tests.report.runs import Element, experiment, parse, record

NAMES = ("bench", "chair", "lamp <x>", "sofa", "tent")
_COUNT, _POINTS = 12, 9
_PLAIN = SyntheticConfig(arrays={"image": ArrayConfig(shape=(8, 8, 1))})  # Without pictures.


@dataclasses.dataclass(frozen=True)
class _Clouds:
    """Clouds of nine points, of five classes in turn; one of them is damaged."""

    classes: int = len(NAMES)
    damaged: int = -1

    def make_source(self, split: str) -> "_Clouds":
        return self

    def __len__(self) -> int:
        return _COUNT

    def __getitem__(self, index: int) -> Example:
        if index == self.damaged:
            raise CorruptExample(f"cloud {index} is damaged")
        points = np.random.default_rng(index).uniform(-1, 1, (_POINTS, 3)).astype(np.float32)
        return {"points": points, "label": np.int32(index % self.classes)}

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        return {**example, "points": example["points"][::-1]}

    def class_names(self) -> tuple[str, ...]:
        return NAMES

    def cloud(self, example: Example) -> np.ndarray:
        return example["points"]

    def up(self) -> views.Axis:
        return "y"

    def picture(self, example: Example) -> np.ndarray:
        return views.three(example["points"], up="y")


def _pixels(image: Element) -> np.ndarray:
    content = image.attributes["src"].partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def _cloud(index: int) -> np.ndarray:
    return _Clouds()[index]["points"]


@pytest.fixture(scope="module")
def model() -> Any:
    """Nine points, two cross-attends, three latents."""
    points = PointsConfig(_POINTS, FourierConfig(2, max_resolution=(4, 4, 4)))
    base = dataclasses.replace(tiny_models.classifier(), preprocessor=points)
    return loaded(rereading(base, 2, "none"))


@pytest.fixture
def context(model: Any) -> Callable[..., Context]:
    def make(data: Any = None, *, known: bool = True, task: Any = None) -> Context:
        data = data or _Clouds()
        task = task or ClassificationConfig(num_classes=5, input_key="points", top_k=None)
        run = record([], config=experiment(model=model.config, data=data, task=task))
        run_model = RunModel(run, Limits())
        run_model._known["loaded"] = (7, model)
        if known:
            labels = np.arange(_COUNT) % 5
            guesses = np.where(np.arange(_COUNT) < 3, labels, 4)  # The first three are right.
            values = ClassPredictions(
                labels=labels,  # type: ignore[arg-type]
                label_probabilities=np.linspace(0.9, 0.1, _COUNT),  # type: ignore[arg-type]
                guesses=guesses[:, None],  # type: ignore[arg-type]
                guess_probabilities=np.full((_COUNT, 1), 0.5),  # type: ignore[arg-type]
                num_classes=5,
            )
            run_model._known["predicted"] = Predicted(np.arange(_COUNT), values, _COUNT, 0)
        else:
            run_model._known["predicted"] = NotShown("there is no checkpoint yet")
        made = Context([run])
        made.__dict__["model"] = run_model
        return made

    return make


def test_protocols() -> None:
    for protocol in (NamesClasses, ShowsPictures, ShowsPoints):
        assert isinstance(_Clouds(), protocol)


def test_attention_colours_the_points(context: Callable[..., Context], model: Any) -> None:
    section = parse(attention.render(context()).body)
    titles = [each.text() for each in section.all("h3")]
    assert titles == ["bench, recognised", "lamp <x>, recognised", "tent, recognised",
                      "chair, taken for tent"]  # fmt: skip
    blocks = section.all("div", "maps")[0].children
    for index, block in zip((0, 2, 4, 11), blocks, strict=True):
        assert isinstance(block, Element)
        first, *rows = block.all("div", "map-row")
        np.testing.assert_array_equal(
            _pixels(first.all("img")[0]), views.three(_cloud(index), up="y")
        )
        names = [each.text() for each in block.all("div", "row-name")]
        assert names == ["cross-attend 1", "cross-attend 2"]
        maps = cross_attends(model, _cloud(index)[None])
        for weights, row in zip(maps.weights[:, 0], rows, strict=True):
            mean, *latents = map(_pixels, row.all("img"))
            np.testing.assert_array_equal(
                mean, views.three(_cloud(index), weights.mean(axis=0), up="y")
            )
            for shown, latent in zip(latents, weights, strict=True):
                np.testing.assert_array_equal(shown, views.view(_cloud(index), latent, up="y"))
        captions = [each.text() for each in rows[0].all("figure")]
        assert captions == ["mean", "latent 0", "latent 1", "latent 2"]
        assert [len(each.all("figure", "wide")) for each in (first, *rows)] == [1, 1, 1]
    assert "how much a cross-attend read of a point" in section.text()


def test_attention_without_pictures(context: Callable[..., Context]) -> None:
    @dataclasses.dataclass(frozen=True)
    class Fewer(_Clouds):
        def cloud(self, example: Example) -> np.ndarray:
            return example["points"][:4]

    with pytest.raises(NotShown, match="are not the points of a cloud"):
        attention.render(context(Fewer()))
    with pytest.raises(NotShown, match="SyntheticConfig has no method `picture` or `cloud`"):
        attention.render(context(_PLAIN))


def test_mistakes_are_wide_cards(context: Callable[..., Context]) -> None:
    section = parse(mistakes.render(context()).body)
    (cards,) = section.all("div", "wide")
    assert len(cards.all("div", "card")) == 7  # Of nine, two are tents.
    first = cards.all("img")[0]
    assert (first.attributes["width"], first.attributes["height"]) == ("336", "112")
    assert cards.all("div", "card")[0].attributes["title"] == "example 11"
    np.testing.assert_array_equal(_pixels(first), views.three(_cloud(11), up="y"))


def test_examples_by_class(context: Callable[..., Context], monkeypatch: Any) -> None:
    def shown(**options: Any) -> list[tuple[str, list[int]]]:
        section = parse(examples.render(context(**options)).body)
        groups = []
        for group in section.all("div", "by-class")[0].children:
            assert isinstance(group, Element) and len(group.all("div", "wide")) == 1
            images = group.all("img")
            indices = [int(each.attributes["alt"].rpartition(" ")[2]) for each in images]
            first = views.three(_cloud(indices[0]), up="y")
            np.testing.assert_array_equal(_pixels(images[0]), first)
            groups.append((group.all("div", "row-name")[0].text(), indices))
        return groups

    everything = [(NAMES[label], list(range(label, _COUNT, 5))) for label in range(5)]
    assert shown() == everything
    # Labels come from the examples where no model has seen any; a damaged one is passed over.
    assert shown(known=False) == everything
    without = [(name, [each for each in indices if each != 6]) for name, indices in everything]
    assert shown(data=_Clouds(damaged=6), known=False) == without
    monkeypatch.setattr(examples, "MOST_CLASSES", 3)
    monkeypatch.setattr(examples, "MOST", 6)
    assert shown() == [("bench", [0, 10]), ("lamp <x>", [2, 7]), ("tent", [4, 9])]
    assert "3 of 5 classes; examples of the split test" in parse(
        examples.render(context()).body
    ).text()  # fmt: skip


def test_examples_of_what_has_no_classes(context: Callable[..., Context]) -> None:
    with pytest.raises(NotShown, match="SyntheticConfig has no method `picture`"):
        examples.render(context(_PLAIN))
    task = ClassificationConfig(num_classes=5, input_key="points", label_key="points", top_k=None)
    with pytest.raises(NotShown, match="does not choose one of several classes"):
        examples.render(context(known=False, task=task))


def test_the_first_batch_from_three_sides(tmp_path: Any) -> None:
    task = ClassificationConfig(num_classes=5, input_key="points", top_k=None)
    config = dataclasses.replace(experiment(data=_Clouds()), task=task)
    shown = contact_sheet.first_batch(config)
    seen = [views.three(_cloud(index)[::-1], up="y") for index in range(_COUNT)]
    pictures = {hash(picture.tobytes()): index for index, picture in enumerate(seen)}
    for each in shown:  # Augmented ones, at full size, each with its class.
        index = pictures[hash(each.picture.tobytes())]
        assert each.caption == (NAMES[index % 5],)
    contact_sheet.draw(tmp_path / "out.png", shown, "clouds")
    # Eight tiles of 336 + 12 pixels: two columns of four.
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.size == (2 * 348 + 12, 37 + 4 * (112 + 13 + 12))
