"""What writes into the watched tree, in all the ways there are, and knows what is whole; the truth to judge by."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from simulated_disk import Disk
from simulated_movies import movie, side_car
from simulated_world import World

N_FRAMES = 5
#: Names that have broken programs; ``{}`` is the file's number.
NAMES = (
    "m{}{}", "m{}{}", "m{}{}", "grid 1/m{}{}", "a/b/c/m{}{}", "-rf {}{}", "{}\n{}", "'{}\"{}", "\udcff{}{}", "{}é{}",
    "\u202e{}{}", "M{}{}", "%s{}{}", "x" * 200 + "{}{}",
)  # fmt: skip


@dataclass
class File:
    """A file as the microscope means it; `whole` are the contents with which it may be taken."""

    path: str
    whole: list[bytes] = field(default_factory=list)
    #: There, under this name, since.
    since_s: float = 0.0
    #: It may lawfully be taken before it is whole, if that is set right later.
    is_deceptive: bool = False
    #: It never becomes whole.
    is_cut: bool = False
    n_frames: int = N_FRAMES


@dataclass
class Habits:
    """How it writes."""

    suffixes: tuple[str, ...] = (".mrc",)
    #: Longer than any stall: how long a file has to stand still at least, and one that cannot be judged.
    settle_s: float = 20.0
    long_settle_s: float = 300.0
    kinds: tuple[str, ...] = ("at_once", "grows")
    p_later: float = 0.2
    side_cars: bool = False


class Microscope:
    """Writes files from now on.

    Parameters
    ----------
    world, disk
        When and where.
    habits
        How.
    """

    def __init__(self, world: World, disk: Disk, habits: Habits) -> None:
        self.world, self.disk, self.habits = world, disk, habits
        self.files: dict[str, File] = {}
        #: Every content that was ever meant, and the names of files that may be taken early, and are set right later.
        self.whole: set[bytes] = set()
        self.excused: set[str] = set()
        self._chance = world.chance("microscope")
        self._n_contents = self._n_files = 0
        self._kinds: dict[str, Callable[[File], float]] = {
            name: getattr(self, f"_{name}") for name in KINDS if hasattr(self, f"_{name}")
        }
        self._later = (
            self._rewritten, self._renamed, self._removed, self._copied, self._linked, self._locked, self._restored,
        )  # fmt: skip

    def acquire(self, n_files: int, until_s: float) -> None:
        """Have so many files begun until then: in bursts, or one after the other."""
        for _ in range(n_files):
            at_s = self._chance.uniform(self.world.now_s, until_s)
            if self._chance.random() < 0.4:
                at_s = self.world.now_s + (until_s - self.world.now_s) * self._chance.choice((0.02, 0.3, 0.31, 0.7))
            self.world.at(at_s, "", self._begin)

    # -- one file ---------------------------------------------------------------------------------------------------
    def _begin(self) -> None:
        self._n_files += 1
        suffix = self._chance.choice(self.habits.suffixes)
        path = self._chance.choice(NAMES).format(self._n_files, suffix)
        kind = self._chance.choice(self.habits.kinds)
        file = File(path, n_frames=N_FRAMES)
        self.world.say(f"lands {kind} {path!r}")
        self.world.note(f"lands {kind}")
        took_s = self._kinds[kind](file)
        if self.habits.side_cars and kind not in ("odd", "cut"):
            self._with_side_car(file, took_s)
        if self._chance.random() < self.habits.p_later and kind not in ("odd",):
            later = self._chance.choice(self._later)
            after_s = took_s + self._chance.choice((1.0, 0.5, 3.0, 20.0)) * self.habits.settle_s * self._chance.random()
            self.world.after(after_s + 1.0, "", lambda: later(file))

    def _content(self, file: File) -> bytes:
        self._n_contents += 1
        return movie(self._n_contents, file.n_frames, states_size=not file.path.endswith(".tif"))

    def _there(self, file: File, content: bytes) -> None:
        """Take note of what is meant."""
        file.whole.append(content)
        self.whole.add(content)

    def _made(self, file: File) -> None:
        self.disk.make(file.path)
        file.since_s = self.world.now_s
        self.files[file.path] = file

    def _stall_s(self, file: File) -> float:
        """Return a pause within what can be seen through: by its structure, or by waiting long."""
        states_size = not file.path.endswith(".tif")
        if states_size:
            return self._chance.choice((0.05, 0.5, 2.0, 10.0)) * self.habits.settle_s * self._chance.random()
        return 0.8 * self.habits.settle_s * self._chance.random()

    def _pieces(self, file: File, content: bytes, do: Callable[[int], None]) -> float:
        """Have a content written in pieces; returns how long that takes."""
        n_pieces, at_s = self._chance.randrange(1, 6), 0.0
        cuts = sorted({self._chance.randrange(1, len(content)) for _ in range(n_pieces)} | {len(content)})
        for cut in cuts:
            self.world.after(at_s, "", lambda cut=cut: file.path in self.files and do(cut))  # type: ignore[misc]
            at_s += self._stall_s(file)
        return at_s

    # -- ways of writing --------------------------------------------------------------------------------------------
    def _at_once(self, file: File) -> float:
        content = self._content(file)
        self._made(file)
        self._there(file, content)
        self.disk.write(file.path, content)
        return 0.0

    def _grows(self, file: File) -> float:
        content = self._content(file)
        self._made(file)
        self._there(file, content)
        return self._pieces(file, content, lambda cut: self.disk.write(file.path, content[:cut]))

    def _reserved(self, file: File) -> float:
        """Its full size is there at once, with a hole where nothing was written yet, and an old time."""
        return self._prepared(file, has_hole=True)

    def _zeroed(self, file: File) -> float:
        """Its full size is there at once, as zeros."""
        return self._prepared(file, has_hole=False)

    def _prepared(self, file: File, *, has_hole: bool) -> float:
        content, size = self._content(file), 0
        self._made(file)
        self._there(file, content)
        size = len(content)
        old_ns = self.disk.files[file.path].mtime_ns - 10**17

        def fill(cut: int) -> None:
            if file.path in self.disk.files:
                whole = cut == size
                hole_at = cut if has_hole and not whole else None
                self.disk.write(file.path, content[:cut].ljust(size, b"\0"), hole_at=hole_at)
                self.disk.set_times(file.path, old_ns)

        fill(0)
        if self._chance.random() < 0.3:
            file.is_deceptive = True  # it may stand still for longer than anybody waits
            self.excused.add(file.path)
        stalls = (2.0, 0.5) if file.is_deceptive else (0.8, 0.1)
        at_s = 0.0
        for cut in (*sorted(self._chance.randrange(size) for _ in range(self._chance.randrange(3))), size):
            at_s += self._chance.choice(stalls) * self.habits.long_settle_s * self._chance.random()
            self.world.after(at_s, "", lambda cut=cut: fill(cut))
        return at_s

    def _parted(self, file: File) -> float:
        """Under a temporary name first."""
        content, final = self._content(file), file.path
        folder, slash, name = final.rpartition("/")
        hidden = f"{folder}{slash}.{name}.x1Y2z3" if self._chance.random() < 0.5 else f"{final}.part"
        self.disk.make(hidden)

        def move() -> None:
            if hidden in self.disk.files:
                self.disk.rename(hidden, final)
                file.since_s = self.world.now_s
                self.files[final] = file
                self._there(file, content)

        at_s = 0.0
        for cut in (len(content) // 3, len(content)):
            write = lambda cut=cut: self.disk.write(hidden, content[:cut])  # noqa: E731
            self.world.after(at_s, "", write)
            at_s += 0.2 * self.habits.settle_s * self._chance.random()
        self.world.after(at_s, "", move)
        return at_s

    def _cut(self, file: File) -> float:
        """It never comes to its end."""
        content = self._content(file)
        file.is_cut = True
        self._made(file)
        self.disk.write(file.path, content[: self._chance.randrange(len(content))])
        if file.path.endswith(".tif"):
            self.disk.write(file.path, content[: len(content) - 3])
        return 0.0

    def _odd(self, file: File) -> float:
        """Neither a movie nor to be one."""
        folder, slash, name = file.path.rpartition("/")
        kind, path = self._chance.choice(
            (
                ("link", file.path),
                ("other", file.path),
                ("file", f"{file.path}.tmp"),
                ("file", f"{file.path}.txt"),
                ("file", f"{folder}{slash}.{name}"),
            )
        )
        self.disk.make(path, kind=kind)
        self.disk.write(path, b"nothing")
        return 0.0

    def _with_side_car(self, file: File, took_s: float) -> None:
        late_s = self._chance.choice((0.0, 0.1, 1.0, 3.0)) * self.habits.settle_s * self._chance.random()
        if self._chance.random() < 0.1:
            return
        content = side_car(file.n_frames)

        def write(n_bytes: int) -> None:
            if file.path in self.files:
                path = f"{file.path}.mdoc"
                if path not in self.disk.files:
                    self.disk.make(path)
                self.disk.write(path, content[:n_bytes])

        if self._chance.random() < 0.3:
            self.world.after(took_s + 0.5 * late_s, "", lambda: write(5))
        self.world.after(took_s + late_s, "", lambda: write(len(content)))

    # -- what becomes of files later ----------------------------------------------------------------------------------
    def _is_as_left(self, file: File) -> bool:
        return file.path in self.files and file.path in self.disk.files and not file.is_cut

    def _rewritten(self, file: File) -> None:
        """Another content of the same size or another, whole at once or not."""
        if not self._is_as_left(file):
            return
        self.world.say(f"rewritten {file.path!r}")
        file.n_frames += self._chance.choice((0, 0, 1))
        content = self._content(file)
        self._there(file, content)
        if self._chance.random() < 0.5:
            self.disk.write(file.path, content)
        else:
            self._pieces(file, content, lambda cut: self._rewrite(file, content[:cut]))

    def _rewrite(self, file: File, content: bytes) -> None:
        if file.path in self.disk.files and file.whole[-1].startswith(content):
            self.disk.write(file.path, content)

    def _renamed(self, file: File) -> None:
        if self._is_as_left(file) and not self._is_being_written(file):
            to = f"moved/{file.path.rpartition('/')[2]}" if self._chance.random() < 0.5 else f"r{file.path}"
            if "/" in file.path and to.startswith("r"):
                to = f"moved/{to.rpartition('/')[2]}"
            if to in self.files:
                return
            self.world.say(f"renamed {file.path!r} to {to!r}")
            self.disk.rename(file.path, to)
            del self.files[file.path]
            self._excuse(file.path, to)
            file.path, file.since_s = to, self.world.now_s
            self.files[to] = file

    def _excuse(self, path: str, to: str) -> None:
        if path in self.excused:
            self.excused.add(to)

    def _is_being_written(self, file: File) -> bool:
        return self.disk.files[file.path].data != file.whole[-1]

    def _removed(self, file: File) -> None:
        if self._is_as_left(file):
            self.world.say(f"removed {file.path!r}")
            self.disk.remove(file.path)
            del self.files[file.path]
            if self._chance.random() < 0.5 and file.whole:
                self.world.after(self.habits.settle_s * self._chance.choice((0.1, 5.0)), "", lambda: self._back(file))

    def _back(self, file: File) -> None:
        if file.path not in self.files and file.path not in self.disk.files:
            self.world.say(f"back {file.path!r}")
            self._made(file)
            self.disk.write(file.path, file.whole[-1])

    def _copied(self, file: File) -> None:
        """The same content under another name, or under the same name in another folder."""
        if self._is_as_left(file) and not self._is_being_written(file):
            folder = self._chance.choice(("copies/", "a/copies/"))
            copy = File(f"{folder}{file.path.rpartition('/')[2]}", n_frames=file.n_frames)
            self.world.say(f"copied {file.path!r} to {copy.path!r}")
            self._excuse(file.path, copy.path)
            self._made(copy)
            self._there(copy, file.whole[-1])
            self.disk.write(copy.path, file.whole[-1])

    def _linked(self, file: File) -> None:
        if self._is_as_left(file) and not self._is_being_written(file):
            link = File(f"links/{file.path.rpartition('/')[2]}", n_frames=file.n_frames)
            self._excuse(file.path, link.path)
            self.disk.link(file.path, link.path)
            link.since_s = self.world.now_s
            self._there(link, file.whole[-1])
            self.files[link.path] = link

    def _restored(self, file: File) -> None:
        """Another content of the same size, and the times put back: the ctime alone tells of it."""
        if self._is_as_left(file) and not self._is_being_written(file):
            self.world.say(f"restored {file.path!r}")
            mtime_ns, content = self.disk.files[file.path].mtime_ns, self._content(file)
            self._there(file, content)
            self.excused.add(file.path)  # an attempt that runs meanwhile cannot know
            self.disk.write(file.path, content)
            self.disk.set_times(file.path, mtime_ns)

    def _locked(self, file: File) -> None:
        """It cannot be read for a while."""
        if self._is_as_left(file):
            node = self.disk.files[file.path]
            self.disk.refuse(file.path, self._chance.choice((errno.EACCES, errno.EIO, errno.ESTALE)))

            def unlock() -> None:
                node.refuses = 0
                for path, there in self.disk.files.items():
                    if there is node:
                        self.disk.refuse(path, 0)
                        return

            self.world.after(self.habits.settle_s * self._chance.choice((0.5, 3.0)), "", unlock)


KINDS = ("at_once", "grows", "reserved", "zeroed", "parted", "cut", "odd")
