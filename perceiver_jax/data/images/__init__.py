"""Still images from disk: reading, augmenting and resizing, with NumPy and Pillow; no JAX."""
