"""How files become items: identity by content, header read in a process apart, maps and stacks put into the store."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryoframe.data import ids
from cryoframe.data.images import ParticleStack
from cryoframe.data.maps import Volume
from cryoframe.errors import ConfigError, EnvironmentFault, FileError, Incomplete, Refused
from cryoframe.execution import contradictions, worker_results
from cryoframe.execution.attempts import bounded
from cryoframe.execution.executor import Executor, InputRef, Job, RawFile
from cryoframe.execution.ledger import IMPORTED
from cryoframe.formats import products, star_columns, star_products
from cryoframe.kernel.config import InputConfig, RunConfig
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.crash import crash_point
from cryoframe.records.events import Event, Scalar
from cryoframe.records.session_events import FileUnchanged
from cryoframe.records.state import FileRow, Item, State
from cryoframe.records.store import PRODUCT, Store

PROBE_S = 30.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """What reading a file whole has shown: its identity, the digest of its bytes, what its header says."""

    size: int
    mtime_ns: int
    digest: str
    header: Mapping[str, Scalar]
    #: As it was before the file was read; 0 = not known.
    ctime_ns: int = 0


@dataclasses.dataclass(frozen=True)
class Arrival:
    """A file that was read, as it is to be admitted.

    Parameters
    ----------
    name
        Its path below `root`.
    kind
        ``Movie`` or ``Micrograph``.
    facts
        What a side-car says.
    reading
        What was read.
    """

    name: str
    path: Path
    kind: str
    facts: Mapping[str, Scalar]
    root: Path
    reading: Reading


class Admission:
    """Takes files in; what it publishes is all that happens."""

    def __init__(
        self,
        state: State,
        store: Store,
        bus: Bus,
        *,
        reader: Executor,
        plugins: Plugins,
        config: RunConfig | None = None,
    ) -> None:
        self._state, self._store, self._bus, self._reader, self._plugins = state, store, bus, reader, plugins
        self._config = config

    def file(self, path: Path, kind: str, facts: Mapping[str, Scalar], root: Path) -> Item:
        """Admit a movie or micrograph; returns the item it is, which may be known under another name.

        Raises
        ------
        FileError
            If it cannot be used; an event says so as well.
        """
        place = {"path": path.relative_to(root).as_posix(), "root": str(root)}
        try:
            stat = path.stat()
            known = self._unchanged(self._state.file(str(root), place["path"]), stat, path)
            if known is not None:
                return known
            digest = ids.digest_file(path)
            header = self._probe(path, kind)
            after = path.stat()
            if (after.st_size, after.st_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
                raise Incomplete("the file changed while it was read", path=path)
        except OSError as error:
            raise EnvironmentFault(f"{path} cannot be read ({error.strerror})") from error
        except FileError as error:
            self._bus.publish(events.FileRejected, **place, reason=str(error), kind=type(error).__name__)
            raise
        reading = Reading(stat.st_size, stat.st_mtime_ns, digest, header, stat.st_ctime_ns)
        return self.read([Arrival(place["path"], path, kind, facts, root, reading)])[0]

    def read(
        self,
        arrivals: Sequence[Arrival],
        *,
        exists: Callable[[Path], bool] = Path.exists,
        admitted: Callable[[Item], object] = lambda _: None,
    ) -> list[Item]:
        """Admit files that were read elsewhere, all of them in one transaction; this touches the files no more.

        Parameters
        ----------
        arrivals
            The files. Where two have the same content or name, the first is admitted before the other is judged.
        exists
            Tells whether a file is there; asked of files of the same content.
        admitted
            Called with each item as soon as the journal has it.
        """
        crash_point("admit.digested")
        items: list[Item] = []
        n_told = 0
        made: list[Event] = []
        group: set[str] = set()
        for arrival in arrivals:
            digest, name = f"digest {arrival.reading.digest}", _printable(arrival.name)
            if not group.isdisjoint((digest, name)):
                self._bus.publish_many(made)
                crash_point("admit.group")
                for item in items[n_told:]:
                    admitted(item)
                made, group, n_told = [], set(), len(items)
            items.append(self._judged(arrival, name, made, exists))
            crash_point("admit.judged")
            group |= {digest, name, items[-1].item_id}
        self._bus.publish_many(made)
        crash_point("admit.settled")
        for item in items[n_told:]:
            admitted(item)
        return items

    def _judged(self, arrival: Arrival, name: str, made: list[Event], exists: Callable[[Path], bool]) -> Item:
        """Return the item that a file is, and add to `made` what is to be said of it."""
        reading, kind, path = arrival.reading, arrival.kind, str(arrival.path)
        place = {"path": arrival.name, "root": str(arrival.root)}
        size, mtime_ns, digest = reading.size, reading.mtime_ns, reading.digest
        its = {"size": size, "mtime_ns": mtime_ns, "ctime_ns": reading.ctime_ns}
        made.append(self._bus.make(events.FileSettled, "", **place, **its, digest=digest))
        identity = {"file_bytes": reading.size, "mtime_ns": reading.mtime_ns}
        found = Item("", kind, reading.digest, path, dict(reading.header) | dict(arrival.facts) | identity)
        item = self._item(name, found, place, made, exists)
        if self._config is not None and isinstance(made[-1], events.ItemAdmitted):
            facts = {"n_frames": reading.header.get("n_frames", 0), **arrival.facts}
            for remark in contradictions.remarks(self._config, kind, path, reading.header, facts):
                made.append(self._bus.make(events.ItemRemarked, item_id=item.item_id, remark=remark))
        return item

    def _unchanged(self, row: FileRow | None, stat: os.stat_result, path: Path) -> Item | None:
        """Return the item of a file that is as it was when it was admitted; one whose ctime alone changed is read."""
        if row is None or row.status not in ("settled", "duplicate") or not row.digest:
            return None
        item = self._state.item_by_digest(row.digest)
        if (row.size, row.mtime_ns) != (stat.st_size, stat.st_mtime_ns) or item is None or not Path(item.path).exists():
            return None
        trusted = self._config is None or self._config.watch.recheck == "ctime"
        if trusted and row.ctime_ns not in (0, stat.st_ctime_ns):
            if ids.digest_file(path) != row.digest:
                return None
            said = {"path": row.path, "root": row.root, "digest": row.digest}
            self._bus.publish(FileUnchanged, **said, ctime_ns=stat.st_ctime_ns)
        return item

    def _item(
        self, name: str, item: Item, place: dict[str, str], made: list[Event], exists: Callable[[Path], bool]
    ) -> Item:
        """Decide whether the content is new, known under this name, or known under another."""
        twin, namesake = self._state.item_by_digest(item.digest), self._state.item(name)
        if namesake is not None and namesake.digest == item.digest:
            twin = namesake
        if twin is not None:
            if twin.item_id != name and twin.path != item.path and exists(Path(twin.path)):
                made.append(self._bus.make(events.FileDuplicate, **place, item_id=twin.item_id))
                return twin
            if twin.path == item.path and twin.facts == item.facts:
                return twin
            item = dataclasses.replace(item, item_id=twin.item_id)  # renamed or moved: the same item from elsewhere
        elif namesake is not None and namesake.path != item.path and exists(Path(namesake.path)):
            item = dataclasses.replace(item, item_id=self._free(name, item, Path(place["root"]), exists))
        else:
            item = dataclasses.replace(item, item_id=name)
            if namesake is not None:
                said = {"old_digest": namesake.digest, "digest": item.digest}
                made.append(self._bus.make(events.FileSuperseded, **place, **said))
        made.append(self._bus.make(events.ItemAdmitted, **_payload(item)))
        return item

    def _free(self, name: str, item: Item, root: Path, exists: Callable[[Path], bool]) -> str:
        """Return a name that no other file has: with as many folders above the root as that takes."""
        for folder in (root, *root.parents):
            name = f"{folder.name}/{name}"
            other = self._state.item(name)
            if other is None or other.path == item.path or not exists(Path(other.path)):
                return name
        return f"{name} {item.digest[:8]}"  # the root of the file system has no name to add

    def _probe(self, path: Path, kind: str) -> dict[str, Scalar]:
        """Read the header in a process apart: a damaged file may take its reader down, not the run.

        Raises
        ------
        FileError
            As the reader says.
        """
        scratch = self._store.scratch("input", "probe", 0)
        readers = self._plugins.offered(f"open_{kind.lower()}")
        try:
            if not readers:
                raise Refused(
                    "no reader is installed for it", path=path, remedy=f"Add a plugin for open_{kind.lower()}."
                )
            file = InputRef("file", kind, raw=(RawFile(path.name, str(path), {}),))
            job = Job(
                "input", readers[0], str(scratch), inputs=(file,), services=readers, deadline_s=PROBE_S, describe=True
            )
            ticket = self._reader.submit(job)
            outcomes = [outcome for outcome in self._reader.poll(2 * PROBE_S) if outcome.ticket == ticket]
        finally:
            self._store.discard(scratch)
        if not outcomes or outcomes[0].error_class == "environment":
            raise EnvironmentFault(
                f"the reader of {path} cannot be run: {outcomes[0].message if outcomes else 'silent'}"
            )
        if outcomes[0].error_class:
            raise _as_raised(outcomes[0].result, f"the reader failed: {outcomes[0].message}", path)
        return dict(outcomes[0].result["facts"])

    # -- products that come as files -----------------------------------------------------------------------------
    def imported(self, section: InputConfig, seed: int) -> Item:
        """Bring a stack of particles or a map into the store; once for each content and each setting."""
        path = section.file
        assert path is not None  # the configuration has checked it
        if not path.is_file():
            what = "is a directory" if path.is_dir() else "is not there" if not path.exists() else "is no file"
            raise ConfigError(f"[{section.kind}] file '{path}' {what}", expected="a STAR file or a map")
        kind = "ParticleStack" if section.kind == "particles" else "Volume"
        stage_id = IMPORTED[f"input:{section.kind}"]
        content = _content_digest(path, section)
        said = {"content": content, "pixel_size_A": section.pixel_size_A, "symmetry": section.symmetry, "seed": seed}
        key = ids.digest_facts({"kind": kind, **said})
        known = self._state.item(path.name)
        if known is not None and known.facts.get("key") == key and self._store.has(stage_id, key):
            return known
        made: list[Event] = []
        if not self._store.has(stage_id, key):
            scratch = self._store.scratch(stage_id, key, 1)
            (scratch / PRODUCT).mkdir()
            product = _imported(section, path, seed, scratch)
            worker_results.check(product, kind)
            products.save(product, scratch / PRODUCT)
            (scratch / "joined.images").unlink(missing_ok=True)
            self._store.commit(scratch, stage_id, path.name, key, job={"source": str(path), **said})
        job, folder = self._store.job(stage_id, key), self._store.path(stage_id, key).relative_to(self._store.folder)
        made.append(self._bus.make(events.ProductSaved, key=key, kind=kind, digest=job["digest"], path=str(folder)))
        item = Item(path.name, kind, str(job["digest"]), str(path), {"key": key})
        made.append(self._bus.make(events.ItemAdmitted, **_payload(item)))
        self._bus.publish_many(made)
        return item


def _printable(name: str) -> str:
    """Return a file's name as an item id: tables hold UTF-8 only, so other bytes are spelt out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _payload(item: Item) -> dict[str, Any]:
    return {**vars(item), "facts": dict(item.facts)}


def _as_raised(result: Mapping[str, Any], message: str, path: Path) -> FileError:
    """Make the reader's own error again, in this process."""
    known = {cls.__name__: cls for cls in FileError.__subclasses__()}
    cls = known.get(str(result.get("type", "")))
    said = {name: str(result.get(name, "")) for name in ("expected", "remedy")}
    return cls(bounded(str(result["what"])), path=path, **said) if cls else Refused(bounded(message), path=path)


def _content_digest(path: Path, section: InputConfig) -> str:
    digests = [ids.digest_file(path)]
    if section.kind == "particles":
        for stack in sorted({str(name) for name in star_columns.particles_from_star(path).columns.get("stack", ())}):
            digests.append(ids.digest_file(star_products.find_stack(stack, path, section.root)))
    return ids.digest_facts({"files": digests})


def _imported(section: InputConfig, path: Path, seed: int, scratch: Path) -> ParticleStack | Volume:
    if section.kind == "volumes":
        return star_products.volume_from_mrc(path, pixel_size_A=section.pixel_size_A, symmetry=section.symmetry)
    images = scratch / "joined.images"
    return star_products.stack_from_star(
        path, images_path=images, root=section.root, pixel_size_A=section.pixel_size_A, seed=seed
    )
