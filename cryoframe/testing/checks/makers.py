"""Checks of services that make files or specimens: what was asked for, all of it, nothing beside it, or a refusal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.twin import Recording, ReferenceImage, Specimen, SpecimenRequest
from cryoframe.errors import CryoframeError, FileError
from cryoframe.testing import specimens
from cryoframe.testing.checks.promise import Check, NotAsked, fail
from cryoframe.testing.sessions import Session

MAKERS = ("write_movie", "write_reference", "open_specimen")
_SUFFIX = {"tiff": ".tiff", "mrc": ".mrc", "eer": ".eer"}
_REFERENCES = ("gain.mrc", "gain.tiff", "gain.gain")
_PIXEL_A = 2.0
#: Share of a model's mass that a reader may see otherwise (hydrogens added or not, solvent kept or not).
_MASS_TOLERANCE = 0.15


def other_kinds_declined(session: Session) -> None:
    """A kind or name of nobody's is declined with None, and nothing is written."""
    folder = session.fresh_folder("declined")
    if session.hook == "write_movie":
        recording = dataclasses.replace(_recording("tiff"), kind="hologram")
        answer = _call(session, path=folder / "movie.holo", recording=recording)
    else:
        answer = _call(session, image=ReferenceImage(folder / "gain.holo", _gain()))
    if answer is not None or list(folder.iterdir()):
        fail(f"it answers {answer!r} and leaves {len(list(folder.iterdir()))} files", remedy="Return None for others'.")


def movie_written_as_given(session: Session) -> None:
    """Every frame is read back as it was given, row 0 first, with the pixel size, by an installed reader."""
    for kind in _kinds(session):
        path = _written(session, kind)
        source: Any = session.plugins.ask("open_movie", {"path": path})
        if source is None:
            fail(f"no installed reader takes its {kind} file")
        total = sum(source.read_frame(index).astype(np.float64) for index in range(source.n_frames))
        wanted = specimens.card_frames().astype(np.float64).sum(axis=0)
        if kind != "eer" and source.n_frames != specimens.N_FRAMES:
            fail(f"{path.name}: {source.n_frames} frames", expected=str(specimens.N_FRAMES))
        if np.shape(total) != wanted.shape or not np.array_equal(total, wanted):
            fail(f"{path.name}: the sum of its frames is not that of the frames given", expected="row 0 first")
        pixel_A = source.pixel_size_A
        if pixel_A is not None and not np.isclose(pixel_A, specimens.PIXEL_A, rtol=1e-3):
            fail(f"{path.name}: a pixel of {pixel_A} Å", expected=f"{specimens.PIXEL_A} Å")


def only_that_file_written(session: Session) -> None:
    """It writes the file it was asked for and nothing beside it."""
    for kind in _kinds(session):
        path = _written(session, kind)
        beside = sorted(other.name for other in path.parent.iterdir() if other != path)
        if beside:
            fail(f"beside {path.name} it left {', '.join(beside)}")


def too_few_frames_refused(session: Session) -> None:
    """Fewer frames than announced are refused, not written as a shorter movie."""
    for kind in _kinds(session):
        recording = dataclasses.replace(_recording(kind), n_frames=specimens.N_FRAMES + 1)
        path = session.fresh_folder("short") / f"movie{_SUFFIX[kind]}"
        try:
            _call(session, path=path, recording=recording)
        except CryoframeError:
            continue
        fail(f"{kind}: {specimens.N_FRAMES} frames passed for {recording.n_frames}", remedy="Count them, and refuse.")


def overflow_refused(session: Session) -> None:
    """Counts that the file's type cannot hold are refused, not wrapped round."""
    for kind in [kind for kind in _kinds(session) if kind != "eer"]:
        bright = specimens.card_frames().astype(np.uint16) + np.uint16(300)
        recording = dataclasses.replace(_recording(kind), dtype="uint8", frames=iter(bright))
        path = session.fresh_folder("bright") / f"movie{_SUFFIX[kind]}"
        try:
            _call(session, path=path, recording=recording)
        except CryoframeError:
            continue
        fail(f"{kind}: counts above 255 were written as uint8", remedy="Check each frame's largest count.")


def reference_written_as_given(session: Session) -> None:
    """A gain is read back as it was given by an installed reader."""
    taken = 0
    for name in _REFERENCES:
        path = session.fresh_folder("reference") / name
        if _call(session, image=ReferenceImage(path, _gain(), specimens.PIXEL_A)) is None:
            continue
        taken += 1
        found: Any = session.plugins.ask("open_gain", {"path": path})
        if found is None:
            fail(f"no installed reader takes its {name}")
        if found.data.shape != _gain().shape or not np.allclose(found.data, _gain(), rtol=1e-5):
            fail(f"{name}: it is not read back as it was given", expected="row 0 first, the same values")
    if not taken:
        raise NotAsked(f"it writes none of {', '.join(_REFERENCES)}")


def foreign_models_declined(session: Session) -> None:
    """A file of nobody's kind is declined with None, or refused as a file."""
    for name in specimens.NOBODYS:
        path = specimens.write(name, session.fresh_folder("specimen"))
        try:
            answer = _call(session, path=path, request=SpecimenRequest(pixel_size_A=_PIXEL_A))
        except FileError:
            continue
        if answer is not None:
            fail(f"{name}: it takes it for its own", remedy="Judge by the content; return None.")


def specimen_as_asked(session: Session) -> None:
    """A specimen has the pixel asked for, is finite, bright in its middle, dark against vacuum nowhere it is not."""
    for found in _specimens(session):
        volume = found.volume
        if not np.isclose(volume.pixel_size_A, _PIXEL_A):
            fail(f"a pixel of {volume.pixel_size_A} Å", expected=f"{_PIXEL_A} Å")
        if volume.data.dtype != np.float32 or volume.data.ndim != 3 or len(set(volume.data.shape)) != 1:
            fail(f"a volume of shape {volume.data.shape}, {volume.data.dtype}", expected="(n, n, n) float32")
        if not np.all(np.isfinite(volume.data)):
            fail("its potential is not finite")
        n = volume.data.shape[0]
        z, y, x = np.indices(volume.data.shape) - n // 2
        near = x * x + y * y + z * z <= (0.5 * found.radius_A / _PIXEL_A) ** 2
        if not float(volume.data[near].mean()) > float(np.abs(volume.data[:2]).mean()):
            fail("its middle is not brighter than the border of its box", remedy="Centre it; protein is positive.")
        if not (found.mass_kDa > 0 and found.radius_A > 0 and found.concentration_mg_mL >= 0):
            fail(f"mass {found.mass_kDa} kDa, radius {found.radius_A} Å", expected="above 0")


def mass_from_atoms(session: Session) -> None:
    """The mass of a model is that of its atoms."""
    for found in _specimens(session, "model"):
        if not np.isclose(found.mass_kDa, _BALL_kDa, rtol=_MASS_TOLERANCE):
            fail(f"a mass of {found.mass_kDa:.2f} kDa", expected=f"{_BALL_kDa:.2f} kDa within {_MASS_TOLERANCE:.0%}")


def _call(session: Session, **arguments: object) -> Any:
    return session.plugins.call(session.plugin, session.hook, arguments)


def _kinds(session: Session) -> list[str]:
    """Kinds of movie that the writer writes."""
    found = []
    for kind, suffix in _SUFFIX.items():
        path = session.fresh_folder("kind") / f"movie{suffix}"
        if _call(session, path=path, recording=_recording(kind)):
            found.append(kind)
    if not found:
        raise NotAsked(f"it writes none of {', '.join(_SUFFIX)}")
    return found


def _written(session: Session, kind: str) -> Path:
    path = session.fresh_folder("movie") / f"movie{_SUFFIX[kind]}"
    _call(session, path=path, recording=_recording(kind))
    return path


def _recording(kind: str) -> Recording:
    frames = specimens.card_frames()
    common = Recording(kind, len(frames), specimens.SHAPE_PX, "uint16", specimens.PIXEL_A, 1.0)
    if kind == "eer":
        return dataclasses.replace(common, dtype="uint8", n_frames=_n_internal(), events=_events())
    return dataclasses.replace(common, frames=iter(frames))


def _events() -> Iterator[NDArray[np.int32]]:
    """Events whose sum is that of the card's frames: a pixel's i-th count falls into internal frame i."""
    counts = specimens.card_frames().sum(axis=0)
    for index in range(_n_internal()):
        rows, columns = np.nonzero(counts > index)
        yield np.stack([4 * rows + index % 4, 4 * columns + (index // 4) % 4], axis=1).astype(np.int32)


def _n_internal() -> int:
    """Internal frames that hold all counts; a multiple of 40, so that no reader's grouping leaves any over."""
    return 40 * -(-int(specimens.card_frames().sum(axis=0).max()) // 40)


def _gain() -> NDArray[np.float32]:
    card = specimens.card_frames(1)[0].astype(np.float32)
    return np.asarray(card / card.mean(), dtype=np.float32)


#: A ball of carbon atoms on a grid of 3 Å, as residues of one atom.
_BALL_RADIUS_A = 12.0


def _ball() -> NDArray[np.float64]:
    axis = np.arange(-4, 5) * 3.0
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(grid[np.linalg.norm(grid, axis=1) <= _BALL_RADIUS_A])


_BALL_kDa = 12.011e-3 * len(_ball())


def _ball_pdb(path: Path) -> None:
    lines = [
        f"ATOM  {serial:5d}  CA  GLY A{serial:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           C  "
        for serial, (x, y, z) in enumerate(_ball() + 40.0, start=1)
    ]
    path.write_text("\n".join([*lines, "TER", "END", ""]), encoding="ascii")


def _ball_map(path: Path) -> None:
    n, pixel_A = 32, 2.0
    z, y, x = (np.indices((n, n, n)) - n // 2) * pixel_A
    ball = (np.sqrt(x * x + y * y + z * z) <= _BALL_RADIUS_A).astype(np.float32)
    header = specimens.mrc_header(ball.shape, mode=2, pixel_size_A=pixel_A, is_volume=True)
    path.write_bytes(header + ball.astype("<f4").tobytes())


def _specimens(session: Session, kind: str = "") -> list[Specimen]:
    """Specimens the reader makes of the kit's model and map."""
    found: list[Specimen] = []
    for name, write in (("model", _ball_pdb), ("map", _ball_map)):
        if kind and kind != name:
            continue
        path = session.fresh_folder("specimen") / ("ball.pdb" if name == "model" else "ball.mrc")
        write(path)
        try:
            answer = _call(session, path=path, request=SpecimenRequest(pixel_size_A=_PIXEL_A))
        except FileError:
            continue
        found += answer or ()
    if not found:
        raise NotAsked("it takes neither the kit's model nor its map")
    return found


_CHECKS = (
    Check(other_kinds_declined, "load", hooks=("write_movie", "write_reference")),
    Check(movie_written_as_given, "load", hooks=("write_movie",)),
    Check(only_that_file_written, "load", hooks=("write_movie",)),
    Check(too_few_frames_refused, "load", hooks=("write_movie",)),
    Check(overflow_refused, "load", hooks=("write_movie",)),
    Check(reference_written_as_given, "load", hooks=("write_reference",)),
    Check(foreign_models_declined, "load", hooks=("open_specimen",)),
    Check(specimen_as_asked, "load", hooks=("open_specimen",)),
    Check(mass_from_atoms, "load", hooks=("open_specimen",)),
)


def checks_of(hook: str) -> tuple[Check, ...]:
    """Return the checks of a service that makes something."""
    return tuple(check for check in _CHECKS if hook in check.hooks)
