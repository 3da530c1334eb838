"""Which series is analysed and why not: reasons, sentences, the odd instance set aside, the best of a study."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, MRImageStorage

from tests.builders import (
    ct_series,
    enhanced_ct,
    legacy_converted_ct,
    localizer,
    part10,
    rgb_screen,
    segmentation,
    structured_report,
)
from triage.dicom.header import read_header
from triage.dicom.select import exclusion, preference, usable
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.study import InstanceHeader


def headers(series: list[Dataset]) -> list[InstanceHeader]:
    return [read_header(part10(ds)) for ds in series]


def head(slices: int = 24, **kwargs: Any) -> list[InstanceHeader]:
    return headers(ct_series(slices, **{"rows": 16, "columns": 16, "spacing_mm": 16.0, **kwargs}))


def without_addresses(value: object) -> str:
    """A name that is the same in every process, as running in parallel needs."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def reason(found: list[InstanceHeader]) -> ReasonCode | None:
    excluded = exclusion(found)
    if excluded is None:
        return None
    assert excluded.sentence[:1].isupper() or excluded.sentence[:1].isdigit()
    assert excluded.sentence.endswith(".")
    assert "SYNTHETIC" not in excluded.sentence
    return excluded.reason


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"tilt_degrees": 25.0},
        {"heights_mm": [4.0 * n for n in range(14)] + [53.2 + 7.0 * n for n in range(14)]},
        {"step_mm": 10.0},
        {"thickness_mm": 1.25, "step_mm": 1.25, "slices": 70},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "ADD"]},
        {"ContrastBolusAgent": "NONE"},
        {"ContrastBolusAgent": "No Contrast"},
        {"SeriesDescription": "HEAD WITHOUT CONTRAST"},
        {"SeriesDescription": "HEAD 5.0", "ProtocolName": "CTA HEAD", "StudyDescription": "CT HEAD W/O & W CONTRAST"},
        {"BodyPartExamined": None, "SeriesDescription": None, "ProtocolName": None, "StudyDescription": None},
        {"BodyPartExamined": "BRAIN STD"},
        {"BodyPartExamined": "CHEST"},  # the descriptions speak of the head: the pixels decide
        {"RescaleType": None},
        {"AcquisitionNumber": lambda index: index},
        {"ImageType": ["ORIGINAL"]},
        {"ImageType": None},
        {"FrameOfReferenceUID": None},
    ],
    ids=without_addresses,
)
def test_a_plain_head_is_analysed(overrides: dict[str, Any]) -> None:
    assert reason(head(**overrides)) is None


NOT_A_WORD = {"SeriesDescription": None, "ProtocolName": None, "StudyDescription": None}


@pytest.mark.parametrize(
    ("expected", "overrides"),
    [
        ("not_ct", {"Modality": "MR", "SOPClassUID": MRImageStorage}),
        ("not_ct", {"Modality": "PT"}),
        ("not_ct", {"SamplesPerPixel": 3}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "SCOUT"]}),
        ("derived", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}),
        ("derived", {"ImageType": ["DERIVED", "PRIMARY", "MPR"]}),
        ("derived", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MIP"]}),
        ("derived", {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "PERFUSION"]}),
        ("derived", {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImagePositionPatient": lambda n: [0, 5 * n, 0]}),
        ("derived", {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": lambda n: [5 * n, 0, 0]}),
        ("contrast", {"ContrastBolusAgent": "OMNIPAQUE 350"}),
        ("contrast", {"SeriesDescription": "CTA HEAD 0.75"}),
        ("contrast", {"SeriesDescription": None, "ProtocolName": "CT ANGIO HEAD"}),
        ("not_head", {"BodyPartExamined": "CHEST", **NOT_A_WORD}),
        ("not_head", {"BodyPartExamined": None, **NOT_A_WORD, "SeriesDescription": "THORAX 5.0"}),
        ("not_head", {"BodyPartExamined": None, **NOT_A_WORD, "StudyDescription": "CT ABDOMEN"}),
        (
            "not_head",
            {"BodyPartExamined": "", "SeriesDescription": "C-SPINE", "StudyDescription": "HEAD AND NECK"},
        ),
        ("not_head", {"PixelSpacing": [4.0, 4.0]}),
        ("not_head", {"PixelSpacing": [32.0, 32.0], "BodyPartExamined": None, **NOT_A_WORD}),
        ("no_geometry", {"ImagePositionPatient": None}),
        ("no_geometry", {"ImageOrientationPatient": None}),
        ("no_geometry", {"PixelSpacing": None}),
        ("no_geometry", {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
        (
            "mixed_orientation",
            {"ImageOrientationPatient": lambda n: [1, 0, 0, 0, *((0.9, -0.4359) if n == 3 else (1, 0))]},
        ),
        ("mixed_orientation", {"FrameOfReferenceUID": lambda n: f"1.2.{n // 12 + 1}"}),
        ("mixed_orientation", {"PixelSpacing": lambda n: [16.0, 16.0] if n else [12.0, 12.0]}),
        ("mixed_orientation", {"Rows": lambda n: 16 if n else 8}),
        ("duplicate_positions", {"ImagePositionPatient": lambda n: [0, 0, 5 * (n // 2)]}),
        ("gap", {"heights_mm": [5.0 * n for n in range(26) if n not in (9, 10)]}),
        ("too_few_slices", {"slices": 7, "step_mm": 20.0, "thickness_mm": 20.0}),
        ("too_few_slices", {"slices": 100, "step_mm": 0.5, "thickness_mm": 0.5}),
        ("not_original_hu", {"RescaleSlope": None}),
        ("not_original_hu", {"RescaleType": "US"}),
        ("undecodable", {"PixelData": None}),
        ("undecodable", {"PixelData": lambda n: b"" if n == 3 else bytes(16 * 16 * 2)}),
    ],
    ids=lambda value: without_addresses(value)[:60],
)
def test_each_reason(expected: str, overrides: dict[str, Any]) -> None:
    assert reason(head(**overrides)) == ReasonCode(expected)


def test_an_unknown_compression_is_undecodable() -> None:
    plain, lossy = b"UI\x14\0" + b"1.2.840.10008.1.2.1\0", b"UI\x16\0" + b"1.2.840.10008.1.2.4.50"
    changed = []
    for ds in ct_series(10):
        content = part10(ds)
        length = int.from_bytes(content[140:144], "little") + len(lossy) - len(plain)
        changed.append(content[:140] + length.to_bytes(4, "little") + content[144:].replace(plain, lossy))
    found = exclusion([read_header(one) for one in changed])
    assert found is not None
    assert found.reason is ReasonCode.UNDECODABLE
    assert "1.2.840.10008.1.2.4.50" in found.sentence


@pytest.mark.parametrize("other", [localizer, rgb_screen, structured_report, segmentation])
def test_what_is_no_slice_is_not_analysed(other: Any) -> None:
    found = reason(headers([other()]))
    assert found in {ReasonCode.LOCALIZER, ReasonCode.DERIVED, ReasonCode.NOT_CT}


def test_a_series_without_instances_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one instance"):
        exclusion([])


@pytest.mark.parametrize("convert", [enhanced_ct, legacy_converted_ct])
def test_multi_frame_is_judged_like_single_frames(convert: Any) -> None:
    series = ct_series(24, tilt_degrees=10)
    assert reason(headers([convert(series)])) is None
    assert reason(headers([convert(ct_series(24)[:5])])) == ReasonCode.TOO_FEW_SLICES
    gap = [ds for index, ds in enumerate(ct_series(24)) if index not in (9, 10, 11)]
    assert reason(headers([convert(gap)])) == ReasonCode.GAP


def test_an_enhanced_projection_is_derived() -> None:
    ds = enhanced_ct(ct_series(24))
    assert ds.SOPClassUID == EnhancedCTImageStorage
    ds.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]
    assert reason(headers([ds])) == ReasonCode.DERIVED


def test_a_localizer_and_a_screen_among_the_slices_are_set_aside() -> None:
    series = head()
    odd = headers([localizer(), rgb_screen()])
    mixed = [odd[0], *series, odd[1]]
    assert usable(mixed) == series
    assert exclusion(mixed) is None
    assert preference(mixed) == preference(series)


def test_a_slice_without_pixels_is_never_set_aside() -> None:
    series = head(PixelData=lambda n: None if n == 23 else bytes(16 * 16 * 2))
    assert len(usable(series)) == 24
    assert reason(series) == ReasonCode.UNDECODABLE


def test_the_sentence_of_a_gap_says_where() -> None:
    found = exclusion(head(heights_mm=[5.0 * n for n in range(26) if n not in (9, 10)]))
    assert found is not None
    assert found.sentence == "There is a gap of 15.0 mm after slice 9 of 24: slices are missing."


def test_the_outcome_does_not_depend_on_the_order_of_arrival() -> None:
    series = head(slices=28, heights_mm=[5.0 * n for n in range(30) if n not in (9, 10)])
    first = exclusion(series)
    random.Random(1).shuffle(series)
    assert exclusion(series) == first


SOFT_5MM = {"ConvolutionKernel": "H30s"}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (SOFT_5MM, {"ConvolutionKernel": "H60s"}),
        (SOFT_5MM, {"ConvolutionKernel": "H60s", "slices": 30}),
        (SOFT_5MM, {"thickness_mm": 2.0, "step_mm": 2.0, "slices": 56}),
        ({"thickness_mm": 2.0, "step_mm": 2.0, "slices": 56}, {"slices": 18}),
        ({"thickness_mm": 3.0, "step_mm": 3.0, "slices": 45}, {"thickness_mm": 10.0, "step_mm": 10.0, "slices": 14}),
        (SOFT_5MM, {"ConvolutionKernel": "", "SeriesDescription": "HEAD BONE"}),
        ({"ConvolutionKernel": ""}, {"ConvolutionKernel": "", "SeriesDescription": "HEAD BONE"}),
        (SOFT_5MM, {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}),
        ({"slices": 28}, {"slices": 26}),
        ({"SeriesNumber": 2}, {"SeriesNumber": 3}),
        ({"SeriesInstanceUID": "1.2.9"}, {"SeriesInstanceUID": "1.2.10"}),
    ],
    ids=lambda value: without_addresses(value)[:50],
)
def test_the_better_series_is_preferred(better: dict[str, Any], worse: dict[str, Any]) -> None:
    assert preference(head(**better)) > preference(head(**worse))
    assert not preference(head(**worse)) >= preference(head(**better))


def test_the_preference_says_why() -> None:
    assert preference(head(slices=30)).sentence == "5.0 mm, kernel H30s, 30 slices, 150 mm"
    assert preference(head(ConvolutionKernel=None)).sentence == "5.0 mm, kernel not said, 24 slices, 120 mm"


def test_two_series_are_never_equal() -> None:
    one, two = preference(head()), preference(head())
    assert (one < two) != (two < one)


def test_a_preference_needs_slices() -> None:
    with pytest.raises(UnusableSeries, match="axial slice"):
        preference(headers([localizer()]))
