"""The net raster: areas, centres and values survive the way there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triage.inference.preprocess import (
    PreprocessSpec,
    axis_weights,
    from_raster,
    sample_slices,
    to_raster,
    window_slices,
)

SPEC = PreprocessSpec()


def disc(
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    centre_mm: tuple[float, float],
    radii_mm: tuple[float, float],
) -> NDArray[np.bool_]:
    y = (np.arange(shape[0]) + 0.5 - shape[0] / 2) * spacing_mm[0] - centre_mm[0]
    x = (np.arange(shape[1]) + 0.5 - shape[1] / 2) * spacing_mm[1] - centre_mm[1]
    return np.asarray((y[:, None] / radii_mm[0]) ** 2 + (x[None, :] / radii_mm[1]) ** 2 <= 1.0)


def centre_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return (
        float((rows.mean() + 0.5 - mask.shape[0] / 2) * spacing_mm[0]),
        float((columns.mean() + 0.5 - mask.shape[1] / 2) * spacing_mm[1]),
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 600), st.floats(0.2, 3.0), st.integers(16, 300), st.floats(0.2, 3.0))
def test_weights_are_means(from_count: int, from_mm: float, to_count: int, to_mm: float) -> None:
    weights = axis_weights(from_count, from_mm, to_count, to_mm).astype(np.float64)
    assert weights.shape == (to_count, from_count)
    assert weights.min() >= 0.0
    assert weights.sum(axis=1).max() <= 1.0 + 1e-5
    reach = (from_count * from_mm - (0.0 if to_mm >= from_mm else from_mm)) / 2
    target = (np.arange(to_count) + 0.5 - to_count / 2) * to_mm
    margin = to_mm / 2 if to_mm >= from_mm else 0.0
    inside = np.abs(target) + margin <= reach - 1e-9
    assert np.allclose(weights.sum(axis=1)[inside], 1.0, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.2, 3.0), st.floats(0.2, 3.0))
def test_a_slope_stays_a_slope(from_mm: float, to_mm: float) -> None:
    weights = axis_weights(300, from_mm, 40, to_mm).astype(np.float64)
    source = (np.arange(300) + 0.5 - 150) * from_mm
    target = (np.arange(40) + 0.5 - 20) * to_mm
    inside = np.abs(target) + to_mm / 2 + from_mm <= 150 * from_mm
    # Means over partly covered source pixels are exact to half a source pixel, interpolation entirely.
    assert np.abs(weights @ source - target)[inside].max(initial=0.0) <= 0.5 * from_mm + 1e-4


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.2, 6.0), st.floats(0.2, 6.0))
def test_sums_over_bands_are_the_product_of_the_weights(
    rows: int, columns: int, row_mm: float, column_mm: float
) -> None:
    spec = PreprocessSpec(size=40, pixel_mm=1.0)
    image = np.random.default_rng(rows).random((rows, columns), np.float32)
    down = axis_weights(rows, row_mm, 40, 1.0) @ image @ axis_weights(columns, column_mm, 40, 1.0).T
    assert np.allclose(to_raster(image, (row_mm, column_mm), spec), down, atol=1e-5)
    up = axis_weights(40, 1.0, rows, row_mm) @ down @ axis_weights(40, 1.0, columns, column_mm).T
    assert np.allclose(from_raster(down[None], (rows, columns), (row_mm, column_mm), spec)[0], up, atol=1e-5)


def test_same_grid_changes_nothing() -> None:
    image = np.random.default_rng(0).normal(0, 300, (256, 256)).astype(np.float32)
    assert np.array_equal(to_raster(image, (1.0, 1.0), SPEC), image)


def test_outside_of_the_image_is_air() -> None:
    sampled = sample_slices(np.full((1, 100, 100), 40.0, np.float32), (1.0, 1.0), SPEC)[0]
    assert sampled[78:178, 78:178] == pytest.approx(40.0)
    sampled[78:178, 78:178] = -1024.0
    assert (sampled == -1024.0).all()


def test_padding_does_not_bleed() -> None:
    hu = np.full((1, 512, 512), -2000.0, np.float32)
    hu[0, 100:400, 100:400] = 40.0
    lowest = np.full((1, 512, 512), -1024.0, np.float32)
    lowest[0, 100:400, 100:400] = 40.0
    assert np.array_equal(sample_slices(hu, (0.49, 0.49), SPEC), sample_slices(lowest, (0.49, 0.49), SPEC))
    metal = np.full((1, 512, 512), 30000.0, np.float32)
    assert sample_slices(metal, (0.5, 0.5), SPEC).max() == pytest.approx(3071.0)


@pytest.mark.parametrize("spacing", [(0.35, 0.35), (0.4883, 0.4883), (0.5, 0.7), (1.0, 1.0), (1.3, 1.3)])
def test_total_hu_survives(spacing: tuple[float, float]) -> None:
    mask = disc((512, 512), spacing, (10.0, -15.0), (40.0, 25.0))
    raster = to_raster(mask.astype(np.float32), spacing, SPEC)
    assert raster.sum() * 1.0 == pytest.approx(mask.sum() * spacing[0] * spacing[1], rel=0.01)


def test_fine_texture_does_not_alias() -> None:
    stripes = np.zeros((1, 512, 512), np.float32)
    stripes[0, :, ::2] = 100.0
    sampled = sample_slices(stripes, (0.4883, 0.4883), SPEC)[0, 20:-20, 20:-20]
    assert sampled.mean() == pytest.approx(50.0, abs=0.5)
    assert sampled.std() < 12.0


def test_integers_and_floats_sample_alike() -> None:
    hu = np.random.default_rng(1).integers(-1024, 1500, (2, 300, 320)).astype(np.int16)
    assert np.array_equal(
        sample_slices(hu, (0.45, 0.45), SPEC), sample_slices(hu.astype(np.float32), (0.45, 0.45), SPEC)
    )


def test_one_slice_samples_as_many_do() -> None:
    hu = np.random.default_rng(2).normal(0, 200, (5, 256, 256)).astype(np.float32)
    together = sample_slices(hu, (0.8, 0.8), SPEC)
    assert all(np.array_equal(sample_slices(hu[i : i + 1], (0.8, 0.8), SPEC)[0], together[i]) for i in range(5))


# 2 ml and more: the area of a ball of 2 ml in 5 mm slices is about 150 mm2, a thin subdural is long and narrow.
@pytest.mark.parametrize("radii", [(7.0, 7.0), (12.0, 9.0), (30.0, 20.0), (45.0, 5.0)])
@pytest.mark.parametrize("spacing", [(0.35, 0.35), (0.4883, 0.4883), (0.45, 0.45), (0.6, 0.6), (0.5, 0.4)])
def test_a_mask_there_and_back_keeps_area_and_centre(spacing: tuple[float, float], radii: tuple[float, float]) -> None:
    shape = (512, 480)
    mask = disc(shape, spacing, (13.3, -21.7), radii)
    raster = to_raster(mask.astype(np.float32), spacing, SPEC)
    back = from_raster(raster[None], shape, spacing, SPEC)[0] >= 0.5
    assert back.sum() == pytest.approx(mask.sum(), rel=0.02)
    was, now = centre_mm(mask, spacing), centre_mm(back, spacing)
    assert abs(now[0] - was[0]) < 0.5 * spacing[0]
    assert abs(now[1] - was[1]) < 0.5 * spacing[1]


def test_a_rounded_mask_comes_back_unbiased() -> None:
    """A net says 0 or 1 at the pixels of the raster; that too must not grow or shrink."""
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(20):
        mask = disc((512, 512), (0.4883, 0.4883), tuple(rng.uniform(-40, 40, 2)), tuple(rng.uniform(7, 20, 2)))
        hard = (to_raster(mask.astype(np.float32), (0.4883, 0.4883), SPEC) >= 0.5).astype(np.float32)
        back = from_raster(hard[None], (512, 512), (0.4883, 0.4883), SPEC)[0] >= 0.5
        ratios.append(back.sum() / mask.sum())
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)


def test_nothing_comes_back_as_nothing() -> None:
    assert not from_raster(np.zeros((5, 256, 256), np.float32), (512, 512), (0.5, 0.5), SPEC).any()


def test_what_lies_outside_the_source_is_dropped() -> None:
    maps = np.zeros((1, 256, 256), np.float32)
    maps[0, :10, :10] = 1.0
    assert not from_raster(maps, (100, 100), (1.0, 1.0), SPEC).any()


def test_the_crop_changes_no_value() -> None:
    maps = np.zeros((2, 256, 256), np.float32)
    maps[1, 100:140, 30:60] = np.random.default_rng(4).random((40, 30), np.float32)
    whole = axis_weights(256, 1.0, 512, 0.4883) @ (maps[1] @ axis_weights(256, 1.0, 512, 0.4883).T)
    assert np.allclose(from_raster(maps, (512, 512), (0.4883, 0.4883), SPEC)[1], whole, atol=1e-6)


def test_windows_are_brain_subdural_bone() -> None:
    hu = np.array([-100.0, 0.0, 40.0, 80.0, 180.0, 600.0, 2000.0], np.float32)
    tensor = window_slices(np.tile(hu, (1, 1, 1)), SPEC)
    assert tensor.shape == (1, 3, 1, 7)
    assert tensor.dtype == np.float32
    assert tensor[0, 0, 0] == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    assert tensor[0, 1, 0] == pytest.approx([0.0, 0.1, 0.3, 0.5, 1.0, 1.0, 1.0])
    assert tensor[0, 2, 0] == pytest.approx([0.25, 0.2857, 0.3, 0.3143, 0.35, 0.5, 1.0], abs=1e-3)


def test_the_field_is_size_times_pixel() -> None:
    assert PreprocessSpec(size=200, pixel_mm=1.25).field_mm == 250.0
