"""The scanner: noise as measured, artefacts where they belong and not too often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from trainer.judge.intracranial import intracranial
from trainer.phantom.acquisition import Acquisition, detected, draw_acquisition, with_artefacts
from trainer.phantom.beam import Beam, with_beam
from trainer.phantom.motion import Motion, seen_plane, shaken
from trainer.phantom.noise import Kernel, noise_of, resolved, white
from trainer.phantom.pose import axial_plane
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.scene import Cut, Head, cut, draw_head

CLEAN = Beam(
    cupping=0.0,
    cupping_mm=5.0,
    halo=0.0,
    halo_mm=3.0,
    bloom=0.0,
    bloom_mm=3.0,
    ragged=0.0,
    ragged_mm=1.0,
    shading=0.0,
    hardening=0.0,
    starvation=0.0,
    streak_chance=0.0,
    streak=5.0,
    lift=0.0,
)
STILL = Motion(restless=0.0, shift_mm=2.0, turn_deg=2.0, jump_at=None, jump_mm=(0.0, 0.0, 0.0))


def _noise_figures(hu: NDArray[np.floating], spacing_mm: float) -> tuple[float, float] | None:
    """Standard deviation of the high-pass part of the brain at 1.5 mm, and how much its neighbours correlate."""
    smooth = cv2.GaussianBlur(hu.astype(np.float32), (0, 0), 0.6 / spacing_mm)
    factor = spacing_mm / 1.5
    small = cv2.resize(smooth, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    hard = ((small > 200) | (small < -200)).astype(np.uint8)
    brain = (cv2.dilate(hard, np.ones((9, 9), np.uint8)) == 0) & (small > 0) & (small < 80)
    if brain.sum() < 2500:
        return None
    fine = small - cv2.GaussianBlur(small, (0, 0), 2.0)
    pairs = brain[:, 1:] & brain[:, :-1]
    together = np.corrcoef(fine[:, 1:][pairs], fine[:, :-1][pairs])[0, 1]
    return float(fine[brain].std()), float(together)


def _under_bone(hu: NDArray[np.floating], spacing_mm: float) -> list[float]:
    """How much brighter brain 1 to 2, 3 to 4 and 7 to 9 mm under bone is than deep brain."""
    brain = intracranial(np.asarray(hu, np.float32), spacing_mm)
    depth = cv2.distanceTransform(brain.astype(np.uint8), cv2.DIST_L2, 5) * spacing_mm
    deep = np.median(hu[depth > 20])
    return [float(np.median(hu[(depth > low) & (depth <= high)]) - deep) for low, high in ((1, 2), (3, 4), (7, 9))]


def _real_slices(shared_data: Path) -> Iterator[tuple[NDArray[np.floating], float]]:
    """HU and pixel size in mm of slices above the skull base."""
    for path in sorted((shared_data / "ge_head_tilt").glob("*.dcm"))[12:24:2]:
        ds = dcmread(path)
        yield ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept), float(ds.PixelSpacing[0])


def _head(seed: int) -> Head:
    rng = np.random.default_rng(seed)
    return draw_head(rng, procedural_anatomy(rng), bleeding=False, pitch_deg=3.0)


@pytest.fixture(scope="module")
def middle() -> Cut:
    return cut(_head(21), axial_plane(25.0, 128, 2.0, 5.0))


@pytest.fixture
def scan() -> Acquisition:
    drawn = draw_acquisition(np.random.default_rng(1))
    storage = replace(drawn.storage, pad=False, wrapped=0.0, ceiling_hu=3071.0)
    kernel = replace(drawn.kernel, sharpen=0.0)
    return replace(drawn, beam=CLEAN, motion=STILL, storage=storage, kernel=kernel)


def test_made_noise_is_that_of_a_real_head(shared_data: Path) -> None:
    real = [_noise_figures(hu, spacing_mm) for hu, spacing_mm in _real_slices(shared_data)]
    made = []
    for seed in range(100, 110):
        head, rng = _head(seed), np.random.default_rng(seed)
        scan = draw_acquisition(rng)
        ideal = cut(head, axial_plane(25.0, 256, 1.0, 5.0), scan.profile)
        made.append(_noise_figures(detected(with_artefacts(ideal, scan, rng, 1.0), scan, rng, 1.0), 1.0))
    of_real, of_made = (np.median([pair for pair in found if pair is not None], axis=0) for found in (real, made))
    assert 3.0 < of_real[0] < 4.2
    assert of_made[0] == pytest.approx(of_real[0], rel=0.3)
    assert of_made[1] == pytest.approx(of_real[1], abs=0.12)


def test_brain_under_bone_is_as_bright_as_in_a_real_head_in_some_made_ones(shared_data: Path) -> None:
    real = [_under_bone(hu, spacing_mm) for hu, spacing_mm in _real_slices(shared_data)]
    made = []
    for seed in range(300, 324):
        rng = np.random.default_rng(seed)
        scan, ideal = draw_acquisition(rng), cut(_head(seed), axial_plane(35.0, 256, 1.0, 5.0))
        made.append(_under_bone(detected(with_artefacts(ideal, scan, rng, 1.0), scan, rng, 1.0), 1.0))
    for there, here in zip(np.median(real, axis=0), np.transpose(made), strict=True):
        assert here.min() < there < here.max()


def test_noise_lies_in_the_head_and_not_in_the_air(middle: Cut, scan: Acquisition) -> None:
    kernel = replace(scan.kernel, noise=3.0)
    noise = noise_of(middle.hu, kernel, np.random.default_rng(2), 2.0)
    assert 2.0 < noise[middle.inner > 10].std() < 4.5
    assert not noise[:4].any()
    fine = noise_of(middle.hu, white(kernel), np.random.default_rng(2), 2.0)
    assert fine[middle.inner > 10].std() > 4.5


def test_a_sharp_kernel_draws_no_dark_ring_under_the_skull(middle: Cut) -> None:
    soft = Kernel(0.4, 0.0, 0.0, 0.5, 3.0, 0.5)
    plain, crisp = (resolved(middle.hu, replace(soft, sharpen=sharpen), 2.0) for sharpen in (0.0, 2.0))
    assert (crisp - plain)[middle.inner > 0].min() >= -10.01
    assert np.abs(crisp - plain)[middle.inner > 5].mean() > 0.1


def test_the_halo_of_bone_brightens_the_rim_of_the_brain(middle: Cut) -> None:
    glowing = with_beam(middle, replace(CLEAN, cupping=8.0), np.random.default_rng(1), 2.0)
    added = glowing - middle.hu
    assert added[(middle.inner > 0.5) & (middle.inner < 2)].mean() > 4
    assert added[middle.inner > 30].mean() < 0.5
    assert not added[middle.inner < -1].any()


def test_brain_between_much_bone_is_denser_and_elsewhere_not(middle: Cut) -> None:
    lifted = replace(CLEAN, lift=40.0)
    bony = replace(middle, bone=np.where(middle.inner < 20, 1.0, 0.0).astype(np.float32))
    share = bony.bone.sum() / (bony.bone.sum() + (bony.inner > 0).sum())
    for ideal, expected in ((bony, 40 * (share - 0.15)), (replace(middle, bone=0 * middle.bone), 0.0)):
        added = with_beam(ideal, lifted, np.random.default_rng(1), 2.0) - ideal.hu
        assert added[ideal.inner > 2] == pytest.approx(expected, abs=0.1)
        assert not added[ideal.inner < -1].any()
    assert share > 0.4


def test_beam_hardening_darkens_the_way_between_the_petrous_bones() -> None:
    hu = np.full((128, 128), 30.0, np.float32)
    rows, columns = np.mgrid[:128, :128]
    depth = 55 - np.hypot(rows - 64, columns - 64).astype(np.float32)
    for column in (36, 92):
        hu[54:74, column - 12 : column + 12] = 1500
    bone = (hu > 1000).astype(np.float32)
    ideal = Cut(hu, depth, bone, np.zeros((5, 128, 128), np.float32))
    error = with_beam(ideal, replace(CLEAN, hardening=0.03), np.random.default_rng(1), 2.0) - hu
    between, above = error[60:68, 56:72].mean(), error[30:38, 56:72].mean()
    assert between < above - 3


def test_metal_throws_streaks_across_the_slice(middle: Cut) -> None:
    with_clip = replace(middle, hu=middle.hu.copy())
    rows, columns = np.nonzero(middle.inner > 25)
    row, column = int(rows.mean()), int(columns.mean())
    with_clip.hu[row : row + 2, column : column + 2] = 4000
    error = with_beam(with_clip, replace(CLEAN, hardening=0.02), np.random.default_rng(1), 2.0) - with_clip.hu
    plain = with_beam(middle, replace(CLEAN, hardening=0.02), np.random.default_rng(1), 2.0) - middle.hu
    assert (error - plain)[middle.inner > 5].std() > 10


def test_a_restless_head_shows_double_contours_and_a_still_one_does_not(middle: Cut) -> None:
    restless = replace(STILL, restless=1.0)
    moved = shaken(middle.hu, restless, np.random.default_rng(4), 2.0)
    edge = np.abs(middle.inner) < 3
    assert np.abs(moved - middle.hu)[edge].mean() > 20
    assert shaken(middle.hu, STILL, np.random.default_rng(4), 2.0) is middle.hu


def test_a_jump_moves_the_upper_slices_alone() -> None:
    plane = axial_plane(10.0, 64, 4.0, 5.0)
    jumpy = replace(STILL, jump_at=0.5, jump_mm=(3.0, -2.0, 1.0))
    assert seen_plane(plane, jumpy, 0.4) is plane
    assert seen_plane(plane, jumpy, 0.6).origin_mm - plane.origin_mm == pytest.approx([3.0, -2.0, 1.0])


def test_padding_lies_outside_the_field(middle: Cut, scan: Acquisition) -> None:
    storage = replace(scan.storage, pad=True, field_radius_mm=115.0, padding=-2000.0)
    image = detected(middle.hu, replace(scan, storage=storage), np.random.default_rng(2), 2.0)
    assert image[0, 0] == -2000
    assert image[64, 64] > -100


def test_a_few_pixels_beside_the_skin_overflow(middle: Cut, scan: Acquisition) -> None:
    storage = replace(scan.storage, wrapped=0.02)
    image = detected(middle.hu, replace(scan, storage=storage), np.random.default_rng(2), 2.0)
    rows, columns = np.nonzero(image == 3071)
    assert 1 <= len(rows) < 60
    assert (middle.hu[rows, columns] < -500).all()


def test_dense_bone_may_be_cut_off(middle: Cut, scan: Acquisition) -> None:
    storage = replace(scan.storage, ceiling_hu=600.0)
    assert detected(middle.hu, replace(scan, storage=storage), np.random.default_rng(2), 2.0).max() == 600


def test_most_scans_are_clean() -> None:
    scans = [draw_acquisition(np.random.default_rng(seed)) for seed in range(2000)]
    shares = {
        "restless": np.mean([scan.motion.restless > 0 for scan in scans]),
        "jump": np.mean([scan.motion.jump_at is not None for scan in scans]),
        "wrapped": np.mean([scan.storage.wrapped > 0 for scan in scans]),
        "cut off": np.mean([scan.storage.ceiling_hu < 3071 for scan in scans]),
    }
    assert all(0.015 < share < 0.15 for share in shares.values()), shares
