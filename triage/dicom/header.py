"""What an instance says about itself, read at the door: strict about what filing needs, lenient about the rest."""

from __future__ import annotations

from triage.dicom import tags
from triage.dicom.elements import Elements, RawDataset, read_elements
from triage.dicom.instance_rules import instance_exclusion
from triage.dicom.values import floats, integer, text, unsigned, word
from triage.domain.errors import UnreadableInstance
from triage.domain.study import FrameGeometry, InstanceHeader, is_uid

OWN_NAME = "ich-triage"
"""Manufacturer and Manufacturer's Model Name of every object that this project writes."""

_FILING = {
    tags.SOP_CLASS_UID: "SOP Class UID",
    tags.SOP_INSTANCE_UID: "SOP Instance UID",
    tags.STUDY_INSTANCE_UID: "Study Instance UID",
    tags.SERIES_INSTANCE_UID: "Series Instance UID",
}


def read_header(content: bytes) -> InstanceHeader:
    """Read the header of one instance from the bytes of its file, with or without preamble and file meta.

    Pixel data may be truncated. Text in a broken character set, and optional values that are not what their
    value representation promises, read as empty.

    Raises
    ------
    UnreadableInstance
        When one of the four UIDs that filing needs is missing or no UID.
    """
    return header_of(read_elements(content))


def header_of(raw: RawDataset) -> InstanceHeader:
    """`read_header` for an instance whose elements were read before."""
    top = raw.elements
    uids = {tag: _filing_uid(top, tag) for tag in _FILING}
    charset = word(top, tags.SPECIFIC_CHARACTER_SET)
    shared, per_frame = functional_groups(top)
    any_frame = [per_frame[0], shared] if per_frame else [shared]
    rescale = _first_holding(tags.RESCALE_SLOPE, [top, *_inside(tags.PIXEL_VALUE_TRANSFORMATION_SEQUENCE, any_frame)])
    measures = _first_holding(tags.PIXEL_SPACING, [top, *_inside(tags.PIXEL_MEASURES_SEQUENCE, any_frame)])
    kernel = _first_holding(tags.CONVOLUTION_KERNEL, [top, *_inside(tags.CT_RECONSTRUCTION_SEQUENCE, any_frame)])
    number_of_frames = max(1, integer(top, tags.NUMBER_OF_FRAMES) or 1)
    spacing = floats(measures, tags.PIXEL_SPACING, 2)
    return InstanceHeader(
        sop_instance_uid=uids[tags.SOP_INSTANCE_UID],
        sop_class_uid=uids[tags.SOP_CLASS_UID],
        series_instance_uid=uids[tags.SERIES_INSTANCE_UID],
        study_instance_uid=uids[tags.STUDY_INSTANCE_UID],
        transfer_syntax_uid=raw.transfer_syntax_uid,
        modality=word(top, tags.MODALITY).upper(),
        image_type=tuple(part.strip().upper() for part in word(top, tags.IMAGE_TYPE).split("\\") if part.strip()),
        accession_number=text(top, tags.ACCESSION_NUMBER, charset),
        study_description=text(top, tags.STUDY_DESCRIPTION, charset),
        series_description=text(top, tags.SERIES_DESCRIPTION, charset),
        protocol_name=text(top, tags.PROTOCOL_NAME, charset),
        body_part_examined=word(top, tags.BODY_PART_EXAMINED).upper(),
        kernel=text(kernel, tags.CONVOLUTION_KERNEL, charset),
        contrast_agent=_contrast_agent(top, charset),
        manufacturer=text(top, tags.MANUFACTURER, charset),
        model_name=text(top, tags.MODEL_NAME, charset),
        patient_position=word(top, tags.PATIENT_POSITION).upper(),
        frame_of_reference_uid=word(top, tags.FRAME_OF_REFERENCE_UID),
        series_number=integer(top, tags.SERIES_NUMBER),
        instance_number=integer(top, tags.INSTANCE_NUMBER),
        acquisition_number=integer(top, tags.ACQUISITION_NUMBER),
        rows=unsigned(raw, tags.ROWS),
        columns=unsigned(raw, tags.COLUMNS),
        samples_per_pixel=unsigned(raw, tags.SAMPLES_PER_PIXEL),
        number_of_frames=number_of_frames,
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        has_pixel_data=raw.pixel_offset is not None,
        has_rescale=bool(floats(rescale, tags.RESCALE_SLOPE, 1) and floats(rescale, tags.RESCALE_INTERCEPT, 1)),
        rescale_type=word(rescale, tags.RESCALE_TYPE).upper(),
        frames=_frames(top, shared, per_frame, number_of_frames),
    )


def is_own_object(header: InstanceHeader) -> bool:
    """Whether this project wrote the instance: the archive sends our own results back (loop guard)."""
    return OWN_NAME in (header.manufacturer.lower(), header.model_name.lower())


def is_candidate(header: InstanceHeader) -> bool:
    """Whether the instance, by itself, could be part of a head CT that can be analysed."""
    return not is_own_object(header) and instance_exclusion(header) is None


def functional_groups(top: Elements) -> tuple[Elements, list[Elements]]:
    """The shared functional groups and those per frame (PS3.3 C.7.6.16); empty for single-frame instances."""
    shared, per_frame = top.get(tags.SHARED_FUNCTIONAL_GROUPS), top.get(tags.PER_FRAME_FUNCTIONAL_GROUPS)
    return (
        shared[0] if isinstance(shared, list) and shared else {},
        per_frame if isinstance(per_frame, list) else [],
    )


def macro(sequence: int, groups: list[Elements]) -> Elements:
    """The item of a functional group macro from the first of ``groups`` that has it; empty when none has."""
    found = _inside(sequence, groups)
    return found[0] if found else {}


def _inside(sequence: int, groups: list[Elements]) -> list[Elements]:
    values = [group.get(sequence) for group in groups]
    return [value[0] for value in values if isinstance(value, list) and value]


def _first_holding(tag: int, places: list[Elements]) -> Elements:
    return next((place for place in places if place.get(tag)), {})


def _filing_uid(top: Elements, tag: int) -> str:
    uid = word(top, tag)
    if not uid:
        raise UnreadableInstance(f"The instance has no {_FILING[tag]}, so it cannot be filed.")
    if not is_uid(uid):
        raise UnreadableInstance(f"The {_FILING[tag]} of the instance is not a UID, so it cannot be filed.")
    return uid


def _contrast_agent(top: Elements, charset: str) -> str:
    items = top.get(tags.CONTRAST_BOLUS_AGENT_SEQUENCE)
    if isinstance(items, list) and items:
        return text(items[0], tags.CODE_MEANING, charset) or "contrast agent"
    return text(top, tags.CONTRAST_BOLUS_AGENT, charset)


def _frames(
    top: Elements, shared: Elements, per_frame: list[Elements], number_of_frames: int
) -> tuple[FrameGeometry, ...]:
    if not per_frame:
        one = _geometry(top, top, top) if number_of_frames == 1 else None
        return (one,) if one else ()
    found = [
        _geometry(
            macro(tags.PLANE_POSITION_SEQUENCE, [frame, shared]),
            macro(tags.PLANE_ORIENTATION_SEQUENCE, [frame, shared]),
            macro(tags.PIXEL_MEASURES_SEQUENCE, [frame, shared]),
        )
        for frame in per_frame
    ]
    complete = tuple(frame for frame in found if frame is not None)
    return complete if len(complete) == number_of_frames == len(found) else ()


def _geometry(position: Elements, orientation: Elements, measures: Elements) -> FrameGeometry | None:
    """One frame's geometry, or None where its position or orientation is not given."""
    at = floats(position, tags.IMAGE_POSITION, 3)
    along = floats(orientation, tags.IMAGE_ORIENTATION, 6)
    if not at or not along:
        return None
    thickness = floats(measures, tags.SLICE_THICKNESS, 1)
    return FrameGeometry(
        (at[0], at[1], at[2]),
        (along[0], along[1], along[2], along[3], along[4], along[5]),
        thickness[0] if thickness and thickness[0] > 0 else None,
    )
