"""Leaves what displays want beside a product, where it was made: figures, small pictures. No result needs them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryoframe.data.figures import Figure, figures_of
from cryoframe.data.images import Micrograph
from cryoframe.formats.thumbnails import thumbnails
from cryoframe.records.summaries import SHOWN


def leave(product: object, inputs: Mapping[str, Any], folder: Path) -> dict[str, Figure]:
    """Write the pictures of a product into an attempt's folder and return its figures.

    What cannot be drawn or counted is left out; the attempt's log says so.
    """
    try:
        micrograph = next((value for value in inputs.values() if isinstance(value, Micrograph)), None)
        figures, pictures = figures_of(product), thumbnails(product, micrograph)
    except Exception as error:  # nobody's result may be lost for a picture of it
        sys.stdout.write(f"no figures and pictures: {type(error).__name__}: {error}\n")
        return {}
    for name, content in pictures.items():
        (folder / SHOWN).mkdir(exist_ok=True)
        (folder / SHOWN / f"{name}.png").write_bytes(content)
    return figures
