"""The pages: what they say, whose colours they use, where the outlines lie, and that they name no patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage

from tests.builders import ct_series, enhanced_ct, part10
from tests.results import REAL, Analysed, analysed, dataset
from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.pages import COLUMNS, ROWS, outlined, sides, slice_page, summary_page
from triage.dicom.secondary_capture import encode_secondary_capture
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import UnreadableInstance
from triage.domain.finding import SUBTYPES, Subtype
from triage.domain.volume import Volume

IMAGE, TOP = 768, 56  # the square that a slice is drawn in, and the band above it


def encoded(case: Analysed, key_slices: Sequence[int] = (4, 1), **changes: Any) -> list[EncodedObject]:
    given = {name: getattr(case, name) for name in ("contents", "volume", "labels", "result", "provenance")}
    return encode_secondary_capture(**{**given, "key_slices": key_slices, **changes})


def slice_of(case: Analysed, index: int) -> NDArray[np.uint8]:
    return np.asarray(slice_page(case.volume, case.labels, index, (1, 1), "Image 1", case.result, case.provenance))


def coloured(rgb: NDArray[np.uint8], subtype: Subtype) -> NDArray[np.bool_]:
    return np.asarray((rgb == SUBTYPE_CODES[subtype].colour).all(axis=2))


def marked() -> Analysed:
    """An analysis of 64 x 64 pixels of 4 mm with one square of IPH: rows 16 to 31, columns 40 to 47."""
    case = analysed([part10(ds) for ds in ct_series(9)], subtypes=[Subtype.IPH])
    labels = np.zeros_like(case.labels)
    labels[4, 16:32, 40:48] = SUBTYPES.index(Subtype.IPH) + 1
    return replace(case, labels=labels)


def test_there_is_a_summary_and_a_page_for_each_key_slice() -> None:
    objects = encoded(analysed(), (4, 1, 7))
    data_sets = [dataset(one) for one in objects]
    assert [ds.InstanceNumber for ds in data_sets] == [1, 2, 3, 4]
    assert len({ds.SOPInstanceUID for ds in data_sets}) == 4
    assert len({ds.SeriesInstanceUID for ds in data_sets}) == 1
    assert {one.kind for one in objects} == {ObjectKind.SC}
    assert [one.sop_instance_uid for one in objects] == [ds.SOPInstanceUID for ds in data_sets]


def test_a_result_without_key_slices_has_the_summary_alone() -> None:
    assert len(encoded(analysed(subtypes=[], score=0.1), ())) == 1


def test_a_page_is_a_plain_rgb_picture_in_rle() -> None:
    (one, *_) = encoded(analysed())
    ds = dataset(one)
    assert (ds.SOPClassUID, ds.ConversionType, ds.Modality) == (SecondaryCaptureImageStorage, "WSD", "OT")
    assert one.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID == RLELossless
    assert (ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.BitsAllocated) == ("RGB", 3, 8)
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY"]
    assert ds.BurnedInAnnotation == "NO"
    assert ds.pixel_array.shape == (ROWS, COLUMNS, 3)


def test_the_same_inputs_make_the_same_bytes() -> None:
    case = analysed()
    assert encoded(case) == encoded(case, contents=case.contents[::-1])


def test_another_bundle_makes_other_objects() -> None:
    case = analysed()
    ours, theirs = encoded(case), encoded(case, provenance=REAL)
    assert not {one.sop_instance_uid for one in ours} & {one.sop_instance_uid for one in theirs}


def test_a_page_names_the_slice_that_it_shows() -> None:
    case = analysed()
    summary, first, second = map(dataset, encoded(case, (4, 1)))
    assert "SourceImageSequence" not in summary
    for ds, index in ((first, 4), (second, 1)):
        (reference,) = ds.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == case.volume.sources[index].sop_instance_uid
        assert "ReferencedFrameNumber" not in reference


def test_a_page_of_a_multi_frame_source_names_its_frame() -> None:
    case = analysed([part10(enhanced_ct(ct_series(9)))])
    reference = dataset(encoded(case, (4,))[1]).SourceImageSequence[0]
    assert reference.ReferencedFrameNumber == case.volume.sources[4].frame_number


def test_the_outline_lies_around_the_segment_and_covers_no_blood() -> None:
    line = coloured(slice_of(marked(), 4), Subtype.IPH)[TOP : TOP + IMAGE, :IMAGE]
    scale = IMAGE // 64
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    assert (rows[0], rows[-1] + 1) == (16 * scale - 2, 32 * scale + 2)
    assert (columns[0], columns[-1] + 1) == (40 * scale - 2, 48 * scale + 2)
    assert not line[16 * scale : 32 * scale, 40 * scale : 48 * scale].any()


def test_pixels_are_drawn_square_in_millimetres() -> None:
    oblong = analysed([part10(ds) for ds in ct_series(9, rows=48, columns=64, PixelSpacing=[4.0, 2.0])])
    labels = np.zeros_like(oblong.labels)
    labels[4, 10:20, 20:40] = 1  # 40 mm x 40 mm
    page = slice_page(oblong.volume, labels, 4, (1, 1), "Image 5", oblong.result, oblong.provenance)
    line = coloured(np.asarray(page), Subtype.EDH)[TOP : TOP + IMAGE, :IMAGE]
    height, width = np.ptp(np.flatnonzero(line.any(axis=1))), np.ptp(np.flatnonzero(line.any(axis=0)))
    assert height == pytest.approx(width, abs=2)


def test_rows_run_down_and_columns_to_the_right_as_stored() -> None:
    hu = np.full((64, 64), 0.0)
    hu[5:15, 40:60] = 80.0
    case = analysed([part10(ds) for ds in ct_series(9, hu=_with_air(hu))], subtypes=[])
    bright = slice_of(case, 4)[TOP : TOP + IMAGE, :IMAGE, 0] > 200
    assert bright[10 * 12, 50 * 12]
    assert not bright[40 * 12 :, 40 * 12 :].any()


def _with_air(hu: NDArray[np.float64]) -> NDArray[np.float64]:
    hu = hu.copy()
    hu[:, :3] = -1000.0
    return hu


@pytest.mark.parametrize(
    ("orientation", "letters"),
    [
        ((1, 0, 0, 0, 1, 0), "LRPA"),
        ((-1, 0, 0, 0, 1, 0), "RLPA"),
        ((0, 1, 0, 0, 0, -1), "PAFH"),
        ((1, 0, 0, 0, 0.95, -0.31), "LRPA"),
    ],
)
def test_the_sides_of_the_patient_are_told_from_the_orientation(orientation: tuple[float, ...], letters: str) -> None:
    volume: Volume = replace(analysed().volume, orientation=np.array(orientation, dtype=float))
    assert "".join(sides(volume)) == letters


def test_a_legend_names_the_subtypes_of_the_slice_alone() -> None:
    case = analysed(subtypes=[Subtype.EDH, Subtype.SDH])
    index = int(np.flatnonzero((case.labels == 5).any(axis=(1, 2)))[-1])
    panel = slice_of(case, index)[:, IMAGE:]
    assert coloured(panel, Subtype.SDH).sum() > 400
    assert not coloured(panel, Subtype.EDH).any()


def test_touching_segments_keep_their_own_colours() -> None:
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:15, 5:10], mask[5:15, 10:15] = 2, 5
    rgb = outlined(np.full((20, 20), 90, dtype=np.uint8), mask)
    assert coloured(rgb, Subtype.IPH).any()
    assert coloured(rgb, Subtype.SDH).any()
    assert (rgb[8, 6] == 90).all()


def test_the_summary_differs_with_everything_that_it_says() -> None:
    case = analysed()
    at = case.provenance.content_at

    def drawn(**changes: Any) -> bytes:
        result = replace(case.result, **{k: v for k, v in changes.items() if k in ("score", "total_volume_ml")})
        provenance = replace(case.provenance, **{k: v for k, v in changes.items() if hasattr(case.provenance, k)})
        return summary_page(result, changes.get("key_slices", (1,)), provenance, at).tobytes()

    seen = [
        drawn(),
        drawn(score=0.6),
        drawn(score=0.2),
        drawn(total_volume_ml=99.0),
        drawn(key_slices=(2,)),
        drawn(demonstration=False),
        drawn(bundle_version="9.9"),
        drawn(bundle_digest="ab" * 32),
        drawn(software_version="9.9.9"),
    ]
    assert len(set(seen)) == len(seen)
    assert drawn() == seen[0]


def test_nothing_of_the_patient_is_drawn() -> None:
    """The same pixels, whoever the patient is."""
    first = [part10(ds) for ds in ct_series(9)]
    other = [content.replace(b"SYNTHETIC^HEAD", b"OTHER^^^PERSON") for content in first]
    assert other != first
    one, two = encoded(analysed(first)), encoded(analysed(other))
    for page, same in zip(one, two, strict=True):
        assert dataset(page).PixelData == dataset(same).PixelData
    assert dataset(two[0]).PatientName == "OTHER^^^PERSON"


def test_what_does_not_belong_together_is_refused() -> None:
    case = analysed()
    with pytest.raises(ValueError, match="labels are uint8"):
        encoded(case, labels=case.labels[:-1])
    with pytest.raises(ValueError, match="not all among the 12 slices"):
        encoded(case, (3, 12))
    with pytest.raises(UnreadableInstance):
        encoded(case, contents=[*case.contents, b"\0" * 200])
