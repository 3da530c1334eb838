"""Key Object Selection documents (PS3.3 A.35.4, TID 2010): what to look at first, and what no longer counts."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset
from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from triage.dicom import codes
from triage.dicom.equipment import serial_number, series_description, series_number, software_versions
from triage.dicom.header import OWN_NAME
from triage.dicom.part10 import encode_object
from triage.dicom.source import Source, read_source
from triage.dicom.sr_document import as_evidence, observer, source_frame
from triage.dicom.sr_groups import notices
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.key_slices import KEY_SLICES
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume

_IMAGES_OF_OURS = frozenset(
    {
        str(SegmentationStorage),
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation, which pydicom does not name yet
        str(SecondaryCaptureImageStorage),
        str(MultiFrameTrueColorSecondaryCaptureImageStorage),
    }
)


def encode_key_objects(
    contents: Sequence[bytes],
    volume: Volume,
    key_slices: Sequence[int],
    referenced: Sequence[EncodedObject],
    provenance: Provenance,
) -> EncodedObject:
    """Encode which slices and results of one series revision to look at first.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    volume : Volume
        What was read from them.
    key_slices : sequence of int
        Up to five indices of slices of the volume, the most important first.
    referenced : sequence of EncodedObject
        The results to go with them, as the same archive gets them: the report, the segmentation, an overlay.
    provenance : Provenance
        Software, bundle and content time.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When there is nothing to refer to, or a key slice is none of the volume, named twice or one too many.
    """
    if len(key_slices) > KEY_SLICES or len(set(key_slices)) != len(key_slices):
        raise ValueError(f"up to {KEY_SLICES} key slices, each named once, not {list(key_slices)}")
    if any(not 0 <= index < len(volume.sources) for index in key_slices):
        raise ValueError(f"a volume of {len(volume.sources)} slices has not all of the slices {list(key_slices)}")
    source = read_source(contents, volume)
    selected: list[_Selected] = []
    for index in key_slices:
        slice_source = volume.sources[index]
        image, frames = source_frame(source, slice_source.sop_instance_uid, slice_source.frame_number)
        selected.append((image, True, frames))
    selected += [_result(one.reference(source.study_instance_uid)) for one in referenced]
    # The same slices beside another set of results are another selection.
    name = " ".join(["KOS", *map(str, key_slices), *(one.sop_instance_uid for one in referenced)])
    description = "What to look at first, selected by software."
    return _encode(ObjectKind.KOS, name, codes.OF_INTEREST, "key objects", description, selected, source, provenance)


def encode_rejection(
    contents: Sequence[bytes], superseded: Sequence[ObjectReference], provenance: Provenance
) -> EncodedObject:
    """Encode that earlier results of a series no longer count (IHE Imaging Object Change Management).

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision that supersedes the earlier one, in any order. Only their
        headers are read, for the patient and the study.
    superseded : sequence of ObjectReference
        The results of earlier revisions, in any order.
    provenance : Provenance
        Software, bundle and content time of the new revision.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When nothing is superseded, or something in another study.
    """
    source = read_source(contents, None)
    if any(one.study_instance_uid != source.study_instance_uid for one in superseded):
        raise ValueError("a rejection note speaks of one study, that of the new revision")
    rejected = sorted(set(superseded), key=lambda one: (one.series_instance_uid, one.sop_instance_uid))
    name = " ".join(["KOS_REJECTED", *(one.sop_instance_uid for one in rejected)])
    description = "Superseded: the series was looked at again with other instances or by another version."
    selected = [_result(one) for one in rejected]
    # The title has modifiers, but CID 7011 knows faults of images only, and none of them is true here.
    title = codes.REJECTED_FOR_QUALITY
    return _encode(ObjectKind.KOS_REJECTED, name, title, "rejection note", description, selected, source, provenance)


_Selected = tuple[ObjectReference, bool, list[int] | None]
"""An object, whether it is an image, and which frames of it."""


def _result(reference: ObjectReference) -> _Selected:
    return reference, reference.sop_class_uid in _IMAGES_OF_OURS, None


def _encode(
    kind: ObjectKind,
    name: str,
    title: codes.Code,
    what: str,
    description: str,
    selected: Sequence[_Selected],
    source: Source,
    provenance: Provenance,
) -> EncodedObject:
    if not selected:
        raise ValueError("a key object selection refers to at least one object")
    content = KeyObjectSelection(
        document_title=title.concept(),
        referenced_objects=[_stand_in(reference, image) for reference, image, _ in selected],
        observer_device_context=observer(provenance),
        description=" ".join([description, *notices(provenance)]),
    )
    for item, (_, _, frames) in zip(content.get_references(), selected, strict=True):
        if frames is not None:
            item.ReferencedSOPSequence[0].ReferencedFrameNumber = frames
    ds = KeyObjectSelectionDocument(
        evidence=as_evidence(reference for reference, _, _ in selected),
        content=content,
        series_instance_uid=source.result_uid(f"{kind} series", provenance),
        series_number=series_number(kind, source.series_number),
        sop_instance_uid=source.result_uid(name, provenance),
        instance_number=1,
        manufacturer=OWN_NAME,
        manufacturer_model_name=OWN_NAME,
        software_versions=software_versions(provenance),
        device_serial_number=serial_number(provenance),
        series_description=series_description(what, provenance),
    )
    return encode_object(kind, ds, source, provenance)


def _stand_in(reference: ObjectReference, image: bool) -> Dataset:
    """An object as highdicom looks at it: what has rows and columns is an image."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = reference.sop_class_uid, reference.sop_instance_uid
    if image:
        ds.Rows = ds.Columns = 1
    return ds
