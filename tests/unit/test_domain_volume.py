"""`Volume` keeps its parts consistent, and its millilitres are those of the slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def volume(heights: list[float], thickness: list[float], spacing_mm: tuple[float, float] = (0.5, 0.5)) -> Volume:
    stack = stack_frames([FrameGeometry((0.0, 0.0, z), AXIAL, t) for z, t in zip(heights, thickness, strict=True)])
    count = len(heights)
    return Volume(
        hu=np.zeros((count, 20, 30), dtype=np.float32),
        stack=stack,
        positions_mm=np.array([(0.0, 0.0, z) for z in sorted(heights)]),
        orientation=np.array(AXIAL),
        pixel_spacing_mm=spacing_mm,
        frame_of_reference_uid="1.2.3",
        sources=tuple(SliceSource(f"1.2.{n}", 1) for n in range(count)),
    )


def test_a_voxel_holds_its_area_times_the_extent_of_its_slice() -> None:
    made = volume([0.0, 5.0, 12.0], [5.0, 5.0, 7.0], (0.4, 0.5))
    np.testing.assert_allclose(made.voxel_ml, np.array([5.0, 5.0, 7.0]) * 0.4 * 0.5 / 1000)


def test_a_mask_is_measured_slice_by_slice() -> None:
    made = volume([0.0, 4.0, 11.0], [4.0, 4.0, 7.0], (1.0, 1.0))
    mask = np.zeros(made.hu.shape, dtype=np.bool_)
    mask[0, :10, :10] = mask[2, :10, :5] = True
    assert made.mask_ml(mask) == pytest.approx((100 * 4.0 + 50 * 7.0) / 1000)
    assert made.mask_ml(np.zeros_like(mask)) == 0.0


def test_tissue_in_overlapping_slices_is_counted_once() -> None:
    made = volume([0.0, 2.5, 5.0, 7.5], [5.0] * 4, (1.0, 1.0))
    column = np.zeros(made.hu.shape, dtype=np.bool_)
    column[:, 5, 5] = True
    assert made.mask_ml(column) == pytest.approx((7.5 + 2.5 + 2.5) / 1000)


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie on the volume"):
        volume([0.0, 5.0], [5.0, 5.0]).mask_ml(np.zeros((2, 20, 20), dtype=np.bool_))


def test_the_constructor_refuses_parts_that_do_not_fit() -> None:
    made = volume([0.0, 5.0], [5.0, 5.0])
    with pytest.raises(ValueError, match="float32"):
        replace(made, hu=made.hu.astype(np.float64))
    with pytest.raises(ValueError, match="float32"):
        replace(made, hu=made.hu[0])
    with pytest.raises(ValueError, match="one entry per slice"):
        replace(made, sources=made.sources[:1])
    with pytest.raises(ValueError, match="one entry per slice"):
        replace(made, positions_mm=made.positions_mm[:1])
    with pytest.raises(ValueError, match="one entry per slice"):
        replace(made, hu=made.hu[:1])
    for spacing in ((0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="pixel spacing"):
            replace(made, pixel_spacing_mm=spacing)
