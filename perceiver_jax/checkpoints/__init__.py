"""Checkpoints: our own store (Orbax), and readers of released ones."""
