"""The presentation state: outlines, names and a brain window over the source slices themselves (PS3.3 A.33.1).

For viewers that show neither segmentations nor structured reports, and without copying a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage
from pydicom.valuerep import DSfloat

from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.contours import Corner, closed_contours
from triage.dicom.elements import read_elements
from triage.dicom.header import read_header
from triage.dicom.hounsfield import Rescale, rescales
from triage.dicom.pages import BRAIN_WINDOW
from triage.dicom.part10 import date_and_time, encode_object
from triage.dicom.series import own_series
from triage.dicom.source import Source, read_source
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import KINDS, Subtype, TriageResult
from triage.domain.provenance import Provenance
from triage.domain.study import InstanceHeader
from triage.domain.volume import Volume

_MOST_POINTS = 8191
"""Graphic Data has a VR of at most 65534 bytes, two values of four bytes a point."""

_NOTICE_LAYER = "NOTICE"


def encode_presentation_state(
    contents: Sequence[bytes],
    volume: Volume,
    labels: NDArray[np.uint8],
    key_slices: Sequence[int],
    result: TriageResult,
    provenance: Provenance,
) -> EncodedObject:
    """Encode outlines over the key slices, one graphic layer per subtype.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    volume : Volume
        What was read from them.
    labels : ndarray of uint8, shape (slice, row, column)
        0 for none, ``i + 1`` for ``KINDS[i]``, on the grid of ``volume``.
    key_slices : sequence of int
        Indices into the volume, the most important first. A slice whose rescale to HU is not that of the first
        is left out: one presentation state has one (PS3.3 C.11.1).
    result : TriageResult
        Its volumes are written beside the outlines.
    provenance : Provenance
        Software, bundle and content time.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    UnusableSeries
        When a key slice says no rescale to HU.
    ValueError
        When there is no key slice, the mask does not lie on the volume, or a key slice is not in it.
    """
    if labels.dtype != np.uint8 or labels.shape != volume.hu.shape:
        raise ValueError(f"labels are uint8 {volume.hu.shape}, not {labels.dtype} {labels.shape}")
    if not key_slices or any(not 0 <= index < len(labels) for index in key_slices):
        raise ValueError(f"the key slices {tuple(key_slices)} are none, or not all among the {len(labels)} slices")
    source = read_source(contents, volume)
    of_slice = _rescales(contents, volume, key_slices)
    rescale = of_slice[key_slices[0]]
    slices = [index for index in key_slices if of_slice[index] == rescale]
    headers = {header.sop_instance_uid: header for header in source.instances}
    references = {index: _reference(headers, volume, [index]) for index in slices}

    ds = _presentation_state(source, volume, provenance)
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = _decimal(rescale.slope), _decimal(rescale.intercept), "HU"
    series = Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ReferencedImageSequence = _by_instance(headers, volume, slices)
    ds.ReferencedSeriesSequence = DicomSequence([series])
    found = [s for number, s in enumerate(KINDS, start=1) if (labels[slices] == number).any()]
    annotations = [a for index in slices for a in _annotations(labels[index], references[index], result)]
    ds.GraphicAnnotationSequence = DicomSequence(annotations)
    ds.GraphicLayerSequence = DicomSequence(_layers(found))
    return encode_object(ObjectKind.GSPS, ds, source, provenance)


def _rescales(contents: Sequence[bytes], volume: Volume, slices: Sequence[int]) -> dict[int, Rescale]:
    """The rescale of each of these slices."""
    wanted = {volume.sources[index].sop_instance_uid for index in slices}
    of_instance: dict[str, list[Rescale]] = {}
    for content in contents:
        header = read_header(content)
        if header.sop_instance_uid in wanted:
            of_instance[header.sop_instance_uid] = rescales(read_elements(content), header.number_of_frames)
    places = {index: volume.sources[index] for index in slices}
    return {index: of_instance[place.sop_instance_uid][place.frame_number - 1] for index, place in places.items()}


def _presentation_state(source: Source, volume: Volume, provenance: Provenance) -> Dataset:
    """All but what is shown on which slice."""
    ds = own_series(ObjectKind.GSPS, "PR", "outlines", source, provenance)
    ds.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    ds.SOPInstanceUID = source.result_uid(ObjectKind.GSPS, provenance)
    ds.InstanceNumber = 1
    date, time = date_and_time(source.local(provenance.content_at))
    ds.PresentationCreationDate, ds.PresentationCreationTime = date, time
    ds.ContentLabel, ds.ContentCreatorName = "ICH_TRIAGE", None  # no person made it
    ds.ContentDescription = "Suspected intracranial hemorrhage, for notification only"
    centre, width = BRAIN_WINDOW
    window = Dataset()
    window.WindowCenter, window.WindowWidth = _decimal(centre), _decimal(width)
    window.WindowCenterWidthExplanation = "BRAIN"
    ds.SoftcopyVOILUTSequence = DicomSequence([window])
    ds.PresentationLUTShape = "IDENTITY"
    _, rows, columns = volume.hu.shape
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelSpacing = [_decimal(value) for value in volume.pixel_spacing_mm]
    ds.DisplayedAreaSelectionSequence = DicomSequence([area])
    return ds


def _annotations(labels: NDArray[np.uint8], reference: Dataset, result: TriageResult) -> Iterator[Dataset]:
    """What is drawn on one slice: each segment with its name, and what the drawing is not for."""
    for number, subtype in enumerate(KINDS, start=1):
        contours = closed_contours(labels == number)
        if contours:
            annotation = _on(reference, subtype.value)
            annotation.GraphicObjectSequence = DicomSequence(
                [_polyline(part) for contour in contours for part in _parts(contour)]
            )
            text = f"{subtype.value} {result.volume_ml(subtype):.1f} ml"
            annotation.TextObjectSequence = DicomSequence([_beside(max(contours, key=len), text)])
            yield annotation
    annotation = _on(reference, _NOTICE_LAYER)
    annotation.TextObjectSequence = DicomSequence([_at_top("ICH triage, not for primary diagnosis")])
    yield annotation


def _on(reference: Dataset, layer: str) -> Dataset:
    annotation = Dataset()
    annotation.ReferencedImageSequence = DicomSequence([reference])
    annotation.GraphicLayer = layer
    return annotation


def _parts(contour: list[Corner]) -> Iterator[list[Corner]]:
    """A contour in pieces that one element can hold, each beginning where the last ended."""
    for start in range(0, len(contour) - 1, _MOST_POINTS - 1):
        yield contour[start : start + _MOST_POINTS]


def _polyline(points: list[Corner]) -> Dataset:
    line = Dataset()
    line.GraphicAnnotationUnits, line.GraphicDimensions = "PIXEL", 2
    line.NumberOfGraphicPoints = len(points)
    line.GraphicData = [float(value) for point in points for value in point]
    line.GraphicType, line.GraphicFilled = "POLYLINE", "N"
    return line


def _beside(contour: list[Corner], text: str) -> Dataset:
    """Text to the right of a contour."""
    label = Dataset()
    column, row = max(contour, key=lambda corner: (corner[0], -corner[1]))
    label.AnchorPointAnnotationUnits = "PIXEL"
    label.AnchorPoint = [float(column) + 2.0, float(row)]
    label.AnchorPointVisibility = "N"
    label.UnformattedTextValue = text
    return label


def _at_top(text: str) -> Dataset:
    label = Dataset()
    label.BoundingBoxAnnotationUnits = "DISPLAY"
    label.BoundingBoxTopLeftHandCorner, label.BoundingBoxBottomRightHandCorner = [0.02, 0.02], [0.6, 0.07]
    label.BoundingBoxTextHorizontalJustification = "LEFT"
    label.UnformattedTextValue = text
    return label


def _layers(found: Sequence[Subtype]) -> list[Dataset]:
    colours: Mapping[str, tuple[int, int, int]] = {s.value: SUBTYPE_CODES[s].colour for s in found}
    layers = []
    for order, (name, colour) in enumerate({**colours, _NOTICE_LAYER: (236, 236, 236)}.items(), start=1):
        layer = Dataset()
        layer.GraphicLayer, layer.GraphicLayerOrder = name, order
        layer.GraphicLayerRecommendedDisplayGrayscaleValue = 0xFFFF
        layer.GraphicLayerRecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(*colour).value)
        layers.append(layer)
    return layers


def _by_instance(headers: Mapping[str, InstanceHeader], volume: Volume, slices: Sequence[int]) -> DicomSequence:
    """One reference for each instance, with all its frames that are shown."""
    of_instance: dict[str, list[int]] = {}
    for index in slices:
        of_instance.setdefault(volume.sources[index].sop_instance_uid, []).append(index)
    return DicomSequence([_reference(headers, volume, indices) for indices in of_instance.values()])


def _reference(headers: Mapping[str, InstanceHeader], volume: Volume, slices: Sequence[int]) -> Dataset:
    """The instance that these slices come from; a multi-frame one with their frames."""
    header = headers[volume.sources[slices[0]].sop_instance_uid]
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    if header.number_of_frames > 1:
        reference.ReferencedFrameNumber = sorted(volume.sources[index].frame_number for index in slices)
    return reference


def _decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)
