"""Folders that outlive an attempt, so that the next one goes on where it was. What is in them is the stage's affair.

A task over the set has a folder by its key: an attempt that was killed is gone on with, and the product is the same as
if there had been no folder. A stage that declares ``CARRIES_ON`` has, while items still arrive, one folder for all its
runs, whatever the set: its products then depend on how the set grew. They are kept under keys of their own, so that
the last run of the session, over the same set perhaps, is a task of its own and begins from nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.data.ids import digest_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryoframe.execution.ledger import Due

#: Folder beside ``scratch``.
CHECKPOINTS = "checkpoints"
#: So the names of folders begin that are carried on from set to set.
_CARRIED = "so-far-"


def place_of(due: Due, said: Mapping[str, Any], scratch: Path, *, seed: int) -> str:
    """Return the folder of a task, which need not be there yet; "" for stages over single items.

    Parameters
    ----------
    due
        The task.
    said
        Its plugin's description.
    scratch
        The folder of one of its attempts.
    seed
        Of the run.
    """
    if due.node.domain != "set":
        return ""
    facts = {
        "use": due.node.offer.qualified,
        "seed": seed,
        **{name: said[name] for name in ("source", "params", "files")},
    }
    name = f"{_CARRIED}{digest_facts(facts)}" if due.so_far else due.key
    return str(scratch.resolve().parent.parent / CHECKPOINTS / due.node.id / name)


def made(place: str) -> Path | None:
    """Return the folder, made if it was not there: for nobody else, as it may hold what nobody has published.

    Those of the stage's earlier tasks are removed: a stage has one task over the set, and this is it now.
    """
    if not place:
        return None
    folder = Path(place)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other.name != folder.name and not other.name.startswith(_CARRIED):
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def forget(run_folder: Path, due: Due, *, live: bool) -> None:
    """Remove what a finished task does not need any more: its folder; at the end of a session all of its stage.

    The folder of a stage that carries on is kept as long as items arrive.
    """
    if due.so_far or due.node.domain != "set":
        return
    folder = run_folder / CHECKPOINTS / due.node.id
    shutil.rmtree(folder / due.key if live else folder, ignore_errors=True)
