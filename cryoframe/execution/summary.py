"""Leaves what displays want beside a product, where it was made: figures, small pictures. No result needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cryoframe.data.figures import Figure, figures_of
from cryoframe.data.images import Micrograph
from cryoframe.formats.thumbnails import thumbnails
from cryoframe.records.summaries import SHOWN

T = TypeVar("T")


def leave(product: object, inputs: Mapping[str, Any], folder: Path) -> dict[str, Figure]:
    """Write the pictures of a product into an attempt's folder and return its figures.

    What cannot be drawn or counted is left out; the attempt's log says so.
    """
    micrograph = next((value for value in inputs.values() if isinstance(value, Micrograph)), None)
    figures = _tried(lambda: figures_of(product))
    pictures = _tried(lambda: thumbnails(product, micrograph))
    for name, content in pictures.items():
        (folder / SHOWN).mkdir(exist_ok=True)
        (folder / SHOWN / f"{name}.png").write_bytes(content)
    return figures


def _tried(make: Callable[[], dict[str, T]]) -> dict[str, T]:
    try:
        return make()
    except Exception as error:  # nobody's result may be lost for a picture of it
        sys.stdout.write(f"cannot be shown: {type(error).__name__}: {error}\n")
        return {}
