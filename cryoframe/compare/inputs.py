"""Any files as the inputs of one stage: products, movies, micrographs, STAR files and maps, bound by type and order."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryoframe.data import ids
from cryoframe.data.images import CtfFit
from cryoframe.data.maps import HalfMaps, Mask
from cryoframe.data.optics import Optics
from cryoframe.errors import ConfigError, Refused, nearest
from cryoframe.execution.executor import InputRef, RawFile
from cryoframe.formats import products, star_products
from cryoframe.formats.star_columns import micrographs_from_star
from cryoframe.kernel.plan import fields_giving
from cryoframe.kernel.stage import Input, StageSpec, stage_specs

RAW = ("Movie", "Micrograph")
_MAPS = ("Volume", "Mask", "HalfMaps")
_TABLES = ("ParticleStack", "ParticleTable", "CtfFit")


@dataclass(frozen=True)
class Given:
    """What is said of the files beyond what they say themselves; None and 0 = nothing."""

    pixel_size_A: float | None = None
    dose_e_A2: float = 0.0
    dose_per_frame_e_A2: float = 0.0
    gain: str = ""
    symmetry: str = "C1"
    root: Path | None = None
    seed: int = 0
    optics: Mapping[str, float | str] = field(default_factory=dict)

    def facts(self) -> dict[str, object]:
        """Return it as the facts of a raw file."""
        said = {
            "pixel_size_A": self.pixel_size_A,
            "dose_e_A2": self.dose_e_A2,
            "dose_per_frame_e_A2": self.dose_per_frame_e_A2,
            "gain": self.gain,
            "optics": {**dataclasses.asdict(Optics()), **self.optics},
        }
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True)
class Bound:
    """One call of the stage: its item and where each argument comes from."""

    item_id: str
    digest: str
    refs: tuple[InputRef, ...]


@dataclass(frozen=True)
class _File:
    path: Path
    name: str = ""

    @property
    def product(self) -> Path | None:
        """The folder of a stored product: itself, its ``product``, or the folder of its ``product.json``."""
        path = self.path.parent if self.path.name == products.MANIFEST else self.path
        return next((place for place in (path, path / "product") if (place / products.MANIFEST).is_file()), None)


def bind(
    hook: str, files: Sequence[str], given: Given, scratch: Path, *, asked: Collection[str] | None = None
) -> list[Bound]:
    """Bind files to the arguments of a stage.

    Parameters
    ----------
    hook
        The stage.
    files
        Paths, or ``argument=path`` where the order of the signature does not say enough.
    given
        What the files do not say.
    scratch
        Where imported products are written.
    asked
        The arguments that the implementation's function has; the others may be left out. All when None.

    Returns
    -------
    One entry a movie or micrograph, or a single one for a stage over the set.

    Raises
    ------
    ConfigError
        If an argument gets no file, or a file serves no argument.
    """
    if hook not in stage_specs():
        raise ConfigError(f"no stage hook is called '{hook}'{nearest(hook, stage_specs())}")
    spec = stage_specs()[hook]
    if asked is not None:
        consumes = (
            dataclasses.replace(item, optional=item.optional or item.name not in asked) for item in spec.consumes
        )
        spec = dataclasses.replace(spec, consumes=tuple(consumes))
    return _Binder(spec, [_named(text, spec) for text in files], given, scratch).bound()


def _named(text: str, spec: StageSpec) -> _File:
    name, equals, rest = text.partition("=")
    known = [wanted.name for wanted in spec.consumes]
    named = equals and name in known and not Path(text).exists()
    file = _File(Path(rest), name) if named else _File(Path(text))
    if not file.path.exists():
        spelt = ", ".join(f"{name}=PATH" for name in known)
        raise ConfigError(f"there is no file '{file.path}'", expected=f"a path, or {spelt}")
    if file.product is None and not file.path.is_file():
        what = "a directory without a product in it" if file.path.is_dir() else "no regular file"
        raise ConfigError(
            f"'{file.path}' is {what}", expected="a file, or a folder that an earlier `cryoframe stage` wrote"
        )
    return file


class _Binder:
    def __init__(self, spec: StageSpec, files: list[_File], given: Given, scratch: Path) -> None:
        self.spec, self.files, self.given, self.scratch = spec, files, given, scratch
        self.n_imported = 0

    def bound(self) -> list[Bound]:
        taken = {wanted.name: self._take(wanted) for wanted in self.spec.consumes}
        if self.files:
            raise ConfigError(
                f"'{self.files[0].path}' serves no argument of {self.spec.hook}",
                expected=", ".join(f"{wanted.name}: {wanted.kind.__name__}" for wanted in self.spec.consumes),
            )
        if self.spec.over == "set":
            refs = tuple(
                self._set_ref(wanted, taken[wanted.name]) for wanted in self.spec.consumes if taken[wanted.name]
            )
            return [Bound("set", ids.digest_facts({"set": [str(ref) for ref in refs]}), refs)]
        first = next(wanted for wanted in self.spec.consumes if wanted.kind.__name__ in RAW)
        items = taken[first.name]
        return [self._item(item, index, len(items), taken) for index, item in enumerate(items)]

    # -- which file serves which argument ----------------------------------------------------------------------------
    def _take(self, wanted: Input) -> list[_File]:
        kind = wanted.kind.__name__
        named = [file for file in self.files if file.name == wanted.name]
        found = named or [file for file in self.files if not file.name and self._serves(file, kind)]
        most = 2 if kind == "HalfMaps" and not any(file.product for file in found) else 1
        if kind in ("Volume", "Mask", "HalfMaps", "Refinement", "Classes2D", "SharpenedMap"):
            found = found[:most]
        if not found and not wanted.optional:
            raise ConfigError(
                f"{self.spec.hook} needs a {kind} as '{wanted.name}', and no file is one",
                remedy=f"Give it, e.g. {wanted.name}={_EXAMPLES.get(kind, 'FOLDER (what an earlier stage wrote)')}.",
            )
        self.files = [file for file in self.files if file not in found]
        return found

    def _serves(self, file: _File, kind: str) -> bool:
        if file.product is not None:
            return bool(fields_giving(products.kind_of(file.product), kind))
        if file.path.suffix == ".star":
            return kind in _TABLES and (kind == "CtfFit") == _is_ctf(file.path)
        return kind in (*RAW, *_MAPS) and file.path.is_file()

    # -- references ------------------------------------------------------------------------------------------------
    def _item(self, item: _File, index: int, n_items: int, taken: Mapping[str, list[_File]]) -> Bound:
        item_id = item.path.name
        refs = []
        for wanted in self.spec.consumes:
            files = taken[wanted.name]
            if not files and wanted.optional:
                continue
            if len(files) not in (1, n_items):
                raise ConfigError(
                    f"{len(files)} files for '{wanted.name}' of {n_items} items", expected=f"1 or {n_items}"
                )
            refs.append(self._ref(wanted, files[index if len(files) == n_items else 0], item_id))
        return Bound(item_id, _digest(item), tuple(refs))

    def _set_ref(self, wanted: Input, files: list[_File]) -> InputRef:
        refs = [self._ref(wanted, file, "") for file in (files[:1] if wanted.kind is HalfMaps else files)]
        if wanted.kind is HalfMaps and not files[0].product:
            refs = [self._half_maps(wanted, files)]
        folders, raw = (tuple(part for ref in refs for part in getattr(ref, name)) for name in ("folders", "raw"))
        return dataclasses.replace(refs[0], folders=folders, raw=raw, many=wanted.many)

    def _ref(self, wanted: Input, file: _File, item_id: str) -> InputRef:
        kind = wanted.kind.__name__
        if file.product is not None:
            part = fields_giving(products.kind_of(file.product), kind, to=self.spec.hook)
            if not part:
                raise ConfigError(f"'{file.path}' is a {products.kind_of(file.product)}", expected=f"a {kind}")
            return InputRef(wanted.name, kind, (str(file.product.absolute()),), part[0], many=wanted.many)
        if kind in RAW:
            raw = RawFile(file.path.name, str(file.path.absolute()), self.given.facts())
            return InputRef(wanted.name, kind, raw=(raw,), many=wanted.many)
        if kind == "HalfMaps":
            return InputRef(wanted.name, kind)
        return InputRef(wanted.name, kind, (str(self._import(kind, file.path, item_id)),), many=wanted.many)

    def _half_maps(self, wanted: Input, files: list[_File]) -> InputRef:
        if len(files) != 2:
            raise ConfigError(f"{len(files)} map for '{wanted.name}'", expected="two, one a half-set")
        first, second = (
            star_products.volume_from_mrc(file.path, pixel_size_A=self.given.pixel_size_A, symmetry=self.given.symmetry)
            for file in files
        )
        return InputRef(wanted.name, "HalfMaps", (str(self._save(HalfMaps(first, second))),))

    # -- imports -----------------------------------------------------------------------------------------------------
    def _import(self, kind: str, path: Path, item_id: str) -> Path:
        given = self.given
        if kind == "ParticleStack":
            images = self._folder() / "gathered.images"
            stack = star_products.stack_from_star(
                path, images_path=images, root=given.root, pixel_size_A=given.pixel_size_A, seed=given.seed
            )
            return self._save(stack)
        if kind == "ParticleTable":
            table = star_products.table_from_star(path, pixel_size_A=given.pixel_size_A, seed=given.seed)
            names = [Path(str(name)).stem for name in table.column("micrograph_id")]
            rows = [index for index, name in enumerate(names) if name == Path(item_id).stem]
            return self._save(table.select(rows) if rows else table)
        if kind == "CtfFit":
            return self._save(_ctf(path, item_id))
        if kind in ("Volume", "Mask"):
            volume = star_products.volume_from_mrc(path, pixel_size_A=given.pixel_size_A, symmetry=given.symmetry)
            return self._save(volume if kind == "Volume" else Mask(volume.data, volume.pixel_size_A))
        raise ConfigError(f"'{path}' cannot be read as a {kind}", expected="a folder that an earlier stage wrote")

    def _folder(self) -> Path:
        self.n_imported += 1
        folder = self.scratch / f"input-{self.n_imported}"
        folder.mkdir(parents=True)
        return folder

    def _save(self, product: object) -> Path:
        folder = self._folder()
        products.save(product, folder)
        return folder


_EXAMPLES = {
    "Movie": "movie.tiff", "Micrograph": "micrograph.mrc", "CtfFit": "micrographs_ctf.star",
    "ParticleTable": "picks.star", "ParticleStack": "particles.star", "Volume": "map.mrc", "Mask": "mask.mrc",
    "HalfMaps": "half1.mrc half_maps=half2.mrc",
}  # fmt: skip


def _is_ctf(path: Path) -> bool:
    """Whether a STAR file has a CTF a micrograph, and neither positions nor images."""
    from cryoframe.formats.star import read_star

    labels = {name for block in read_star(path).values() for name in block.names}
    return "rlnDefocusU" in labels and not labels & {"rlnCoordinateX", "rlnImageName"}


def _ctf(path: Path, item_id: str) -> CtfFit:
    records = micrographs_from_star(path)
    names = [Path(str(name)).stem for name in records.columns["micrograph_name"]]
    if Path(item_id).stem not in names and len(names) != 1:
        raise Refused(f"no row is about micrograph {item_id}", path=path, expected=f"one of {', '.join(names[:5])} …")
    row = names.index(Path(item_id).stem) if Path(item_id).stem in names else 0

    def value(name: str) -> float:
        return float(records.columns[name][row]) if name in records.columns else 0.0

    return CtfFit(
        item_id,
        value("defocus_u_A"),
        value("defocus_v_A"),
        value("defocus_angle_deg"),
        value("phase_shift_deg"),
        value("fit_resolution_A"),
        value("ctf_score"),
    )


def _digest(file: _File) -> str:
    if file.product is None:
        return ids.digest_file(file.path)
    return ids.digest_facts({path.name: ids.digest_file(path) for path in _files(file.product)})


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_file())
