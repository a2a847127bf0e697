"""LAMB and Adam against five steps of the released code, for all of its variants."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from perceiver_jax.train import config as configs
from perceiver_jax.train.optimizer import decay_mask, make_optimizer
from perceiver_jax.train.schedules import make_schedule

GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = json.loads((GOLDEN / "optimizer_settings.json").read_text())["optimizer_steps"]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "optimizer_steps.npz") as arrays:
        return dict(arrays)


def _tree(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, dict[str, np.ndarray]]:
    tree: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        if key.startswith(prefix + "/"):
            module, _, name = key.removeprefix(prefix + "/").rpartition("/")
            tree.setdefault(module, {})[name] = value
    assert tree
    return tree


def _optimizer_config(released: dict[str, Any]) -> configs.Lamb | configs.Adam:
    kind, moments = (
        (configs.Lamb, released["lamb_kwargs"])
        if released["optimizer"] == "lamb"
        else (configs.Adam, released["adam_kwargs"])
    )
    return kind(
        max_norm=released["max_norm"] if released["max_norm"] > 0 else None,
        weight_decay=released["weight_decay"],
        decay_pos_embs=released["decay_pos_embs"],
        **moments,
    )


def _close(found: Any, expected: Any, what: str) -> None:
    for (path, left), (_, right) in zip(
        jax.tree_util.tree_leaves_with_path(found),
        jax.tree_util.tree_leaves_with_path(expected),
        strict=True,
    ):
        scale = np.abs(right).max()
        np.testing.assert_allclose(
            left, right, rtol=2e-6, atol=2e-6 * scale, err_msg=f"{what} {path}"
        )


@pytest.mark.core
@pytest.mark.parametrize("variant", SETTINGS["variants"])
def test_five_steps_equal_released(variant: str, golden: dict[str, np.ndarray]) -> None:
    released = SETTINGS["variants"][variant]
    assert released["schedule_type"] == "constant_cosine"
    schedule = make_schedule(
        configs.ConstantCosine(
            base_lr=released["base_lr"],
            scale_by_batch=released["scale_by_batch"],
            **released["constant_cosine_decay_kwargs"],
        ),
        batch_size=SETTINGS["total_batch_size"],
        steps_per_epoch=SETTINGS["steps_per_epoch"],
        total_steps=SETTINGS["total_steps"],
    )
    optimizer = make_optimizer(_optimizer_config(released), schedule)
    params: Any = _tree(golden, "params")
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for step in range(5):
        updates, state = update(_tree(golden, f"inputs/grads/step{step}"), state, params)
        params = optax.apply_updates(params, updates)
        for name, found in (("updates", updates), ("params", params)):
            expected = _tree(golden, f"outputs/{variant}/{name}/step{step}")
            _close(found, expected, f"{name} at step {step}")
    adam = next(
        each
        for each in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, optax.ScaleByAdamState))
        if isinstance(each, optax.ScaleByAdamState)
    )
    _close(adam.mu, _tree(golden, f"outputs/{variant}/mu"), "mu")
    _close(adam.nu, _tree(golden, f"outputs/{variant}/nu"), "nu")
    assert int(adam.count) == int(golden[f"outputs/{variant}/count"]) == 5
    rates = [float(schedule(step)) for step in range(5)]
    np.testing.assert_allclose(rates, golden[f"outputs/{variant}/lr"], rtol=2e-7)


@pytest.mark.core
@pytest.mark.parametrize(("name", "decay_pos_embs"), [("default", True), ("no_pos_embs", False)])
def test_decay_mask_equals_released(
    name: str, decay_pos_embs: bool, golden: dict[str, np.ndarray]
) -> None:
    mask = decay_mask(_tree(golden, "params"), decay_pos_embs)
    found = {
        f"{module}/{each}": not decayed
        for module, names in mask.items()
        for each, decayed in names.items()
    }
    assert found == SETTINGS["weight_decay_excluded"][name]
    assert sum(found.values()) not in (0, len(found))
