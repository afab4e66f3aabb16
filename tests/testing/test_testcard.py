"""The test card names each of the eight symmetries of a picture, of picks and of boxes, and both hands of a map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.plugins import Plugins
from cryoframe.testing import cases, phantoms, specimens, testcard
from cryoframe.testing.sessions import Session

NAMES = tuple(testcard.SYMMETRIES)
SHAPE_PX = (60, 84)


def test_the_card__is_not_square_and_differs_from_each_of_its_images() -> None:
    card = testcard.card_image(SHAPE_PX)
    assert card.shape[0] != card.shape[1]
    square = testcard.card_image((64, 64))
    scores = [testcard.correlation(square, testcard.apply_to_image(name, square)) for name in NAMES[1:]]
    assert max(scores) < 0.7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [SHAPE_PX, (64, 64), (61, 85)], ids=str)
def test_each_symmetry_of_an_image__is_named(name: str, shape: tuple[int, int]) -> None:
    card = testcard.card_image(shape)
    noise = np.random.default_rng(1).normal(0.0, 0.3, card.shape)
    assert testcard.identify_image_symmetry(card, testcard.apply_to_image(name, card + noise)) == name


@pytest.mark.parametrize("name", NAMES)
def test_each_symmetry_of_picks__is_named(name: str) -> None:
    truth = phantoms.micrograph(18).centres_A / phantoms.PIXEL_A
    jitter = np.random.default_rng(2).normal(0.0, 1.0, truth.shape)
    found = testcard.apply_to_points(name, truth + jitter, phantoms.FIELD_PX)[::-1]
    assert testcard.identify_picks_symmetry(truth, found, phantoms.FIELD_PX, within_px=6.0) == name


@pytest.mark.parametrize("name", NAMES)
def test_points__go_where_the_pixels_go(name: str) -> None:
    points = np.array([[3.0, 5.0], [70.0, 11.0], [40.0, 59.0]])
    marked = np.zeros(SHAPE_PX)
    marked[points[:, 1].astype(int), points[:, 0].astype(int)] = 1.0
    moved = testcard.apply_to_points(name, points, SHAPE_PX).astype(int)
    assert np.all(testcard.apply_to_image(name, marked)[moved[:, 1], moved[:, 0]] == 1.0)


@pytest.mark.parametrize("mirror", [False, True], ids=["sections-kept", "sections-reversed"])
@pytest.mark.parametrize("name", NAMES)
def test_each_symmetry_of_a_map__is_named_with_its_hand(name: str, mirror: bool) -> None:
    volume = phantoms.molecule()
    noise = np.random.default_rng(3).normal(0.0, 0.2, volume.data.shape)
    result = testcard.apply_to_map(name, volume.data + noise, mirror=mirror)
    assert testcard.identify_map_symmetry(volume.data, result) == (name, mirror)
    expected = "left" if (name in testcard.MIRRORS) != mirror else "right"
    assert testcard.identify_map_hand(volume.data, result) == expected


def test_the_molecule__has_a_hand() -> None:
    volume = phantoms.molecule()
    assert testcard.identify_map_hand(volume.data, phantoms.mirrored(volume).data) == "left"


def test_something_else__is_not_given_a_name() -> None:
    noise = np.random.default_rng(4).normal(size=SHAPE_PX)
    with pytest.raises(InvalidInput, match="resembles no symmetry"):
        testcard.identify_image_symmetry(testcard.card_image(SHAPE_PX), noise)
    with pytest.raises(InvalidInput, match="resembles no symmetry"):
        testcard.identify_image_symmetry(testcard.card_image(SHAPE_PX), np.zeros((5, 5)))
    with pytest.raises(InvalidInput, match="resemble no symmetry"):
        testcard.identify_picks_symmetry(noise[:9, :2] * 50, np.zeros((0, 2)), SHAPE_PX, within_px=5.0)


@pytest.mark.parametrize(("found_deg", "name"), [(25, "identity"), (155, "flip_y"), (115, "rot90"), (65, "transpose")])
def test_each_symmetry_of_an_axis__is_named(found_deg: float, name: str) -> None:
    assert testcard.identify_angle_symmetry(25.0, found_deg + 3.0) == name


# -- injected into what a plugin returns -----------------------------------------------------------------------
def _session(source: str, folder: Path) -> Session:
    path = folder / "injected.py"
    path.write_text(source, encoding="utf-8")
    (offer,) = local_offers([path])
    (folder / "work").mkdir()
    return Session(Plugins([offer]), offer, folder / "work")


def _found(session: Session) -> str:
    from cryoframe.errors import ConformanceError
    from cryoframe.testing.checks import orientation

    try:
        orientation.orientation(session)
    except ConformanceError as error:
        return str(error).split("'")[1]
    return "identity"


PICKER = """
import numpy as np
from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe.testing import testcard
from cryoframe_pick import plugin as reference

Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    points = np.stack([table.floats("x_A"), table.floats("y_A")], axis=-1) / micrograph.pixel_size_A
    x, y = (testcard.apply_to_points("{name}", points, micrograph.shape_px) * micrograph.pixel_size_A).T
    return table.with_columns({{"x_A": x.astype(np.float32), "y_A": y.astype(np.float32)}})
"""
EXTRACTOR = """
from dataclasses import replace
from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe.testing import testcard
from cryoframe_extract import plugin as reference

Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    stack = reference.extract_particles(micrograph, particles, ctf, params, ctx)
    return replace(stack, images=testcard.apply_to_image("{name}", stack.images))
"""
MASKER = """
from dataclasses import replace
from cryoframe import Mask, StageContext, Volume, hookimpl
from cryoframe.testing import testcard
from cryoframe_finish import mask as reference

Params = reference.Params


@hookimpl
def make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask:
    mask = reference.make_mask(volume, params, ctx)
    return replace(mask, data=testcard.apply_to_map("{name}", mask.data, mirror={mirror}))
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_picker_that_turns_its_picks__is_told_how(name: str, tmp_path: Path) -> None:
    assert _found(_session(PICKER.format(name=name), tmp_path)) == name


@pytest.mark.parametrize("name", NAMES)
def test_an_extractor_that_turns_its_boxes__is_told_how(name: str, tmp_path: Path) -> None:
    assert _found(_session(EXTRACTOR.format(name=name), tmp_path)) == name


@pytest.mark.parametrize("mirror", [False, True], ids=["sections-kept", "sections-reversed"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stage_that_turns_its_map__is_told_how(name: str, mirror: bool, tmp_path: Path) -> None:
    expected = f"{name}, sections reversed" if mirror else name
    assert _found(_session(MASKER.format(name=name, mirror=mirror), tmp_path)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_movie_reader_that_turns_its_frames__is_told_how(name: str) -> None:
    frames = specimens.card_frames().astype(np.float32)
    turned = testcard.apply_to_image(name, frames)
    assert testcard.identify_image_symmetry(testcard.card_image(specimens.SHAPE_PX), turned[0]) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_gain_that_is_turned_against_its_movie__is_told_how(name: str) -> None:
    """Frames divided by the right gain are flat; the reciprocal of their mean shows the gain's own orientation."""
    gain = 1.0 + 0.5 * testcard.card_image((64, 64))
    raw = 10.0 / gain + 0.05 * np.random.default_rng(5).standard_normal((20, 64, 64))
    turned = testcard.apply_to_image(name, gain)
    assert testcard.identify_image_symmetry(turned, 1.0 / raw.mean(axis=0)) == _inverse(name)


def _inverse(name: str) -> str:
    return {"rot90": "rot270", "rot270": "rot90"}.get(name, name)


def test_poses__are_told_when_they_belong_to_the_other_hand() -> None:
    """Projections of the mirrored map at the poses given do not resemble the particles; those of the map do."""
    made = phantoms.particles(40, snr=0.5, key="hand")
    right = phantoms.projections(made.volume, made.euler_deg, shifts_A=made.shifts_A, fit=phantoms.CTF)
    left = phantoms.projections(
        phantoms.mirrored(made.volume), made.euler_deg, shifts_A=made.shifts_A, fit=phantoms.CTF
    )
    images = made.stack.images
    scores = [
        np.median([testcard.correlation(a, b) for a, b in zip(images, each, strict=True)]) for each in (right, left)
    ]
    assert scores[0] > 0.5 > scores[1]


def test_a_case__is_made_for_every_stage_on_the_line(tmp_path: Path) -> None:
    line = ("correct_motion", "estimate_ctf", "pick_particles", "extract_particles", "classify_2d",
            "make_initial_volume", "refine_3d", "make_mask", "postprocess")  # fmt: skip
    assert all(cases.has_phantom(hook) for hook in line)
    for hook in line:
        for variant in cases.VARIANTS[hook]:
            folder = tmp_path / f"{hook}-{variant}"
            folder.mkdir()
            case = cases.make(hook, variant, folder)
            assert case is not None
            assert case.inputs
        assert cases.make(hook, "unheard-of", tmp_path) is None


def test_phantom_particles__reconstruct_to_the_molecule_they_came_from(figure: Callable[[str, object], None]) -> None:
    from cryoframe.numerics import reconstruction, rotations

    made = phantoms.particles(300, snr=2.0, key="round trip")
    data = reconstruction.reconstruct(
        made.stack.images,
        rotations.euler_to_matrix(*made.euler_deg.T).astype(np.float32),
        made.shifts_A / phantoms.PIXEL_A,
        ctfs=np.repeat(phantoms.transfer(phantoms.BOX_PX, phantoms.PIXEL_A, phantoms.CTF), 300, axis=0),
    )
    score = testcard.correlation(made.volume.data, data)
    figure("phantom particles back-projected at their true poses, correlation with the molecule", round(score, 3))
    assert score > 0.95
