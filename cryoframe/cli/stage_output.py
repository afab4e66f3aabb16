"""Where ``cryoframe stage`` puts what a stage made: the product's plain files, and a STAR file of its particles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cryoframe.errors import ConfigError
from cryoframe.formats import products, star_products

STAR = "particles.star"


def place(product: Path, target: Path, *, force: bool, micrograph_pixel_size_A: float | None) -> Path:
    """Copy a product's folder to `target` and write its particles as STAR; nothing is replaced unless `force`.

    Raises
    ------
    ConfigError
        If `target` is there already and not empty.
    """
    if target.exists() and any(target.iterdir()):
        if not force:
            raise ConfigError(f"folder {target} is not empty", remedy="Give another --out, or --force.")
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(product, target, dirs_exist_ok=True)
    _star(target, micrograph_pixel_size_A)
    return target


def _star(folder: Path, micrograph_pixel_size_A: float | None) -> None:
    from cryoframe.data.images import ParticleStack
    from cryoframe.data.tables import ParticleTable

    product: Any = products.load(folder)
    table = product if isinstance(product, ParticleTable) else getattr(product, "particles", None)
    if not isinstance(table, ParticleTable) or not len(table):
        return
    stack = product if isinstance(product, ParticleStack) else None
    images = next((path.name for path in folder.glob("*.mrcs") if "images" in path.name), "") if stack else ""
    star_products.table_to_star(
        folder / STAR,
        table,
        stack.optics if stack else (),
        pixel_size_A=float(getattr(product, "pixel_size_A", 0.0) or _column(table, "pixel_size_A")),
        box_px=int(stack.images.shape[-1] if stack else _column(table, "box_px")),
        micrograph_pixel_size_A=micrograph_pixel_size_A,
        stack_name=images,
    )


def _column(table: Any, name: str) -> float:
    return float(table.floats(name)[0]) if name in table.names else 0.0


def summary(folder: Path) -> dict[str, Any]:
    """Return what a product holds, for people and programs: kind, plain numbers, sizes of arrays and tables."""
    product: Any = products.load(folder)
    facts: dict[str, Any] = {"kind": type(product).__name__}
    if hasattr(product, "n_rows"):
        facts["n_rows"] = product.n_rows
    for name, value in getattr(product, "__dict__", {}).items():
        if isinstance(value, (int, float, str)):
            facts[name] = value
        elif hasattr(value, "shape"):
            facts[f"{name} shape"] = list(value.shape)
        elif hasattr(value, "resolution_A"):
            facts |= _resolutions(name, value)
        elif hasattr(value, "n_rows"):
            facts[f"{name} rows"] = value.n_rows
    return facts


def _resolutions(name: str, table: Any) -> dict[str, float]:
    """Where each of the curves that a table holds falls below 0.143, the one that is freed from its mask last."""
    curves = ("unmasked", "masked", "corrected")
    held = [curve for curve in curves if not all(value != value for value in table.floats(f"fsc_{curve}"))]
    return {f"{name} {curve} 0.143 [Å]": table.resolution_A(curve=f"fsc_{curve}") for curve in held}
