"""The axis glossary and the array aliases of the whole package.

Every shape in a signature, a docstring or an einsum uses these letters:

  b  batch: examples
  m  inputs: elements of the byte array that the encoder attends to (M in the papers)
  n  latents: rows of the latent array (N in the papers)
  o  outputs: decoder queries (O in Perceiver IO)
  q  queries of one attention, whatever they are (latents, outputs)
  k  keys of one attention, whatever they are (inputs, latents)
  c  channels of one element
  h  attention heads
  d  channels of one head
  t, y, x  time, height and width of images and videos
"""

from collections.abc import Mapping

import jax

# {module name: {parameter name: array}}, with the names of the released checkpoints.
Params = Mapping[str, Mapping[str, jax.Array]]
# The same for what is not trained (batch-norm averages); empty for most models.
State = Mapping[str, Mapping[str, jax.Array]]
# Captured intermediates: {"<module name>#<call index>": array}.
Captured = dict[str, jax.Array]
# What a model takes and returns: one array, or one per modality.
Inputs = jax.Array | Mapping[str, jax.Array]
Outputs = jax.Array | dict[str, jax.Array]
