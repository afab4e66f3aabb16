"""What header, side-car and configuration say of a file, where they do not agree. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from cryoframe.data.figures import Figure, disputes
from cryoframe.kernel.config import ASSUMED, RunConfig

_SECTIONS = {"Movie": "movies", "Micrograph": "micrographs"}


def remarks(
    config: RunConfig, kind: str, path: str, header: Mapping[str, Figure], side_car: Mapping[str, Figure]
) -> list[str]:
    """Return, in words, where the three contradict each other.

    The configuration is used before the side-car's word, and that before the header's.

    Parameters
    ----------
    config
        Of the run.
    kind, path
        Of the file.
    header, side_car
        What each states, by name.
    """
    ours = _configured(config, kind, path)
    header, side_car = _complete(header), _complete(side_car)
    said = disputes(side_car, ours, by="the side-car", instead="the configuration")
    said += disputes(header, ours, by="the file's header", instead="the configuration")
    both = {name: value for name, value in side_car.items() if name not in ours}
    said += disputes(header, both, by="the file's header", instead="the side-car")
    if side_car.get("metadata_missing"):
        said.append("its side-car did not come")
    return said


def _configured(config: RunConfig, kind: str, path: str) -> dict[str, Figure]:
    section = config.section_of(_SECTIONS.get(kind, ""), path)
    names = ("pixel_size_A", "dose_e_A2", "dose_per_frame_e_A2")
    said: dict[str, Figure] = {name: value for name in names if section and (value := getattr(section, name))}
    return said | {name: getattr(config.optics, name) for name in ASSUMED if name not in config.assumed_optics}


def _complete(stated: Mapping[str, Figure]) -> dict[str, Figure]:
    """Add the dose of a frame where dose and number of frames are stated."""
    dose_e_A2, n_frames = stated.get("dose_e_A2"), stated.get("n_frames")
    found = dict(stated)
    if isinstance(dose_e_A2, (int, float)) and isinstance(n_frames, int) and n_frames > 0:
        found.setdefault("dose_per_frame_e_A2", dose_e_A2 / n_frames)
    return found
