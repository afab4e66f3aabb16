"""Two-dimensional classification; see plugin."""
