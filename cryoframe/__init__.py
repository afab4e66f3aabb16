"""Public names of cryoframe, loaded on first use."""
