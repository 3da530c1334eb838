"""Brain that bone has brightened is brought back; everything else keeps its density."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.onnx_models import tiny_bundle, tiny_manifest, volume_of
from trainer.phantom.beam import draw_beam
from triage.inference.beam_hardening import HU_PER_SHARE, SHARE_WITHOUT, USUAL_HU, brightening_hu, evened
from triage.inference.manifest import Manifest, format_manifest, parse_manifest
from triage.inference.predict import Predictor

SIDE = 256
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2


def head(brain_hu: float, inner_mm: float = 40.0, bone_mm: float = 14.0, pixel_mm: float = 1.0) -> NDArray[np.float32]:
    """A round skull in air, (row, column): bone of 900 HU around brain."""
    radius_mm = np.hypot(ROWS, COLUMNS) * pixel_mm
    hu = np.full((SIDE, SIDE), -1000.0, np.float32)
    hu[radius_mm < inner_mm + bone_mm + 4] = 40.0
    hu[radius_mm < inner_mm + bone_mm] = 900.0
    hu[radius_mm < inner_mm] = brain_hu
    return hu


def share(inner_mm: float, bone_mm: float) -> float:
    return 1 - inner_mm**2 / (inner_mm + bone_mm) ** 2


def test_bright_brain_between_much_bone_is_brought_back_to_usual() -> None:
    assert brightening_hu(head(USUAL_HU + 15), 1.0) == pytest.approx(15.0, abs=0.01)


def test_brain_of_usual_density_or_less_is_left_alone() -> None:
    assert [brightening_hu(head(hu), 1.0) for hu in (15.0, 30.0, USUAL_HU)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("inner_mm", "bone_mm"), [(70.0, 6.0), (55.0, 9.0), (40.0, 14.0)])
def test_no_more_is_taken_than_bone_explains(inner_mm: float, bone_mm: float) -> None:
    expected = HU_PER_SHARE * (share(inner_mm, bone_mm) - SHARE_WITHOUT)
    assert brightening_hu(head(90.0, inner_mm, bone_mm), 1.0) == pytest.approx(expected, rel=0.1, abs=2.0)


def test_blood_that_fills_the_head_below_a_thin_vault_keeps_its_density() -> None:
    assert brightening_hu(head(70.0, 72.0, 5.0), 1.0) == 0.0


def test_blood_at_the_vertex_changes_little_of_what_is_taken() -> None:
    slice_ = head(USUAL_HU + 15)
    slice_[(np.hypot(ROWS, COLUMNS) < 40) & (COLUMNS > 20)] = 80.0
    assert brightening_hu(slice_, 1.0) == pytest.approx(15.0, abs=0.01)


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0, 1.6])
def test_the_raster_makes_no_difference(pixel_mm: float) -> None:
    assert brightening_hu(head(90.0, pixel_mm=pixel_mm), pixel_mm) == pytest.approx(
        HU_PER_SHARE * (share(40.0, 14.0) - SHARE_WITHOUT), rel=0.15
    )


@pytest.mark.parametrize("hu", [-1000.0, 0.0, 60.0, 3000.0])
def test_without_a_head_nothing_is_taken(hu: float) -> None:
    assert brightening_hu(np.full((SIDE, SIDE), hu, np.float32), 1.0) == 0.0


def test_an_open_skull_encloses_no_brain() -> None:
    slice_ = head(USUAL_HU + 15)
    slice_[(np.abs(ROWS) < 12) & (COLUMNS > 0) & (slice_ > 100)] = 40.0
    assert brightening_hu(slice_, 1.0) == 0.0


def test_each_slice_is_evened_in_every_pixel_alike_and_by_itself() -> None:
    slices = np.stack([head(30.0), head(USUAL_HU + 15), head(USUAL_HU + 8)])
    before = slices.copy()
    after = evened(slices, 1.0)
    np.testing.assert_array_equal(slices, before, "what is given stays as it is")
    for index, taken in enumerate((0.0, 15.0, 8.0)):
        np.testing.assert_allclose(before[index] - after[index], taken, atol=0.01)


def test_whole_numbers_are_evened_too() -> None:
    assert evened(head(USUAL_HU + 15)[None].astype(np.int16), 1.0)[0, 128, 128] == pytest.approx(USUAL_HU, abs=0.01)


def test_no_made_scanner_brightens_more_than_is_taken() -> None:
    """Or what is left of it would be seen in training alone."""
    lifts = [draw_beam(np.random.default_rng(seed)).lift for seed in range(100)]
    assert max(lifts) < HU_PER_SHARE


def bundle_that(evens: bool) -> Manifest:
    manifest = tiny_manifest(SIDE)
    return replace(manifest, preprocessing=replace(manifest.preprocessing, even_brain=evens))


def test_nets_see_it_where_the_bundle_says_so_and_the_volume_keeps_its_density(tmp_path: Path) -> None:
    """A vertex of 55 HU is blood to the nets of the tests, which call everything of 50 to 90 HU so."""
    volume = volume_of(np.stack([head(55.0)] * 6), None, 5.0, (1.0, 1.0))
    marked = {}
    for evens in (False, True):
        tiny_bundle(tmp_path / str(evens), bundle_that(evens))
        predictor = Predictor.load(tmp_path / str(evens), "cpu", threads=1)
        analysis = predictor.segment(volume, predictor.gate(volume), every_slice=True)
        marked[evens] = int(np.count_nonzero(analysis.marked))
    assert marked[True] == 0 < marked[False]
    assert volume.hu[0, 128, 128] == 55.0


def test_a_manifest_names_it_only_where_it_is_on() -> None:
    assert b"even_brain" not in format_manifest(bundle_that(False)), "older releases refuse what they do not know"
    assert parse_manifest(format_manifest(bundle_that(False))) == bundle_that(False)
    assert parse_manifest(format_manifest(bundle_that(True))) == bundle_that(True)
