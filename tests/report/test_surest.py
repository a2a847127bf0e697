"""What was said most surely and is wrong, of tasks with several labels."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.source import CorruptExample, Example
from perceiver_jax.report import predicted
from perceiver_jax.report.context import Context
from perceiver_jax.report.page import NotShown
from perceiver_jax.report.predicted import Limits, RunModel
from perceiver_jax.report.sections import classes, examples, mistakes, surest
from perceiver_jax.tasks import MultilabelConfig
from tests.report.runs import Element, experiment, parse, record

CLASSES = 3
# Log-odds of each example, and its labels.
SCORES = np.array([[9, -9, 0], [5, -1, 1], [8, -8, -2], [-7, 3, 2], [-3, -9, -1]], np.float32)
LABELS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 1]], np.float32)


@dataclasses.dataclass(frozen=True)
class _Sounds:
    """Each example is two clips whose values are its scores; the one but last cannot be read."""

    picture_of: int | None = None

    def make_source(self, split: str) -> "_Sounds":
        return self

    def class_names(self) -> list[str]:
        return ["Bell", "Cat, meow", "Dog <x>"]

    def __len__(self) -> int:
        return len(SCORES) + 1

    def __getitem__(self, index: int) -> Example:
        if index == len(SCORES):
            raise CorruptExample("no sound")
        return {"inputs": np.stack([SCORES[index]] * 2), "label": LABELS[index]}

    def describe(self, index: int) -> str:
        return f"/data/own/1.0.0, test {index} (file{index}.wav)"


@dataclasses.dataclass(frozen=True)
class _Pictured(_Sounds):
    def picture(self, example: Example) -> np.ndarray:
        return np.full((4, 4, 3), 100 + int(example["inputs"][0, 0]), np.uint8)


def _context(data: Any) -> Context:
    task = MultilabelConfig(num_classes=CLASSES, clips=2)
    run = record([], config=experiment(task=task, data=data))
    model = RunModel(run, Limits())

    def apply(params: Any, state: Any, rng: Any, inputs: Any, **_: Any) -> Any:
        return inputs, state

    loaded = types.SimpleNamespace(model=types.SimpleNamespace(apply=apply), params={}, state={})
    model._known["loaded"] = (7, loaded)
    made = Context([run])
    made.__dict__["model"] = model
    return made


def _cards(data: Any) -> list[list[str]]:
    page = parse(surest.render(_context(data)).body)
    return [[each.text() for each in _divs(card)] for card in page.all("div", "card")]


def _divs(card: Element) -> list[Element]:
    return [each for each in card.children if isinstance(each, Element) and each.name == "div"]


def test_the_surest_of_each_kind_with_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicted, "_BATCH_BYTES", 50)  # Two of 24 and 12 bytes do not fit.
    monkeypatch.setattr(surest, "MOST", 3)
    said = [
        ["Bell · >99.9%", "is Cat, meow", "example 0, file0.wav"],
        # Of example 2 by far; two are of bells now, and of example 1 only a dog is said wrongly.
        ["Bell · >99.9%", "is nothing", "example 2, file2.wav"],
        ["Dog <x> · 88.1%", "is Bell, Cat, meow", "example 3, file3.wav"],
    ]
    missed = [
        ["Cat, meow · <0.1%", "is Cat, meow", "example 0, file0.wav"],
        ["Cat, meow · <0.1%", "is Cat, meow, Dog <x>", "example 4, file4.wav"],
        ["Bell · <0.1%", "is Bell, Cat, meow", "example 3, file3.wav"],
    ]
    assert _cards(_Sounds()) == said + missed
    page = parse(surest.render(_context(_Sounds())).body)
    assert [each.text() for each in page.all("h3")] == [
        "Said, and not labelled", "Labelled, and not said",
    ]  # fmt: skip
    assert "5 of 6 examples, drawn at random; 1 unreadable" in page.text()
    assert not page.all("img")
    hint = page.all("div", "card")[0].attributes["title"]
    assert hint == "example 0: /data/own/1.0.0, test 0 (file0.wav)"
    assert len(parse(surest.render(_context(_Pictured())).body).all("img")) == 6


def test_without_mistakes_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "LABELS", np.zeros_like(LABELS))
    assert parse(surest.render(_context(_Sounds())).body).all("h3")[0].text().startswith("Said")
    context = _context(_Sounds())
    found = context.model.collected
    empty = dataclasses.replace(found, values={**found.values, "labels": np.ones((5, 3), bool)})
    context.model._known["collected"] = empty
    assert parse(surest.render(context).body).all("h3")[0].text() == "Labelled, and not said"
    none = {"scores": np.zeros((5, 0)), "labels": np.zeros((5, 0), bool)}
    context.model._known["collected"] = dataclasses.replace(found, values=none)
    with pytest.raises(NotShown, match="there are none among 5 of 6 examples"):
        surest.render(context)


def test_sections_for_one_class_each_are_not_missed() -> None:
    several, one = _context(_Sounds()).run, record([])
    for section in (classes, mistakes, examples):
        assert not section.applies(several) and section.applies(one)
    assert surest.applies(several) and not surest.applies(one)
