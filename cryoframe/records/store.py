"""The content-addressed store: ``stages/<stage>/<key>/``, plain files, never changed once there. Decides nothing.

An attempt works in a private scratch folder with its product in ``product/``. :meth:`Store.commit` makes every file
durable, then gives the folder its final name: a reader finds all of it or nothing.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.data.ids import digest_facts, digest_file
from cryoframe.errors import EnvironmentFault, InvalidInput, StoreError
from cryoframe.formats import products
from cryoframe.records.crash import crash_point
from cryoframe.records.events import ProductDamaged
from cryoframe.records.folders import durable_folder, sync

if TYPE_CHECKING:
    from cryoframe.records.bus import Bus

PRODUCT, JOB = "product", "job.json"
_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class Committed:
    """A product in its final place; `path` is the attempt's folder, the product is in ``path / "product"``."""

    key: str
    kind: str
    digest: str
    path: Path
    #: The product was there already, by an earlier or faster attempt, and that one is used.
    reused: bool = False


@dataclass(frozen=True)
class Problem:
    """Something in the store that is not as it was committed."""

    path: Path
    what: str


class Store:
    """The products of one run folder.

    Parameters
    ----------
    folder
        The run folder.
    bus
        Told of damage; None tells nobody.
    """

    def __init__(self, folder: Path, bus: Bus | None = None) -> None:
        self.folder = folder
        self._bus = bus
        with _disk(folder):
            for name in ("stages", "scratch"):
                durable_folder(folder / name)

    def path(self, stage_id: str, key: str) -> Path:
        """Return where the attempt with that key has, or would have, its final place."""
        for part in (stage_id, key):
            if not part or part.startswith(".") or "/" in part or "\0" in part:
                raise InvalidInput(f"'{part}' cannot name a folder of the store", expected="a plain name")
        return self.folder / "stages" / stage_id / key

    def has(self, stage_id: str, key: str) -> bool:
        """Whether the product is there."""
        return (self.path(stage_id, key) / JOB).is_file()

    def load(self, stage_id: str, key: str) -> object:
        """Return the product, its arrays memory-mapped and read-only."""
        if not self.has(stage_id, key):
            raise StoreError(f"the store has no product {stage_id}/{key}", expected="a committed product")
        return products.load(self.path(stage_id, key) / PRODUCT)

    def job(self, stage_id: str, key: str) -> dict[str, Any]:
        """Return the provenance of a product: how, from what and by what it was made."""
        return _read_job(self.path(stage_id, key))

    def scratch(self, stage_id: str, key: str, attempt: int) -> Path:
        """Make an empty folder that belongs to one attempt alone."""
        self.path(stage_id, key)
        with _disk(self.folder):
            made = tempfile.mkdtemp(prefix=f"{stage_id}.{key[:12]}.{attempt}.", dir=self.folder / "scratch")
        Path(made).chmod(0o755)
        crash_point("store.scratch_made")
        return Path(made)

    def commit(self, scratch: Path, stage_id: str, item_id: str, key: str, *, job: Mapping[str, Any]) -> Committed:
        """Give the product in ``scratch/product`` its final place, durably.

        Parameters
        ----------
        scratch
            The attempt's folder, from :meth:`scratch`; it is gone afterwards.
        stage_id, item_id, key
            Whose product it is.
        job
            Provenance to be kept beside the product.

        Returns
        -------
        What is in the store now. If another attempt was faster, that is its product, and this one is dropped.

        Raises
        ------
        EnvironmentFault
            If the disk refuses; the scratch folder is left as it was, the store too.
        """
        target = self.path(stage_id, key)
        crash_point("store.enter")
        with _disk(self.folder):
            files = _digests(scratch)
            kind, digest = products.kind_of(scratch / PRODUCT), product_digest(files)
            crash_point("store.digested")
            facts = {"stage_id": stage_id, "item_id": item_id, "key": key, "kind": kind, "digest": digest}
            _write_job(scratch, {**job, **facts, "files": files})
            crash_point("store.job_written")
            _sync_tree(scratch)
            durable_folder(target.parent)
            crash_point("store.parent_made")
            return self._place(scratch, target, Committed(key, kind, digest, target))

    def discard(self, scratch: Path) -> None:
        """Remove an attempt's folder."""
        shutil.rmtree(scratch, ignore_errors=True)

    def sweep(self, *, spare: Collection[str] = ()) -> int:
        """Remove the scratch folders that dead attempts left behind, but those to `spare`; returns how many."""
        orphans = [path for path in (self.folder / "scratch").iterdir() if path.name not in spare]
        for orphan in orphans:
            crash_point("store.before_sweep")
            self.discard(orphan)
        return len(orphans)

    def verify(self, stage_id: str = "") -> list[Problem]:
        """Compare every file of the store with the digest it was committed with."""
        problems = []
        for folder in sorted((self.folder / "stages").glob(f"{stage_id or '*'}/*")):
            found = [Problem(folder / name, what) for name, what in _compare(folder)]
            problems += found
            if found and self._bus is not None:
                self._bus.publish(ProductDamaged, key=folder.name, path=str(folder), problem=found[0].what)
        return problems

    def set_aside(self, folder: Path) -> Path:
        """Move a damaged attempt out of the way (to ``damaged/``), so that it is made anew; returns its new place."""
        with _disk(self.folder):
            (self.folder / "damaged").mkdir(exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix=f"{folder.parent.name}.{folder.name}.", dir=self.folder / "damaged"))
            folder.rename(place / folder.name)
            sync(folder.parent)
        crash_point("store.set_aside")
        return place

    def _place(self, scratch: Path, target: Path, mine: Committed) -> Committed:
        crash_point("store.before_rename")
        try:
            scratch.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return self._lose(scratch, target, mine)
        crash_point("store.renamed")
        sync(target.parent)
        crash_point("store.parent_synced")
        return mine

    def _lose(self, scratch: Path, target: Path, mine: Committed) -> Committed:
        crash_point("store.lost_race")
        if damage := _compare(target):
            if self._bus is not None:
                self._bus.publish(ProductDamaged, key=mine.key, path=str(target), problem=damage[0][1])
            self.set_aside(target)
            return self._place(scratch, target, mine)
        sync(target.parent)
        self.discard(scratch)
        job = _read_job(target)
        return Committed(mine.key, str(job["kind"]), str(job["digest"]), target, reused=True)


def product_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a product from the digests of its files by relative name."""
    return digest_facts({name: digest for name, digest in files.items() if name.startswith(f"{PRODUCT}/")})


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / JOB)
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}


def _write_job(folder: Path, content: dict[str, Any]) -> None:
    seal = digest_facts(json.loads(json.dumps(content, default=str)))
    text = json.dumps({**content, "seal": seal}, indent=1, sort_keys=True, default=str)
    (folder / JOB).write_text(text + "\n", encoding="utf-8")


def _read_job(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / JOB).read_text(encoding="utf-8"))
        seal = content.pop("seal")
        if seal == digest_facts(content):
            return dict(content)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise StoreError(f"{folder / JOB} cannot be read ({error})", remedy="Run `cryoframe verify`.") from error
    raise StoreError(f"{folder / JOB} was changed after the commit", remedy="Run `cryoframe verify`.")


def _compare(folder: Path) -> list[tuple[str, str]]:
    try:
        expected = _read_job(folder)["files"]
    except StoreError as error:
        return [(JOB, str(error))]
    found = _digests(folder)
    words = {(True, False): "is missing", (False, True): "was added", (True, True): "was changed"}
    return [
        (name, f"{name} {words[name in expected, name in found]}")
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def _sync_tree(folder: Path) -> None:
    folders = [folder]
    for path in folder.rglob("*"):
        if path.is_dir():
            folders.append(path)
        elif path.is_file():
            sync(path)
    crash_point("store.files_synced")
    for path in reversed(folders):
        sync(path)
    crash_point("store.scratch_synced")


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_REFUSES:
            raise
        raise EnvironmentFault(
            f"the disk of {folder} refuses ({error.strerror})", remedy="Make room or mend the disk; then it goes on."
        ) from error
