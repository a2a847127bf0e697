"""Where metrics go beside metrics.jsonl: TensorBoard, Weights & Biases, or a place of one's own."""

from perceiver_jax.train.writers.base import Factory, Run, Writer
from perceiver_jax.train.writers.group import Writers, find

__all__ = ["Factory", "Run", "Writer", "Writers", "find"]
