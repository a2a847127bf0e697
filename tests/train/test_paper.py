"""A paper's result beside an experiment: what differs from its recipe."""

import json

import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.errors import ConfigError
from perceiver_jax.train.config import changes_trajectory
from perceiver_jax.train.paper import NOT_THERE, Difference, PaperResult, differences, leaves
from tests.train.fake import experiment

RECIPE = {
    "trainer.batch_size": 1024,
    "trainer.seed": 0,
    "optimizer": "Lamb",
    "schedule": "Steps",
    "schedule.decay_boundaries": (0.5, 0.8),
    "model.shape": (8, 8),
    "model.shape.1": 8,
    "task.top_k": None,
}


def _paper(**changes: object) -> PaperResult:
    given = {"row": "r", "source": "s", "metric": "top_1", "value": 0.5, "recipe": RECIPE}
    return PaperResult(**{**given, **changes})  # type: ignore[arg-type]


def test_differences_from_a_recipe() -> None:
    assert differences(experiment(), RECIPE) == [
        Difference("trainer.batch_size", 1024, 8),
        Difference("schedule", "Steps", "ConstantCosine"),
        Difference("schedule.decay_boundaries", (0.5, 0.8), NOT_THERE),
        Difference("task.top_k", None, 5),
    ]
    assert differences(experiment(trainer__batch_size=1024, task__top_k=None), RECIPE)[0].path == (
        "schedule"
    )
    # Of a config that should not be there the name alone, not all of its fields.
    assert differences(experiment(), {"optimizer": None}) == [Difference("optimizer", None, "Lamb")]


def test_a_result_survives_being_saved() -> None:
    config = experiment(paper=_paper())
    saved = json.loads(json.dumps(config_lib.to_dict(config)))
    assert config_lib.from_dict(saved) == config
    assert config_lib.override(config, {"paper": "none"}) == experiment()


def test_it_changes_nothing_that_is_learned() -> None:
    changed = config_lib.diff(experiment(), experiment(paper=_paper()))
    changed += config_lib.diff(experiment(paper=_paper()), experiment(paper=_paper(value=0.6)))
    assert [path for path, _, _ in changed] == ["paper", "paper.value"]
    assert not any(changes_trajectory(path) for path, _, _ in changed)


@pytest.mark.parametrize("name", ["row", "source", "metric"])
def test_a_result_needs_its_names(name: str) -> None:
    with pytest.raises(ConfigError, match=f"paper.{name} is empty"):
        _paper(**{name: ""})


def test_leaves_know_what_was_left_at_its_default() -> None:
    found = {leaf.path: leaf for leaf in leaves(experiment())}
    assert found["model"].value == "ConvNetConfig" and not found["model"].is_default
    assert found["model.widths"].value == (32, 64) and found["model.widths"].is_default
    assert found["trainer.batch_size"].value == 8 and not found["trainer.batch_size"].is_default
    assert found["trainer.mesh.data"].is_default
    assert "trainer" in found and "trainer.mesh" in found
