"""One slice at a time: the same order and the same HU as the volume, turned as radiologists look at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.builders import ct_series, enhanced_ct, part10, rgb_screen, structured_report
from tests.cases import CASES
from triage.dicom.header import read_header
from triage.dicom.slices import SeriesSlices, read_slice, series_slices
from triage.dicom.volume import read_volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.geometry import Turn


def slices_of(contents: list[bytes]) -> SeriesSlices:
    return series_slices([read_header(content) for content in contents])


@pytest.mark.parametrize("name", ["five subtypes", "tilted and uneven", "enhanced", "legacy converted", "big endian",
                                  "implicit", "odd size", "real tilted head"])  # fmt: skip
def test_order_and_hu_are_those_of_the_volume(name: str, shared_data: Path) -> None:
    case = CASES[name](shared_data)
    files = {read_header(content).sop_instance_uid: content for content in case.contents}
    shown = slices_of(case.contents[::-1])
    assert tuple(place.source for place in shown.places) == case.volume.sources
    assert shown.ordered
    assert shown.from_below
    assert shown.sides == ("L", "R", "P", "A")
    for index in {0, len(shown.places) // 2, len(shown.places) - 1}:
        source = shown.places[index].source
        hu = read_slice(files[source.sop_instance_uid], source.frame_number)
        assert np.array_equal(hu, case.volume.hu[index])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("frames", [1, 4])
def test_one_frame_of_a_compressed_instance(syntax: str, frames: int) -> None:
    series = ct_series(4)
    ds = enhanced_ct(series) if frames > 1 else series[1]
    uid = ds.SOPInstanceUID
    ds.compress(syntax, generate_instance_uid=False)
    ds.SOPInstanceUID = uid
    wanted = read_volume([part10(one) for one in ct_series(4)]).hu
    hu = read_slice(part10(ds), 2 if frames > 1 else 1)
    assert np.array_equal(hu, wanted[1])


def test_a_frame_that_is_not_there_is_refused() -> None:
    (ds,) = ct_series(1)
    for number in (0, 2):
        with pytest.raises(UnusableSeries, match="no frame"):
            read_slice(part10(ds), number)


def test_pixels_that_are_no_hu_are_refused() -> None:
    with pytest.raises(UnusableSeries) as refused:
        read_slice(part10(rgb_screen()), 1)
    assert refused.value.reason is ReasonCode.NOT_ORIGINAL_HU
    with pytest.raises(UnusableSeries) as refused:
        read_slice(b"no DICOM", 1)
    assert refused.value.reason is ReasonCode.UNDECODABLE


def test_wrapped_values_are_repaired_on_a_slice_alone() -> None:
    (ds,) = ct_series(1, bits_stored=12, signed=False, intercept=0.0, hu=lambda _: np.where(np.eye(64) > 0, 40, 3096))
    hu = read_slice(part10(ds), 1)
    assert hu[0, 1] == -1000
    assert hu[0, 0] == 40


SQUARE = np.array([[1, 2], [3, 4]])
"""As radiologists look at it: the patient's right front, left front, right back, left back."""

TURNED = {
    "as usual": ([1, 0, 0, 0, 1, 0], SQUARE, True),
    "columns reversed": ([-1, 0, 0, 0, 1, 0], SQUARE[:, ::-1], False),
    "rows reversed": ([1, 0, 0, 0, -1, 0], SQUARE[::-1], False),
    "half a turn": ([-1, 0, 0, 0, -1, 0], SQUARE[::-1, ::-1], True),
    "rows along the patient": ([0, 1, 0, 1, 0, 0], SQUARE.T, False),
    "a quarter turn": ([0, 1, 0, -1, 0, 0], np.array([[2, 4], [1, 3]]), True),
}


@pytest.mark.parametrize("name", TURNED)
def test_every_axial_orientation_is_shown_with_left_at_the_right_and_front_above(name: str) -> None:
    orientation, stored, from_below = TURNED[name]
    shown = slices_of([part10(ds) for ds in ct_series(3, ImageOrientationPatient=orientation)])
    assert np.array_equal(shown.turn.apply(stored), SQUARE)
    assert shown.sides == ("L", "R", "P", "A")
    assert shown.from_below is from_below
    assert bool(shown.turn) is (name != "as usual")


def test_spacing_is_turned_as_well() -> None:
    upright = slices_of([part10(ds) for ds in ct_series(3, PixelSpacing=[2.0, 3.0])])
    turned = slices_of(
        [part10(ds) for ds in ct_series(3, PixelSpacing=[2.0, 3.0], ImageOrientationPatient=[0, 1, 0, 1, 0, 0])]
    )
    assert (upright.pixel_spacing_mm, turned.pixel_spacing_mm) == ((2.0, 3.0), (3.0, 2.0))


def test_another_plane_is_shown_as_stored_with_its_own_letters() -> None:
    series = ct_series(
        3, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=lambda index: [5 * index, 0, 0]
    )
    shown = slices_of([part10(ds) for ds in series])
    assert shown.turn == Turn()
    assert shown.sides == ("P", "A", "F", "H")


def test_what_could_not_be_analysed_is_shown_all_the_same() -> None:
    gap = slices_of([part10(ds) for ds in ct_series(heights_mm=[0, 5, 10, 40])])
    assert gap.ordered
    twice = slices_of([part10(ds) for ds in ct_series(heights_mm=[10, 10, 0])])
    assert not twice.ordered
    assert twice.sides == ("", "", "", "")
    nowhere = [part10(ds) for ds in ct_series(3, ImagePositionPatient=None, InstanceNumber=lambda index: 3 - index)]
    shown = slices_of(nowhere)
    assert [place.source.sop_instance_uid for place in shown.places] == [
        read_header(content).sop_instance_uid for content in nowhere[::-1]
    ]


def test_a_series_without_images_is_refused() -> None:
    with pytest.raises(UnusableSeries, match="holds an image"):
        slices_of([part10(structured_report())])
