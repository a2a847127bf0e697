"""Clouds of points: from meshes to what a model reads; no JAX."""
