"""Where an attempt keeps what displays want of its product, figures and pictures, and the event that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryoframe.records.events import Scalar

#: Folder of pictures in an attempt's folder: beside the product, and no part of its digest.
SHOWN = "shown"
#: The entry of the provenance that holds the figures.
FIGURES = "figures"


def payload(job: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """Return what :class:`ProductDescribed` says of a committed product; None if there is nothing to say.

    Parameters
    ----------
    job
        Its provenance, as the store keeps it.
    path
        The attempt's folder, relative to the run folder.
    """
    pictures: dict[str, Scalar] = {
        name.removeprefix(f"{SHOWN}/"): digest for name, digest in job["files"].items() if name.startswith(f"{SHOWN}/")
    }
    figures = dict(job.get(FIGURES) or {})
    if not figures and not pictures:
        return None
    whose = {name: str(job[name]) for name in ("stage_id", "item_id", "key", "kind")}
    return {**whose, "path": f"{path}/{SHOWN}", "figures": figures, "pictures": pictures}
