"""`read_header`: strict about the UIDs that filing needs, lenient about everything else."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.builders import (
    NAMES,
    ct_series,
    enhanced_ct,
    legacy_converted_ct,
    localizer,
    part10,
    part10_named,
    rgb_screen,
    segmentation,
    structured_report,
)
from triage.dicom.header import is_candidate, is_own_object, read_header
from triage.domain.errors import UnreadableInstance
from triage.domain.study import FrameGeometry, InstanceHeader


def header(**overrides: Any) -> InstanceHeader:
    return read_header(part10(ct_series(1, **overrides)[0]))


def test_reads_what_a_series_needs() -> None:
    ds = ct_series(3, tilt_degrees=18.5, ContrastBolusAgent="", PatientPosition="HFS")[2]
    read = read_header(part10(ds))
    assert read == InstanceHeader(
        sop_instance_uid=ds.SOPInstanceUID,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        series_instance_uid=ds.SeriesInstanceUID,
        study_instance_uid=ds.StudyInstanceUID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        accession_number="SYN0001",
        study_description="CT HEAD",
        series_description="HEAD SYNTHETIC",
        protocol_name="HEAD ROUTINE",
        body_part_examined="HEAD",
        kernel="H30s",
        contrast_agent="",
        manufacturer="SYNTHETIC",
        model_name="BUILDER",
        patient_position="HFS",
        frame_of_reference_uid=ds.FrameOfReferenceUID,
        series_number=2,
        instance_number=3,
        acquisition_number=1,
        rows=64,
        columns=64,
        samples_per_pixel=1,
        number_of_frames=1,
        pixel_spacing_mm=(4.0, 4.0),
        has_pixel_data=True,
        has_rescale=True,
        rescale_type="HU",
        frames=(FrameGeometry(tuple(ds.ImagePositionPatient), tuple(ds.ImageOrientationPatient), 5.0),),
    )


@pytest.mark.parametrize(
    ("keyword", "value", "sentence"),
    [
        ("SOPInstanceUID", "", "has no SOP Instance UID"),
        ("StudyInstanceUID", "", "has no Study Instance UID"),
        ("SeriesInstanceUID", "", "has no Series Instance UID"),
        ("SOPClassUID", "", "has no SOP Class UID"),
        ("SeriesInstanceUID", "ID_a1b2c3", "Series Instance UID of the instance is not a UID"),
        ("StudyInstanceUID", "../../etc/passwd", "Study Instance UID of the instance is not a UID"),
        ("SOPInstanceUID", "1." * 40 + "1", "SOP Instance UID of the instance is not a UID"),
    ],
)
def test_what_cannot_be_filed_is_refused_in_one_sentence_without_the_value(
    keyword: str, value: str, sentence: str
) -> None:
    ds = ct_series(1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of the value that this test is about
        ds[keyword].value = value
        ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        content = part10(ds)
    with pytest.raises(UnreadableInstance, match=sentence) as refused:
        read_header(content)
    assert not value or value not in str(refused.value)


@pytest.mark.parametrize("kind", NAMES)
def test_no_character_set_stops_an_instance(kind: str) -> None:
    read = read_header(part10_named(ct_series(1)[0], kind))
    assert read.series_description.startswith(("SYNTHETIC", "Yamada"))
    assert "\x1b" not in read.series_description
    assert "\0" not in read.series_description
    assert read.frames


def test_text_is_read_in_the_character_set_that_it_declares() -> None:
    ds = ct_series(1)[0]
    assert read_header(part10_named(ds, "utf8")).series_description == "SYNTHETIC^Größe 頭部"
    assert read_header(part10_named(ds, "undeclared")).series_description == "SYNTHETIC^Größe"
    assert "山田" in read_header(part10_named(ds, "ir87")).series_description


@pytest.mark.parametrize(
    ("written", "damaged"),
    [
        (b"DS\x08\x004.0\\4.0 ", b"DS\x08\x004,0\\4,0 "),
        (b"DS\x08\x004.0\\4.0 ", b"DS\x08\x00nan\\inf "),
        (b"DS\x08\x004.0\\4.0 ", b"DS\x08\x000\\0     "),
        (b"IS\x02\x002 ", b"IS\x02\x00x\\"),
        (b"DS\x04\x005.0 ", b"DS\x04\x00thin"),
        (b"CS\x02\x00CT", b"CS\x02\x00\xff\x00"),
        (b"SH\x08\x00SYN0001 ", b"SH\x08\x00\x00\x01\x02\x03\x04\x05\x06\x07"),
    ],
)
def test_a_bad_value_reads_as_empty_and_nothing_else_is_lost(written: bytes, damaged: bytes) -> None:
    content = part10(ct_series(1)[0])
    assert written in content
    read = read_header(content.replace(written, damaged))
    whole = read_header(content)
    assert read != whole
    assert (read.sop_instance_uid, read.rows, read.kernel) == (whole.sop_instance_uid, whole.rows, whole.kernel)


@pytest.mark.parametrize("number", ["99999999999", "-99999999999"])
def test_a_number_that_no_database_column_holds_reads_as_none(number: str) -> None:
    content = part10(ct_series(1, AcquisitionNumber=1)[0])
    at = content.index(b"\x20\x00\x12\x00IS")
    value = number.encode().ljust(12)
    content = content[: at + 6] + len(value).to_bytes(2, "little") + value + content[at + 10 :]
    assert read_header(content).acquisition_number is None


@pytest.mark.parametrize("cut", [1, 100, 8000])
def test_truncated_pixels_still_give_a_header(cut: int) -> None:
    content = part10(ct_series(1)[0])
    assert read_header(content[:-cut]) == read_header(content)


def test_missing_geometry_leaves_no_frames() -> None:
    assert header(ImagePositionPatient=None).frames == ()
    assert header(ImageOrientationPatient=None).frames == ()
    assert header(SliceThickness=None).frames[0].thickness_mm is None
    assert header(SliceThickness=0).frames[0].thickness_mm is None
    assert header(PixelSpacing=None).pixel_spacing_mm is None
    assert not header(RescaleIntercept=None).has_rescale


@pytest.mark.parametrize("tilt_degrees", [0, 12])
@pytest.mark.parametrize("convert", [enhanced_ct, legacy_converted_ct])
def test_multi_frame_gives_one_geometry_per_frame(convert: Any, tilt_degrees: float) -> None:
    series = ct_series(5, tilt_degrees=tilt_degrees)
    read = read_header(part10(convert(series)))
    singles = [read_header(part10(ds)).frames[0] for ds in series]
    assert read.number_of_frames == 5
    assert read.pixel_spacing_mm == (4.0, 4.0)
    assert read.has_rescale
    # highdicom writes frames from cranial to caudal where it can
    frames = sorted(read.frames, key=lambda frame: frame.position_mm[2])
    for one, other in zip(frames, singles, strict=True):
        np.testing.assert_allclose(one.position_mm, other.position_mm, atol=1e-4)
        np.testing.assert_allclose(one.orientation, other.orientation, atol=1e-6)
        assert one.thickness_mm == other.thickness_mm


def test_enhanced_headers_are_read_from_the_functional_groups() -> None:
    ds = enhanced_ct(ct_series(3))
    read = read_header(part10(ds))
    assert (read.kernel, read.rescale_type) == ("H30s", "HU")
    agent, meaning = Dataset(), Dataset()
    agent.CodeMeaning = "Iohexol"
    ds.ContrastBolusAgentSequence = [agent]
    assert read_header(part10(ds)).contrast_agent == "Iohexol"
    ds.ContrastBolusAgentSequence = [meaning]
    assert read_header(part10(ds)).contrast_agent == "contrast agent"


def test_a_multi_frame_with_fewer_groups_than_frames_has_no_geometry() -> None:
    ds = enhanced_ct(ct_series(4))
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:3]
    assert read_header(part10(ds)).frames == ()
    del ds.PerFrameFunctionalGroupsSequence
    assert read_header(part10(ds)).frames == ()


def test_our_own_objects_are_known() -> None:
    assert is_own_object(read_header(part10(segmentation(manufacturer="ich-triage"))))
    assert is_own_object(header(ManufacturerModelName="ICH-Triage"))
    assert not is_own_object(header())
    assert not is_candidate(header(Manufacturer="ich-triage"))


def test_candidates_are_single_slices_that_could_be_of_a_head() -> None:
    assert is_candidate(header())
    for other in (localizer(), rgb_screen(), structured_report(), segmentation()):
        assert not is_candidate(read_header(part10(other)))


def test_no_header_value_names_the_patient() -> None:
    read = header(PatientName="SYNTHETIC^SECRET", PatientID="SECRET1", OtherPatientIDs="SECRET2")
    assert "SECRET" not in repr(read)
