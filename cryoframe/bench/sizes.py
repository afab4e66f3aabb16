"""How much a benchmark makes and runs, by name; what is made of it is in the parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryoframe.errors import ConfigError, nearest

#: Parts of the benchmark of preprocessing, in the order they run.
PARTS = ("motion", "ctf", "picking", "extraction")


@dataclass(frozen=True)
class Sizes:
    """Numbers and sizes of everything that is made."""

    name: str
    movie_px: int = 4096
    #: (frames, movies) of each group of movies.
    movies: tuple[tuple[int, int], ...] = ((24, 3),)
    n_ctf: int = 200
    ctf_px: int = 1024
    n_tilted: int = 6
    tilted_px: int = 2048
    #: Micrographs on which the cost a micrograph is measured, and their edge.
    n_cost: int = 3
    cost_px: int = 4096
    pick_px: int = 2048
    defoci_A: tuple[float, ...] = (8000.0, 15000.0, 25000.0)
    box_px: int = 256

    def memory_MB(self, parts: Sequence[str] = PARTS) -> float:
        """What the hungriest program of the parts needs.

        RELION's motion correction: all frames as float32, twice, and sums. Its template picker: views of the largest
        specimen.
        """
        most = max(n_frames for n_frames, _ in self.movies)
        motion = (2.0 * most + 8.0) * 4e-6 * self.movie_px**2
        needs = {"motion": motion, "picking": 3000.0}
        return 1000.0 + max((needs.get(part, 0.0) for part in parts), default=0.0)

    @property
    def disk_MB(self) -> float:
        """What lies on disk at one time, and room to spare."""
        most = max(n_frames for n_frames, _ in self.movies)
        movie = (most + 20.0) * 1e-6 * self.movie_px**2
        fields = 4e-6 * (self.n_ctf * self.ctf_px**2 + self.n_tilted * self.tilted_px**2 + 4 * self.cost_px**2)
        return 500.0 + movie + 2.0 * fields


_QUICK = Sizes(
    "quick",
    movie_px=2048,
    movies=((24, 1),),
    n_ctf=20,
    n_tilted=1,
    n_cost=2,
    cost_px=2048,
    pick_px=1536,
    defoci_A=(15000.0,),
)
_ALL = (
    _QUICK,
    Sizes("default"),
    Sizes("full", movies=((24, 8), (40, 4)), n_ctf=2000, n_tilted=20, n_cost=5),
)


def sizes_named(name: str) -> Sizes:
    """Return the sizes of that name: quick, default or full."""
    for one in _ALL:
        if one.name == name:
            return one
    names = [one.name for one in _ALL]
    raise ConfigError(f"no size is called '{name}'{nearest(name, names)}", expected=", ".join(names))


def parts_named(text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas, in the order they run; all for an empty text.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    asked = [word.strip() for word in text.split(",") if word.strip()]
    for word in asked:
        if word not in PARTS:
            raise ConfigError(f"no part is called '{word}'{nearest(word, PARTS)}", expected=", ".join(PARTS))
    return tuple(part for part in PARTS if part in asked) if asked else PARTS
