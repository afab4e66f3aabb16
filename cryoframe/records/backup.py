"""A copy of a run's state while it is in use: whole, durable, read back before it gets its name. Products are files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryoframe.errors import ConfigError, EnvironmentFault
from cryoframe.records.database import Database
from cryoframe.records.forms import id_text


@dataclass(frozen=True)
class Copied:
    """What the copy holds: every event up to `last_event_id`."""

    n_events: int
    last_event_id: str


def backup(database: Path, target: Path) -> Copied:
    """Copy the database of a run to a new file; whoever is in charge of it is not disturbed.

    Raises
    ------
    ConfigError
        If the target is there already.
    EnvironmentFault
        If it cannot be written.
    StoreError
        If the copy is not whole.
    """
    if target.exists():
        raise ConfigError(f"{target} is there already", remedy="Give another file: a backup replaces nothing.")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    source = Database.open(database, read_only=True)
    try:
        source.backup(part)
        copy = Database.open(part, read_only=True)  # reads all of it (quick_check)
        n_events, last = copy.read("SELECT count(*), max(event_id) FROM events WHERE seq>0")[0]
        copy.close()
        for path in (part, target.parent):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            if path == part:
                part.rename(target)
    except OSError as error:
        raise EnvironmentFault(f"{target} cannot be written ({error.strerror})") from error
    finally:
        source.close()
        for ending in ("", "-wal", "-shm"):
            part.with_name(part.name + ending).unlink(missing_ok=True)
    return Copied(int(str(n_events)), id_text(last))
