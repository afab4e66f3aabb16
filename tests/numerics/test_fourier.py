"""Transforms, shifts, crops and pads against numpy's own and against theorems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier

SIZES = [1, 2, 5, 8, 15, 24]


def _noise(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("n_dims", [2, 3])
def test_centred_half_transform__equals_the_full_one_by_numpy(n, n_dims):
    array = _noise(*(n,) * n_dims, dtype=np.float64)
    full = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(array)))
    half = (fourier.fft2_centred if n_dims == 2 else fourier.fft3_centred)(array)
    # Columns 0 … n//2 of the half layout; an even Nyquist column sits at index 0 of the shifted full one.
    columns = [(n // 2 + k) % n for k in range(n // 2 + 1)]
    np.testing.assert_allclose(half, full[..., columns], atol=1e-10)


@pytest.mark.parametrize("shape", [(5, 6), (3, 8, 8), (2, 2, 7, 9), (6, 5)])
def test_2d_round_trip__any_shape_and_stack(shape):
    images = _noise(*shape)
    ft = fourier.fft2_centred(images)
    assert ft.dtype == np.complex64
    back = fourier.ifft2_centred(ft, shape=shape[-2:])
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, images, atol=2e-6)


@pytest.mark.parametrize("n", SIZES)
def test_3d_round_trip__odd_and_even_without_being_told(n):
    volume = _noise(n, n, n)
    np.testing.assert_allclose(fourier.ifft3_centred(fourier.fft3_centred(volume)), volume, atol=3e-6)


def test_zero_frequency__holds_the_sum():
    images = _noise(8, 8)
    assert fourier.fft2_centred(images)[4, 0] == pytest.approx(images.sum(), rel=1e-5)


@pytest.mark.parametrize("n", [7, 8])
def test_hermitian_weights__make_parseval_hold(n):
    images = _noise(n, n, dtype=np.float64)
    power = np.abs(fourier.fft2_centred(images)) ** 2
    assert (power * fourier.hermitian_weights(n)).sum() == pytest.approx(n * n * (images**2).sum())


@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (5, 5)])
def test_shift_by_whole_pixels__equals_roll(shape):
    images = _noise(2, *shape)
    moved = fourier.shift_images(images, [[2, -1], [-3, 4]])
    np.testing.assert_allclose(moved[0], np.roll(images[0], (-1, 2), axis=(0, 1)), atol=2e-6)
    np.testing.assert_allclose(moved[1], np.roll(images[1], (4, -3), axis=(0, 1)), atol=2e-6)
    assert moved.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(-5, 5) for _ in range(4)]))
def test_shifts__add_up_and_undo_each_other(shifts):
    # Odd box: no Nyquist sample, for which a sub-pixel shift of a real image is not defined.
    image = _noise(9, 9, dtype=np.float64)
    first, second = np.array(shifts[:2]), np.array(shifts[2:])
    in_two = fourier.shift_images(fourier.shift_images(image, first), second)
    np.testing.assert_allclose(in_two, fourier.shift_images(image, first + second), atol=1e-9)
    np.testing.assert_allclose(fourier.shift_images(in_two, -first - second), image, atol=1e-9)


def test_phase_ramp__moves_content_like_shift_images():
    images = _noise(3, 9, 9)
    shifts = np.array([[1.25, -0.5], [0.0, 2.0], [-3.3, 0.1]])
    by_ramp = fourier.ifft2_centred(fourier.fft2_centred(images) * fourier.phase_ramp(9, shifts))
    np.testing.assert_allclose(by_ramp, fourier.shift_images(images, shifts), atol=3e-6)
    assert fourier.phase_ramp(9, [1.0, 2.0]).shape == (9, 5)


def test_phase_ramp__of_wrong_shape__is_refused():
    with pytest.raises(InvalidInput, match=r"\(m, 2\)"):
        fourier.phase_ramp(8, np.zeros((4, 3)))


@pytest.mark.parametrize("origin", ["corner", "centre"])
@pytest.mark.parametrize("before", [(6, 8), (7, 9), (6, 9), (5, 6, 7)])
@pytest.mark.parametrize("more", [0, 1, 2, 5])
def test_pad_then_crop__is_the_identity(before, more, origin):
    array = _noise(*before, dtype=np.float64)
    wide = fourier.fourier_pad(array, [n + more for n in before], origin=origin)
    assert wide.mean() == pytest.approx(array.mean(), abs=1e-12)
    np.testing.assert_allclose(fourier.fourier_crop(wide, before, origin=origin), array, atol=1e-12)


@pytest.mark.parametrize("n", [32, 31])
@pytest.mark.parametrize("m", [16, 15])
def test_crop_of_a_cosine_below_nyquist__is_that_cosine_on_the_coarser_grid(n, m):
    def cosine(size):
        y, x = np.mgrid[:size, :size] / size
        return 3.0 + np.cos(2 * np.pi * (5 * x - 3 * y) + 0.4)

    np.testing.assert_allclose(fourier.fourier_crop(cosine(n), (m, m)), cosine(m), atol=1e-12)


def test_crop__centred_origin__keeps_the_centre_in_place():
    def blob(size):
        y, x = (np.mgrid[:size, :size] - size // 2) / size
        return np.exp(-(x**2 + y**2) / (2 * 0.12**2))

    # A Gaussian of 4 px is band-limited for all purposes: what is left is its tail at the box's border.
    cropped = fourier.fourier_crop(blob(33), (20, 20), origin="centre")
    np.testing.assert_allclose(cropped, blob(20), atol=2e-3)


def test_crop_of_a_stack__crops_the_last_axes_only_and_keeps_float32():
    stack = _noise(4, 12, 16)
    cropped = fourier.fourier_crop(stack, (6, 8))
    assert cropped.shape == (4, 6, 8)
    assert cropped.dtype == np.float32
    np.testing.assert_allclose(cropped.mean(axis=(1, 2)), stack.mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "function"), [((9, 4), "fourier_crop"), ((4, 9), "fourier_pad"), ((0, 2), "fourier_crop")]
)
def test_resizing_the_wrong_way__is_refused(shape, function):
    with pytest.raises(InvalidInput, match="cannot be"):
        getattr(fourier, function)(_noise(6, 6), shape)


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize(("n", "m"), [(8, 12), (7, 12), (8, 11), (7, 9)])
def test_resize_centred_ft__there_and_back__is_the_identity(n, m, n_dims):
    ft = fourier.rfftn(_noise(2, *(n,) * n_dims), n_dims=n_dims)
    ft = np.fft.fftshift(ft, axes=tuple(range(-n_dims, -1)))
    wide = fourier.resize_centred_ft(ft, m, n_dims=n_dims)
    assert wide.shape == (2, *(m,) * (n_dims - 1), m // 2 + 1)
    assert wide[(0, *(m // 2,) * (n_dims - 1), 0)] == ft[(0, *(n // 2,) * (n_dims - 1), 0)]
    np.testing.assert_array_equal(fourier.resize_centred_ft(wide, n, n_dims=n_dims), ft)


@pytest.mark.parametrize(("n", "expected"), [(1, 2), (7, 8), (97, 100), (512, 512), (513, 540), (4093, 4096)])
def test_good_size__is_even_and_smooth(n, expected):
    assert fourier.good_size(n) == expected


def test_good_size__odd_allowed():
    assert fourier.good_size(7, even=False) == 8
    assert fourier.good_size(15, even=False) == 15


def test_transform_of_a_line__is_refused():
    with pytest.raises(InvalidInput, match="at least 2 axes"):
        fourier.fft2_centred(np.zeros(4))


def test_inverse_into_a_wrong_shape__is_refused():
    with pytest.raises(InvalidInput, match="shape="):
        fourier.ifft2_centred(np.zeros((6, 5), dtype=np.complex64))
