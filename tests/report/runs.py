"""Runs that are small enough to report on in a test, and pages as trees of elements."""

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.report.run_record import Run
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import ConstantCosine, ExperimentConfig, TrainerConfig
from perceiver_jax.train.paper import PaperResult
from perceiver_jax.zoo import (
    ClassificationDecoderConfig,
    EncoderConfig,
    FourierConfig,
    ImageConfig,
    PerceiverConfig,
)

HOSTILE = '<script>alert("1")</script> & more'
PAPER = PaperResult(
    row="Perceiver <FF>",
    source="Perceiver, Table 1",
    metric="top_1",
    value=0.78,
    recipe={"trainer.batch_size": 1024, "optimizer": "Lamb", "schedule": "Steps"},
)
PERCEIVER = PerceiverConfig(
    ImageConfig(
        shape=(8, 8), channels=1, position=FourierConfig(num_bands=2, max_resolution=(8, 8))
    ),
    EncoderConfig(
        num_latents=5,
        latent_channels=14,
        num_blocks=1,
        self_attends_per_block=1,
        cross_attend_heads=2,
        self_attend_heads=2,
        qk_channels=14,
        v_channels=14,
    ),
    ClassificationDecoderConfig(num_classes=10, query_channels=14, num_heads=2),
)


def experiment(model: Any = PERCEIVER, **changes: Any) -> ExperimentConfig:
    """A run of four steps."""
    config = ExperimentConfig(
        name=HOSTILE,
        model=model,
        task=ClassificationConfig(num_classes=10, label_smoothing=0.1, top_k=None),
        data=DigitsConfig(),
        trainer=TrainerConfig(num_steps=4, batch_size=8, log_every=1, eval_every=2, ema_decay=0.5),
        schedule=ConstantCosine(base_lr=0.01),
        paper=PAPER,
    )
    return dataclasses.replace(config, **changes)


CONV = ConvNetConfig(shape=(8, 8), num_classes=10, widths=(3,), hidden=7)


def record(
    entries: list[dict[str, Any]],
    *,
    config: ExperimentConfig | None = None,
    final: dict[str, Any] | None = None,
    starts: list[dict[str, Any]] | None = None,
) -> Run:
    """A run that never ran."""
    return Run(Path("runs/none"), "a run", config or experiment(), entries, final, starts or [])


class Element:
    """An element of a page: its children in order, elements and texts."""

    def __init__(self, name: str, attributes: dict[str, str]):
        self.name, self.attributes = name, attributes
        self.children: list[Element | str] = []

    def all(self, name: str, style_class: str | None = None) -> list["Element"]:
        """Elements below this one by name, and by one of their classes if given."""
        return [
            each
            for each in self._below()
            if each.name == name
            and (style_class is None or style_class in each.attributes.get("class", "").split())
        ]

    def text(self) -> str:
        """All text below, with single spaces; the style sheet is none."""
        parts = [
            each if isinstance(each, str) else each.text()
            for each in self.children
            if isinstance(each, str) or each.name != "style"
        ]
        return re.sub(r"\s+", " ", " ".join(parts)).strip()

    def section(self, title: str) -> "Element":
        """The section with this heading."""
        return next(each for each in self.all("section") if each.all("h2")[0].text() == title)

    def _below(self) -> Iterator["Element"]:
        for each in self.children:
            if isinstance(each, Element):
                yield each
                yield from each._below()


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("root", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in ("meta", "img", "col", "wbr"):
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(page: str) -> Element:
    """Returns a page as a tree; fails where tags are not closed in order."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert len(parser.open) == 1, [each.name for each in parser.open]
    return parser.open[0]
