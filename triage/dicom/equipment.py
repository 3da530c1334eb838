"""Who made a result: the software, the model bundle, and what every object says about its use."""

from __future__ import annotations

from highdicom import AlgorithmIdentificationSequence
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.valuerep import DT

from triage.dicom.codes import ARTIFICIAL_INTELLIGENCE, PROCESSING_EQUIPMENT
from triage.dicom.header import OWN_NAME
from triage.dicom.uids import device_uid
from triage.domain.encoded import ObjectKind
from triage.domain.notice import DEMONSTRATION, NOTIFICATION_ONLY
from triage.domain.provenance import Provenance

_SERIES_NUMBER_BASE = {
    ObjectKind.SEG: 9_100_000,
    ObjectKind.SR: 9_200_000,
    ObjectKind.KOS: 9_300_000,
    ObjectKind.SC: 9_400_000,
    ObjectKind.GSPS: 9_500_000,
    ObjectKind.SEG_LABELMAP: 9_600_000,
    ObjectKind.SEG_FRACTIONAL: 9_700_000,
    ObjectKind.SR_COMPREHENSIVE: 9_800_000,
    ObjectKind.SR_ENHANCED: 9_900_000,
    ObjectKind.SR_TEXT: 10_000_000,
    ObjectKind.KOS_REJECTED: 10_100_000,
}
"""Hundred thousand apart, for source numbers of up to five digits."""


def plain(text: str, limit: int) -> str:
    """Text that every character set can hold, cut to the length of its VR."""
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/")[:limit]


def serial_number(provenance: Provenance) -> str:
    """The start of the bundle digest: another bundle is another device."""
    return provenance.bundle_digest[:16]


def software_versions(provenance: Provenance) -> list[str]:
    """The software, then the bundle, as Software Versions (0018,1020)."""
    software = f"{OWN_NAME} {provenance.software_version}"
    bundle = f"{provenance.bundle_name} {provenance.bundle_version}"
    return [plain(software, 63), plain(bundle, 63)]  # with 64 the padding makes some readers complain


def series_description(what: str, provenance: Provenance) -> str:
    """What a series of ours holds, so that a list of series is honest on its own."""
    return f"ICH triage: {what}" + (", DEMONSTRATION, NOT FOR CARE" if provenance.demonstration else "")


def series_number(kind: ObjectKind, source_series_number: int) -> int:
    """A number far above those of scanners, that still tells which series was analysed."""
    return _SERIES_NUMBER_BASE[kind] + source_series_number


def algorithm(provenance: Provenance) -> AlgorithmIdentificationSequence:
    """The Algorithm Identification macro (PS3.3 10.16)."""
    return AlgorithmIdentificationSequence(
        name=plain(provenance.bundle_name, 64),
        family=ARTIFICIAL_INTELLIGENCE.concept(),
        version=plain(provenance.bundle_version, 64),
        source=OWN_NAME,
        parameters={"bundle_sha256": provenance.bundle_digest},
    )


def contributing_equipment(provenance: Provenance) -> DicomSequence:
    """One Contributing Equipment item for the algorithm (PS3.3 C.12.1), its time with an explicit zone."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = DicomSequence([PROCESSING_EQUIPMENT.concept()])
    item.Manufacturer = OWN_NAME
    item.ManufacturerModelName = plain(provenance.bundle_name, 64)
    item.DeviceSerialNumber = serial_number(provenance)
    item.SoftwareVersions = software_versions(provenance)
    item.DeviceUID = device_uid(provenance.bundle_digest)
    item.ContributionDateTime = DT(provenance.content_at.strftime("%Y%m%d%H%M%S.%f%z"))
    notice = f"{NOTIFICATION_ONLY} {DEMONSTRATION}" if provenance.demonstration else NOTIFICATION_ONLY
    item.ContributionDescription = notice
    return DicomSequence([item])
