"""The simulated microscope and camera as a stage; its arithmetic is in ``cryoframe.numerics``."""
