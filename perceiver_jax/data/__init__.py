"""Data sets, one a file, and the loader that they share. Examples are dicts of NumPy arrays."""
