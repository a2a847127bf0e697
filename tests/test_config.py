"""Typed, locked configs: overrides, round trips, comparison, experiment files, the command line."""

import dataclasses
import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import (
    Adam,
    Constant,
    Cosine,
    ExperimentConfig,
    Lamb,
    Steps,
    TrainerConfig,
)
from perceiver_jax.zoo import get_config


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


@dataclasses.dataclass(frozen=True)
class Small:
    heads: int = 2
    channels: int = 6
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ValueError(f"heads={self.heads} does not divide channels={self.channels}")

    @property
    def width(self) -> int:
        return self.channels // self.heads


@dataclasses.dataclass(frozen=True)
class Other:
    depth: int = 3


@dataclasses.dataclass(frozen=True)
class Needy:
    depth: int


@dataclasses.dataclass(frozen=True)
class Big:
    name: str = "big"
    flag: bool = False
    limit: int | None = 5
    sizes: tuple[int, ...] = (3, 4)
    pair: tuple[int, str] = (1, "a")
    kind: Literal["sum", "mean"] = "sum"
    color: Color = Color.RED
    part: Small | Other | Needy = Small()
    maybe: Small | None = None
    parts: Mapping[str, Small] = dataclasses.field(default_factory=lambda: {"left": Small()})
    stages: tuple[Small, ...] = (Small(), Small())
    number_or_name: int | str = 1


def experiment() -> ExperimentConfig:
    return ExperimentConfig(
        name="test",
        model=DigitsConfig(),  # any config will do where no model is built
        task=ClassificationConfig(num_classes=10),
        data=DigitsConfig(max_shift=1),
        trainer=TrainerConfig(num_steps=7),
        optimizer=Adam(max_norm=None),
        schedule=Steps(decay_boundaries=(0.25, 0.5)),
    )


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("name", "17", "17"),
        ("flag", "true", True),
        ("flag", "no", False),
        ("limit", "none", None),
        ("limit", "11", 11),
        ("limit", "1e3", 1000),
        ("sizes", "7", (7,)),
        ("sizes", "7,8,9", (7, 8, 9)),
        ("sizes", "(7, 8)", (7, 8)),
        ("sizes", "()", ()),
        ("pair", "5,x", (5, "x")),
        ("kind", "mean", "mean"),
        ("color", "BLUE", Color.BLUE),
        ("color", "b", Color.BLUE),
        ("part", "Other", Other()),
        ("part", "other", Other()),
        ("part.rate", "1e-3", Small(rate=1e-3)),
        ("maybe.rate", "2", Small(rate=2.0)),
        ("parts.left.rate", "0.25", {"left": Small(rate=0.25)}),
        ("stages.1.rate", "0.125", (Small(), Small(rate=0.125))),
        ("number_or_name", "7", 7),
        ("number_or_name", "seven", "seven"),
    ],
)
def test_override_from_text(path: str, text: str, expected: Any) -> None:
    changed = config_lib.override(Big(), {path: text})
    assert getattr(changed, path.partition(".")[0]) == expected
    # Nothing else has changed.
    assert {p.partition(".")[0] for p, _, _ in config_lib.diff(Big(), changed)} <= {
        path.partition(".")[0]
    }


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("limit", "2.5", "config.limit expects int or none, and got '2.5'"),
        ("limit", True, "config.limit expects int or none, and got True"),
        ("flag", "maybe", "config.flag expects true or false"),
        ("flag", 1, "config.flag expects true or false, and got 1"),
        ("sizes", "3,x", "config.sizes expects a tuple of int"),
        ("pair", "3", "config.pair expects a tuple (int, str)"),
        ("kind", "max", "config.kind expects one of 'sum', 'mean'"),
        ("color", "green", "config.color expects one of 'RED', 'BLUE'"),
        ("part", "Nothing", "config.part expects Small or Other or Needy"),
        ("part", "Nothing", "'Nothing' (str). By name there are: small, other, needy."),
        ("part", "Othr", "Did you mean other? By name there are: small, other, needy."),
        ("maybe", "smal", "Did you mean small? By name there is: small."),
        ("part", "Needy", "config.part=needy (Needy) needs config.part.depth as well"),
        ("part.depth", "3", "Other has it: set config.part=other beside it."),
        ("part.rate", "fast", "config.part.rate expects float"),
        ("name.first", "x", "config.name is 'big', which has no parts"),
        ("stages.2.rate", "1", "config.stages.2 does not exist"),
        ("a..b", "1", "is no config name"),
    ],
)
def test_wrong_values_name_field_and_type(path: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_lib.override(Big(), {path: value})
    assert expected in str(caught.value)


def test_unknown_key_names_the_nearest_and_all_valid_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        config_lib.override(Big(), {"part.chanels": 8})
    message = str(caught.value)
    assert "config.part.chanels does not exist" in message
    assert "Did you mean config.part.channels?" in message
    assert "config.part (Small) has: heads, channels, rate" in message


def test_a_derived_value_cannot_be_set_and_says_so() -> None:
    with pytest.raises(ConfigError, match="computed from other fields"):
        config_lib.override(Big(), {"part.width": 2})


def test_validation_runs_again_on_all_changes_together() -> None:
    # 6 channels and 4 heads would not do, nor 8 and 3 after that: only the end is judged.
    changed = config_lib.override(Big(), {"part.heads": 4, "part.channels": "8"})
    assert changed.part == Small(heads=4, channels=8)
    with pytest.raises(ConfigError, match=r"config.part \(Small\): heads=4 does not divide"):
        config_lib.override(Big(), {"part.heads": 4})


def test_order_does_not_matter_and_whole_comes_before_part() -> None:
    changes = {"part.depth": "9", "part": "Other", "flag": True}
    for order in (changes, dict(reversed(changes.items()))):
        changed = config_lib.override(Big(), order)
        assert (changed.part, changed.flag) == (Other(depth=9), True)


def test_a_class_takes_the_fields_set_below_it() -> None:
    changed = config_lib.override(Big(), {"part": "needy", "part.depth": "9"})
    assert changed.part == Needy(depth=9)
    # All at once: 5 channels and 2 heads, the default, would not do.
    changed = config_lib.override(Big(), {"part": "Small", "part.channels": 5, "part.heads": 5})
    assert changed.part == Small(heads=5, channels=5)
    changed = config_lib.override(Big(), {"maybe.channels": 5, "maybe.heads": 1})
    assert changed.maybe == Small(heads=1, channels=5)
    with pytest.raises(ConfigError, match=r"config.part \(Small\): heads=4 does not divide"):
        config_lib.override(Big(), {"part": "small", "part.heads": "4"})
    with pytest.raises(ConfigError, match=r"config.part \(Needy\) has: depth"):
        config_lib.override(Big(), {"part": "needy", "part.rate": 1})


def test_class_names_are_short_without_config() -> None:
    changed = config_lib.override(experiment(), {"schedule": "cosine", "optimizer": "lamb"})
    assert (changed.schedule, changed.optimizer) == (Cosine(), Lamb())
    assert config_lib.values.short_name(TrainerConfig) == "trainer"
    changed = config_lib.override(experiment(), {"schedule": "constant_cosine"})
    assert type(changed.schedule).__name__ == "ConstantCosine"


def test_nested_mappings_are_the_same_as_dotted_names() -> None:
    nested = config_lib.override(Big(), {"part": {"rate": 0.1}, "stages": {"0": {"heads": 3}}})
    dotted = config_lib.override(Big(), {"part.rate": 0.1, "stages.0.heads": 3})
    assert nested == dotted != Big()


def test_round_trip_keeps_everything() -> None:
    config = experiment()
    data = config_lib.to_dict(config)
    assert config_lib.from_dict(json.loads(json.dumps(data))) == config
    assert data["optimizer"]["__class__"] == "perceiver_jax.train.config:Adam"


def test_saved_configs_only_hold_our_own_classes() -> None:
    with pytest.raises(ConfigError, match="Only classes of perceiver_jax"):
        config_lib.to_dict(Big())
    for name in ("subprocess:Popen", "perceiver_jaxx.a:B", "perceiver_jax.config.files:Path"):
        with pytest.raises(ConfigError, match="Only classes of|is not a config class"):
            config_lib.from_dict({"__class__": name})
    with pytest.raises(ConfigError, match="does not have"):
        config_lib.from_dict({"__class__": "perceiver_jax.train.config:Nothing"})


def test_saved_configs_are_checked_when_read() -> None:
    data = config_lib.to_dict(experiment())
    data["trainer"]["num_stepz"] = 3
    with pytest.raises(ConfigError, match="has no field 'num_stepz'"):
        config_lib.from_dict(data)
    data = config_lib.to_dict(experiment())
    data["trainer"]["seed"] = "one"
    with pytest.raises(ConfigError, match="config.trainer.seed expects int"):
        config_lib.from_dict(data)
    data = config_lib.to_dict(experiment())
    del data["name"]
    with pytest.raises(ConfigError, match="cannot be rebuilt: .*name"):
        config_lib.from_dict(data)


def test_diff_lists_what_differs() -> None:
    changed = config_lib.override(
        Big(), {"part": "Other", "sizes": "1", "stages.1.rate": 0.1, "parts.left.heads": 3}
    )
    assert config_lib.diff(Big(), changed) == [
        ("sizes", (3, 4), (1,)),
        ("part", Small(), Other()),
        ("parts.left.heads", 2, 3),
        ("stages.1.rate", 0.5, 0.1),
    ]
    assert config_lib.diff(Big(), Big()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainer.num_epochs": 3}, "give one of the two"),
        ({"trainer.num_steps": None}, "give one of the two"),
        ({"trainer.batch_size": 0}, "trainer.batch_size=0 must be at least 1"),
        ({"trainer.seed": -1}, "trainer.seed=-1 must lie in"),
        ({"optimizer.b1": 1.0}, "must lie in"),
        ({"optimizer.max_norm": 0}, "none turns clipping off"),
        ({"task.top_k": 10}, "task.top_k=10 says nothing with 10 classes"),
        ({"task": "digits"}, "config.task expects Task"),
        ({"data.max_shift": 8}, "data.max_shift=8"),
        ({"optimizer": "Sgd"}, "config.optimizer expects Lamb or Adam"),
    ],
)
def test_experiment_rejects_what_makes_no_sense(changes: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_lib.override(experiment(), changes)
    assert expected in str(caught.value)


def test_classes_are_chosen_by_name() -> None:
    changed = config_lib.override(
        experiment(), {"optimizer": "Lamb", "schedule": "Cosine", "schedule.warmup_epochs": "2"}
    )
    assert changed.optimizer == Lamb(eps=1e-6)
    assert changed.schedule == Cosine(warmup_epochs=2.0)
    assert not isinstance(config_lib.override(changed, {"schedule": "Constant"}).schedule, Cosine)
    assert config_lib.override(changed, {"schedule": "Constant"}).schedule == Constant()


_FILE = """
import dataclasses
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import ExperimentConfig, TrainerConfig

def first():
    return ExperimentConfig(
        name="first", model=DigitsConfig(), data=DigitsConfig(),
        task=ClassificationConfig(num_classes=10), trainer=TrainerConfig(num_steps=1),
    )

def wrong():
    return first().nothing

VARIANTS = {
    "first": first,
    "second": lambda: dataclasses.replace(first(), name="second"),
    "wrong": wrong,
    "none": lambda: None,
}
"""


def test_experiment_files(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(_FILE)
    assert config_lib.load_experiment(str(path)).name == "first"
    assert config_lib.load_experiment(f"{path}:second").name == "second"
    for spec, expected in (
        (f"{path}:third", "no variant 'third'. It has: first, second, wrong, none"),
        (f"{path}:secnd", "no variant 'secnd'. Did you mean second? It has: first"),
        (f"{path}:secnd", f"Write --config={path}:second."),
        (f"{path}:wrong", "some.py, line 14: AttributeError"),
        (f"{path}:none", "returned NoneType"),
        (str(tmp_path / "other.py"), f"does not exist (looked in {Path.cwd()})"),
        (str(tmp_path / "other.py"), "some.py"),
        (str(tmp_path), "does not exist"),
    ):
        with pytest.raises(ConfigError) as caught:
            config_lib.load_experiment(spec)
        assert expected in str(caught.value)


def test_a_bare_name_is_looked_for_among_the_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.py").write_text("")
    with pytest.raises(ConfigError, match=r"has: setup\.py"):  # all there is
        config_lib.load_experiment("digit.py")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "digits.py").write_text("")
    for spec in ("digit.py", "./digit.py:permuted", "experiments/digit.py", "no/digit.py"):
        with pytest.raises(ConfigError) as caught:
            config_lib.load_experiment(spec)
        assert "experiments/ has: experiments/digits.py. Write" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x = (", "SyntaxError"), ("import no_such_x", "line 1: ModuleNotFound"), ("", "VARIANTS")],
)
def test_broken_experiment_files(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected):
        config_lib.load_experiment(str(path))


def test_overrides_are_taken_out_of_the_command_line() -> None:
    argv = ["p", "--config=f.py", "--config.a.b=1=2", "--workdir", "w", "--config.c", "-3",
            "-config.d=x", "--config.c=4", "--", "--config.e=5"]  # fmt: skip
    rest, changes = config_lib.split_overrides(argv)
    assert rest == ["p", "--config=f.py", "--workdir", "w", "--", "--config.e=5"]
    assert changes == {"a.b": "1=2", "c": "4", "d": "x"}
    for argv in (["p", "--config.a"], ["p", "--config.a", "--workdir=w"]):
        with pytest.raises(ConfigError, match="--config.a needs a value"):
            config_lib.split_overrides(argv)


@pytest.mark.parametrize("name", perceiver_jax.list_models())
def test_every_model_config_survives_being_saved(name: str) -> None:
    config = get_config(name)
    assert config_lib.from_dict(json.loads(json.dumps(config_lib.to_dict(config)))) == config
