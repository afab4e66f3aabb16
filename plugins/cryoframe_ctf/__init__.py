"""Estimation of the contrast transfer function; the fit itself is in ``cryoframe.numerics``."""
