"""No file can run code: nothing here unpickles, arrays of objects and archives that lie are errors."""

from __future__ import annotations

import ast
import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.images import CtfFit
from cryoframe.errors import CryoframeError
from cryoframe.formats import products
from cryoframe_refine.checkpoint import open_checkpoint

#: Ways to run what a file says. Weights of networks are read by nobody here; a plugin that reads some is in this list.
DOORS = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "yaml", "xml.etree.ElementTree",
    "xml.dom", "xml.sax", "lxml",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}
#: Between processes of one run, over a connection of their own; not from a file.
MAY = {"contrib/cryoframe_dask"}


class Mischief:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def _sources(repository: Path) -> Iterator[tuple[str, ast.Module]]:
    for folder in ("cryoframe", "plugins", "contrib"):
        for path in sorted((repository / folder).rglob("*.py")):
            name = path.relative_to(repository).as_posix()
            if not any(name.startswith(prefix) for prefix in MAY):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_nothing_here_imports_what_runs_code_from_files(repository: Path) -> None:
    found, n_files = [], 0
    for name, tree in _sources(repository):
        n_files += 1
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [f"{name}: {item.name}" for item in node.names if item.name in DOORS]
            elif isinstance(node, ast.ImportFrom) and node.module in DOORS:
                found.append(f"{name}: {node.module}")
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                    found.append(f"{name}: allow_pickle")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append(f"{name}: {node.func.id}()")
    assert n_files > 200
    assert [entry for entry in found if not entry.endswith(("compile()",))] == []


def _npy(shape: str, descr: str, data: bytes) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("shape", "descr", "data"),
    [
        ("(3, 8)", "'|O'", None), ("(4000000000, 4000000000)", "'<f4'", b"\0" * 96), ("(-1, 8)", "'<f4'", b"\0" * 96),
        ("(3, 80)", "'<f4'", b"\0" * 96), ("(3, 8)", "'<f4'", b"\0" * 50), ("(3, 8)", "__import__('os')", b"\0" * 96),
        ("(3, 8)", "[('a', '|O')]", None), ("(9" + "9" * 5000 + ",)", "'<f4'", b""),
    ],
)  # fmt: skip
def test_an_array_file_of_objects_or_of_lies__is_refused_and_nothing_is_run(
    tmp_path: Path, shape: str, descr: str, data: bytes | None
) -> None:
    mark, folder = tmp_path / "pwned", tmp_path / "product"
    folder.mkdir()
    products.save(CtfFit("m", 2.0, 1.0, 0.0, profile=np.ones((3, 8), np.float64)), folder)  # type: ignore[arg-type]
    (array,) = folder.glob("*.npy")
    array.write_bytes(_npy(shape, descr, pickle.dumps(Mischief(mark)) if data is None else data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numpy, whose product of such edges overflows
        with pytest.raises(CryoframeError):
            products.load(folder)
    assert not mark.exists()


def test_a_checkpoint_of_objects_bombs_or_other_members__is_not_read(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from cryoframe.testing import phantoms

    made = phantoms.particles(6, snr=1.0, key="checkpoint")
    mark = tmp_path / "pwned"
    ctx = SimpleNamespace(workdir=tmp_path, log=lambda line: None)
    kept = open_checkpoint(ctx, made.stack, made.volume, None, (1,))  # type: ignore[arg-type]
    kept.save([], [(1, 20.0, 3.0, 1.0)])
    whole = kept.path.read_bytes()
    names = zipfile.ZipFile(io.BytesIO(whole)).namelist()
    for spoil in ("pickle", "members", "outside", "bomb"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                content = _npy("(1,)", "'|O'", pickle.dumps(Mischief(mark)))
                archive.writestr(name, content if spoil == "pickle" else zipfile.ZipFile(io.BytesIO(whole)).read(name))
            if spoil == "members":
                for number in range(5000):
                    archive.writestr(f"x{number}.npy", b"")
            if spoil == "outside":
                archive.writestr("../outside.npy", _npy("(1,)", "'<f4'", b"\0" * 4))
            if spoil == "bomb":
                archive.writestr(names[0] + ".bomb", bytes(50_000_000))
        kept.path.write_bytes(packed.getvalue())
        try:
            kept.load([])
        except CryoframeError:
            continue
        assert not mark.exists()
        assert not (tmp_path.parent / "outside.npy").exists()
    assert not mark.exists()
