"""The other two kinds of segmentation: a label map without background, and probabilities."""

from __future__ import annotations

import io
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.builders import ct_series, enhanced_ct, part10
from tests.results import Analysed, analysed, dataset
from triage.domain.encoded import SEG_KINDS, EncodedObject, ObjectKind
from triage.domain.finding import SUBTYPES, Subtype

LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
OTHERS = sorted(SEG_KINDS - {ObjectKind.SEG})


def probabilities_of(case: Analysed) -> dict[Subtype, NDArray[np.uint8]]:
    """Certain in the first row of each blob, less so below, with a rim around it."""
    maps = {}
    for number, subtype in enumerate(SUBTYPES, start=1):
        mask = case.labels == number
        if mask.any():
            rows = np.indices(case.labels.shape)[1]
            maps[subtype] = np.where(mask, 255 - 20 * (rows % 5), 0).astype(np.uint8)
            maps[subtype] |= np.where(np.roll(mask, 1, axis=2) & ~mask, 40, 0).astype(np.uint8)
    return maps


def encoded(case: Analysed, kind: ObjectKind, **changes: Any) -> EncodedObject:
    return case.seg(**{"kind": kind, "probabilities": probabilities_of(case), **changes})


def tracking_of(one: EncodedObject) -> list[tuple[int, str, str, str]]:
    return [(s.SegmentNumber, s.SegmentLabel, s.TrackingID, s.TrackingUID) for s in dataset(one).SegmentSequence]


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("subtypes", [SUBTYPES, (Subtype.IVH,), (Subtype.IPH, Subtype.SDH)], ids=str)
def test_segments_are_numbered_and_tracked_as_in_the_binary_one(
    kind: ObjectKind, subtypes: tuple[Subtype, ...]
) -> None:
    case = analysed(subtypes=subtypes)
    assert tracking_of(encoded(case, kind)) == tracking_of(case.seg())


@pytest.mark.parametrize("kind", OTHERS)
def test_each_kind_is_an_object_of_its_own_and_always_the_same(kind: ObjectKind) -> None:
    case = analysed()
    made, binary = encoded(case, kind), case.seg()
    assert made.kind is kind
    assert encoded(case, kind, contents=case.contents[::-1]) == made
    assert made.sop_instance_uid != binary.sop_instance_uid
    assert made.series_instance_uid != binary.series_instance_uid
    assert dataset(made).SeriesNumber != dataset(binary).SeriesNumber
    assert len(dataset(made).SeriesDescription) <= 64


@pytest.mark.parametrize("subtypes", [SUBTYPES, (Subtype.IVH,), (Subtype.IPH, Subtype.SDH)], ids=str)
@pytest.mark.parametrize("source", ["plain", "tilted and uneven", "odd size", "enhanced"])
def test_a_label_map_shows_every_segment_on_one_frame_a_slice(source: str, subtypes: tuple[Subtype, ...]) -> None:
    case = analysed(contents_of(source), subtypes)
    ds = dataset(encoded(case, ObjectKind.SEG_LABELMAP))
    assert (ds.SOPClassUID, ds.SegmentationType, ds.BitsAllocated) == (LABELMAP, "LABELMAP", 8)
    used = np.flatnonzero(case.labels.any(axis=(1, 2)))
    assert ds.NumberOfFrames == len(ds.PerFrameFunctionalGroupsSequence) == len(used)
    by_slice = dict(zip(used[::-1], ds.pixel_array, strict=True))
    subtype_of = {number: label[:3] for number, label, *_ in tracking_of(encoded(case, ObjectKind.SEG_LABELMAP))}
    for index, frame in by_slice.items():
        for number in np.unique(frame[frame > 0]):
            expected = case.labels[index] == SUBTYPES.index(Subtype(subtype_of[number])) + 1
            np.testing.assert_array_equal(frame == number, expected)
        np.testing.assert_array_equal(frame > 0, case.labels[index] > 0)


def contents_of(source: str) -> list[bytes]:
    if source == "enhanced":
        return [part10(enhanced_ct(ct_series(9)))]
    if source == "odd size":
        return [part10(ds) for ds in ct_series(9, rows=61, columns=47)]
    if source == "tilted and uneven":
        heights = [0, 4.2, 8.4, 12.6, 13.8, 21.2, 28.6, 36.0, 43.4]
        uneven = {"heights_mm": heights, "SliceThickness": lambda i: 4.0 if i < 5 else 7.0}
        return [part10(ds) for ds in ct_series(9, tilt_degrees=18.5, **uneven)]
    return [part10(ds) for ds in ct_series(9)]


def test_a_label_map_has_no_background_segment_and_says_that_zero_is_none() -> None:
    ds = dataset(encoded(analysed(), ObjectKind.SEG_LABELMAP))
    assert [segment.SegmentNumber for segment in ds.SegmentSequence] == [1, 2, 3, 4, 5]
    assert "Background" not in str(ds.SegmentSequence)
    assert (ds["PixelPaddingValue"].VR, ds.PixelPaddingValue) == ("US", 0)
    assert "SegmentIdentificationSequence" not in str(ds)
    assert [str(item.DimensionIndexPointer) for item in ds.DimensionIndexSequence] == ["(0020,0032)"]


def test_a_label_map_reads_back_with_the_volumes_of_the_result() -> None:
    case = analysed([part10(ds) for ds in ct_series(12)])
    seg = hd.seg.segread(io.BytesIO(encoded(case, ObjectKind.SEG_LABELMAP).content))
    uids = [s.sop_instance_uid for s in case.volume.sources]
    labels = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(labels, case.labels)


def test_probabilities_are_frames_where_the_subtype_was_outlined() -> None:
    case = analysed()
    ds = dataset(encoded(case, ObjectKind.SEG_FRACTIONAL))
    assert (ds.SegmentationType, ds.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert (ds.MaximumFractionalValue, ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (255, 8, 8, 7)
    binary = dataset(case.seg())
    assert ds.NumberOfFrames == binary.NumberOfFrames
    index_of = {s.sop_instance_uid: index for index, s in enumerate(case.volume.sources)}
    expected = probabilities_of(case)
    for pixels, groups, of_binary in zip(
        ds.pixel_array, ds.PerFrameFunctionalGroupsSequence, binary.PerFrameFunctionalGroupsSequence, strict=True
    ):
        assert groups == of_binary
        source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        subtype = SUBTYPES[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        np.testing.assert_array_equal(pixels, expected[subtype][index_of[source]])


def test_probabilities_read_back_as_fractions() -> None:
    case = analysed(subtypes=[Subtype.SAH])
    seg = hd.seg.segread(io.BytesIO(encoded(case, ObjectKind.SEG_FRACTIONAL).content))
    uids = [s.sop_instance_uid for s in case.volume.sources]
    read = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[..., 0]
    expected = probabilities_of(case)[Subtype.SAH] * (case.labels.any(axis=(1, 2)))[:, None, None]
    np.testing.assert_allclose(read, expected / 255, atol=1e-6)


def test_what_is_no_segmentation_or_lacks_its_probabilities_is_refused() -> None:
    case = analysed(subtypes=[Subtype.SAH, Subtype.SDH])
    maps = probabilities_of(case)
    with pytest.raises(ValueError, match="SR is no segmentation"):
        case.seg(kind=ObjectKind.SR)
    with pytest.raises(ValueError, match="needs the probabilities of SAH"):
        case.seg(kind=ObjectKind.SEG_FRACTIONAL)
    with pytest.raises(ValueError, match="needs the probabilities of SDH"):
        encoded(case, ObjectKind.SEG_FRACTIONAL, probabilities={Subtype.SAH: maps[Subtype.SAH]})
    with pytest.raises(ValueError, match="probabilities are uint8"):
        encoded(case, ObjectKind.SEG_FRACTIONAL, probabilities={**maps, Subtype.SDH: maps[Subtype.SDH][:-1]})
    wide = {subtype: one.astype(np.float32) for subtype, one in maps.items()}
    with pytest.raises(ValueError, match="probabilities are uint8"):
        encoded(case, ObjectKind.SEG_FRACTIONAL, probabilities=wide)
