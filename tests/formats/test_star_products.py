"""Particles of other programs become products with identity and half-set, and go out again as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.images import ParticleStack
from cryoframe.data.maps import Volume
from cryoframe.errors import Refused
from cryoframe.formats import mrc, products, star_products
from cryoframe.formats.star_columns import particles_from_star

CURATED = "particles/betagal_K2_EMPIAR-10204/particles_dev_593.star"


@pytest.fixture
def real(shared_data: Path, tmp_path: Path) -> ParticleStack:
    """The 593 real particles."""
    return star_products.stack_from_star(shared_data / CURATED, images_path=tmp_path / "images")


def test_real_particles__keep_micrograph_half_set_and_images(real: ParticleStack, shared_data: Path) -> None:
    stated = particles_from_star(shared_data / CURATED).columns
    assert real.particles.column("half").tolist() == stated["half"].tolist()
    assert real.particles.column("micrograph_id").tolist() == [str(name) for name in stated["micrograph_name"]]
    assert len(set(real.particles.column("particle_id").tolist())) == 593
    source = mrc.open_mapped(shared_data / Path(CURATED).with_suffix(".mrcs"))
    row = 100
    assert np.array_equal(real.images[row], source[int(stated["stack_index"][row])])


def test_out_and_in_again__is_the_same_to_float32(real: ParticleStack, tmp_path: Path) -> None:
    path = tmp_path / "out.star"
    star_products.table_to_star(path, real.particles, real.optics, pixel_size_A=3.54, box_px=64, stack_name="s.mrcs")
    back = particles_from_star(path)
    for name in ("defocus_u_A", "defocus_angle_deg", "rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A"):
        assert np.allclose(back.columns[name], real.particles.floats(name), rtol=1e-6, atol=1e-4), name
    assert back.columns["half"].tolist() == real.particles.column("half").tolist()
    assert back.columns["stack_index"].tolist() == list(range(593))
    assert (back.optics[0]["voltage_kV"], back.optics[0]["pixel_size_A"]) == (200.0, 3.54)


def test_the_same_file_twice__gives_the_same_identities(shared_data: Path, real: ParticleStack, tmp_path: Path) -> None:
    again = star_products.stack_from_star(shared_data / CURATED, images_path=tmp_path / "again")
    assert again.particles == real.particles


def test_half_sets_nobody_assigned__are_assigned_by_micrograph(tmp_path: Path) -> None:
    rows = "".join(f"m{number % 8}.mrc {number} 1 1\n" for number in range(64))
    labels = ("MicrographName", "CoordinateX", "CoordinateY", "OpticsGroup")
    head = "".join(f"_rln{label}\n" for label in labels)
    (tmp_path / "picks.star").write_text(f"data_\n\nloop_\n{head}{rows}\n")
    table = star_products.table_from_star(tmp_path / "picks.star", pixel_size_A=2.0)
    assert table.floats("x_A")[3] == 6.0
    halves: dict[str, set[int]] = {}
    for micrograph, half in zip(table.column("micrograph_id"), table.column("half"), strict=True):
        halves.setdefault(str(micrograph), set()).add(int(half))
    assert all(len(found) == 1 for found in halves.values())
    assert {half for found in halves.values() for half in found} == {1, 2}
    with pytest.raises(Refused, match="pixels of unknown size"):
        star_products.table_from_star(tmp_path / "picks.star")


def test_a_stack_that_is_not_there__is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"stack gone\.mrcs is not found.*root"):
        star_products.find_stack("gone.mrcs", tmp_path / "p.star")


def test_a_map_that_is_no_cube__is_refused_and_a_cube_is_marked_as_from_outside(tmp_path: Path) -> None:
    mrc.write(tmp_path / "flat.mrc", np.zeros((4, 8, 8), np.float32), pixel_size_A=1.0)
    with pytest.raises(Refused, match="expected a cube"):
        star_products.volume_from_mrc(tmp_path / "flat.mrc")
    mrc.write(tmp_path / "map.mrc", np.zeros((8, 8, 8), np.float32), pixel_size_A=1.5)
    volume = star_products.volume_from_mrc(tmp_path / "map.mrc", symmetry="D2")
    assert (volume.pixel_size_A, volume.symmetry, volume.provenance) == (1.5, "D2", "reference-derived: map.mrc")
    assert star_products.volume_from_mrc(tmp_path / "map.mrc", pixel_size_A=3.0).pixel_size_A == 3.0


def test_a_stored_map__states_its_pixel_size_to_other_programs(tmp_path: Path) -> None:
    products.save(Volume(np.ones((8, 8, 8), np.float32), 1.25), tmp_path)
    assert mrc.read_header(tmp_path / "Volume.data.mrc").pixel_size_A == (1.25, 1.25, 1.25)


def two_stacks(tmp_path: Path, second_box: int, second_index: int) -> Path:
    mrc.write(tmp_path / "a.mrcs", np.ones((2, 8, 8), np.float32), pixel_size_A=2.0, is_stack=True)
    mrc.write(tmp_path / "b.mrcs", np.ones((4, second_box, second_box), np.float32), pixel_size_A=2.0, is_stack=True)
    path = tmp_path / "p.star"
    path.write_text(
        "data_optics\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnVoltage\n_rlnSphericalAberration\n"
        "_rlnAmplitudeContrast\n1 2.0 300 2.7 0.1\n\ndata_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n"
        f"000002@a.mrcs 1\n{second_index:06d}@b.mrcs 1\n"
    )
    return path


@pytest.mark.parametrize(
    ("box", "index", "says"),
    [
        (8, 5, "row 1 is image 5 of b.mrcs, which holds 4"),
        # Boxes of 4 px fill one of 8 px: read on regardless, four particles would make one image.
        (4, 1, r"boxes of 4 × 4 px in b.mrcs, of 8 px in a.mrcs"),
        (16, 1, r"boxes of 16 × 16 px in b.mrcs"),
    ],
)
def test_images_that_are_not_there_or_of_another_box__are_refused(
    tmp_path: Path, box: int, index: int, says: str
) -> None:
    with pytest.raises(Refused, match=says) as refused:
        star_products.stack_from_star(two_stacks(tmp_path, box, index), images_path=tmp_path / "images")
    assert refused.value.remedy


def test_stacks_of_one_box__are_gathered(tmp_path: Path) -> None:
    stack = star_products.stack_from_star(two_stacks(tmp_path, 8, 4), images_path=tmp_path / "images")
    assert stack.images.shape == (2, 8, 8)
