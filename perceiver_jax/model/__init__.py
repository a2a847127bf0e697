"""The model library: pure Haiku modules for both papers. Haiku lives here and in `zoo` only."""
