"""The facts of one received instance that select, order and complete a series need. No pixels, no patient."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class AeTitle:
    """A DICOM application entity title: 1 to 16 printable characters, no backslash (PS3.5 6.2)."""

    value: str

    def __post_init__(self) -> None:
        stripped = self.value.strip(" ")
        if not _AE_TITLE.fullmatch(stripped):
            raise ValueError(f"{self.value!r} is no AE title: 1 to 16 printable characters without a backslash")
        object.__setattr__(self, "value", stripped)

    def __str__(self) -> str:
        return self.value


def is_uid(text: str) -> bool:
    """Whether ``text`` is digits and dots of at most 64 characters.

    Leading zeros in a component are let through: scanners write them (PS3.5 9.1 forbids them).
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """Where one frame lies (PS3.3 C.7.6.2): centre of its first pixel, row and column directions, thickness.

    ``position_mm`` is LPS in mm; ``orientation`` holds the row direction then the column direction, unit vectors.
    """

    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    thickness_mm: float | None


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """What was read of one instance at the door.

    ``frames`` holds one geometry per frame in stored order, and is empty when position or orientation is
    missing. Text values are as sent, decoded leniently, empty when absent; none of them names the patient.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    modality: str = ""
    image_type: tuple[str, ...] = ()
    accession_number: str = ""
    study_description: str = ""
    series_description: str = ""
    protocol_name: str = ""
    body_part_examined: str = ""
    kernel: str = ""
    contrast_agent: str = ""
    manufacturer: str = ""
    model_name: str = ""
    patient_position: str = ""
    frame_of_reference_uid: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    acquisition_number: int | None = None
    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 0
    number_of_frames: int = 1
    pixel_spacing_mm: tuple[float, float] | None = None
    has_pixel_data: bool = True
    has_rescale: bool = False
    rescale_type: str = ""
    frames: tuple[FrameGeometry, ...] = field(default=())
