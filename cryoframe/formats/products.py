"""Products ⇄ a folder of plain files: MRC for arrays, Arrow IPC for tables, one JSON manifest. No store, no keys."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path

import numpy as np

from cryoframe.data import catalogue
from cryoframe.data.tables import Table
from cryoframe.errors import Corrupt, CryoframeError, Incomplete, InvalidInput, Refused, Unsupported
from cryoframe.formats import mrc

MANIFEST = "product.json"
FORMAT_VERSION = 1
_LONGEST_NAME = 200
#: What a manifest of other fields, shapes or files leads to. Other errors of the system are the disk's, not the file's.
_NOT_A_PRODUCT = (
    ArithmeticError, AttributeError, FileNotFoundError, IsADirectoryError, LookupError, TypeError, ValueError,
)  # fmt: skip


def save(product: object, folder: Path) -> list[Path]:
    """Write a product into an existing empty folder.

    Parameters
    ----------
    product
        An instance of a class in ``cryoframe.data.catalogue``.
    folder
        Where the files go; one file an array or table, one manifest.

    Returns
    -------
    Every file written, the manifest last.

    Raises
    ------
    InvalidInput
        If the object is not a product or holds something that cannot be stored.
    """
    if type(product) not in catalogue.PRODUCTS:
        raise InvalidInput(
            f"{type(product).__name__} is not a product", expected=", ".join(c.__name__ for c in catalogue.PRODUCTS)
        )
    written: list[Path] = []
    tree = _dump(product, folder, type(product).__name__, written)
    manifest = folder / MANIFEST
    text = json.dumps(
        {"format": FORMAT_VERSION, "kind": type(product).__name__, "value": tree}, indent=1, sort_keys=True
    )
    manifest.write_text(text + "\n", encoding="utf-8")
    return [*written, manifest]


def load(folder: Path) -> object:
    """Read a product back; arrays are memory-mapped and read-only.

    Raises
    ------
    Incomplete
        If there is no such folder, or no product in it (yet).
    Corrupt
        If the manifest or a file named in it is damaged.
    Unsupported
        If the manifest is of another format version.
    """
    version, kind, tree = _manifest(folder)
    if version != FORMAT_VERSION:
        raise Unsupported(f"product format {version}", path=folder / MANIFEST, expected=str(FORMAT_VERSION))
    try:
        return _restore(tree, catalogue.product_class(kind), folder)
    except CryoframeError:
        raise
    except _NOT_A_PRODUCT as error:
        raise Corrupt(
            f"the manifest does not fit a {kind} ({error})", path=folder / MANIFEST, expected="the fields of its class"
        ) from error


def kind_of(folder: Path) -> str:
    """Return the product's kind from its manifest alone; raises as :func:`load`."""
    return _manifest(folder)[1]


def _manifest(folder: Path) -> tuple[object, str, object]:
    """Format version, kind and value as the manifest has them."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise _absent(folder)
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return content["format"], str(content["kind"]), content["value"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"not a product manifest ({error})", path=manifest, expected="JSON with format, kind, value"
        ) from error


def _absent(folder: Path) -> Incomplete:
    if not folder.exists():
        what = "no such folder"
    else:
        what = "no product in this folder" if folder.is_dir() else "not a folder, so no product"
    remedy = "Correct its name, or wait until it is written."
    return Incomplete(what, path=folder, expected=f"a folder with a {MANIFEST}", remedy=remedy)


def _dump(value: object, folder: Path, name: str, written: list[Path], *, pixel_size_A: float = 1.0) -> object:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Table):
        path = folder / f"{name}.arrow"
        value.write(path)
        written.append(path)
        return {"table": path.name}
    if isinstance(value, np.ndarray):
        return _dump_array(value, folder, name, written, pixel_size_A=pixel_size_A)
    if isinstance(value, tuple):
        return [_dump(item, folder, f"{name}.{index}", written) for index, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pixel_size_A = float(getattr(value, "pixel_size_A", None) or 1.0)  # in MRC headers, for other programs
        return {
            field.name: _dump(
                getattr(value, field.name), folder, f"{name}.{field.name}", written, pixel_size_A=pixel_size_A
            )
            for field in dataclasses.fields(value)
            if field.metadata.get("stored", True)
        }
    raise InvalidInput(
        f"{name} holds a {type(value).__name__}", expected="number, text, array, table, tuple or product"
    )


def _dump_array(
    array: np.ndarray[typing.Any, typing.Any], folder: Path, name: str, written: list[Path], *, pixel_size_A: float
) -> object:
    if array.dtype == np.float32 and array.ndim in (2, 3) and array.size:
        path = folder / f"{name}.{'mrcs' if name.endswith(('images', 'averages')) else 'mrc'}"
        mrc.write(path, array, pixel_size_A=pixel_size_A, is_stack=path.suffix == ".mrcs")
    else:
        path = folder / f"{name}.npy"
        np.save(path, array, allow_pickle=False)
    written.append(path)
    return {"array": path.name, "shape": list(array.shape)}


def _restore(tree: object, annotation: object, folder: Path) -> object:
    if isinstance(tree, dict):
        return _restore_mapping(tree, annotation, folder)
    if isinstance(tree, list):
        inner = typing.get_args(annotation) or (object,)
        kinds = [inner[0]] * len(tree) if len(inner) < 2 or inner[1] is Ellipsis else list(inner)
        return tuple(_restore(item, kind, folder) for item, kind in zip(tree, kinds, strict=True))
    return tree


def _restore_mapping(tree: dict[str, object], annotation: object, folder: Path) -> object:
    if "array" in tree:
        return _load_array(_beside(folder, tree["array"])).reshape(typing.cast("list[int]", tree["shape"]))
    cls = _class_of(annotation)
    if "table" in tree:
        return cls.read(_beside(folder, tree["table"]))  # type: ignore[attr-defined]
    hints = _hints(cls)
    return cls(**{name: _restore(value, hints[name], folder) for name, value in tree.items()})


def _beside(folder: Path, name: object) -> Path:
    """Return the file a manifest names; it lies in the product's own folder or is refused."""
    path = folder / str(name)
    if path.parent != folder or len(path.name) > _LONGEST_NAME:
        raise Refused(f"the manifest leads to {name}", path=folder / MANIFEST, expected="a file of this product")
    return path


def _load_array(path: Path) -> np.ndarray[typing.Any, typing.Any]:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False, mmap_mode="r")  # type: ignore[no-any-return]
    return mrc.open_mapped(path)


def _class_of(annotation: object) -> type:
    if isinstance(annotation, type):
        return annotation
    for option in typing.get_args(annotation):
        if isinstance(option, type) and option is not types.NoneType:
            return option
    raise InvalidInput(f"no class in annotation {annotation!r}")


def _hints(cls: type) -> dict[str, typing.Any]:
    """Resolve a product's annotations; names imported for type checking only are supplied here."""
    from numpy.typing import NDArray

    return typing.get_type_hints(cls, localns={"np": np, "NDArray": NDArray})
