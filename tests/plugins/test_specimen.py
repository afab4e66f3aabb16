"""Atomic models as specimens: boxes, parts that fade, conformations, ligands, refusals; on real models."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from cryoframe import SpecimenRequest
from cryoframe.errors import CryoframeError, InvalidInput, Refused
from cryoframe.numerics import symmetry
from cryoframe_model.specimen import open_specimen

APOFERRITIN, GALACTOSIDASE, CHANNEL = "7a4m.cif", "5a1a.cif", "7l2i.cif"


def specimens(path, **settings):
    found = open_specimen(path=path, request=SpecimenRequest(**{"pixel_size_A": 3.0, **settings}))
    assert found is not None
    return found


def one(path, **settings):
    (found,) = specimens(path, **settings)
    return found


@pytest.fixture(scope="module")
def models(shared_data):
    return shared_data / "models"


def test_apoferritin__has_its_mass_its_size_and_its_symmetry(models, say):
    found = one(models / APOFERRITIN, symmetry="O")
    say(f"7A4M: {found.mass_kDa:.0f} kDa, radius {found.radius_A:.1f} Å, box {found.volume.data.shape[0]}")
    # 24 chains of 174 residues, 20 kDa each, metals and hydrogens included; outer diameter 12 to 14 nm.
    assert found.mass_kDa == pytest.approx(481, rel=0.03)
    assert 60 < found.radius_A < 72
    assert found.volume.symmetry == "O"
    likeness = np.corrcoef(symmetry.symmetrise(found.volume.data, "O").ravel(), found.volume.data.ravel())[0, 1]
    assert likeness > 0.99
    n = found.volume.data.shape[0]
    # The cavity holds ice: nothing but overshoot is left against ice.
    middle = found.volume.data[n // 2 - 3 : n // 2 + 4, n // 2 - 3 : n // 2 + 4, n // 2 - 3 : n // 2 + 4]
    assert abs(middle.mean()) < 0.01 * found.volume.data.max()


@pytest.mark.parametrize("change", ["plain", "gzip", "renamed"])
def test_a_model__is_told_by_its_content(models, tmp_path, change):
    text = (models / APOFERRITIN).read_bytes()
    path = tmp_path / {"plain": "a.cif", "gzip": "a.cif.gz", "renamed": "a.dat"}[change]
    path.write_bytes(gzip.compress(text, 1) if change == "gzip" else text)
    assert one(path, assembly="").name == "a"


def test_what_is_no_model__is_left_to_others(shared_data):
    request = SpecimenRequest()
    assert open_specimen(path=shared_data / "maps" / "betaGal_NGL.mrc", request=request) is None
    assert open_specimen(path=shared_data / "MANIFEST.csv", request=request) is None


def test_bad_requests__are_refused_before_the_work(models):
    path = models / CHANNEL
    cases = [
        ({"pixel_size_A": float("nan")}, "pixel_size_A"),
        ({"pixel_size_A": 0.01}, "pixel_size_A"),
        ({"pixel_size_A": 0.2}, "at most 768 px"),
        ({"box_px": 20}, "to turn in"),
        ({"box_px": 101}, "even number"),
        ({"assembly": "9"}, "no assembly '9'"),
        ({"symmetry": "O"}, "symmetry O"),
        ({"without_residues": ("XJB",)}, "did you mean 'XJA'"),
        ({"conformations": (0.5,)}, "without a hinge"),
        ({"conformations": (2.0,)}, "from 0 to 1"),
        ({"conformations": ()}, "from 0 to 1"),
    ]
    for settings, said in cases:
        with pytest.raises(InvalidInput, match=said):
            specimens(path, **settings)


@pytest.mark.parametrize(
    ("hinge", "said"),
    [
        ("A:1-20", "1 parts"),
        ("A:20-1; axis 0,0,1 through A/300; degrees 5", "ends before"),
        ("A:; axis 0,0,1 through A/300; degrees 5", "selects nothing"),
        ("A:300-400; axis 0,0 through A/300; degrees 5", "no axis"),
        ("A:300-400; axis 0,0,0 through A/300; degrees 5", "no length"),
        ("A:300-400; axis 0,0,1 through A/300; degrees nan", "no turn"),
        ("A:300-400; axis 0,0,1 through A/300; degrees 400", "no turn"),
        ("Q:300-400; axis 0,0,1 through A/300; degrees 5", "no chain 'Q'"),
        ("A:9300-9400; axis 0,0,1 through A/300; degrees 5", "no residue from 9300"),
        ("A:300-400; axis 0,0,1 through A/9999; degrees 5", "no residue from 9999"),
    ],
)
def test_a_bad_hinge__is_refused_in_its_own_words(models, hinge, said):
    with pytest.raises(InvalidInput, match=said) as caught:
        specimens(models / CHANNEL, hinge=hinge, conformations=(1.0,))
    assert "hinge" in str(caught.value)


def test_a_trace__and_atoms_without_numbers_are_refused(models, tmp_path):
    end = f"{0.0:8.3f}{0.0:8.3f}  1.00 20.00           C"
    lines = [f"ATOM  {i:5d}  CA  ALA A{i:4d}    {1.5 * i:8.3f}{end}" for i in range(1, 30)]
    trace = tmp_path / "trace.pdb"
    trace.write_text("\n".join([*lines, "END"]) + "\n")
    with pytest.raises(Refused, match="side chains"):
        specimens(trace)
    text = (models / APOFERRITIN).read_text()
    place = text.index("\nATOM") + 1
    first = text[place : text.index("\n", place)].split()
    column = next(
        i for i, value in enumerate(first) if value.replace("-", "").replace(".", "").isdigit() and "." in value
    )
    first[column] = "1e30"
    broken = tmp_path / "broken.cif"
    broken.write_text(text[:place] + " ".join(first) + text[text.index("\n", place) :])
    with pytest.raises(CryoframeError, match="no usable position"):
        specimens(broken)
