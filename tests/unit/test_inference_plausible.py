"""What cannot be a living head is refused; odd but living heads pass."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.drawn_heads import PIXEL_MM, SIZE, head, refusal, volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.inference.plausible import check_living_head, measure_head


def vault_opening(hu: NDArray[np.float32], half_mm: float, slices: slice) -> NDArray[np.float32]:
    """The head with the bone gone within ``half_mm`` of the middle of its right side."""
    half = round(half_mm / PIXEL_MM)
    window = np.s_[slices, SIZE // 2 - half : SIZE // 2 + half, SIZE // 2 + 20 :]
    opened = hu.copy()
    opened[window] = np.minimum(hu[window], 40.0)
    return opened


def test_a_head_passes_and_is_measured() -> None:
    measured = measure_head(volume(head()))
    check_living_head(volume(head()))
    assert measured.ring_length_mm == pytest.approx(60.0)
    assert measured.largest_area_mm2 == pytest.approx(np.pi * 85 * 68, rel=0.05)
    assert 25.0 < measured.tissue_median_hu < 35.0
    assert measured.tissue_share > 0.95
    assert measured.structure_hu > 15.0
    assert measured.outside_share == 0.0


@pytest.mark.parametrize(
    ("half_mm", "skull_mm", "skull_hu"),
    [((48.0, 40.0), 2.0, 350.0), ((60.0, 48.0), 3.0, 500.0), ((100.0, 82.0), 12.0, 1500.0)],
)
def test_infants_and_large_heads_pass(half_mm: tuple[float, float], skull_mm: float, skull_hu: float) -> None:
    check_living_head(volume(head(half_mm=half_mm, skull_mm=skull_mm, skull_hu=skull_hu)))


def test_sutures_pass() -> None:
    hu = head(half_mm=(48.0, 40.0), skull_mm=2.0, skull_hu=350.0)
    hu[:, :50, SIZE // 2 - 2 : SIZE // 2 + 2] = np.minimum(hu[:, :50, SIZE // 2 - 2 : SIZE // 2 + 2], 30.0)
    check_living_head(volume(hu))


def test_a_craniectomy_is_refused() -> None:
    said = refusal(vault_opening(head(), 45.0, np.s_[4:]))
    assert "open over" in said
    assert "craniectomy" in said


def test_a_head_that_lies_half_beyond_the_image_is_refused() -> None:
    hu = head()
    hu[3:, :, : SIZE // 2 - 20] = -1024.0
    assert "part of the head lies outside the image" in refusal(hu)


def test_a_fontanelle_passes() -> None:
    """45 mm at its widest, over the three upper slices, in a newborn's thin skull."""
    hu = head(slices=16, half_mm=(56.0, 46.0), skull_mm=2.0, skull_hu=350.0)
    check_living_head(volume(vault_opening(hu, 22.5, np.s_[13:])))


def test_burr_holes_on_one_level_pass() -> None:
    hu = head()
    for row in (50, 110):
        hu[8:11, row - 4 : row + 4, 90:] = np.minimum(hu[8:11, row - 4 : row + 4, 90:], 35.0)
    check_living_head(volume(hu))
    assert measure_head(volume(hu)).sawn_mm <= 15.0


def sawn(hu: NDArray[np.float32], rows: tuple[int, ...], side: slice) -> NDArray[np.float32]:
    """The head with gaps of 4.5 mm in its bone at these rows of one side, through six slices."""
    cut = hu.copy()
    for row in rows:
        cut[5:11, row : row + 3, side] = np.minimum(hu[5:11, row : row + 3, side], 35.0)
    return cut


def test_two_saw_cuts_through_five_slices_are_refused() -> None:
    assert "as around a bone flap" in refusal(sawn(head(), (58, 100), np.s_[90:]))


def test_a_suture_that_is_open_on_both_sides_passes() -> None:
    check_living_head(volume(sawn(head(half_mm=(62.0, 46.0)), (62,), np.s_[:])))


def test_a_flap_beside_the_vault_is_refused_and_orbits_are_not() -> None:
    """Below the vault, bone may be missing in front alone; a tall head, so that there is room below it."""
    hu = head(slices=26)
    low = np.s_[15:18]
    beside = vault_opening(hu, 40.0, low)
    orbits = hu.copy()
    orbits[low, : SIZE // 2 - 30, SIZE // 2 - 26 : SIZE // 2 + 26] = np.minimum(
        hu[low, : SIZE // 2 - 30, SIZE // 2 - 26 : SIZE // 2 + 26], 40.0
    )
    assert measure_head(volume(beside)).opening_mm2 > 0.0
    assert measure_head(volume(orbits)).opening_mm2 == 0.0


def test_a_head_that_nearly_fills_its_image_is_measured_in_the_image_alone() -> None:
    """Rays leave the image before they end; what lies beyond it must count as nothing, every time."""
    hu = head()[:, 20:140, 28:132].copy()
    assert len({measure_head(volume(hu)) for _ in range(3)}) == 1
    check_living_head(volume(hu))


@pytest.mark.parametrize("kept", [np.s_[:6], np.s_[6:]], ids=["lower", "upper"])
def test_half_a_head_is_refused(kept: slice) -> None:
    said = refusal(head()[kept], ReasonCode.TOO_FEW_SLICES)
    assert "the widest part of the head" in said


def test_a_scan_that_ends_below_the_vertex_passes() -> None:
    check_living_head(volume(head(taper=0.9)[:-2]))


def test_a_head_full_of_blood_passes() -> None:
    hu = head()
    hu[:, 50:110, 60:100] = 70.0
    check_living_head(volume(hu))


def test_thin_and_noisy_slices_pass() -> None:
    hu = np.repeat(head(), 5, axis=0)
    hu += np.random.default_rng(1).normal(0, 20, hu.shape).astype(np.float32)
    check_living_head(volume(hu, step_mm=1.0))


def test_a_head_beside_the_centre_passes_until_it_leaves_the_field() -> None:
    hu = head(half_mm=(60.0, 50.0))
    check_living_head(volume(np.roll(hu, 15, axis=2)))
    with pytest.raises(UnusableSeries, match="outside the central 130 mm"):
        check_living_head(volume(np.roll(hu, 25, axis=2)), field_mm=130.0)


def test_a_hollow_shell_is_refused() -> None:
    hu = head()
    hu[(hu > -20) & (hu < 80)] = -990.0
    assert "median is -990 HU" in refusal(hu)


def test_a_water_phantom_is_refused() -> None:
    hu = head()
    tissue = (hu > -20) & (hu < 80)
    hu[tissue] = np.random.default_rng(2).normal(0, 4, int(tissue.sum()))
    assert "inside the skull the median is" in refusal(hu)


def test_a_brain_equivalent_filling_is_refused() -> None:
    hu = head()
    tissue = (hu > -20) & (hu < 80)
    hu[tissue] = np.random.default_rng(3).normal(32, 4, int(tissue.sum()))
    assert "as in a filled phantom" in refusal(hu)


def test_a_body_without_a_ring_is_refused() -> None:
    hu = head(skull_hu=45.0)
    assert "a closed skull is seen over 0 mm only" in refusal(hu)


def test_a_trunk_is_no_head() -> None:
    hu = head(skull_hu=45.0)
    assert "not a head" in refusal(hu, ReasonCode.NOT_HEAD, pixel_mm=2.4)


def test_too_little_of_a_head_is_refused() -> None:
    assert "seen over 10 mm only" in refusal(head()[:2])


@pytest.mark.parametrize("offset", [-1000.0, -60.0, 60.0, 1024.0])
def test_a_lost_rescale_is_refused(offset: float) -> None:
    assert refusal(np.maximum(head() + offset, -1024.0).astype(np.float32))


def test_a_windowed_export_is_refused() -> None:
    grey = np.clip((head() - 0.0) / 80.0 * 255.0, 0, 255).astype(np.float32)
    assert refusal(grey)


def test_a_wrong_pixel_spacing_is_refused() -> None:
    assert "check the pixel spacing" in refusal(head(), pixel_mm=3.0)


def test_marrow_in_a_long_bone_is_refused() -> None:
    hu = head(half_mm=(30.0, 28.0), skull_mm=5.0)
    hu[(hu > -20) & (hu < 80)] = -60.0
    assert "median is -60 HU" in refusal(hu)


def test_mixed_content_is_refused() -> None:
    """A skull with air, plastic and brain-like layers, so that the median happens to fit."""
    hu = head()
    tissue = (hu > -20) & (hu < 80)
    rows = np.arange(SIZE)[None, :, None] % 20
    hu[tissue & (rows < 5)] = 120.0
    hu[tissue & (rows >= 15)] = -900.0
    assert "of the inside of the skull lies between" in refusal(hu)


def test_a_wrong_slope_is_refused() -> None:
    assert "the air around it is at -6" in refusal((head() * 0.6).astype(np.float32))


def test_no_air_around_is_refused() -> None:
    hu = head()
    hu[hu < -500] = -100.0
    assert "no air" in refusal(hu)
