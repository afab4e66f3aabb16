"""When a file counts as complete: rules over what was seen, with the clock handed in. Touches no disk.

Layers: (a) the name, (b) a positive marker, (c) the same size and mtime in two looks and for the settling time,
(d) structure and frame count, (e) identity after reading. Neither age nor "no event for a while" proves anything.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cryoframe.kernel.config import WatchConfig
from cryoframe.records.state import FileRow
from cryoframe.watch.scanner import Look, Seen

TEMPORARY = ("*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*~", "~$*", "*downloading")
_TEMPORARY = re.compile("|".join(fnmatch.translate(rule) for rule in TEMPORARY)).match
PATTERNS = {
    "Movie": ("*.mrc", "*.mrcs", "*.tif", "*.tiff", "*.eer"),
    "Micrograph": ("*.mrc", "*.tif", "*.tiff", "*.png"),
}
SIDE_CARS = (".mdoc", ".xml")
#: Movies of EPU are called so before the suffix; the XML of their exposure is not.
EPU_ENDINGS = ("_fractions", "_Fractions", "_EER")
#: A file whose header states its size can be judged; a TIFF or EER movie is valid after every frame.
SIZE_IN_HEADER = (".mrc", ".mrcs")
#: Settling time of a file that a marker says is whole.
QUICK_S = 2.0
VANISHED = "vanished before it was complete"
#: Folders that systems keep to themselves: that they cannot be listed is no news, and nothing lands there.
SYSTEM_FOLDERS = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
UNREADABLE = "Unreadable"
#: Trouble of a share or a machine that passes: a file is refused for it only after so many looks, `poll_s` apart.
PASSING = tuple(
    os.strerror(number)
    for number in (
        errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EMFILE,
        errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
    )
)  # fmt: skip
MAX_REFUSED = 20
PENDING = ("waiting", "settling", "superseded")
STATUSES = (*PENDING, "incomplete", "admitted", "rejected", "ignored", "duplicate")
_STATUS_OF_ROW = {"settled": "admitted", "duplicate": "duplicate", "ignored": "ignored", "rejected": "rejected"}


@dataclass(slots=True)
class Entry:
    """One file under a root and how far it is."""

    path: str
    status: str = "waiting"
    reason: str = ""
    size: int = -1
    mtime_ns: int = 0
    #: 0 = not known (of a journal that did not keep it).
    ctime_ns: int = 0
    #: Size and mtime that the journal has.
    announced: tuple[int, int] = (-1, 0)
    look: Look | None = None
    #: Looks that showed the same; below 0, so many in a row that could not be taken.
    n_looks: int = 0
    stable_since_s: float = 0.0
    first_s: float = 0.0
    #: Renamed here after it had been written under a temporary name.
    renamed_in: bool = False
    #: Waits for something other than itself (a side-car, permission); does not keep the session open.
    held: bool = False
    #: Admitted without the side-car that was hoped for.
    bare: bool = False
    not_before_s: float = 0.0
    #: When it is to be looked at next.
    due_s: float = float("inf")
    #: Has stayed as it is for as long as it should: nobody need look at it again before it is read.
    is_ripe: bool = False
    #: So often was it read again for its ctime's sake alone, and was as it had been.
    n_same: int = 0

    @classmethod
    def of(cls, row: FileRow) -> Entry:
        """Take up a file where an earlier process left it."""
        status = _STATUS_OF_ROW.get(row.status, "waiting")
        if row.status == "rejected" and row.reason.startswith("Incomplete"):
            status = "incomplete"
        known = (row.size, row.mtime_ns)
        return cls(sys.intern(row.path), status, row.reason, *known, ctime_ns=row.ctime_ns, announced=known)

    @property
    def is_pending(self) -> bool:
        """Whether it is still to be decided."""
        return self.status in PENDING

    @property
    def is_in(self) -> bool:
        """Whether the run has its content."""
        return self.status in ("admitted", "duplicate")

    def is_as(self, seen: Seen) -> bool:
        """Whether the entry is what was seen; the ctime tells a rewriting that put size and mtime back."""
        same = (self.size, self.mtime_ns) == (seen.size, seen.mtime_ns)
        return same and self.ctime_ns in (0, seen.ctime_ns)

    def is_touched(self, seen: Seen) -> bool:
        """Whether it was admitted, and what was seen has another ctime and nothing else."""
        return self.is_in and not self.is_as(seen) and (self.size, self.mtime_ns) == (seen.size, seen.mtime_ns)

    def note(self, seen: Seen) -> None:
        """Take over what was seen."""
        self.size, self.mtime_ns, self.ctime_ns = seen.size, seen.mtime_ns, seen.ctime_ns
        self.is_ripe = self.is_ripe and self.look is not None and self.is_still(self.look)

    def is_still(self, look: Look) -> bool:
        """Whether nothing was seen of the file that differs from a look at it."""
        return (self.size, self.mtime_ns, self.ctime_ns) == look[:3]

    def settle(self, row: FileRow) -> None:
        """Forget how it was judged: the journal has it as it is."""
        self.size, self.mtime_ns, self.ctime_ns = row.size, row.mtime_ns, row.ctime_ns
        self.announced, self.look, self.is_ripe = (row.size, row.mtime_ns), None, False

    def reopen(self, now_s: float) -> None:
        """Start judging anew."""
        self.status = "superseded" if self.is_in or self.status == "superseded" else "waiting"
        self.reason, self.look, self.n_looks, self.first_s = "", None, 0, now_s
        self.held, self.bare, self.renamed_in, self.not_before_s = False, False, False, 0.0
        self.is_ripe = False

    def observe(self, look: Look, now_s: float) -> None:
        """Take in a look at the opened file, which was over at `now_s`.

        Few looks are taken while a file settles, so the ctime counts: it tells of what came and went between two.
        """
        if self.look is None or look[:3] != self.look[:3]:
            self.n_looks, self.stable_since_s, self.is_ripe = 0, now_s, False
        self.look, self.n_looks = look, self.n_looks + 1
        self.size, self.mtime_ns, self.ctime_ns = look.size, look.mtime_ns, look.ctime_ns
        self.held = False
        if self.status == "waiting":
            self.status = "settling"

    def remaining_s(self, required_s: float, now_s: float) -> float:
        """How long the file has to stay as it is."""
        if self.n_looks < 2:
            return max(required_s, 1e-3)
        return self.stable_since_s + required_s - now_s


def required_s(config: WatchConfig, entry: Entry, kind: str, *, expected: bool, confirmed: bool) -> float:
    """Return the settling time.

    Parameters
    ----------
    config
        Times from ``[watch]``.
    entry
        The file.
    kind
        ``Movie`` or ``Micrograph``.
    expected
        The number of frames it must have is known.
    confirmed
        A side-car written after the last frame says that the file is done.
    """
    if entry.look is not None and entry.look.hole:
        return config.long_settle_s
    if entry.renamed_in or confirmed:
        return min(QUICK_S, config.settle_s)
    if entry.look is not None and entry.look.blank:
        return config.long_settle_s  # a hole is seen page by page: of the last one only part may have been written
    judged = kind != "Movie" or expected or PurePosixPath(entry.path).suffix.lower() in SIZE_IN_HEADER
    return config.settle_s if judged else config.long_settle_s


def rule_against(path: str, seen: Seen, patterns: Sequence[str]) -> str:
    """Return the rule by which a file is not meant for processing, or an empty text."""
    name = path.rpartition("/")[2]
    if seen.kind != "file":
        return "a symbolic link" if seen.kind == "link" else "not a regular file"
    if path.startswith(".") or "/." in path:
        return "hidden"
    if _TEMPORARY(name.lower()):
        matched = next(rule for rule in TEMPORARY if fnmatch.fnmatchcase(name.lower(), rule))
        return f"temporary name ({matched})"
    if not any(_matches(path, pattern) for pattern in patterns):
        return "a side-car" if name.lower().endswith(SIDE_CARS) else "matches no pattern"
    return ""


def is_of_the_system(folder: str) -> bool:
    """Whether nothing that is meant for processing lies in a folder, whatever it is."""
    parts = folder.split("/")
    return any(part.startswith(".") or part in SYSTEM_FOLDERS for part in parts)


def is_temporary(rule: str) -> bool:
    """Whether the rule says that the file may yet get its final name."""
    return rule == "hidden" or rule.startswith("temporary")


def side_cars(path: str) -> Iterator[str]:
    """Yield the names a side-car of the file may have, beside it."""
    yield f"{path}.mdoc"
    movie = PurePosixPath(path)
    for suffix in SIDE_CARS:
        yield str(movie.with_suffix(suffix))
    for ending in EPU_ENDINGS:
        if movie.stem.endswith(ending):
            yield str(movie.with_name(f"{movie.stem.removesuffix(ending)}.xml"))


def _matches(path: str, pattern: str) -> bool:
    subject = path if "/" in pattern else path.rpartition("/")[2]
    return fnmatch.fnmatchcase(subject, pattern) or fnmatch.fnmatchcase(subject.lower(), pattern)
