"""make_mask `threshold` and postprocess `fsc`: on phantoms of known truth and on the real refinement's kind of maps."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import betagal
import numpy as np
import pytest

from cryoframe import HalfMaps, Mask, ParticleStack, StageContext, Volume
from cryoframe.errors import InvalidInput
from cryoframe.formats import mrc
from cryoframe.formats.star import read_star
from cryoframe.numerics import filters, fsc, masks
from cryoframe.testing import phantoms
from cryoframe_finish import mask as mask_plugin
from cryoframe_finish import postprocess as plugin
from cryoframe_model import seed


def test_mask_of_a_real_map__holds_the_molecule_and_little_else(shared_data, tmp_path):
    volume = betagal.published_map(shared_data, 64, 3.54)
    noise = np.random.default_rng(1).normal(0, 0.3 * volume.data.std(), volume.data.shape)
    made = mask_plugin.make_mask(
        replace(volume, data=(volume.data + noise).astype(np.float32)), mask_plugin.Params(), StageContext(tmp_path)
    ).data
    # 465 kDa at 1.21 Å3/Da are 4.8 % of the box; growth of 10 Å and an edge of 18 Å make it a few times that.
    assert 0.05 < (made > 0.5).mean() < 0.2
    dense = np.where(volume.data > 0.2 * volume.data.max(), volume.data, 0.0)
    assert (dense * made).sum() > 0.99 * dense.sum()
    assert made.min() >= 0.0
    assert made.max() == 1.0


def test_threshold__is_taken_as_given(tmp_path):
    volume = phantoms.molecule()
    tight = mask_plugin.make_mask(
        volume,
        mask_plugin.Params(threshold=float(0.5 * volume.data.max()), extend_A=0.0, edge_A=0.0, low_pass_A=8.0),
        StageContext(tmp_path),
    )
    wide = mask_plugin.make_mask(volume, mask_plugin.Params(), StageContext(tmp_path))
    assert set(np.unique(tight.data)) == {0.0, 1.0}
    assert tight.data.sum() < wide.data.sum()


def test_mask_too_wide_for_its_box__falls_to_zero_inside_and_says_so(tmp_path):
    volume = phantoms.molecule()
    lines = []
    wide = mask_plugin.make_mask(
        volume, mask_plugin.Params(extend_A=60.0, edge_A=30.0), StageContext(tmp_path, on_log=lines.append)
    ).data
    for axis in range(3):
        for side in (0, -1):
            assert not np.moveaxis(wide, axis, 0)[side].any()
    assert wide.max() == 1.0
    # Soft: no step is larger than that of a raised cosine of 30 Å, π/2 over its width in voxels, times three axes.
    steepest = max(float(np.abs(np.diff(wide, axis=axis)).max()) for axis in range(3))
    assert steepest < 3 * 0.5 * np.pi * volume.pixel_size_A / 30.0
    assert "faces of the box" in lines[0]
    assert "extend_A" in lines[0]


def test_mask_that_fits__is_left_as_it_is_and_nothing_is_said(tmp_path):
    lines = []
    mask_plugin.make_mask(
        phantoms.molecule(), mask_plugin.Params(extend_A=0.0, edge_A=4.0), StageContext(tmp_path, on_log=lines.append)
    )
    assert lines == []


def test_empty_map__has_no_mask(tmp_path):
    with pytest.raises(InvalidInput, match="empty"):
        mask_plugin.make_mask(
            Volume(np.zeros((8, 8, 8), np.float32), 2.0), mask_plugin.Params(), StageContext(tmp_path)
        )


def halves_of(volume, noise, b_factor_A2=0.0):
    rng = np.random.default_rng(2)
    blurred = filters.apply_b_factor(volume.data, b_factor_A2, pixel_size_A=volume.pixel_size_A, n_dims=3)
    scale = noise * blurred.std()
    return HalfMaps(
        *(replace(volume, data=(blurred + rng.normal(0, scale, blurred.shape)).astype(np.float32)) for _ in range(2))
    )


def test_sharp_mask__is_seen_through_by_phase_randomisation(tmp_path):
    """A rough mask carries the strong low frequencies of both halves to where there is only noise."""
    volume = phantoms.molecule()
    halves = halves_of(volume, 1.0)
    cut = Mask((phantoms.mask().data > 0.99).astype(np.float32), volume.pixel_size_A)
    rough = np.random.default_rng(3).random(cut.data.shape) < 0.3
    result = plugin.postprocess(
        halves, replace(cut, data=(cut.data * rough).astype(np.float32)), plugin.Params(), StageContext(tmp_path)
    )
    bare, masked = result.fsc.floats("fsc_unmasked"), result.fsc.floats("fsc_masked")
    corrected = result.fsc.floats("fsc_corrected")
    fine = slice(9, None)
    assert masked[fine].mean() > bare[fine].mean() + 0.1
    assert abs(corrected[fine].mean()) < 0.15


def test_blurred_map__is_sharpened_by_its_guinier_slope(shared_data, tmp_path):
    volume = betagal.published_map(shared_data, 64, 3.54)
    mask = Mask(betagal.ball(64, 3.54), 3.54)
    params = plugin.Params(guinier_low_A=16.0)
    plain = plugin.postprocess(halves_of(volume, 0.05), mask, params, StageContext(tmp_path))
    blurred = plugin.postprocess(halves_of(volume, 0.05, 200.0), mask, params, StageContext(tmp_path))
    assert plain.b_factor_A2 - blurred.b_factor_A2 == pytest.approx(200.0, abs=40.0)
    inside = mask.data > 0.99
    assert np.corrcoef(plain.volume.data[inside], blurred.volume.data[inside])[0, 1] > 0.9


def test_given_b_factor__is_applied_and_the_mask_left_off_when_asked(tmp_path):
    halves = phantoms.half_maps()
    result = plugin.postprocess(
        halves, phantoms.mask(), plugin.Params(b_factor_A2=-30.0, apply_mask=False), StageContext(tmp_path)
    )
    assert result.b_factor_A2 == -30.0
    assert np.abs(result.volume.data[phantoms.mask().data == 0]).max() > 0.0


def test_guinier_fit_over_too_short_a_range__is_not_trusted(shared_data, tmp_path):
    """A map that ends at 7.1 Å, Nyquist, shows the flank of the protein's own fall-off, not a B-factor."""
    volume = betagal.published_map(shared_data, 64, 3.54)
    mask = Mask(betagal.ball(64, 3.54), 3.54)
    lines, metrics = [], {}
    ctx = StageContext(
        tmp_path, on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, (value, unit))
    )
    result = plugin.postprocess(halves_of(volume, 0.05, 300.0), mask, plugin.Params(), ctx)
    assert metrics["resolution_A"][0] > 6.5
    assert metrics["guinier_b_factor_A2"][0] > 200.0
    assert result.b_factor_A2 == -100.0
    assert metrics["b_factor_A2"] == (-100.0, "Å²")
    assert metrics["resolution_A"][1] == "Å"
    assert metrics["guinier_trusted"][0] == 0.0
    assert metrics["over_sharpened"][0] == 0.0
    assert "not trusted" in lines[0]
    gentle = plugin.postprocess(
        halves_of(volume, 0.05, 300.0), mask, plugin.Params(unsure_b_factor_A2=0.0), StageContext(tmp_path)
    )
    assert gentle.b_factor_A2 == 0.0


def test_boxes_that_differ__are_refused(tmp_path):
    halves = phantoms.half_maps()
    with pytest.raises(InvalidInput, match="one box"):
        plugin.postprocess(halves, Mask(np.ones((8, 8, 8), np.float32), 4.0), plugin.Params(), StageContext(tmp_path))


@pytest.fixture(scope="module")
def fine(shared_data, tmp_path_factory):
    """Potential of 5A1A to 3.2 Å, blurred by 150 Å², twice with noise; its mask; the B-factor it has in all."""
    folder = tmp_path_factory.mktemp("fine")
    n, pixel = 128, 1.6
    table = phantoms.particles(0).stack
    stack = ParticleStack(np.zeros((0, n, n), np.float32), table.particles, pixel, table.optics)
    params = seed.Params(model=shared_data / "models" / "5a1a.cif", symmetry="D2", low_pass_A=2 * pixel)
    sharp = seed.make_initial_volume(stack, params, StageContext(folder))
    smooth = filters.filter_pass(sharp.data, pixel_size_A=pixel, n_dims=3, low_pass_A=10.0)
    mask = Mask(masks.map_mask(smooth, 0.15 * smooth.max(), extend_px=3, edge_px=5), pixel)
    own = plugin.fitted_b_factor(sharp.data, np.ones(n // 2 + 1), 3.25, pixel, plugin.Params())
    return halves_of(sharp, 0.15, 150.0), mask, 150.0 + own


def said(tmp_path):
    lines, metrics = [], {}
    context = StageContext(
        tmp_path, on_log=lines.append, on_metric=lambda name, value, unit: metrics.__setitem__(name, value)
    )
    return context, lines, metrics


def test_b_factor_of_a_known_blur__is_found_within_the_mask(fine, tmp_path, say):
    halves, mask, true_A2 = fine
    result = plugin.postprocess(halves, mask, plugin.Params(), said(tmp_path)[0])
    say(f"B-factor {-result.b_factor_A2:.0f} Å², {true_A2:.0f} Å² is true")
    assert -result.b_factor_A2 == pytest.approx(true_A2, abs=15.0)


def test_sharpening_beyond_the_guinier_fit__raises_its_alarm(fine, tmp_path):
    halves, mask, true_A2 = fine
    for given, alarmed in ((-true_A2, 0.0), (-true_A2 - 100.0, 1.0)):
        context, lines, metrics = said(tmp_path)
        result = plugin.postprocess(halves, mask, plugin.Params(b_factor_A2=given), context)
        assert result.b_factor_A2 == given
        assert metrics["over_sharpened"] == alarmed
        assert any("over-sharpened" in line for line in lines) == bool(alarmed)


def test_detectors_response__is_divided_out_of_the_map_and_leaves_its_fsc(fine, tmp_path):
    halves, mask, _ = fine
    frequency = np.linspace(0.0, 0.5, 26)
    rows = [f"{k:.4f} {np.exp(-((k / 0.4) ** 2)):.6f}" for k in frequency]
    path = tmp_path / "mtf.star"
    path.write_text("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n" + "\n".join(rows) + "\n")
    plain = plugin.postprocess(halves, mask, plugin.Params(), said(tmp_path)[0])
    # exp(-(k p / 0.4)²) is a B-factor of 4 p² / 0.16: 64 Å² for pixels of 1.6 Å, what is left to sharpen is less.
    freed = plugin.postprocess(halves, mask, plugin.Params(mtf_path=path), said(tmp_path)[0])
    assert freed.b_factor_A2 - plain.b_factor_A2 == pytest.approx(64.0, abs=6.0)
    assert freed.fsc.column("fsc_corrected").tolist() == plain.fsc.column("fsc_corrected").tolist()
    binned = plugin.postprocess(halves, mask, plugin.Params(mtf_path=path, mtf_pixel_size_A=0.8), said(tmp_path)[0])
    assert binned.b_factor_A2 - plain.b_factor_A2 == pytest.approx(16.0, abs=3.0)
    path.write_text("data_\nloop_\n_rlnVoltage\n300\n")
    with pytest.raises(InvalidInput, match="holds no MTF"):
        plugin.postprocess(halves, mask, plugin.Params(mtf_path=path), said(tmp_path)[0])


@pytest.mark.relion
def test_relions_postprocess__gives_the_same_fsc_and_by_its_own_rule_the_same_b_factor(fine, tmp_path, say):
    """RELION fits the amplitudes of the whole box, solvent noise and all: by that rule ours is the same."""
    program = shutil.which("relion_postprocess")
    if program is None:
        pytest.skip("relion_postprocess is not installed")
    halves, mask, true_A2 = fine
    pixel = mask.pixel_size_A
    for number, half in enumerate((halves.first, halves.second), 1):
        mrc.write(tmp_path / f"half{number}_class001_unfil.mrc", half.data, pixel_size_A=pixel)
    mrc.write(tmp_path / "mask.mrc", mask.data, pixel_size_A=pixel)
    command = [
        program, "--i", "half1_class001_unfil.mrc", "--i2", "half2_class001_unfil.mrc", "--o", "out", "--mask",
        "mask.mrc", "--angpix", f"{pixel}", "--auto_bfac", "--autob_lowres", "10",
    ]  # fmt: skip
    # It draws a histogram last and fails where there is no program for that: only its table is asked for.
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    blocks = read_star(tmp_path / "out.star", require_final_newline=False)
    ours = plugin.postprocess(halves, mask, plugin.Params(), said(tmp_path)[0])
    theirs = {
        "fsc_unmasked": blocks["fsc"].floats("rlnFourierShellCorrelationUnmaskedMaps"),
        "fsc_masked": blocks["fsc"].floats("rlnFourierShellCorrelationMaskedMaps"),
        "fsc_corrected": blocks["fsc"].floats("rlnFourierShellCorrelationCorrected"),
    }
    off = {name: float(np.abs(ours.fsc.floats(name) - curve).max()) for name, curve in theirs.items()}
    b_A2 = float(blocks["general"].floats("rlnBfactorUsedForSharpening")[0])
    weights = fsc.fsc_weights(np.nan_to_num(ours.fsc.floats("fsc_corrected")))
    average = 0.5 * (halves.first.data + halves.second.data)
    resolution_A = ours.fsc.resolution_A(0.143, curve="fsc_corrected")
    same_rule_A2 = plugin.fitted_b_factor(average, weights, resolution_A, pixel, plugin.Params())
    say(
        f"FSC curves differ by at most {max(off.values()):.3f}; B-factor {ours.b_factor_A2:.0f} Å² here, {b_A2:.0f} Å² "
        f"RELION's, {-same_rule_A2:.0f} Å² here by its rule; {-true_A2:.0f} Å² is true"
    )
    assert off["fsc_unmasked"] < 0.005
    assert off["fsc_masked"] < 0.005
    # Each draws phases of its own: (1 - FSC) times their chance correlation within the mask, some 0.02 a shell.
    assert off["fsc_corrected"] < 0.04
    assert -same_rule_A2 == pytest.approx(b_A2, abs=6.0)
    # RELION calls the last shell above 0.143 the resolution, ours lies between shells.
    assert resolution_A == pytest.approx(float(blocks["general"].floats("rlnFinalResolution")[0]), rel=0.02)
