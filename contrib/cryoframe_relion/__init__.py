"""RELION's programs as stages; RELION itself is installed by whoever uses them."""
