"""LAMB and Adam, composed in the order of the released code, and which parameters decay."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from perceiver_jax.errors import ConfigError
from perceiver_jax.train import patterns
from perceiver_jax.train.config import Adam, Lamb
from perceiver_jax.train.schedules import Schedule

Params = Mapping[str, Mapping[str, jax.Array]]  # module -> name -> array


def make_optimizer(
    config: Lamb | Adam,
    schedule: Schedule,
    *,
    frozen: Sequence[str] = (),
    learning_rates: Sequence[str] = (),
) -> optax.GradientTransformation:
    """Returns the chain clip -> Adam -> weight decay -> (LAMB: trust ratio) -> learning rate.

    Written out from four transforms rather than `optax.lamb`, so that the order stands here. The
    trust ratio is taken for every tensor, biases and layer norms included, as released (You et
    al. 2020 leave that open).

    Args:
      config: which optimiser, and its numbers.
      schedule: the learning rate.
      frozen: patterns of the parameters that do not train; see `train/patterns.py`. `init` and
        `update` may be given them, and leave them out: no moments, no part in the global norm,
        and no updates.
      learning_rates: "PATTERN=FACTOR"; the updates of what the pattern names are multiplied, last
        of all. The first pattern that fits decides.

    Returns:
      The transformation. Its `init` raises a ConfigError if a pattern names nothing, or nothing
      is left to train.
    """
    chain = []
    if config.max_norm is not None:
        chain.append(optax.clip_by_global_norm(config.max_norm))
    chain.append(optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps))
    if config.weight_decay:
        chain.append(
            optax.add_decayed_weights(
                config.weight_decay, mask=lambda params: decay_mask(params, config.decay_pos_embs)
            )
        )
    if isinstance(config, Lamb):
        chain.append(optax.scale_by_trust_ratio())
    chain.append(optax.scale_by_learning_rate(schedule))
    if learning_rates:
        chain.append(_scale_by_part(learning_rates))
    return _without(frozen, optax.chain(*chain)) if frozen else optax.chain(*chain)


def _scale_by_part(learning_rates: Sequence[str]) -> optax.GradientTransformation:
    """Multiplies each update by the factor of the first pattern that names its parameter."""

    def init(params: Params) -> optax.EmptyState:
        rate_factors(params, learning_rates, checked=True)
        return optax.EmptyState()

    def update(
        updates: Params, state: optax.EmptyState, params: Params | None = None
    ) -> tuple[Any, optax.EmptyState]:
        factors = rate_factors(updates, learning_rates)
        scaled = {
            module: {
                name: update if factors[module][name] == 1 else update * factors[module][name]
                for name, update in entries.items()
            }
            for module, entries in updates.items()
        }
        return scaled, state

    return optax.GradientTransformation(init, update)


def rate_factors(
    params: Params, learning_rates: Sequence[str], *, checked: bool = False
) -> dict[str, dict[str, float]]:
    """Returns a tree like `params`, of what the learning rate of each is multiplied with.

    Args:
      params: the parameters that train.
      learning_rates: "PATTERN=FACTOR", of which the first that fits decides.
      checked: whether to make sure that each decides something.

    Raises:
      ConfigError: a pattern decides nothing.
    """
    rates = [patterns.parse_rate(text) for text in learning_rates]
    factors: dict[str, dict[str, float]] = {}
    used = set()
    for module, entries in params.items():
        factors[module] = {}
        for name in entries:
            fits = (i for i, rate in enumerate(rates) if patterns.matches(rate[0], module, name))
            first = next(fits, None)
            factors[module][name] = 1.0 if first is None else rates[first][1]
            used.add(first)
    if checked:
        field, owner = "learning_rates", "those that train"
        patterns.check([pattern for pattern, _ in rates], params, field, owner)
        for i, text in enumerate(learning_rates):
            if i not in used:
                raise ConfigError(
                    f"config.learning_rates: {text!r} decides nothing: the patterns before it name "
                    "all that it names, and the first that fits counts. Put it before them."
                )
    return factors


def _without(
    frozen: Sequence[str], inner: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Shows `inner` only what trains."""

    def init(params: Params) -> optax.OptState:
        patterns.check(frozen, params, "frozen")
        trained, _ = patterns.split(params, frozen)
        if not trained:
            raise ConfigError(
                f"config.frozen={','.join(frozen)} names all parameters of the model, so nothing "
                "would train. Leave out a part, such as the decoder."
            )
        return inner.init(trained)

    def update(
        updates: Params, state: optax.OptState, params: Params | None = None
    ) -> tuple[Any, optax.OptState]:
        trained = None if params is None else patterns.split(params, frozen)[0]
        return inner.update(patterns.split(updates, frozen)[0], state, trained)

    return optax.GradientTransformation(init, update)


def is_decayed(module: str, name: str, decay_pos_embs: bool = True) -> bool:
    """Says whether the parameter `name` of `module` decays; by name, as in the released code.

    Biases of linear and convolution layers are called `b`. The bias of the embedding decoder is
    called `bias`, and decays.
    """
    if name == "b" or "layer_norm" in module or "batchnorm" in module:
        return False
    return decay_pos_embs or name != "pos_embs"


def decay_mask(params: Params, decay_pos_embs: bool = True) -> dict[str, dict[str, bool]]:
    """Returns a tree like `params` that is True where a parameter decays."""
    return {
        module: {name: is_decayed(module, name, decay_pos_embs) for name in arrays}
        for module, arrays in params.items()
    }
