"""Heads the product was not made for, and that the input check knows them by their pixels alone."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.phantom.conditions import Condition
from trainer.phantom.dicom import study_instances
from trainer.phantom.exam import PhantomStudy, ScanGeometry, study
from trainer.phantom.pose import axial_plane
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.scene import Cut, cut, draw_head
from triage.dicom.volume import read_volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.inference.plausible import check_living_head

SMALL = ScanGeometry(slice_count=30, matrix=128, spacing_mm=1.9)
FINE = ScanGeometry(slice_count=30, matrix=256, spacing_mm=0.95)


def _stack(condition: Condition | None, seed: int = 71) -> list[Cut]:
    rng = np.random.default_rng(seed)
    head = draw_head(rng, procedural_anatomy(rng), bleeding=False, pitch_deg=2.0, condition=condition)
    return [cut(head, axial_plane(z, 128, 2.0, 5.0)) for z in np.arange(-60.0, 80.0, 10.0)]


@pytest.fixture(scope="module")
def plain() -> list[Cut]:
    return _stack(None)


def test_contrast_agent_opens_vessels_inside_the_skull(plain: list[Cut]) -> None:
    enhanced = _stack(Condition.CONTRAST)
    bright = [int(((b.hu > 110) & (b.inner > 3) & (a.hu < 90)).sum()) for a, b in zip(plain, enhanced, strict=True)]
    assert np.count_nonzero(bright) >= 8
    assert sum(bright) < 2000


def test_a_craniectomy_takes_bone_away_and_a_flap_only_a_little(plain: list[Cut]) -> None:
    bones = {
        condition: sum(float(part.bone.sum()) for part in _stack(condition))
        for condition in (Condition.CRANIECTOMY, Condition.BONE_FLAP)
    }
    whole = sum(float(part.bone.sum()) for part in plain)
    assert bones[Condition.CRANIECTOMY] < 0.97 * whole
    assert bones[Condition.CRANIECTOMY] < bones[Condition.BONE_FLAP] < whole


def test_metal_is_denser_than_any_bone(plain: list[Cut]) -> None:
    assert max(part.hu.max() for part in plain) < 2500
    assert max(part.hu.max() for part in _stack(Condition.METAL)) > 2500


def test_a_condition_is_painted_without_moving_the_head(plain: list[Cut]) -> None:
    for condition in Condition:
        for before, after in zip(plain, _stack(condition), strict=True):
            still = before.inner > 0
            assert np.mean((after.inner > 0) == still) > 0.97


def _found(made: PhantomStudy) -> ReasonCode | None:
    try:
        check_living_head(read_volume(study_instances(made)))
    except UnusableSeries as exc:
        return exc.reason
    return None


def test_contrast_is_found_in_the_pixels_when_no_header_speaks_of_it() -> None:
    made = study(202, status=WorklistStatus.NOT_SUSPECTED, condition=Condition.CONTRAST, geometry=FINE)
    assert made.reason is None
    assert b"SYNTHETIC AGENT" not in study_instances(made)[0]
    assert _found(made) is ReasonCode.CONTRAST


def test_an_opened_skull_is_refused() -> None:
    made = study(200, status=WorklistStatus.NOT_SUSPECTED, condition=Condition.CRANIECTOMY, geometry=FINE)
    assert _found(made) is ReasonCode.OUT_OF_DISTRIBUTION


def test_an_exam_with_the_reason_contrast_shows_it_in_its_pixels() -> None:
    quiet = study(9, status=WorklistStatus.NOT_SUSPECTED, geometry=SMALL)
    made = study(9, status=WorklistStatus.NOT_ANALYSED, reason=ReasonCode.CONTRAST, geometry=SMALL)
    bright = ((made.hu > 110) & (quiet.hu > 0) & (quiet.hu < 70)).sum()
    assert bright > 100
    assert not made.labels.any()


def test_a_condition_changes_neither_status_nor_truth() -> None:
    made = study(5, condition=Condition.METAL, geometry=SMALL)
    assert made.status is WorklistStatus.SUSPECTED
    assert made.reason is None
    assert made.labels.any()
