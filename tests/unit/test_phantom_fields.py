"""Lattices: trilinear reading, borders, and the noise that is read from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.phantom.fields import BOX_LOW_MM, Lattice, noise_lattice, ramp, smooth_image


def _points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).T.reshape(3, 1, 1, len(rows))


def test_a_linear_field_is_read_exactly_between_the_nodes() -> None:
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (7, 6, 5)), indexing="ij")
    lattice = Lattice.from_values(np.stack([x, 2 * y, 3 * z, x + y + z, -z]), (10.0, 20.0, 30.0), 2.0)
    values = lattice.sample(_points((13.0, 25.0, 39.0), (10.5, 20.5, 30.5)))
    assert len(values) == 5
    # remap interpolates with weights of 1/32
    np.testing.assert_allclose(np.stack(values)[:, 0, 0, 0], [1.5, 5.0, 13.5, 8.5, -4.5], atol=0.07)
    np.testing.assert_allclose(np.stack(values)[:, 0, 0, 1], [0.25, 0.5, 0.75, 0.75, -0.25], atol=0.07)


def test_outside_the_lattice_the_border_goes_on() -> None:
    values = np.zeros((1, 3, 3, 3), np.float32)
    values[0, 2] = 5
    lattice = Lattice.from_values(values, (0.0, 0.0, 0.0), 1.0)
    (read,) = lattice.sample(_points((1, 1, 99), (-50, 70, 99), (1, 1, -99)))
    assert read.ravel().tolist() == [5.0, 5.0, 0.0]


def test_values_keep_the_shape_of_the_points() -> None:
    lattice = Lattice.from_values(np.zeros((2, 3, 3, 3), np.float32), (0.0, 0.0, 0.0), 1.0)
    assert [part.shape for part in lattice.sample(np.zeros((3, 3, 4, 5), np.float32))] == [(3, 4, 5)] * 2


def test_noise_has_unit_size_and_the_wanted_correlation() -> None:
    lattice = noise_lattice(np.random.default_rng(1), correlation_mm=6.0, channels=1)
    start = np.random.default_rng(2).uniform(-60, 60, (3, 1, 1, 4000)).astype(np.float32)
    near, far = start.copy(), start.copy()
    near[0] += 3
    far[0] += 30
    here, there, away = (lattice.sample(points)[0].ravel() for points in (start, near, far))
    assert 0.7 < here.std() < 1.2
    assert np.corrcoef(here, there)[0, 1] > 0.75
    assert abs(np.corrcoef(here, away)[0, 1]) < 0.2


def test_noise_fills_the_box_and_depends_on_the_generator_alone() -> None:
    first, again, other = (noise_lattice(np.random.default_rng(seed), 20.0) for seed in (3, 3, 4))
    assert first.origin_mm == BOX_LOW_MM
    assert np.array_equal(first.atlases[0], again.atlases[0])
    assert not np.array_equal(first.atlases[0], other.atlases[0])


def _plane(spacing_mm: float, side: int = 64) -> np.ndarray:
    along = (np.arange(side, dtype=np.float32) - side / 2) * np.float32(spacing_mm)
    x, y = np.meshgrid(along, along)
    return np.stack([x, y, 0.3 * x])[:, None]


def test_smooth_noise_is_read_on_every_fourth_pixel_and_looks_the_same() -> None:
    lattice = noise_lattice(np.random.default_rng(7), correlation_mm=14.0)
    assert lattice.smooth
    quick, exact = lattice.sample(_plane(1.0)), replace(lattice, smooth=False).sample(_plane(1.0))
    assert [part.shape for part in quick] == [part.shape for part in exact] == [(1, 64, 64)] * 4
    assert max(np.abs(a - b)[:, 4:-4, 4:-4].max() for a, b in zip(quick, exact, strict=True)) < 0.15
    assert max(np.abs(a - b)[:, 4:-4, 4:-4].mean() for a, b in zip(quick, exact, strict=True)) < 0.02


def test_fine_noise_and_coarse_pixels_are_read_everywhere() -> None:
    assert not noise_lattice(np.random.default_rng(7), correlation_mm=4.0).smooth
    lattice = noise_lattice(np.random.default_rng(7), correlation_mm=14.0, channels=1)
    for points in (_plane(4.0), _plane(1.0, side=62)):
        assert np.array_equal(lattice.sample(points)[0], replace(lattice, smooth=False).sample(points)[0])


@pytest.mark.parametrize(("signed", "share"), [(-1.0, 0.0), (0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (9.0, 1.0)])
def test_ramp_is_soft_over_its_width(signed: float, share: float) -> None:
    assert ramp(np.array([signed], np.float32), width=2.0).tolist() == [share]


@pytest.mark.parametrize("sigma_px", [0.0, 0.7, 3.0, 25.0])
def test_smooth_images_have_unit_size_at_every_scale(sigma_px: float) -> None:
    image = smooth_image(np.random.default_rng(5), (90, 130), sigma_px)
    assert image.shape == (90, 130)
    assert image.dtype == np.float32
    assert image.std() == pytest.approx(1.0, abs=1e-3)
