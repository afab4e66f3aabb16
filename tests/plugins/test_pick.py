"""pick_particles `blob` on hand-marked real micrographs, simulated discs, and noise."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from cryoframe import CtfFit, Micrograph, Optics, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.formats import mrc
from cryoframe.numerics import blob, ctf, noise, peaks
from cryoframe_pick.plugin import Params, pick_particles

FIT = CtfFit("m", 15000.0, 15000.0, 0.0)


def pick(micrograph, fit, tmp_path, **params):
    table = pick_particles(micrograph=micrograph, ctf=fit, params=Params(**params), ctx=StageContext(tmp_path))
    table.check(partial=True)
    return np.stack([table.floats("x_A"), table.floats("y_A")], axis=1), table.floats("figure_of_merit")


def reference_rows(shared_data, kind):
    with (shared_data / "micrographs" / "reference_ctf_fits.csv").open() as lines:
        return [row for row in csv.DictReader(lines) if row["image"].endswith(kind)]


def fit_of(row):
    return CtfFit(row["image"], float(row["defU_A"]), float(row["defV_A"]), float(row["angle_deg"]))


def test_hand_marked_apoferritin__is_found(shared_data, tmp_path, say):
    imagecodecs = pytest.importorskip("imagecodecs")
    folder = shared_data / "micrographs" / "apoferritin_EMPIAR-10146"
    reached = []
    for row in reference_rows(shared_data, ".png"):
        data = imagecodecs.imread(folder / row["image"]).astype(np.float32)
        name = row["image"].replace(".bin_avg.png", "")
        truth = np.loadtxt(folder / "coords" / f"{name}.csv", delimiter=",", skiprows=1)
        micrograph = Micrograph(name, data, 1.5, optics=Optics(300.0, 2.7, 0.07))
        found, scores = pick(micrograph, fit_of(row), tmp_path, diameter_A=120.0, inner_diameter_A=72.0)
        precision, recall = peaks.match_points(found / 1.5, truth, 60.0 / 1.5)
        solid, _ = pick(micrograph, fit_of(row), tmp_path, diameter_A=120.0)
        as_solid = peaks.match_points(solid / 1.5, truth, 60.0 / 1.5)
        say(
            f"{name}: {len(found)} picks of {len(truth)} marked, precision {precision:.3f} recall {recall:.3f}; "
            f"as a solid ball {as_solid[0]:.3f} {as_solid[1]:.3f}"
        )
        reached.append((precision, recall, *as_solid))
        assert np.all(np.diff(scores) <= 0)
    mean = np.mean(reached, axis=0)
    say(f"mean: precision {mean[0]:.3f} recall {mean[1]:.3f}; as a solid ball {mean[2]:.3f} {mean[3]:.3f}")
    assert len(reached) == 6
    assert mean[0] > 0.93
    assert mean[1] > 0.93
    assert mean[2] > 0.93
    assert mean[3] > 0.90


def star_points(path):
    """First two columns, x and y [px], of the only loop of a STAR file of coordinates."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return np.array([[float(x) for x in row[:2]] for row in rows if len(row) > 2 and row[0][0].isdigit()])


def test_low_passed_betagal__is_found_and_its_coordinates_need_flipping(shared_data, tmp_path, say):
    imagecodecs = pytest.importorskip("imagecodecs")
    folder = shared_data / "micrographs" / "betagal_EMPIAR-10017_lowpassed"
    for path in sorted(folder.glob("*_0.jpg")):
        micrograph = Micrograph(path.stem, imagecodecs.imread(path).astype(np.float32), 1.77)
        marked = star_points(folder / f"{path.stem}_yflip_coords.star")
        flipped = np.stack([marked[:, 0], micrograph.shape_px[0] - 1 - marked[:, 1]], axis=1)
        # The CTF of these pictures is not known.
        found, _ = pick(micrograph, FIT, tmp_path, diameter_A=120.0, use_ctf=False)
        right, wrong = (peaks.match_points(found / 1.77, truth, 75 / 1.77) for truth in (flipped, marked))
        say(f"{path.stem}: {len(found)} picks of {len(marked)}, precision {right[0]:.2f} recall {right[1]:.2f}")
        assert right[0] > 0.55
        assert right[1] > 0.75
        # A disc of 75 Å around 600 points covers a fifth of the picture: no better than chance.
        assert wrong[0] < 0.25


def test_real_contamination__is_hardly_picked(shared_data, tmp_path, say):
    folder = shared_data / "micrographs" / "contamination"
    data, _ = mrc.read_image(folder / "mics_Ucsf_stack_1142_DW.mrc")
    probability, _ = mrc.read_image(folder / "masks_Ucsf_stack_1142_DW.mrc")
    junk = probability > 0.5
    # The header's pixel is wrong and the true one is not known; 5 Å makes the specks smaller than a particle.
    found, _ = pick(Micrograph("c", data, 5.0), FIT, tmp_path, use_ctf=False)
    at = np.rint(found / 5.0).astype(int)
    inside = junk[at[:, 1], at[:, 0]].mean() if len(at) else 0.0
    say(f"contamination: {len(found)} picks, {inside:.0%} of them in the {junk.mean():.0%} that are contaminated")
    assert inside < 0.5 * junk.mean()


def test_the_real_epu_micrograph__gives_particles_and_its_negative_far_fewer(shared_data, tmp_path, say):
    data, _ = mrc.read_image(shared_data / "micrographs" / "epu" / "fei-extended.mrc")
    row = reference_rows(shared_data, ".mrc")[0]
    optics = Optics(300.0, 2.7, 0.07)
    found, _ = pick(Micrograph("epu", data, 0.853775, optics=optics), fit_of(row), tmp_path, diameter_A=130.0)
    inverted = Micrograph("epu", (data.max() - data).astype(np.float32), 0.853775, optics=optics)
    wrong, _ = pick(inverted, fit_of(row), tmp_path, diameter_A=130.0)
    say(f"EPU micrograph: {len(found)} picks; {len(wrong)} in its negative")
    # By eye there are some 115 to 125 particles.
    assert 80 <= len(found) <= 170
    assert len(wrong) < 0.5 * len(found)


@pytest.mark.parametrize("seed", range(6))
def test_pure_noise__gives_nearly_no_picks(seed, tmp_path, say):
    """White for even seeds; for odd ones with the 1/k rise of ice at low frequency."""
    white = np.random.default_rng(seed).standard_normal((1024, 1024))
    k = np.hypot(np.fft.fftfreq(1024)[:, None], np.fft.rfftfreq(1024)[None])
    rise = 1 + (0.02 / np.maximum(k, 1 / 1024) if seed % 2 else 0)
    coloured = np.fft.irfft2(np.fft.rfft2(white) * rise).astype(np.float32)
    found, _ = pick(Micrograph("m", coloured, 1.5), FIT, tmp_path, diameter_A=120.0)
    say(f"noise {seed}: {len(found)} picks")
    # The field holds some 160 particles of this size: two per cent of them at most.
    assert len(found) <= 3


def simulated(positions_px, *, n=(700, 640), pixel_A=2.0, radius_A=60.0, contrast=0.6, seed=3):
    """Balls as a microscope images them at FIT's defocus, protein dark, on white noise of deviation 1."""
    kx = np.fft.rfftfreq(n[1], pixel_A)[None, :]
    ky = np.fft.fftfreq(n[0], pixel_A)[:, None]
    transfer = ctf.ctf(
        kx, ky, voltage_kV=300.0, cs_mm=2.7, amplitude_contrast=0.1, defocus_u_A=15000.0, defocus_v_A=15000.0
    )
    one = blob.ball(np.hypot(kx, ky), radius_A) * transfer
    phases = sum(np.exp(-2j * np.pi * pixel_A * (kx * x + ky * y)) for x, y in positions_px)
    image = np.fft.irfft2(one * phases, s=n)
    image *= contrast / np.abs(image).max()
    return (1000.0 - image + noise.white_noise(n, np.random.default_rng(seed))).astype(np.float32)


def grid_positions():
    rng = np.random.default_rng(8)
    points = [(x, y) for y in range(80, 640, 110) for x in range(80, 600, 110)]
    return np.array(points) + rng.uniform(-10, 10, (len(points), 2))


def test_simulated_balls__are_found_where_they_are(tmp_path):
    truth = grid_positions()
    found, _ = pick(Micrograph("m", simulated(truth), 2.0), FIT, tmp_path, diameter_A=120.0)
    precision, recall = peaks.match_points(found / 2.0, truth, 6.0)
    # Where fringes of three neighbours meet there is a weak false peak now and then.
    assert precision > 0.85
    assert recall > 0.95
    nearest = np.hypot(*(truth[:, None] - found[None] / 2.0).transpose(2, 0, 1)).min(axis=1)
    assert np.median(nearest) < 2.0


def test_scale_and_offset_of_grey_values__do_not_matter(tmp_path):
    data = simulated(grid_positions())
    one, score = pick(Micrograph("m", data, 2.0), FIT, tmp_path, diameter_A=120.0)
    other, again = pick(Micrograph("m", 0.01 * data - 3, 2.0), FIT, tmp_path, diameter_A=120.0)
    assert np.allclose(one, other, atol=0.5)
    assert np.allclose(score, again, atol=0.02)


def test_turning_the_micrograph_by_180_degrees__turns_the_picks(tmp_path):
    data = simulated(grid_positions())
    one, score = pick(Micrograph("m", data, 2.0), FIT, tmp_path, diameter_A=120.0)
    other, _ = pick(Micrograph("m", data[::-1, ::-1].copy(), 2.0), FIT, tmp_path, diameter_A=120.0)
    turned = np.array([(640 - 1) * 2.0, (700 - 1) * 2.0]) - other
    # Weak peaks near the threshold may differ: the padding is on the other side.
    strong = one[score > 6]
    assert len(strong) > 20
    assert peaks.match_points(strong, turned, 4.0)[0] == 1.0


def test_contamination__is_left_out(tmp_path):
    data = simulated(grid_positions())
    y, x = np.indices(data.shape)
    data[np.hypot(x - 320, y - 350) < 60] -= 30.0
    found, _ = pick(Micrograph("m", data, 2.0), FIT, tmp_path, diameter_A=120.0)
    assert np.hypot(found[:, 0] / 2.0 - 320, found[:, 1] / 2.0 - 350).min() > 60
    assert len(found) > 15


def test_input_is_untouched_and_threads_do_not_matter(tmp_path):
    data = simulated(grid_positions())
    data.flags.writeable = False
    micrograph = Micrograph("m", data, 2.0)
    tables = [
        pick_particles(
            micrograph=micrograph, ctf=FIT, params=Params(diameter_A=120.0), ctx=StageContext(tmp_path, n_threads=n)
        )
        for n in (1, 2)
    ]
    assert tables[0] == tables[1]


def test_impossible_requests__are_refused_with_a_remedy(tmp_path):
    data = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
    with pytest.raises(InvalidInput, match="diameter_A"):
        pick(Micrograph("m", data, 200.0), FIT, tmp_path)
    with pytest.raises(InvalidInput, match=r"diameter_A.*pixel_size_A"):
        pick(Micrograph("m", data, 50.0), FIT, tmp_path)  # three pixels across: no shape to look for
    with pytest.raises(InvalidInput, match="at most half"):
        pick(Micrograph("m", data, 1.5), FIT, tmp_path, diameter_A=200.0)
    with pytest.raises(InvalidInput, match="not finite"):
        pick(Micrograph("m", np.where(data > 3, np.nan, data), 1.5), FIT, tmp_path)
    with pytest.raises(InvalidInput, match="n_scales"):
        pick(Micrograph("m", data, 1.5), FIT, tmp_path, n_scales=0)
    with pytest.raises(InvalidInput, match="at least"):
        pick(Micrograph("m", data, 0.5), FIT, tmp_path)


@pytest.mark.parametrize("shape", [(700, 640), (701, 633)])
@pytest.mark.parametrize("stated_A", [0.0, 150.0])
def test_picks__keep_the_distance_that_the_kernel_holds_them_to(shape, stated_A, tmp_path):
    params = Params(diameter_A=120.0, min_distance_A=stated_A, threshold=1.5, false_frac=1.0)
    assert params.least_distance_A == (stated_A or 72.0)
    data = simulated(grid_positions(), n=shape)
    found, _ = pick(
        Micrograph("m", data, 2.0), FIT, tmp_path, diameter_A=120.0, min_distance_A=stated_A, threshold=1.5,
        false_frac=1.0,
    )  # fmt: skip
    gaps = np.hypot(*(found[:, None] - found[None]).transpose(2, 0, 1))[np.triu_indices(len(found), 1)]
    assert len(found) > 15
    assert gaps.min() >= params.least_distance_A * (1 - 1e-4)
