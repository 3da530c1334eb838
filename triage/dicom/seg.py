"""The Segmentation: which pixels of which source frame are blood, by subtype (PS3.3 A.51).

BINARY, one segment per subtype found, empty frames left out. Each frame lies on its source frame, so tilt,
uneven spacing and overlapping slices need no resampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray

from triage.dicom.codes import HEMORRHAGE, MORPHOLOGICALLY_ABNORMAL, SUBTYPE_CODES
from triage.dicom.equipment import algorithm, serial_number, series_description, series_number, software_versions
from triage.dicom.header import OWN_NAME
from triage.dicom.part10 import encode_object
from triage.dicom.seg_frames import slice_headers, write_frames
from triage.dicom.source import Source, read_source
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import SUBTYPES, Subtype, TriageResult
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume


def encode_seg(
    contents: Sequence[bytes],
    volume: Volume,
    labels: NDArray[np.uint8],
    result: TriageResult,
    provenance: Provenance,
) -> EncodedObject:
    """Encode the segmented subtypes of one series revision.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    volume : Volume
        What was read from them.
    labels : ndarray of uint8, shape (slice, row, column)
        0 for none, ``i + 1`` for ``SUBTYPES[i]``, on the grid of ``volume``.
    result : TriageResult
        Its volumes in ml must be those of ``labels``.
    provenance : Provenance
        Software, bundle and content time.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When ``labels`` is empty, does not lie on the volume, or disagrees with the volumes of ``result``.
    """
    counts = _voxel_counts(labels, volume)
    _check_volumes(counts, volume, result)
    found = [subtype for number, subtype in enumerate(SUBTYPES, start=1) if counts[:, number].any()]
    source = read_source(contents, volume)
    ds = _segmentation(source, volume, _renumbered(labels, found), found, provenance)
    write_frames(ds, source, volume, np.flatnonzero(counts[:, 1:].any(axis=1)))
    ds["PixelData"].VR = "OB"
    dimensions = source.result_uid("SEG dimensions", provenance)
    for holder in (*ds.DimensionIndexSequence, *ds.DimensionOrganizationSequence):
        holder.DimensionOrganizationUID = dimensions
    for tag, element in source.lossy.items():
        ds[tag] = element
    if source.body_part is not None:
        ds[source.body_part.tag] = source.body_part
    else:
        ds.BodyPartExamined = "HEAD"  # nothing else is analysed; without it Laterality would be required
    return encode_object(ObjectKind.SEG, ds, source, provenance)


def tracking(subtype: Subtype, source: Source, provenance: Provenance) -> tuple[str, str]:
    """Tracking ID and UID of a segment, the same in SEG and SR."""
    return f"ICH triage {subtype.value}", source.result_uid(f"tracking {subtype.value}", provenance)


def _voxel_counts(labels: NDArray[np.uint8], volume: Volume) -> NDArray[np.int64]:
    """Voxels of each class in each slice, shape (slice, 1 + subtype)."""
    if labels.dtype != np.uint8 or labels.shape != volume.hu.shape:
        raise ValueError(f"labels are uint8 {volume.hu.shape}, not {labels.dtype} {labels.shape}")
    counts = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in labels])
    classes = len(SUBTYPES) + 1
    if counts[:, classes:].any():
        raise ValueError(f"labels run from 0 to {classes - 1}, not to {int(labels.max())}")
    if not counts[:, 1:].any():
        raise ValueError("a segmentation without any segment is not encoded")
    return counts[:, :classes].astype(np.int64)


def _check_volumes(counts: NDArray[np.int64], volume: Volume, result: TriageResult) -> None:
    for number, subtype in enumerate(SUBTYPES, start=1):
        ml = float(counts[:, number] @ volume.voxel_ml)
        said = result.subtypes[subtype].volume_ml
        if not _agree(ml, said):
            raise ValueError(f"the result says {said} ml of {subtype.value}, its mask has {ml} ml")
    total = float(counts[:, 1:].sum(axis=1) @ volume.voxel_ml)
    if not _agree(total, result.total_volume_ml):
        raise ValueError(f"the result says {result.total_volume_ml} ml in all, its mask has {total} ml")


def _agree(ml: float, said: float) -> bool:
    return abs(ml - said) <= 1e-6 * max(1.0, ml)


def _renumbered(labels: NDArray[np.uint8], found: Sequence[Subtype]) -> NDArray[np.uint8]:
    """Labels with the subtypes found numbered from 1, as segments are."""
    if len(found) == len(SUBTYPES):
        return labels
    numbers = np.zeros(len(SUBTYPES) + 1, dtype=np.uint8)
    for segment, subtype in enumerate(found, start=1):
        numbers[SUBTYPES.index(subtype) + 1] = segment
    return np.asarray(numbers[labels])


def _segmentation(
    source: Source, volume: Volume, labels: NDArray[np.uint8], found: Sequence[Subtype], provenance: Provenance
) -> Segmentation:
    return Segmentation(
        source_images=slice_headers(source, volume),
        pixel_array=labels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, subtype, source, provenance) for number, subtype in enumerate(found, start=1)
        ],
        series_instance_uid=source.result_uid("SEG series", provenance),
        series_number=series_number(ObjectKind.SEG, source.series_number),
        sop_instance_uid=source.result_uid(ObjectKind.SEG, provenance),
        instance_number=1,
        manufacturer=OWN_NAME,
        manufacturer_model_name=OWN_NAME,
        software_versions=software_versions(provenance),  # type: ignore[arg-type]  # pydicom takes lists only
        device_serial_number=serial_number(provenance),
        content_label="ICH_TRIAGE",
        content_description="Suspected intracranial hemorrhage, for notification only",
        series_description=series_description("segmentation", provenance),
        omit_empty_frames=True,
    )


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
