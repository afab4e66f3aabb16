"""Gold-standard refinement; see plugin."""
