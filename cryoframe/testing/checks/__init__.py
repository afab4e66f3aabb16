"""The checks of the conformance kit, one file a theme; which of them a hook gets is decided in ``conformance``."""
