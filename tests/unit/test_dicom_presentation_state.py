"""The presentation state: outlines exactly around the pixels, on the right frames, in the subtypes' colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from tests.builders import ct_series, enhanced_ct, part10
from tests.results import REAL, Analysed, analysed, dataset
from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.presentation_state import encode_presentation_state
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import UnreadableInstance
from triage.domain.finding import SUBTYPES, Subtype


def encoded(case: Analysed, key_slices: Sequence[int] = (4, 1), **changes: Any) -> EncodedObject:
    given = {name: getattr(case, name) for name in ("contents", "volume", "labels", "result", "provenance")}
    return encode_presentation_state(**{**given, "key_slices": key_slices, **changes})


def square(case: Analysed | None = None) -> Analysed:
    """One square of SDH on slice 4: rows 10 to 13, columns 20 to 26."""
    case = case or analysed([part10(ds) for ds in ct_series(9)], subtypes=[])
    labels = np.zeros_like(case.labels)
    labels[4, 10:14, 20:27] = SUBTYPES.index(Subtype.SDH) + 1
    return replace(case, labels=labels)


def annotations(ds: Dataset, layer: str) -> list[Dataset]:
    return [a for a in ds.GraphicAnnotationSequence if a.GraphicLayer == layer]


def test_the_outline_of_a_square_is_the_corners_of_its_pixels() -> None:
    ds = dataset(encoded(square(), (4,)))
    (annotation,) = annotations(ds, "SDH")
    (line,) = annotation.GraphicObjectSequence
    assert (line.GraphicType, line.GraphicAnnotationUnits, line.GraphicFilled) == ("POLYLINE", "PIXEL", "N")
    assert line.NumberOfGraphicPoints == 5
    assert list(line.GraphicData) == [20, 10, 27, 10, 27, 14, 20, 14, 20, 10]  # column, row


def test_each_outline_lies_on_the_slice_that_it_was_drawn_from() -> None:
    case = analysed()
    index_of = {s.sop_instance_uid: index for index, s in enumerate(case.volume.sources)}
    ds = dataset(encoded(case, (4, 1, 7)))
    shown = set()
    for annotation in ds.GraphicAnnotationSequence:
        (reference,) = annotation.ReferencedImageSequence
        shown.add((index_of[reference.ReferencedSOPInstanceUID], annotation.GraphicLayer))
    expected = {(index, "NOTICE") for index in (4, 1, 7)}
    for index in (4, 1, 7):
        expected |= {(index, SUBTYPES[number - 1].value) for number in np.unique(case.labels[index]) if number}
    assert shown == expected


def test_only_the_key_slices_are_referred_to() -> None:
    case = analysed()
    (series,) = dataset(encoded(case, (4, 1))).ReferencedSeriesSequence
    said = [image.ReferencedSOPInstanceUID for image in series.ReferencedImageSequence]
    assert said == [case.volume.sources[4].sop_instance_uid, case.volume.sources[1].sop_instance_uid]


def test_a_multi_frame_source_is_named_with_its_frames() -> None:
    case = analysed([part10(enhanced_ct(ct_series(9)[::-1]))])
    ds = dataset(encoded(case, (4, 1)))
    (image,) = ds.ReferencedSeriesSequence[0].ReferencedImageSequence
    frames = [case.volume.sources[index].frame_number for index in (4, 1)]
    assert sorted(image.ReferencedFrameNumber) == sorted(frames)
    of_annotations = [a.ReferencedImageSequence[0].ReferencedFrameNumber for a in annotations(ds, "NOTICE")]
    assert of_annotations == frames


def test_each_subtype_has_a_layer_of_its_colour() -> None:
    ds = dataset(encoded(analysed(), tuple(range(12))))
    layers = {layer.GraphicLayer: layer for layer in ds.GraphicLayerSequence}
    assert set(layers) == {*(s.value for s in SUBTYPES), "NOTICE"}
    for subtype in SUBTYPES:
        expected = list(CIELabColor.from_rgb(*SUBTYPE_CODES[subtype].colour).value)
        assert list(layers[subtype.value].GraphicLayerRecommendedDisplayCIELabValue) == expected
    assert sorted(layer.GraphicLayerOrder for layer in layers.values()) == list(range(1, 7))
    used = {annotation.GraphicLayer for annotation in ds.GraphicAnnotationSequence}
    assert used == set(layers)


def test_text_says_what_is_outlined_and_what_it_is_not_for() -> None:
    case = square(analysed([part10(ds) for ds in ct_series(9)], subtypes=[Subtype.SDH]))
    ds = dataset(encoded(case, (4,)))
    (label,) = annotations(ds, "SDH")[0].TextObjectSequence
    assert label.UnformattedTextValue == f"SDH {case.result.subtypes[Subtype.SDH].volume_ml:.1f} ml"
    assert label.AnchorPoint[0] >= 27
    (notice,) = annotations(ds, "NOTICE")[0].TextObjectSequence
    assert "not for primary diagnosis" in notice.UnformattedTextValue


def test_slices_are_shown_in_the_brain_window_with_the_rescale_of_the_source() -> None:
    ds = dataset(encoded(square(), (4,)))
    (window,) = ds.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (40, 80)
    assert (ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType) == (1, -1024, "HU")
    (area,) = ds.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [64, 64]
    assert list(area.PresentationPixelSpacing) == [4, 4]


def test_the_rescale_of_a_multi_frame_source_is_found_in_its_frames() -> None:
    case = square(analysed([part10(enhanced_ct(ct_series(9)))], subtypes=[]))
    assert dataset(encoded(case, (4,))).RescaleIntercept == -1024


def test_a_slice_with_another_rescale_is_left_out() -> None:
    lower, upper = ct_series(12)[:6], ct_series(12, intercept=-1000.0)[6:]
    for ds in upper:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(ds, keyword, lower[0][keyword].value)
    case = analysed([part10(ds) for ds in (*lower, *upper)])
    ds = dataset(encoded(case, (8, 1, 7)))
    assert ds.RescaleIntercept == -1000
    said = [image.ReferencedSOPInstanceUID for image in ds.ReferencedSeriesSequence[0].ReferencedImageSequence]
    assert said == [case.volume.sources[index].sop_instance_uid for index in (8, 7)]
    assert len(annotations(ds, "NOTICE")) == 2


def test_a_very_long_outline_is_drawn_in_pieces() -> None:
    case = analysed([part10(ds) for ds in ct_series(9, rows=256, columns=256, spacing_mm=1.0)], subtypes=[])
    labels = np.zeros_like(case.labels)
    labels[4, 0], labels[4, :, ::4], labels[4, ::2, 1::4] = 1, 1, 1  # a comb of saws: four corners for each tooth
    (annotation,) = annotations(dataset(encoded(replace(case, labels=labels), (4,))), "EDH")
    pieces = [np.reshape(line.GraphicData, (-1, 2)) for line in annotation.GraphicObjectSequence]
    assert len(pieces) > 3
    assert max(map(len, pieces)) == 8191
    for one, following in zip(pieces, [*pieces[1:], pieces[0]], strict=True):
        np.testing.assert_array_equal(one[-1], following[0])


def test_suspicion_without_a_mask_still_leads_to_its_slice() -> None:
    ds = dataset(encoded(analysed(subtypes=[]), (4,)))
    assert [annotation.GraphicLayer for annotation in ds.GraphicAnnotationSequence] == ["NOTICE"]


def test_the_object_says_what_it_is_and_is_always_the_same() -> None:
    case = analysed()
    one = encoded(case)
    ds = dataset(one)
    assert (one.kind, one.sop_class_uid) == (ObjectKind.GSPS, GrayscaleSoftcopyPresentationStateStorage)
    assert (ds.Modality, ds.ContentLabel, ds.SOPInstanceUID) == ("PR", "ICH_TRIAGE", one.sop_instance_uid)
    assert (ds.PresentationCreationDate, ds.PresentationCreationTime) == ("20240102", "030405.678900")
    assert encoded(case, contents=case.contents[::-1]) == one
    assert encoded(case, provenance=REAL).sop_instance_uid != one.sop_instance_uid
    assert len(ds.SeriesDescription) <= 64


def test_what_does_not_belong_together_is_refused() -> None:
    case = analysed()
    with pytest.raises(ValueError, match="labels are uint8"):
        encoded(case, labels=case.labels[:-1])
    for wrong in ((), (3, 12), (-1,)):
        with pytest.raises(ValueError, match="key slices"):
            encoded(case, wrong)
    with pytest.raises(UnreadableInstance):
        encoded(case, contents=[*case.contents, b"\0" * 200])
