"""The segmentation through its bytes: the right pixels on the right source frames, complete, and always the same."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

from tests.builders import NAMES, ct_series, enhanced_ct, legacy_converted_ct, part10, part10_named
from tests.results import PROVENANCE, REAL, Analysed, analysed, blobs, dataset
from triage.dicom.codes import SUBTYPE_CODES
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import UnreadableInstance
from triage.domain.finding import SUBTYPES, Subtype, SubtypeFinding
from triage.domain.volume import SliceSource

UNEVEN_MM = [0, 4.2, 8.4, 12.6, 13.8, 21.2, 28.6, 36.0, 43.4]  # steps of two thicknesses, overlapping where they meet


def labels_of(encoded: EncodedObject, case: Analysed) -> NDArray[np.uint8]:
    """The labels as a stranger reads them: by segment and by source frame, not by place in the file."""
    seg = hd.seg.segread(io.BytesIO(encoded.content))
    labels = np.zeros(case.volume.hu.shape, dtype=np.uint8)
    subtype_of = {names.label: subtype for subtype, names in SUBTYPE_CODES.items()}
    for number in seg.segment_numbers:
        subtype = subtype_of[seg.get_segment_description(number).segment_label]
        planes = _planes(seg, case.volume.sources, number)
        assert not (labels[planes > 0]).any()
        labels[planes > 0] = SUBTYPES.index(subtype) + 1
    return labels


def _planes(seg: hd.seg.Segmentation, sources: Sequence[SliceSource], number: int) -> NDArray[Any]:
    options = {"segment_numbers": [number], "assert_missing_frames_are_empty": True, "ignore_spatial_locations": False}
    uids = [s.sop_instance_uid for s in sources]
    if len(set(uids)) == len(uids):
        return np.asarray(seg.get_pixels_by_source_instance(uids, **options)[..., 0])
    frames = [s.frame_number for s in sources]
    return np.asarray(seg.get_pixels_by_source_frame(uids[0], frames, **options)[..., 0])


def frames_of(ds: Dataset) -> list[tuple[Dataset, Dataset]]:
    """Each frame's groups with the item that names its source."""
    return [(f, f.DerivationImageSequence[0].SourceImageSequence[0]) for f in ds.PerFrameFunctionalGroupsSequence]


def series_for(kind: str) -> list[bytes]:
    heights = UNEVEN_MM if kind in ("uneven", "tilted and uneven") else None
    tilt = 18.5 if "tilted" in kind else 0.0
    thickness = (lambda i: 4.0 if i < 5 else 7.0) if heights else 5.0
    series = ct_series(9, heights_mm=heights, tilt_degrees=tilt, SliceThickness=thickness)
    if kind == "enhanced":
        return [part10(enhanced_ct(series))]
    if kind == "legacy converted":
        return [part10(legacy_converted_ct(series))]
    return [part10(ds) for ds in series[::-1]]


@pytest.mark.parametrize("kind", ["plain", "tilted", "uneven", "tilted and uneven", "enhanced", "legacy converted"])
def test_labels_come_back_on_their_source_frames(kind: str) -> None:
    case = analysed(series_for(kind))
    np.testing.assert_array_equal(labels_of(case.seg(), case), case.labels)


@pytest.mark.parametrize("subtypes", [(s,) for s in SUBTYPES] + [(Subtype.IPH, Subtype.SDH), tuple(SUBTYPES)], ids=str)
def test_each_subtype_found_is_a_segment(subtypes: tuple[Subtype, ...]) -> None:
    case = analysed(subtypes=subtypes)
    encoded = case.seg()
    np.testing.assert_array_equal(labels_of(encoded, case), case.labels)
    ds = dataset(encoded)
    assert [s.SegmentLabel for s in ds.SegmentSequence] == [SUBTYPE_CODES[s].label for s in subtypes]
    assert [s.SegmentNumber for s in ds.SegmentSequence] == list(range(1, len(subtypes) + 1))
    assert ds.SegmentationType == "BINARY"
    assert ds.SegmentsOverlap == "NO"


def test_no_frame_is_empty_and_none_is_missing() -> None:
    case = analysed()
    ds = dataset(case.seg())
    expected = sum(int((case.labels == i).any(axis=(1, 2)).sum()) for i in range(1, len(SUBTYPES) + 1))
    assert ds.NumberOfFrames == len(ds.PerFrameFunctionalGroupsSequence) == expected
    assert ds.pixel_array.any(axis=(1, 2)).all()


def test_odd_image_sizes_survive_bit_packing() -> None:
    case = analysed([part10(ds) for ds in ct_series(9, rows=61, columns=47)])
    np.testing.assert_array_equal(labels_of(case.seg(), case), case.labels)


@pytest.mark.parametrize("kind", ["plain", "tilted and uneven", "enhanced"])
def test_the_volume_of_a_segment_is_that_of_the_result(kind: str) -> None:
    case = analysed(series_for(kind))
    read = labels_of(case.seg(), case)
    for number, subtype in enumerate(SUBTYPES, start=1):
        counts = np.count_nonzero(read == number, axis=(1, 2))
        assert float(counts @ case.volume.voxel_ml) == pytest.approx(case.result.subtypes[subtype].volume_ml, rel=1e-9)


def test_thickness_is_that_of_each_slice_where_it_differs() -> None:
    case = analysed(series_for("tilted and uneven"))
    ds = dataset(case.seg())
    assert "PixelMeasuresSequence" not in ds.SharedFunctionalGroupsSequence[0]
    thickness_of = dict(
        zip((s.sop_instance_uid for s in case.volume.sources), case.volume.stack.thickness_mm, strict=True)
    )
    seen = set()
    for frame, image in frames_of(ds):
        measures = frame.PixelMeasuresSequence[0]
        assert measures.SliceThickness == thickness_of[image.ReferencedSOPInstanceUID]
        assert list(measures.PixelSpacing) == list(case.volume.pixel_spacing_mm)
        assert "SpacingBetweenSlices" not in measures
        seen.add(float(measures.SliceThickness))
    assert seen == {4.0, 7.0}


def test_thickness_is_shared_where_the_segmented_slices_agree() -> None:
    case = analysed(series_for("uneven"))
    labels = np.where(np.arange(9)[:, None, None] > 5, case.labels, 0).astype(np.uint8)
    case = replace(case, labels=labels, result=_result_of(case, labels))
    shared = dataset(case.seg()).SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].SliceThickness == 7.0


def _result_of(case: Analysed, labels: NDArray[np.uint8]) -> Any:
    volumes = {s: SubtypeFinding(0.5, case.volume.mask_ml(labels == i)) for i, s in enumerate(SUBTYPES, start=1)}
    return replace(case.result, subtypes=volumes, total_volume_ml=case.volume.mask_ml(labels > 0))


def test_frames_lie_where_their_sources_lie() -> None:
    contents = series_for("tilted and uneven")
    case = analysed(contents)
    position_of = {ds.SOPInstanceUID: ds.ImagePositionPatient for ds in map(_read, contents)}
    ds = dataset(case.seg())
    orientation = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    np.testing.assert_allclose(orientation, _read(contents[0]).ImageOrientationPatient, atol=1e-7)
    for frame, image in frames_of(ds):
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, position_of[image.ReferencedSOPInstanceUID], atol=1e-6)
        assert image.SpatialLocationsPreserved == "YES"
        assert "ReferencedFrameNumber" not in image
    assert ds.FrameOfReferenceUID == _read(contents[0]).FrameOfReferenceUID


def _read(content: bytes) -> Dataset:
    return dataset(EncodedObject(ObjectKind.SEG, "", "", "", "", content))


def test_multi_frame_sources_are_named_with_their_frame() -> None:
    (content,) = series_for("enhanced")
    case = analysed([content])
    ds, source = dataset(case.seg()), _read(content)
    for frame, image in frames_of(ds):
        assert image.ReferencedSOPClassUID == source.SOPClassUID
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        group = source.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(frame.PlanePositionSequence[0].ImagePositionPatient, position, atol=1e-6)
    assert len(ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1


def test_a_series_in_several_multi_frame_instances_is_one_segmentation() -> None:
    series = ct_series(10)
    first, second = enhanced_ct(series[:4]), enhanced_ct(series[4:])
    second.SeriesInstanceUID = first.SeriesInstanceUID
    case = analysed([part10(first), part10(second)])
    ds = dataset(case.seg())
    seg = hd.seg.segread(io.BytesIO(case.seg().content))
    for part in (first, second):
        frames = [s.frame_number for s in case.volume.sources if s.sop_instance_uid == part.SOPInstanceUID]
        at = [i for i, s in enumerate(case.volume.sources) if s.sop_instance_uid == part.SOPInstanceUID]
        read = seg.get_pixels_by_source_frame(
            part.SOPInstanceUID, frames, combine_segments=True, relabel=False, assert_missing_frames_are_empty=True
        )
        np.testing.assert_array_equal(read, case.labels[at])
    named = {i.ReferencedSOPInstanceUID for i in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named == {first.SOPInstanceUID, second.SOPInstanceUID}


def test_every_source_instance_is_referred_to() -> None:
    case = analysed(subtypes=[Subtype.SAH])
    ds = dataset(case.seg())
    expected = {s.sop_instance_uid for s in case.volume.sources}
    (series,) = ds.ReferencedSeriesSequence
    assert {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == expected
    assert {i.ReferencedSOPInstanceUID for i in ds.SourceImageSequence} == expected
    assert series.SeriesInstanceUID == _read(case.contents[0]).SeriesInstanceUID


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_a_segment_says_what_where_and_by_whom(subtype: Subtype) -> None:
    names = SUBTYPE_CODES[subtype]
    (segment,) = dataset(analysed(subtypes=[subtype]).seg()).SegmentSequence
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    assert kind.CodeValue == "50960005"
    modifiers = [m.CodeValue for m in kind.SegmentedPropertyTypeModifierCodeSequence]
    assert modifiers == [c.value for c in (names.disorder, names.subtype) if c is not None]
    assert segment.AnatomicRegionSequence[0].CodeValue == names.site.value
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("demo-heads", "1.2")
    assert PROVENANCE.bundle_digest in algorithm.AlgorithmParameters
    assert segment.TrackingID == f"ICH triage {subtype}"
    assert segment.TrackingUID.startswith("2.25.")
    colour = hd.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb(clip=True)
    np.testing.assert_allclose(colour, names.colour, atol=2)


def test_the_same_inputs_make_the_same_bytes() -> None:
    case = analysed()
    once = case.seg()
    assert case.seg(contents=case.contents[::-1]) == once
    assert b"highdicom" not in once.content


def test_every_identifier_inside_is_derived_or_referred_to() -> None:
    case = analysed()
    given = {uid for content in case.contents for uid in _uids(_read(content))}
    made = {uid for uid in _uids(dataset(case.seg())) if uid not in given and not uid.startswith("1.2.840.10008.")}
    assert all(uid.startswith("2.25.") for uid in made)
    assert len(made) == 2 + len(SUBTYPES) + 3  # instance, series, tracking, dimensions, device, coding scheme


def _uids(ds: Dataset) -> set[str]:
    return {str(e.value) for e in ds.iterall() if e.VR == "UI" and e.value}


@pytest.mark.parametrize("change", ["instance", "bundle"])
def test_other_inputs_make_another_object(change: str) -> None:
    case = analysed()
    before = case.seg()
    if change == "bundle":
        after = case.seg(provenance=REAL)
    else:
        late = ct_series(1)[0]
        late.SeriesInstanceUID = _read(case.contents[0]).SeriesInstanceUID
        after = case.seg(contents=[*case.contents, part10(late)])
    assert after.sop_instance_uid != before.sop_instance_uid
    assert after.series_instance_uid != before.series_instance_uid


def test_content_time_is_that_of_the_revision() -> None:
    ds = dataset(analysed().seg())
    for keyword in ("InstanceCreation", "Content", "Series"):
        assert (ds[f"{keyword}Date"].value, ds[f"{keyword}Time"].value) == ("20240102", "030405.678900")
    assert ds.ContributingEquipmentSequence[0].ContributionDateTime == "20240102030405.678900+0000"
    later = replace(PROVENANCE, content_at=datetime(2025, 6, 7, tzinfo=UTC))
    assert dataset(analysed(provenance=later).seg()).ContentDate == "20250607"


def test_content_time_is_in_the_zone_of_the_source() -> None:
    contents = [part10(ds) for ds in ct_series(9, TimezoneOffsetFromUTC="-0500")]
    ds = dataset(analysed(contents).seg())
    assert ds.TimezoneOffsetFromUTC == "-0500"
    assert (ds.ContentDate, ds.ContentTime) == ("20240101", "220405.678900")


def test_the_equipment_is_ours_and_the_bundle_a_device_of_its_own() -> None:
    case = analysed()
    ds, other = dataset(case.seg()), dataset(case.seg(provenance=REAL))
    assert (ds.Manufacturer, ds.ManufacturerModelName) == ("ich-triage", "ich-triage")
    assert list(ds.SoftwareVersions) == ["ich-triage 0.1.0", "demo-heads 1.2"]
    assert ds.DeviceSerialNumber == PROVENANCE.bundle_digest[:16]
    (item,) = ds.ContributingEquipmentSequence
    assert item.ManufacturerModelName == "demo-heads"
    assert "Not for primary diagnosis" in item.ContributionDescription
    assert item.DeviceUID != other.ContributingEquipmentSequence[0].DeviceUID


def test_a_demonstration_says_so_and_only_a_demonstration() -> None:
    case = analysed()
    ds, real = dataset(case.seg()), dataset(case.seg(provenance=REAL))
    assert ds.SeriesDescription == "ICH triage: segmentation, DEMONSTRATION, NOT FOR CARE"
    assert "DEMONSTRATION" in ds.ContributingEquipmentSequence[0].ContributionDescription
    assert real.SeriesDescription == "ICH triage: segmentation"
    assert b"DEMONSTRATION" not in case.seg(provenance=REAL).content


def test_a_series_number_tells_the_source_and_collides_with_none() -> None:
    assert dataset(analysed().seg()).SeriesNumber == 9_100_002


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_a_patient_name_is_the_one_that_came(kind: str) -> None:
    character_set, name = NAMES[kind]
    case = analysed([part10_named(ds, kind) for ds in ct_series(9)])
    content = case.seg().content
    padded = name.ljust(len(name) + len(name) % 2)
    assert b"\x10\x00\x10\x00PN" + len(padded).to_bytes(2, "little") + padded in content
    declared = character_set.ljust(len(character_set) + len(character_set) % 2)
    assert b"\x08\x00\x05\x00CS" + len(declared).to_bytes(2, "little") + declared in content


def test_japanese_names_read_as_they_should() -> None:
    case = analysed([part10_named(ds, "ir87") for ds in ct_series(9)])
    assert str(dataset(case.seg()).PatientName.ideographic).startswith("山田")


def test_no_patient_value_is_invented() -> None:
    gone = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"))
    ds = dataset(analysed([part10(one) for one in ct_series(9, **gone, StudyDate=None, StudyTime=None)]).seg())
    for keyword in (*gone, "StudyDate", "StudyTime"):
        assert ds[keyword].is_empty


@pytest.mark.parametrize(("sent", "written"), [("SKULL", "SKULL"), ("", "HEAD"), (None, "HEAD")])
def test_the_body_part_is_that_of_the_source_or_the_only_one_analysed(sent: str | None, written: str) -> None:
    contents = [part10(ds) for ds in ct_series(9, BodyPartExamined=sent)]
    assert dataset(analysed(contents).seg()).BodyPartExamined == written


def test_a_source_without_frame_of_reference_lies_in_a_space_of_its_own() -> None:
    case = analysed()
    bare = replace(case, volume=replace(case.volume, frame_of_reference_uid=""))
    space = dataset(bare.seg()).FrameOfReferenceUID
    assert space.startswith("2.25.")
    assert space == dataset(bare.seg(provenance=REAL)).FrameOfReferenceUID
    assert space != dataset(case.seg()).FrameOfReferenceUID


def test_lossy_compression_of_the_source_is_declared() -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "9.5"}
    lossy["LossyImageCompressionMethod"] = "ISO_15444_1"
    ds = dataset(analysed([part10(one) for one in ct_series(9, **lossy)]).seg())
    assert [ds[keyword].value for keyword in lossy] == ["01", 9.5, "ISO_15444_1"]
    assert dataset(analysed().seg()).LossyImageCompression == "00"


def test_the_object_says_what_it_is() -> None:
    encoded = analysed().seg()
    ds = dataset(encoded)
    assert (encoded.kind, encoded.sop_class_uid) == ("SEG", SegmentationStorage)
    assert encoded.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert encoded.sop_instance_uid == ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert encoded.series_instance_uid == ds.SeriesInstanceUID
    assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ICHTRIAGE"


def test_a_mask_that_does_not_fit_is_refused() -> None:
    case = analysed()
    with pytest.raises(ValueError, match="labels are uint8"):
        case.seg(labels=case.labels[:-1])
    with pytest.raises(ValueError, match="labels are uint8"):
        case.seg(labels=case.labels.astype(np.int16))
    with pytest.raises(ValueError, match="labels run from 0 to 6, not to 7"):
        case.seg(labels=np.where(case.labels > 0, np.uint8(7), case.labels))
    with pytest.raises(ValueError, match="without any segment"):
        case.seg(labels=np.zeros_like(case.labels))


def test_a_result_that_says_other_volumes_is_refused() -> None:
    case = analysed()
    with pytest.raises(ValueError, match=r"the result says .* ml of EDH, its mask has"):
        case.seg(labels=blobs(case.labels.shape, [Subtype.IPH]))
    with pytest.raises(ValueError, match="ml in all"):
        case.seg(result=replace(case.result, total_volume_ml=case.result.total_volume_ml + 1))


def test_an_instance_that_cannot_be_filed_is_refused() -> None:
    case = analysed()
    with pytest.raises(UnreadableInstance):
        case.seg(contents=[*case.contents, b"\0" * 200])


def test_an_instance_set_aside_is_part_of_the_identity_and_no_source_frame() -> None:
    case = analysed()
    scout = ct_series(1)[0]
    scout.SeriesInstanceUID, scout.SOPInstanceUID = _read(case.contents[0]).SeriesInstanceUID, generate_uid()
    ds = dataset(case.seg(contents=[*case.contents, part10(scout)]))
    assert scout.SOPInstanceUID not in {i.ReferencedSOPInstanceUID for i in ds.SourceImageSequence}
    assert ds.SOPInstanceUID != case.seg().sop_instance_uid


def test_sequences_of_the_patient_are_carried() -> None:
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = "SYNTHETIC-2", "SYNTHETIC"
    ds = dataset(analysed([part10(one) for one in ct_series(9, OtherPatientIDsSequence=DicomSequence([other]))]).seg())
    assert ds.OtherPatientIDsSequence[0].PatientID == "SYNTHETIC-2"


def test_a_real_tilted_head_keeps_its_frames(shared_data: Path) -> None:
    case = analysed([path.read_bytes() for path in sorted((shared_data / "ge_head_tilt").glob("*.dcm"))])
    encoded = case.seg()
    np.testing.assert_array_equal(labels_of(encoded, case), case.labels)
    assert case.seg(contents=case.contents[::-1]) == encoded
    thickness = {float(f.PixelMeasuresSequence[0].SliceThickness) for f, _ in frames_of(dataset(encoded))}
    assert thickness == {4.0, 7.0}
