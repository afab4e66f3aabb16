"""What code a plugin consists of, as a key; found on the disk, nothing is imported."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path

from cryoframe.data.ids import digest_bytes
from cryoframe.errors import PluginError
from cryoframe.kernel.discovery import Offer


def source_digest(offer: Offer) -> str:
    """Digest every Python file of the plugin's top-level package, or its one file, found without importing it."""
    if offer.path:
        return digest_bytes(Path(offer.path).read_bytes())
    return _package_digest(offer.target.partition(":")[0].partition(".")[0])


@cache
def _package_digest(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise PluginError(f"module '{package}' of a plugin is not installed")
    roots = [Path(folder) for folder in spec.submodule_search_locations or ()]
    return _folder_digest(roots) if roots else digest_bytes(Path(str(spec.origin)).read_bytes())


@cache
def numerics_digest() -> str:
    """Digest cryoframe's numerics, which every plugin computes with."""
    return _folder_digest([Path(__file__).parent.parent / "numerics"])


def forget() -> None:
    """Look at the disk anew: what is installed may have changed since."""
    importlib.invalidate_caches()
    _package_digest.cache_clear()
    numerics_digest.cache_clear()


def _folder_digest(roots: list[Path]) -> str:
    files = sorted((path.relative_to(root).as_posix(), path) for root in roots for path in root.rglob("*.py"))
    return digest_bytes(*(part for name, path in files for part in (name.encode(), path.read_bytes())))
