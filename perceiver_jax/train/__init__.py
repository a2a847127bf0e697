"""Training: mesh, state, optimiser, step, loop. `python -m perceiver_jax.train --help`."""
