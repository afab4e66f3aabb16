"""Crystalline ice and ethane: rings where diffraction finds them, density, kinematic strength, cover."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import crystals
from cryoframe.numerics.crystals import CUBIC_ICE, ETHANE, HEXAGONAL_ICE
from cryoframe.numerics.ice import VITREOUS_ICE

G_CM3 = 1.0 / 0.602214076


def ring_power(field, pixel_A, d_A, width_1_A=0.004):
    """Mean power in a ring at a spacing."""
    n = field.shape[0]
    power = np.abs(np.fft.fft2(field)) ** 2
    k = np.hypot(np.fft.fftfreq(n, pixel_A)[:, None], np.fft.fftfreq(n, pixel_A)[None, :])
    return float(power[np.abs(k - 1.0 / d_A) < width_1_A].mean())


def spacings(crystal, n):
    """The n largest spacings with a reflection, and their powers."""
    points, values = crystal.reflections(0.6)
    k = np.round(np.linalg.norm(points, axis=1), 4)
    found = sorted(set(k))[:n]
    return [1.0 / value for value in found], [float(np.sum(np.abs(values[k == value]) ** 2)) for value in found]


def test_densities__are_those_of_the_solids():
    # 0.93 g/cm³ for both ices at low temperature; ethane at 85 K 0.72 g/cm³ (van Nes & Vos 1978).
    assert CUBIC_ICE.molecules_1_A3 * 18.015 * G_CM3 == pytest.approx(0.934, abs=0.005)
    assert HEXAGONAL_ICE.molecules_1_A3 * 18.015 * G_CM3 == pytest.approx(0.924, abs=0.01)
    assert ETHANE.molecules_1_A3 * 30.07 * G_CM3 == pytest.approx(0.72, abs=0.01)
    assert CUBIC_ICE.mean_potential_1_A2 == pytest.approx(VITREOUS_ICE.mean_potential_1_A2, rel=0.01)


@pytest.mark.parametrize(
    ("crystal", "expected_A"),
    [
        (CUBIC_ICE, (3.67, 2.25, 1.91)),  # 111, 220, 311: extinctions of diamond
        (HEXAGONAL_ICE, (3.91, 3.67, 3.45)),  # 100, 002, 101
        (ETHANE, (4.05,)),  # 011; 100, 010, 001 are absent in P2₁/n with centred molecules
    ],
    ids=["cubic", "hexagonal", "ethane"],
)
def test_first_rings__are_where_diffraction_finds_them(crystal, expected_A):
    found, powers = spacings(crystal, len(expected_A))
    assert found == pytest.approx(expected_A, abs=0.02)
    assert min(powers) > 1e-3 * max(powers)


def test_a_single_crystal__has_the_power_of_its_reflections():
    pixel_A, n, t = 1.0, 512, 300.0
    rotation = crystals.grain_rotation(CUBIC_ICE, np.random.default_rng(3), highest_1_A=0.5)
    waves = crystals.crystal_waves(CUBIC_ICE, rotation, t, highest_1_A=0.5)
    window = (slice(0, n), slice(0, n))
    field = crystals._pattern(window, waves, pixel_A)
    # Parseval: each pair ±g carries 2·|V_g·t·sinc|².
    points, values = CUBIC_ICE.reflections(0.5)
    expected = np.sum(np.abs(values * t * np.sinc((points @ rotation.T)[:, 2] * t)) ** 2)
    assert field.var(dtype=float) == pytest.approx(expected, rel=0.03)
    # The reflection across the beam is at its full strength, kinematic: V_g·t.
    strongest = np.abs(waves[1]).max()
    assert strongest == pytest.approx(
        np.abs(values[np.argmax(np.abs(values * np.sinc((points @ rotation.T)[:, 2] * t)))]) * t
    )
    power = np.abs(np.fft.rfft2(field * np.hanning(n)[:, None] * np.hanning(n)))
    peak = np.unravel_index(np.argmax(power), power.shape)
    k = np.hypot(np.fft.fftfreq(n)[peak[0]], peak[1] / n)
    distances = np.abs(np.linalg.norm(waves[0], axis=1) - k)
    assert distances.min() < 1.0 / n


@pytest.mark.parametrize(
    ("crystal", "d_A", "beside_A"), [(CUBIC_ICE, 3.666, 3.2), (HEXAGONAL_ICE, 3.907, 4.4), (ETHANE, 4.052, 4.6)]
)
def test_many_grains__show_the_ring_and_nothing_beside_it(crystal, d_A, beside_A, figure):
    rng = np.random.default_rng(4)
    layer = np.full((1024, 1024), 300.0, dtype=np.float32)
    field = crystals.polycrystal(layer, 1.0, crystal, rng=rng, grain_A=150.0)
    contrast = ring_power(field, 1.0, d_A) / ring_power(field, 1.0, beside_A)
    figure(f"power of the {d_A} Å ring over that at {beside_A} Å", contrast)
    assert contrast > 20.0
    assert abs(field.mean()) < 0.02 * field.std()


def test_crystalline_ice__covers_its_share_and_outshines_amorphous_ice_at_its_ring(figure):
    rng = np.random.default_rng(5)
    layer = np.full((768, 768), 300.0, dtype=np.float32)
    field, covered = crystals.crystalline_ice(layer, 1.0, covered_frac=0.4, rng=rng, patch_A=400.0, grain_A=150.0)
    assert covered.mean() == pytest.approx(0.4, abs=0.01)
    assert not field[~covered].any()
    # Against the amorphous solid's n·t·|F|²·S of the same volume at its own first peak.
    crystal = ring_power(field, 1.0, 3.666) / field.size
    amorphous = float(VITREOUS_ICE.power_1_A(np.array([1 / 3.666]))[0]) * 300.0 * 0.4
    figure("crystalline over amorphous power at 3.67 Å", crystal / amorphous)
    assert crystal > 5.0 * amorphous


def test_contamination__is_islands_that_add_their_mean_potential():
    rng = np.random.default_rng(6)
    field, thickness = crystals.contamination((512, 512), 2.0, ETHANE, covered_frac=0.25, height_A=500.0, rng=rng)
    assert (thickness > 0).mean() == pytest.approx(0.25, abs=0.01)
    assert thickness.max() == pytest.approx(500.0)
    assert not field[thickness == 0].any()
    inside = thickness > 0
    assert field[inside].mean() == pytest.approx(ETHANE.mean_potential_1_A2 * thickness[inside].mean(), rel=0.05)


def test_crystals_repeat_by_seed__and_impossible_ones_are_refused():
    layer = np.full((128, 160), 300.0, dtype=np.float32)
    one, again = (
        crystals.polycrystal(layer, 1.0, CUBIC_ICE, rng=np.random.default_rng(7), grain_A=60.0) for _ in range(2)
    )
    assert np.array_equal(one, again)
    with pytest.raises(InvalidInput, match="grains of"):
        crystals.polycrystal(layer, 10.0, CUBIC_ICE, rng=np.random.default_rng(7), grain_A=60.0)
    with pytest.raises(InvalidInput, match=r"over 1\.5"):
        crystals.patches((64, 64), 1.0, covered_frac=1.5, size_A=20.0, rng=np.random.default_rng(7))
    with pytest.raises(InvalidInput, match=r"over -1"):
        crystals.contamination(
            (64, 64), 1.0, ETHANE, covered_frac=-1, height_A=10.0, rng=np.random.default_rng(7), size_A=20.0
        )
