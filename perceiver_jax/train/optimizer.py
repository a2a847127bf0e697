"""LAMB and Adam, composed in the order of the released code, and which parameters decay."""

from collections.abc import Mapping

import jax
import optax

from perceiver_jax.train.config import Adam, Lamb
from perceiver_jax.train.schedules import Schedule

Params = Mapping[str, Mapping[str, jax.Array]]  # module -> name -> array


def make_optimizer(config: Lamb | Adam, schedule: Schedule) -> optax.GradientTransformation:
    """Returns the chain clip -> Adam -> weight decay -> (LAMB: trust ratio) -> learning rate.

    Written out from four transforms rather than `optax.lamb`, so that the order stands here. The
    trust ratio is taken for every tensor, biases and layer norms included, as released (You et
    al. 2020 leave that open).
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
    return optax.chain(*chain)


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
