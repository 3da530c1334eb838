"""The Segmentation: which pixels of which source frame are blood, by subtype (PS3.3 A.51).

One segment per subtype found, empty frames left out. Each frame lies on its source frame, so tilt, uneven
spacing and overlapping slices need no resampling. BINARY is what every archive knows; LABELMAP (one frame per
slice, supplement 243) and FRACTIONAL (probabilities) are for those that ask for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray

from triage.dicom.codes import HEMORRHAGE, MORPHOLOGICALLY_ABNORMAL, SUBTYPE_CODES
from triage.dicom.equipment import algorithm, serial_number, series_description, series_number, software_versions
from triage.dicom.explicit import raw
from triage.dicom.header import OWN_NAME
from triage.dicom.part10 import encode_object
from triage.dicom.seg_frames import Frame, even, frames_of, packed, stand_in, write_frames
from triage.dicom.series import set_body_part
from triage.dicom.source import Source, read_source
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import KINDS, Subtype, TriageResult
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume

Probabilities = Mapping[Subtype, NDArray[np.uint8]]
"""Of each subtype, shape (slice, row, column) on the grid of the volume, 0 for 0 and 255 for 1."""

_TYPES: Mapping[ObjectKind, SegmentationTypeValues] = MappingProxyType(
    {
        ObjectKind.SEG: SegmentationTypeValues.BINARY,
        ObjectKind.SEG_LABELMAP: SegmentationTypeValues.LABELMAP,
        ObjectKind.SEG_FRACTIONAL: SegmentationTypeValues.FRACTIONAL,
    }
)
_DESCRIPTIONS: Mapping[ObjectKind, str] = MappingProxyType(
    {
        ObjectKind.SEG: "segmentation",
        ObjectKind.SEG_LABELMAP: "label map",
        ObjectKind.SEG_FRACTIONAL: "probabilities",
    }
)
_PIXEL_DATA, _PIXEL_PADDING = 0x7FE00010, 0x00280120


def encode_seg(
    contents: Sequence[bytes],
    volume: Volume,
    labels: NDArray[np.uint8],
    result: TriageResult,
    provenance: Provenance,
    *,
    kind: ObjectKind = ObjectKind.SEG,
    probabilities: Probabilities | None = None,
) -> EncodedObject:
    """Encode the segmented subtypes of one series revision.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    volume : Volume
        What was read from them; its pixels are not looked at.
    labels : ndarray of uint8, shape (slice, row, column)
        0 for none, ``i + 1`` for ``KINDS[i]``, on the grid of ``volume``.
    result : TriageResult
        Its volumes in ml must be those of ``labels``.
    provenance : Provenance
        Software, bundle and content time.
    kind : ObjectKind
        SEG, SEG_LABELMAP or SEG_FRACTIONAL. Each has UIDs of its own; segments are numbered and tracked alike.
    probabilities : Probabilities, optional
        What SEG_FRACTIONAL shows, of every subtype in ``labels``; the others do not look at it. It has the same
        frames as SEG: those where the subtype was outlined.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When ``labels`` is empty, does not lie on the volume, or disagrees with the volumes of ``result``, and when
        the kind is no segmentation or lacks its probabilities.
    """
    if kind not in _TYPES:
        raise ValueError(f"{kind} is no segmentation")
    counts = _voxel_counts(labels, volume)
    _check_volumes(counts, volume, result)
    used: NDArray[np.bool_] = np.any(counts, axis=0)
    found = [subtype for subtype, is_used in zip(KINDS, used, strict=True) if is_used]
    source = read_source(contents, volume)
    frames = frames_of(counts[:, used], together=kind is ObjectKind.SEG_LABELMAP)
    ds = _segmentation(kind, source, volume, found, provenance)
    write_frames(ds, source, volume, frames)
    pixels = _pixels(kind, frames, labels, found, probabilities)
    ds[_PIXEL_DATA] = raw(_PIXEL_DATA, "OB", pixels)
    dimensions = source.result_uid(f"{kind} dimensions", provenance)
    for holder in (*ds.DimensionIndexSequence, *ds.DimensionOrganizationSequence):
        holder.DimensionOrganizationUID = dimensions
    for tag, element in source.lossy.items():
        ds[tag] = element
    set_body_part(ds, source)
    return encode_object(kind, ds, source, provenance)


def tracking(subtype: Subtype, source: Source, provenance: Provenance) -> tuple[str, str]:
    """Tracking ID and UID of a segment, the same in SEG and SR."""
    return f"ICH triage {subtype.value}", source.result_uid(f"tracking {subtype.value}", provenance)


def _voxel_counts(labels: NDArray[np.uint8], volume: Volume) -> NDArray[np.int64]:
    """Voxels of each subtype in each slice, shape (slice, subtype)."""
    if labels.dtype != np.uint8 or labels.shape != volume.hu.shape:
        raise ValueError(f"labels are uint8 {volume.hu.shape}, not {labels.dtype} {labels.shape}")
    highest = [int(plane.max()) for plane in labels]
    if max(highest) > len(KINDS):
        raise ValueError(f"labels run from 0 to {len(KINDS)}, not to {max(highest)}")
    if max(highest) == 0:
        raise ValueError("a segmentation without any segment is not encoded")
    counts = np.zeros((len(labels), len(KINDS)), dtype=np.int64)
    for index in np.flatnonzero(highest):
        counts[index] = [np.count_nonzero(labels[index] == number) for number in range(1, len(KINDS) + 1)]
    return counts


def _check_volumes(counts: NDArray[np.int64], volume: Volume, result: TriageResult) -> None:
    for place, subtype in enumerate(KINDS):
        ml = float(counts[:, place] @ volume.voxel_ml)
        said = result.volume_ml(subtype)
        if not _agree(ml, said):
            raise ValueError(f"the result says {said} ml of {subtype.value}, its mask has {ml} ml")
    total = float(counts.sum(axis=1) @ volume.voxel_ml)
    if not _agree(total, result.total_volume_ml):
        raise ValueError(f"the result says {result.total_volume_ml} ml in all, its mask has {total} ml")


def _agree(ml: float, said: float) -> bool:
    return abs(ml - said) <= 1e-6 * max(1.0, ml)


def _pixels(
    kind: ObjectKind,
    frames: Sequence[Frame],
    labels: NDArray[np.uint8],
    found: Sequence[Subtype],
    probabilities: Probabilities | None,
) -> bytes:
    """The pixel data of the frames."""
    if kind is ObjectKind.SEG_LABELMAP:
        return even(b"".join(_renumbered(labels[frame.slice_index], found).tobytes() for frame in frames))
    if kind is ObjectKind.SEG_FRACTIONAL:
        maps = [_checked(probabilities, subtype, labels) for subtype in found]
        return even(b"".join(maps[(frame.segment or 0) - 1][frame.slice_index].tobytes() for frame in frames))
    classes = [KINDS.index(subtype) + 1 for subtype in found]
    planes: Iterator[NDArray[np.bool_]]
    planes = (labels[frame.slice_index] == classes[(frame.segment or 0) - 1] for frame in frames)
    return packed(planes)


def _checked(probabilities: Probabilities | None, subtype: Subtype, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if probabilities is None or subtype not in probabilities:
        raise ValueError(f"a fractional segmentation needs the probabilities of {subtype.value}")
    given = probabilities[subtype]
    if given.dtype != np.uint8 or given.shape != labels.shape:
        raise ValueError(f"probabilities are uint8 {labels.shape}, not {given.dtype} {given.shape}")
    return given


def _renumbered(labels: NDArray[np.uint8], found: Sequence[Subtype]) -> NDArray[np.uint8]:
    """Labels with the subtypes found numbered from 1, as segments are."""
    numbers = np.zeros(len(KINDS) + 1, dtype=np.uint8)
    for segment, subtype in enumerate(found, start=1):
        numbers[KINDS.index(subtype) + 1] = segment
    return np.asarray(numbers[labels])


def _segmentation(
    kind: ObjectKind, source: Source, volume: Volume, found: Sequence[Subtype], provenance: Provenance
) -> Segmentation:
    """All but the frames and their pixels."""
    ds = Segmentation(
        source_images=[stand_in(source, volume)],
        pixel_array=np.ones((1, 1, 1), dtype=np.uint8),
        segmentation_type=_TYPES[kind],
        segment_descriptions=[
            _description(number, subtype, source, provenance) for number, subtype in enumerate(found, start=1)
        ],
        series_instance_uid=source.result_uid(f"{kind} series", provenance),
        series_number=series_number(kind, source.series_number),
        sop_instance_uid=source.result_uid(kind, provenance),
        instance_number=1,
        manufacturer=OWN_NAME,
        manufacturer_model_name=OWN_NAME,
        software_versions=software_versions(provenance),  # type: ignore[arg-type]  # pydicom takes lists only
        device_serial_number=serial_number(provenance),
        content_label="ICH_TRIAGE",
        content_description="Suspected intracranial hemorrhage, for notification only",
        series_description=series_description(_DESCRIPTIONS[kind], provenance),
        omit_empty_frames=True,
    )
    if kind is ObjectKind.SEG_LABELMAP:
        # Viewers count the background item as a segment and shift all colours by one. The padding value says
        # as well that 0 is no segment; highdicom leaves its VR open.
        ds.SegmentSequence = [segment for segment in ds.SegmentSequence if segment.SegmentNumber > 0]
        ds[_PIXEL_PADDING].VR = "US"
    return ds


def _description(number: int, subtype: Subtype, source: Source, provenance: Provenance) -> SegmentDescription:
    codes = SUBTYPE_CODES[subtype]
    tracking_id, tracking_uid = tracking(subtype, source, provenance)
    description = SegmentDescription(
        segment_number=number,
        segment_label=codes.label,
        segmented_property_category=MORPHOLOGICALLY_ABNORMAL.concept(),
        segmented_property_type=HEMORRHAGE.concept(),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm(provenance),
        tracking_uid=tracking_uid,
        tracking_id=tracking_id,
        anatomic_regions=[codes.site.concept()],
        display_color=CIELabColor.from_rgb(*codes.colour),
    )
    modifiers = [code.concept() for code in (codes.disorder, codes.subtype) if code is not None]
    description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifiers
    return description
