"""The list of product classes by kind: what may travel between stages. No behaviour."""

from __future__ import annotations

from cryoframe.data import images, maps, optics, results, twin
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import SchemaError, nearest

PRODUCTS: tuple[type, ...] = (
    images.Movie,
    images.Micrograph,
    images.CorrectedMicrograph,
    images.CtfFit,
    images.MicrographVerdict,
    ParticleTable,
    images.ParticleStack,
    images.Classes2D,
    results.Classes3D,
    maps.Volume,
    maps.Mask,
    maps.HalfMaps,
    maps.LocalResolution,
    results.Refinement,
    results.SharpenedMap,
    results.Heterogeneity,
    results.AtomicModel,
    optics.GainReference,
    optics.DefectMap,
    twin.Specimen,
    twin.Exposure,
    twin.ExposureTruth,
    twin.SimulatedMovie,
)


def product_class(kind: str) -> type:
    """Return the product class called `kind`."""
    known = {cls.__name__: cls for cls in PRODUCTS}
    if kind not in known:
        raise SchemaError(f"no product is called '{kind}'{nearest(kind, known)}", expected=", ".join(known))
    return known[kind]
