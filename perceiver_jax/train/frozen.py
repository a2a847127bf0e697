"""Parts of a model that do not train: what of the step leaves them out.

A frozen parameter is no argument of the gradient, so that nothing of the backward pass is computed
for its sake, accumulated or kept; the optimiser never sees it (`train/optimizer.py`). Running
statistics of a frozen module stay as they are, and in place of the batch's own statistics the
module uses them in training too: otherwise what trains behind it would see other features in
training than in evaluation.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from perceiver_jax.train import patterns
from perceiver_jax.train.state import Model


def keep_frozen(old: patterns.Tree, new: patterns.Tree, frozen: Sequence[str]) -> Any:
    """Returns `new` with what the patterns name as it is in `old`; `new` itself without patterns.

    Args:
      old: module -> name -> array: parameters, an average of them, or running statistics.
      new: the same after a step.
      frozen: see `train/patterns.py`.
    """
    if not frozen:
        return new
    return {
        module: {
            name: old[module][name] if patterns.matches_any(frozen, module, name) else value
            for name, value in entries.items()
        }
        for module, entries in new.items()
    }


def apply_with_frozen(
    model: Model, model_state: patterns.Tree, frozen: Sequence[str]
) -> Callable[..., Any]:
    """Returns `model.apply`, in which frozen batch norms use their running statistics.

    Args:
      model: the model.
      model_state: its state, or anything by the same names.
      frozen: see `train/patterns.py`.
    """
    _, kept = patterns.split(model_state, frozen)
    return functools.partial(model.apply, frozen_state=tuple(kept)) if kept else model.apply
