"""The schedules against the released code's numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.train import config as configs
from perceiver_jax.train.schedules import make_schedule

GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = json.loads((GOLDEN / "optimizer_settings.json").read_text())
Schedule = configs.Constant | configs.Steps | configs.Cosine | configs.ConstantCosine


def schedule_config(released: dict[str, Any]) -> Schedule:
    """Our config for the released code's settings."""
    common = {"base_lr": released["base_lr"], "scale_by_batch": released["scale_by_batch"]}
    kind = released["schedule_type"]
    if kind == "steps":
        ours = {**released["step_decay_kwargs"]}
        ours["decay_boundaries"] = tuple(ours["decay_boundaries"])
        return configs.Steps(**common, **ours)
    if kind == "cosine":
        return configs.Cosine(**common, **released["cosine_decay_kwargs"])
    assert kind == "constant_cosine"
    return configs.ConstantCosine(**common, **released["constant_cosine_decay_kwargs"])


@pytest.mark.core
@pytest.mark.parametrize("case", SETTINGS["lr_schedules"])
def test_schedule_equals_released(case: str) -> None:
    settings = SETTINGS["lr_schedules"][case]
    schedule = make_schedule(
        schedule_config(settings["optimizer"]),
        batch_size=settings["total_batch_size"],
        steps_per_epoch=settings["steps_per_epoch"],
        total_steps=settings["total_steps"],
    )
    with np.load(GOLDEN / "lr_schedules.npz") as golden:
        steps, expected = golden[f"inputs/steps/{case}"], golden[f"outputs/lr/{case}"]
    found = np.array([schedule(step) for step in steps], np.float64)
    # One unit in the last place of the largest value: the end of a cosine is a cancellation.
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=6e-8 * expected.max())


def test_constant() -> None:
    schedule = make_schedule(
        configs.Constant(base_lr=0.5, scale_by_batch=True),
        batch_size=128,
        steps_per_epoch=1,
        total_steps=1,
    )
    assert float(schedule(0)) == float(schedule(99)) == 0.25


def test_constant_cosine_by_hand() -> None:
    schedule = make_schedule(
        configs.ConstantCosine(base_lr=2e-3), batch_size=7, steps_per_epoch=1, total_steps=40
    )
    found = [float(schedule(step)) for step in (0, 19, 20, 30, 40, 50)]
    assert found == pytest.approx([2e-3, 2e-3, 2e-3, 1e-3, 0, 0], abs=1e-9)


def test_a_warm_up_that_never_ends_is_refused():
    config = configs.Cosine(base_lr=1e-3, warmup_epochs=5)
    with pytest.raises(ConfigError, match=r"warmup_epochs=5 is 217.5 steps .* training has 4: "):
        make_schedule(config, batch_size=8, steps_per_epoch=43.5, total_steps=4)
